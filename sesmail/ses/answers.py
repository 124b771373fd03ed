"""The one table that says what an answer of SES means: which `SesError`, and so what happens next.

Nobody else looks into botocore's errors. SES's words are kept, but every address in them is replaced.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from inspect import cleandoc
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import botocore.session
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
from sesmail.message.addresses import bare_address

if TYPE_CHECKING:
    from types import FrameType

    from sesmail.message import Email


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
_TENANT, _TEMPLATE, _CONTACT_LIST = "tenant", "template", "contact-list"

_NO_TENANT = (
    "SES does not take the email for its tenant: there is none of that name in this Region, or its sender's identity, "
    "its configuration set or its template is not associated with it."
)

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
    # How it says that a tenant is paused AWS does not document: by one of these, and by the word.
    _Rule(
        "SendingPausedException MessageRejected AccessDeniedException",
        r"tenant.*(paused|disabled)|(paused|disabled).*tenant",
        SendingPaused,
        scope=_TENANT,
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
    _Rule("NotFoundException BadRequestException MessageRejected", r"tenant", SesMisconfigured, _NO_TENANT, _TENANT),
    _Rule("TemplateDoesNotExist TemplateDoesNotExistException", "", SesMisconfigured, scope=_TEMPLATE),
    _Rule("NotFoundException", r"template", SesMisconfigured, scope=_TEMPLATE),
    _Rule("NotFoundException", r"\blist\b", SesMisconfigured, scope=_CONTACT_LIST),
    _Rule("NotFoundException", "", SesMisconfigured),
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

# What boto3 raises itself. Only its HTTP client leaves the outcome open, once a request may have been written
# (`_was_not_asked` tells); all else
# in botocore's tree happens before: no credentials, no such Region, an endpoint that is none.
_FAILURES: tuple[tuple[tuple[type[Exception], ...], type[SesError]], ...] = (
    ((EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError), SesUnavailable),
    ((HTTPClientError, SSLError, IncompleteReadError, ResponseParserError), OutcomeUnknown),
    ((BotoCoreError,), SesMisconfigured),
)


def what_happens_next(error: Exception, email: Email | None = None) -> SesError:
    """Translate what botocore raised into the `SesError` that says what to do."""
    if isinstance(error, ClientError):
        answer = _of_answer(error.response, email)
        answer.is_answer = True
        return answer
    kind = next((kind for classes, kind in _FAILURES if isinstance(error, classes)), OutcomeUnknown)
    if kind is OutcomeUnknown and _was_not_asked(error):
        kind = SesUnavailable
    code = type(error).__name__
    if kind is SesUnavailable:
        return _error(kind, code, "", advice=_unreached(error))
    if kind is SesMisconfigured:
        words = _without_addresses(str(error), None)
        scope = _scope(_GLOBAL_ENDPOINT, email) if code == _NO_AWSCRT else "account"
        return _error(kind, code, words, advice=_MEND.get(code, ""), scope=scope, who="boto3")
    return _error(kind, code, "")


_GLOBAL_ENDPOINT, _NO_AWSCRT = "global-endpoint", "MissingDependencyException"
_STATUSES = {
    "ACCOUNT_THROTTLED": ("TooManyRequestsException", "Maximum sending rate exceeded."),
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": ("TooManyRequestsException", "Daily message quota exceeded."),
    "ACCOUNT_SUSPENDED": ("AccountSuspendedException", ""),
    "ACCOUNT_SENDING_PAUSED": ("SendingPausedException", ""),
    "CONFIGURATION_SET_SENDING_PAUSED": ("ConfigurationSetSendingPausedException", ""),
    "CONFIGURATION_SET_NOT_FOUND": ("ConfigurationSetDoesNotExistException", ""),
    "TEMPLATE_NOT_FOUND": ("TemplateDoesNotExistException", ""),
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": ("MailFromDomainNotVerifiedException", ""),
    "INVALID_SENDING_POOL_NAME": ("NotFoundException", ""),
    "MESSAGE_REJECTED": ("MessageRejected", ""),
    "INVALID_PARAMETER": ("BadRequestException", ""),
    "TRANSIENT_FAILURE": ("TRANSIENT_FAILURE", ""),
}
"""What SES says of an entry of SendBulkEmail, as a call of SendEmail would have been answered: code, and words."""


def what_happens_to_entry(status: str, words: str, letter: Email) -> SesError:
    """What SES says of one recipient of SendBulkEmail. `FAILED`, and what nobody knows, it may have."""
    if status not in _STATUSES:
        return _error(OutcomeUnknown, status, _without_addresses(words, letter))
    code, said = _STATUSES[status]  # where its status says more than its words, these stand in their place
    response = {"Error": {"Code": code, "Message": said or words}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    error = _of_answer(response, letter)
    error.is_answer = True
    return error


_MEND = {
    _NO_AWSCRT: "A global endpoint (EndpointId) wants a signature that boto3 makes by awscrt, which this worker lacks: "
    "pip install 'sesmail[global]', and restart the workers.",
    "NoRegionError": "No Region is named, so it is not known which SES to ask. Set SESMAIL_REGION or AWS_REGION, such "
    "as eu-west-1.",
    "InvalidRegionError": "The Region is written as none is. Mend SESMAIL_REGION or AWS_REGION, such as eu-west-1.",
    "NoCredentialsError": "boto3 finds no credentials on this worker. Give it a role, AWS_ACCESS_KEY_ID with "
    "AWS_SECRET_ACCESS_KEY, or SESMAIL_PROFILE.",
    "PartialCredentialsError": "Of the credentials on this worker, a part is missing: AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY belong together.",
    "ProfileNotFound": "AWS's files on this worker have no such profile. Mend SESMAIL_PROFILE or AWS_PROFILE.",
}
"""What to do about what boto3 raises before it asks, by the name of its error."""


def _unreached(error: Exception) -> str:
    """With the host, and what it is called by: a misspelt Region is a host that there is not."""
    words = cleandoc(SesUnavailable.__doc__ or "")
    endpoint = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url") or ""))
    host, place = endpoint.hostname, endpoint.netloc.rpartition("@")[2]
    if not host:
        return words
    source = "the endpoint's address"
    if host.endswith(".amazonaws.com"):
        source = f"the Region (SESMAIL_REGION, AWS_REGION){_hint_of_region(host)}"
    return f"{words} It was looked for at {place}: if this lasts, see whether {source} is right, and the network."


def _hint_of_region(host: str) -> str:
    """The one that is most likely meant, where botocore knows none of that name: it may be newer than botocore."""
    region, known = host.split(".")[1], _known_regions()
    if not known or region in known:
        return ""
    meant = get_close_matches(region, known, 1, 0.7)
    return f", of which botocore knows no {region}{f': is {meant[0]} meant?' if meant else ''},"


@cache
def _known_regions() -> list[str]:
    """Those where SES is, as botocore has been told; read when SES could not be reached, from files."""
    return botocore.session.Session().get_available_regions("sesv2")


def hide_words(parsed: dict[str, Any], **_: Any) -> None:
    """Before botocore raises an error in SES's words, take the addresses out of them.

    Whatever traces its calls keeps the error's text. For botocore's event `after-call`:
    https://boto3.amazonaws.com/v1/documentation/api/latest/guide/events.html
    """
    error = parsed.get("Error") or {}
    if words := error.get("Message"):
        parsed[_WORDS] = _Words(words)
        error["Message"] = _ADDRESS.sub("<address>", words)


_WORDS = "SesmailWords"


class _Words:
    """What SES said, for this table alone."""

    def __init__(self, words: str) -> None:
        self.words = words


def _was_not_asked(error: Exception) -> bool:
    """Whether it failed before the first byte of the request was written: while connecting, or getting ready for that.

    The class does not tell: a TLS handshake that is cut off, or a proxy that refuses to CONNECT, is the same
    `ConnectionClosedError` as a connection that breaks in the middle of the request, and a handshake that hangs is a
    `ReadTimeoutError`. Where it was raised does: urllib3 connects, with the proxy's CONNECT and TLS, in its
    connection's `connect`, and botocore gets ready for that in functions below `URLLib3Session.send`.
    """
    seen: list[BaseException] = []
    waiting = [getattr(error, "kwargs", {}).get("error")]
    while waiting:
        found = waiting.pop()
        if isinstance(found, BaseException) and found not in seen:
            seen.append(found)
            waiting += [found.__cause__, found.__context__]
    return any(map(_is_before_the_request, (frame for each in seen for frame, _ in walk_tb(each.__traceback__))))


def _is_before_the_request(frame: FrameType) -> bool:
    module, function = frame.f_globals.get("__name__"), frame.f_code.co_name
    connecting = module == "urllib3.connection" and function == "connect"
    return connecting or (module == "botocore.httpsession" and function != "send")


def _of_answer(response: Any, email: Email | None) -> SesError:
    code = response["Error"].get("Code", "")
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    said: _Words | None = response.get(_WORDS)
    words = _without_addresses(said.words if said else response["Error"].get("Message", ""), email)
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


def _error(
    kind: type[SesError], code: str, words: str, *, advice: str = "", scope: str = "account", who: str = "SES"
) -> SesError:
    said = f" {who} says: {words[:300]}" if words else ""
    message = (advice or cleandoc(kind.__doc__ or "")) + said
    return kind(message, code=code, scope=scope) if issubclass(kind, LineStopped) else kind(message, code=code)


def _scope(kind: str, email: Email | None) -> str:
    """`account`, or what the email goes out by: its identity, configuration set, tenant, ..."""
    return f"{kind}:{name}" if email and (name := email.named.get(kind)) else "account"


_ADDRESS = re.compile(r'(?:"[^"@]*"|(?<![^\s<>",;:()\[\]])[^\s<>",;:()\[\]@]+)@[^\s<>",;()\[\]]+')


def _without_addresses(words: str, email: Email | None) -> str:
    """SES's words, with `<sender>` for the sender's address or domain and `<address>` for any other."""
    if email and email.from_email:
        sender = rf"{re.escape(bare_address(email.from_email))}|{re.escape(email.sender_domain)}"
        words = re.sub(rf"(?<![\w.@+-])(?:{sender})(?![\w-]|\.\w)", "<sender>", words, flags=re.IGNORECASE)
    return _ADDRESS.sub("<address>", words)
