"""Amazon SES v2 through boto3: one call per email, and the one table that says what an answer means.

All retrying is sesmail's: boto3 is told to ask once, because its own retries after a timeout send an email twice. What
SES answers becomes the `SesError` of what happens next; its words are kept, but every address in them is replaced.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ProxyConnectionError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from sesmail.errors import (
    ConfigurationError,
    DailyQuotaExceeded,
    LineStopped,
    OutcomeUnknown,
    SendingPaused,
    SendRejected,
    SendThrottled,
    SesError,
    SesMisconfigured,
    SesUnavailable,
)
from sesmail.mailbox import bare_address, encoded_mailbox, encoded_words
from sesmail.message import ID_HEADER, ID_TAG, MAX_HEADERS, Attachment, Email
from sesmail.sending import mime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_sesv2.client import SESV2Client

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What SES says of the account in one Region.

    https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetAccount.html
    """

    max_send_rate: float
    """Recipients a second."""
    max_24_hour_send: float
    """Recipients in any 24 hours; -1 means unlimited."""
    sent_last_24_hours: float
    sending_enabled: bool
    production_access: bool
    """False in the sandbox, where only verified addresses can be written to."""
    enforcement_status: str
    """`HEALTHY`, `PROBATION` or `SHUTDOWN`."""

    def standing(self) -> str:
        """All that is out of the ordinary, for people; `healthy` where nothing is."""
        said = {
            "sandbox": not self.production_access,
            "probation": self.enforcement_status == "PROBATION",
            "shut down": self.enforcement_status == "SHUTDOWN",
            "sending paused": not self.sending_enabled,
        }
        return ", ".join(name for name, holds in said.items() if holds) or "healthy"


_wire_log = logging.getLogger("botocore")
if _wire_log.level == logging.NOTSET:
    _wire_log.setLevel(logging.INFO)  # at DEBUG it writes whole emails into the log; who wants that sets it explicitly


class SesTransport:
    """The way to SES. Cheap to make, used by any number of threads; each process makes its boto3 client on first use.

    Credentials, Region and endpoint come from boto3's own chain where they are not given; `AWS_ENDPOINT_URL_SESV2` in
    the environment points it at a simulator.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        connect_timeout_seconds: float = 5,
        read_timeout_seconds: float = 60,
        max_connections: int = 10,
    ) -> None:
        """Give as many connections as threads will send. A short read timeout makes unknown outcomes, not speed."""
        self._region = region
        self._endpoint_url = endpoint_url
        self._profile = profile
        self._config = Config(
            connect_timeout=connect_timeout_seconds,
            read_timeout=read_timeout_seconds,
            max_pool_connections=max_connections,
            retries={"total_max_attempts": 1, "mode": "standard"},
            tcp_keepalive=True,
            parameter_validation=False,  # `Email` has checked more than boto3 would
            # A ready string: botocore would put its own together twice for each request, a sixth of the call's cost.
            user_agent=f"sesmail/{version('sesmail')} Boto3/{boto3.__version__} Botocore/{botocore.__version__}",
        )
        self._lock = threading.Lock()
        self._client: tuple[int, SESV2Client] | None = None

    def prepare(self) -> None:
        """Make this process's client, which takes longer than a slot of the throttle is good for.

        What is wrong with the set-up is raised when something is sent; `ConfigurationError`, for a botocore that is too
        old to send with, at once.
        """
        with suppress(SesMisconfigured):
            self._client_of_this_process()

    def send(self, email: Email, *, send_id: str) -> str:
        """Ask SES once to send it, and return the MessageId. `send_id` travels along as a tag and as a header.

        Raises the `SesError` of what happens next; `OutcomeUnknown` when SES may have it.
        """
        answer = self._ask(lambda client: client.send_email(**_request(email, send_id)), email)
        if not (message_id := answer.get("MessageId")):
            raise OutcomeUnknown("SES answered without a MessageId: it may have sent the email. An event settles it.")
        return message_id

    def account(self) -> Account:
        """Ask for the account's limits and state. SES allows one such call a second. Raises `SesError`."""
        try:
            answer = self._ask(lambda client: client.get_account())
        except OutcomeUnknown as error:
            raise SesUnavailable("SES did not say what the account's limits are: ask again.", code=error.code) from None
        return _account(answer)

    def _ask(self, call: Callable[[SESV2Client], Answer], email: Email | None = None) -> Answer:
        client = self._client_of_this_process()
        try:
            return call(client)
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            failure = what_happens_next(error, email)
        raise failure  # out here, so that no traceback shows SES's words with the addresses in them

    def _client_of_this_process(self) -> SESV2Client:
        with self._lock:
            if self._client is None or self._client[0] != os.getpid():
                self._client = os.getpid(), self._new_client()
            return self._client[1]

    def _new_client(self) -> SESV2Client:
        try:
            session = boto3.Session(profile_name=self._profile, region_name=self._region)
            client = session.client("sesv2", endpoint_url=self._endpoint_url, config=self._config)
        except (BotoCoreError, ValueError) as error:
            raise SesMisconfigured(f"boto3 cannot be set up for SES: {error}", code=type(error).__name__) from None
        _check_that_all_can_be_asked(client)
        return client


def _account(answer: Any) -> Account:
    # The model requires no member; emulators leave out what is not a limit.
    quota = answer["SendQuota"]
    return Account(
        max_send_rate=quota["MaxSendRate"],
        max_24_hour_send=quota["Max24HourSend"],
        sent_last_24_hours=quota["SentLast24Hours"],
        sending_enabled=answer.get("SendingEnabled", True),
        production_access=answer.get("ProductionAccessEnabled", True),
        enforcement_status=answer.get("EnforcementStatus", ""),
    )


# What is asked


def _request(email: Email, send_id: str) -> dict[str, Any]:
    headers = {name: encoded_words(value) for name, value in email.headers.items()} | {ID_HEADER: send_id}
    request: dict[str, Any] = {
        "Destination": _destination(email),
        "Content": _simple(email, headers) if _is_simple(email) else {"Raw": {"Data": mime.build(email, headers)}},
        "EmailTags": [{"Name": name, "Value": value} for name, value in (*email.tags.items(), (ID_TAG, send_id))],
    }
    if email.from_email:
        request["FromEmailAddress"] = encoded_mailbox(email.from_email)
    if email.reply_to:
        request["ReplyToAddresses"] = [*map(encoded_mailbox, email.reply_to)]
    if email.configuration_set:
        request["ConfigurationSetName"] = email.configuration_set
    return request


def _destination(email: Email) -> dict[str, list[str]]:
    lists = {"ToAddresses": email.to, "CcAddresses": email.cc, "BccAddresses": email.bcc}
    return {name: [*map(encoded_mailbox, mailboxes)] for name, mailboxes in lists.items() if mailboxes}


def _is_simple(email: Email) -> bool:
    """Whether SES can put the message together itself, which costs us nothing.

    Not with sixteen headers, ours included, and not where AWS leaves open what becomes of an attachment: a type with
    parameters, a file name that is not ASCII or has no extension.
    https://docs.aws.amazon.com/ses/latest/dg/attachments.html
    """
    return len(email.headers) < MAX_HEADERS and all(map(_is_simple_attachment, email.attachments))


def _is_simple_attachment(attachment: Attachment) -> bool:
    name = attachment.filename
    return ";" not in attachment.content_type and name.isascii() and "." in name.strip(".")


def _simple(email: Email, headers: dict[str, str]) -> dict[str, Any]:
    bodies = {"Text": email.text, "Html": email.html}
    message: dict[str, Any] = {
        "Subject": _text(email.subject),
        "Body": {kind: _text(body) for kind, body in bodies.items() if body is not None},
        "Headers": [{"Name": name, "Value": value} for name, value in headers.items()],
    }
    if email.attachments:
        message["Attachments"] = [*map(_attachment, email.attachments)]
    return {"Simple": message}


def _text(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def _attachment(attachment: Attachment) -> dict[str, Any]:
    described = {
        "FileName": attachment.filename,
        "RawContent": attachment.content,
        "ContentType": attachment.content_type,
        "ContentDisposition": "INLINE" if attachment.content_id else "ATTACHMENT",
        "ContentTransferEncoding": "BASE64",  # SES would else take it for seven-bit text
    }
    return described | ({"ContentId": attachment.content_id} if attachment.content_id else {})


def _check_that_all_can_be_asked(client: SESV2Client) -> None:
    """An older model of SES lacks members that requests have, and unvalidated parameters then fail within the call."""
    send_email = client.meta.service_model.operation_model("SendEmail").input_shape
    if unknown := sorted(set(_unknown_members(send_email, _request_with_everything()))):
        raise ConfigurationError(
            f"botocore {botocore.__version__} is too old: its model of SES does not know {', '.join(unknown)}. SES was "
            "not asked; the emails wait. Install a newer one, `pip install --upgrade boto3`, and restart the workers."
        )


def _unknown_members(shape: Any, request: Any, path: str = "") -> Iterator[str]:
    """Those of a request that a shape of botocore's does not have, as `Content.Simple.Headers`."""
    if isinstance(request, list):
        for each in request:
            yield from _unknown_members(shape.member, each, path)
    elif isinstance(request, dict):
        for name, value in request.items():
            if name in shape.members:
                yield from _unknown_members(shape.members[name], value, f"{path}{name}.")
            else:
                yield path + name


def _request_with_everything() -> dict[str, Any]:
    email = Email(
        "to@example.com",
        "-",
        "-",
        "-",
        from_email="from@example.com",
        cc="cc@example.com",
        bcc="bcc@example.com",
        reply_to="reply@example.com",
        configuration_set="-",
        attachments=Attachment("logo.png", b"-", content_id="logo"),
    )
    return _request(email, send_id="-")


# What the answer means


class _Rule(NamedTuple):
    """An answer with one of these codes whose words match means this error, for this scope."""

    codes: str
    words: str
    error: type[SesError]
    advice: str = ""
    scope: str = "account"


_THROTTLES = "TooManyRequestsException Throttling ThrottlingException LimitExceededException 429"
_IDENTITY = "identity"
_CONFIGURATION_SET = "configuration-set"

# Code and words decide, not the HTTP status: AWS's own pages disagree on several statuses. The first match counts. The
# words are SES's with the sender's own identity as <sender> and every other address as <address>. SES v1's spellings
# are here too, because emulators of v2 use them.
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html
# https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html
_RULES = (
    # The rate and the daily quota have the same code: only the words tell them apart.
    _Rule(_THROTTLES, r"sending rate", SendThrottled),
    _Rule(_THROTTLES, r"quota", DailyQuotaExceeded),
    _Rule("LimitExceededException LimitExceeded", "", SesMisconfigured),
    _Rule(_THROTTLES, "", SendThrottled),
    # Stopped: nothing would pass.
    _Rule("ConfigurationSetSendingPausedException", "", SendingPaused, scope=_CONFIGURATION_SET),
    _Rule(
        "SendingPausedException MessageRejected", r"paused.* configuration set", SendingPaused, scope=_CONFIGURATION_SET
    ),
    _Rule("SendingPausedException AccountSendingPausedException AccountSuspendedException", "", SendingPaused),
    # An account paused by AWS says MessageRejected, as it does of one bad email.
    _Rule("MessageRejected", r"sending (paused|suspended)", SendingPaused),
    # Only other people's addresses are listed, and all of them: it is about this email. Else it is about its sender.
    _Rule(
        "MessageRejected",
        r"not verified(?!.*(<sender>|…$|\.\.\.$)).*<address>",
        SendRejected,
        "The account is in the sandbox, where SES sends to verified addresses only: ask AWS for production access.",
    ),
    _Rule(
        "MessageRejected",
        r"not verified",
        SesMisconfigured,
        "The sender's address or domain is not verified in this Region: verify it in the SES console.",
        _IDENTITY,
    ),
    # The set-up is wrong.
    _Rule("MailFromDomainNotVerifiedException MailFromDomainNotVerified", "", SesMisconfigured, scope=_IDENTITY),
    _Rule(
        "ConfigurationSetDoesNotExist ConfigurationSetDoesNotExistException",
        "",
        SesMisconfigured,
        scope=_CONFIGURATION_SET,
    ),
    _Rule(
        "NotFoundException BadRequestException",
        r"configuration set .*does not exist",
        SesMisconfigured,
        scope=_CONFIGURATION_SET,
    ),
    _Rule("NotFoundException TemplateDoesNotExist TemplateDoesNotExistException", "", SesMisconfigured),
    _Rule("AccessDeniedException AccessDenied", r"identity/<sender>", SesMisconfigured, scope=_IDENTITY),
    _Rule(
        "AccessDeniedException AccessDenied NotAuthorized OptInRequired 401 403 ExpiredTokenException ExpiredToken"
        " RequestExpired UnrecognizedClientException InvalidClientTokenId SignatureDoesNotMatch"
        " InvalidSignatureException IncompleteSignature IncompleteSignatureException MissingAuthenticationToken"
        " MissingAuthenticationTokenException",
        "",
        SesMisconfigured,
    ),
    # This email only.
    _Rule("MessageRejected BadRequestException InvalidParameterValue ValidationException", "", SendRejected),
    _Rule("RequestEntityTooLarge RequestEntityTooLargeException 413", "", SendRejected),
    # SES did not get all of it.
    _Rule("RequestTimeout RequestTimeoutException 408", "", SesUnavailable),
)

# What boto3 raises itself. Only its HTTP client leaves the outcome open, once a request may have been written; all else
# in botocore's tree happens before: no credentials, no such Region, an endpoint that is none.
_FAILURES: tuple[tuple[tuple[type[Exception], ...], type[SesError]], ...] = (
    ((EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError), SesUnavailable),
    ((HTTPClientError, SSLError, IncompleteReadError, ResponseParserError), OutcomeUnknown),
    ((BotoCoreError,), SesMisconfigured),
)


def what_happens_next(error: Exception, email: Email | None = None) -> SesError:
    """Translate what botocore raised into the `SesError` that says what to do."""
    if isinstance(error, ClientError):
        return _of_answer(error.response, email)
    kind = next((kind for classes, kind in _FAILURES if isinstance(error, classes)), OutcomeUnknown)
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        kind = SesUnavailable  # refused before anything was written
    return _error(kind, type(error).__name__, _without_addresses(str(error), None) if kind is SesMisconfigured else "")


def _of_answer(response: Any, email: Email | None) -> SesError:
    code = response["Error"].get("Code", "")
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    words = _without_addresses(response["Error"].get("Message", ""), email)
    for rule in _RULES:
        if _is_meant(rule, code, status, words):
            return _error(rule.error, code, words, advice=rule.advice, scope=_scope(rule.scope, email))
    if status >= 500:
        return _error(OutcomeUnknown, code, words)
    return _error(
        SesUnavailable,
        code,
        words,
        advice="SES refused in words that sesmail does not know. Nothing was sent; later again.",
    )


def _is_meant(rule: _Rule, code: str, status: int, words: str) -> bool:
    # An answer that botocore cannot read has its status for a code. Then the words alone decide, where there are any.
    named = code in rule.codes.split() or (code == str(status) and rule.words)
    return bool(named and re.search(rule.words, words, re.IGNORECASE))


def _error(kind: type[SesError], code: str, words: str, *, advice: str = "", scope: str = "account") -> SesError:
    said = f" SES says: {words[:300]}" if words else ""
    message = (advice or cleandoc(kind.__doc__ or "")) + said
    return kind(message, code=code, scope=scope) if issubclass(kind, LineStopped) else kind(message, code=code)


def _scope(kind: str, email: Email | None) -> str:
    """`account`, or the identity or configuration set that the email names."""
    names = {_IDENTITY: email.sender_domain, _CONFIGURATION_SET: email.configuration_set} if email else {}
    return f"{kind}:{name}" if (name := names.get(kind)) else "account"


_ADDRESS = re.compile(r'(?:"[^"@]*"|(?<![^\s<>",;:()\[\]])[^\s<>",;:()\[\]@]+)@[^\s<>",;()\[\]]+')


def _without_addresses(words: str, email: Email | None) -> str:
    """SES's words, with `<sender>` for the sender's address or domain and `<address>` for any other."""
    if email and email.from_email:
        sender = rf"{re.escape(bare_address(email.from_email))}|{re.escape(email.sender_domain)}"
        words = re.sub(rf"(?<![\w.@+-])(?:{sender})(?![\w-]|\.\w)", "<sender>", words, flags=re.IGNORECASE)
    return _ADDRESS.sub("<address>", words)
