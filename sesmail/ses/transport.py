"""The way to SES v2 on boto3's connections, by the lean call or boto3's own: one call an email.

All retrying is sesmail's: boto3 is told to ask once, because its own retries after a timeout send an email twice. What
SES answers becomes the `SesError` of what happens next: see `answers.py`.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from sesmail.errors import ConfigurationError, OutcomeUnknown, SesError, SesMisconfigured, SesUnavailable
from sesmail.ses.answers import hide_words, what_happens_next, what_happens_to_entry
from sesmail.ses.bulk import Entry, Template, send_bulk_email_request
from sesmail.ses.form import Filled
from sesmail.ses.internals import CannotBorrow, borrow
from sesmail.ses.lean import LeanCall, NotWritten
from sesmail.ses.request import Composed, compose, email_with_everything, request_with_everything
from sesmail.ses.roles import Key, session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_sesv2.client import SESV2Client

    from sesmail.message import Email

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


log = logging.getLogger("sesmail")
_wire_log = logging.getLogger("botocore")
if _wire_log.level == logging.NOTSET:
    _wire_log.setLevel(logging.INFO)  # at DEBUG it writes whole emails into the log; who wants that sets it explicitly


_WHERE = ("AWS_ENDPOINT_URL_SESV2", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION")
"""Variables that say where SES is."""


class _Way:
    """How SES is asked by one process, at one place."""

    def __init__(self, place: tuple[object, ...], client: SESV2Client, call: Literal["lean", "boto3"]) -> None:
        self.place, self.client = place, client
        self.lean: LeanCall | None = None
        self.lean_bulk: LeanCall | None = None
        self.why = "SESMAIL_SES_CALL says so"
        if call == "lean":
            try:
                self.lean = LeanCall(borrow(client, "SendEmail"), "MessageId")
                self.lean_bulk = LeanCall(borrow(client, "SendBulkEmail"), "BulkEmailEntryResults")
            except CannotBorrow as reason:
                self.why = str(reason)

    @cached_property
    def knows_bulk(self) -> bool:
        """Whether its botocore has all that we say to SendBulkEmail."""
        model = self.client.meta.service_model.operation_model("SendBulkEmail").input_shape
        entry = Entry(send_id="-", mailbox="to@example.com", values={}, headers={}, tags={})
        request = send_bulk_email_request(email_with_everything(), Template(subject="-", text="-", html="-"), [entry])
        return not [*_unknown_members(model, request)]

    @property
    def said(self) -> str:
        """For people: where SES is asked, and how."""
        how = "by the lean call" if self.lean else f"by boto3's own call: {self.why}"
        return f"SES is asked at {self.client.meta.endpoint_url} ({self.client.meta.region_name}) {how}"

    def send_email(self, composed: Composed | Filled) -> Any:
        """As boto3's."""
        body = composed.body if isinstance(composed, Filled) else None
        if self.lean and (
            body or "EndpointId" not in composed.request
        ):  # that has an address and a signature of its own
            try:
                return self.lean.ask(body or composed.request)
            except NotWritten as reason:  # SES was not asked
                self._ask_by_boto3(reason)
        return self.client.send_email(**composed.request)

    def send_bulk_email(self, request: dict[str, Any]) -> Any:
        """As boto3's."""
        if self.lean_bulk and "EndpointId" not in request:
            try:
                return self.lean_bulk.ask(request)
            except NotWritten as reason:
                self._ask_by_boto3(reason)
        return self.client.send_bulk_email(**request)

    def _ask_by_boto3(self, reason: NotWritten) -> None:
        self.lean, self.lean_bulk, self.why = None, None, str(reason)
        log.warning("The lean call of SES is not used any more, but boto3's own: %s.", reason)


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
        key: Key | None = None,
        role_arn: str | None = None,
        connect_timeout_seconds: float = 5,
        read_timeout_seconds: float = 60,
        max_connections: int = 10,
        call: Literal["lean", "boto3"] = "lean",
    ) -> None:
        """Give as many connections as threads will send. A short read timeout makes unknown outcomes, not speed.

        `call` "boto3" never uses the lean call; "lean" uses it where nothing would be missed.
        """
        self._region = region
        self._endpoint_url = endpoint_url
        self._profile = profile
        self._key = key
        self._role_arn = role_arn
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
        self._call = call
        self._lock = threading.Lock()
        self._way: _Way | None = None

    def prepare(self) -> None:
        """Make this process's client, which takes longer than a slot of the throttle is good for.

        What is wrong with the set-up is raised when something is sent; `ConfigurationError`, for a botocore that is too
        old to send with, at once.
        """
        with suppress(SesMisconfigured):
            self._way_of_this_process()

    @property
    def said(self) -> str:
        """For people: where SES is asked, and how. Raises `SesMisconfigured` where it cannot be."""
        return self._way_of_this_process().said

    @property
    def why_not_lean(self) -> str:
        """Why boto3's own call is used; empty where the lean one is. Raises as `said`."""
        way = self._way_of_this_process()
        return "" if way.lean else way.why

    compose = staticmethod(compose)

    def send(self, email: Email, *, send_id: str) -> str:
        """`prepare`, `compose` and `send_composed`. Raises as they do."""
        self.prepare()
        return self.send_composed(self.compose(email, send_id=send_id))

    def send_composed(self, composed: Composed | Filled) -> str:
        """Ask SES once to send it, and return the MessageId; where `prepare` has found SES, if that was called.

        Raises the `SesError` of what happens next; `OutcomeUnknown` when SES may have it.
        """
        answer = self._ask(lambda way: way.send_email(composed), lambda: composed.email, is_prepared=True)
        message_id: str = answer.get("MessageId") or ""
        if not message_id:
            raise OutcomeUnknown("SES answered without a MessageId: it may have sent the email. An event settles it.")
        return message_id

    @property
    def can_send_bulk(self) -> bool:
        """Whether the installed botocore knows all that a call of `send_bulk` has. Raises as `said`."""
        return self._way_of_this_process().knows_bulk

    def send_bulk(self, letter: Email, request: dict[str, Any]) -> list[str | SesError]:
        """Ask SES once to send a letter to several (`send_bulk_email_request`): a MessageId for each, or why not.

        Raises the `SesError` of what happens to all of them next.
        """
        answer = self._ask(lambda way: way.send_bulk_email(request), lambda: letter)
        results = answer.get("BulkEmailEntryResults") or []
        if len(results) != len(request["BulkEmailEntries"]):
            raise OutcomeUnknown("SES did not answer for each recipient: it may have sent the emails.")
        return [
            result["MessageId"]
            if result.get("Status") == "SUCCESS" and result.get("MessageId")
            else what_happens_to_entry(result.get("Status") or "", result.get("Error") or "", letter)
            for result in results
        ]

    def account(self) -> Account:
        """Ask for the account's limits and state. SES allows one such call a second. Raises `SesError`."""
        try:
            answer = self._ask(lambda way: way.client.get_account())
        except OutcomeUnknown as error:
            raise SesUnavailable("SES did not say what the account's limits are: ask again.", code=error.code) from None
        return _account(answer)

    def template(self, name: str) -> dict[str, str]:
        """Ask for a template that SES keeps: its `subject`, and its `text` and `html` as far as it has them.

        Raises `ConfigurationError` where there is none of that name, and `SesError`.
        """
        try:
            answer = self._ask(lambda way: way.client.get_email_template(TemplateName=name))
        except OutcomeUnknown as error:
            raise SesUnavailable("SES did not say what stands in the template: ask again.", code=error.code) from None
        except SesError as error:
            if error.code != "NotFoundException":
                raise
            missing = (
                f"SES keeps no template of this name in this account and Region ({self.said}). Nothing was queued."
            )
            raise ConfigurationError(missing) from None
        parts: dict[str, Any] = {**answer["TemplateContent"]}
        return {name.lower(): text for name, text in parts.items() if text}

    def _ask(
        self,
        call: Callable[[_Way], Answer],
        email: Callable[[], Email | None] = lambda: None,
        *,
        is_prepared: bool = False,
    ) -> Answer:
        way = self._way if is_prepared else None
        if way is None or way.place[0] != os.getpid():
            way = self._way_of_this_process()
        try:
            return call(way)
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            failure = what_happens_next(error, email())
        raise failure  # out here, so that no traceback shows SES's words with the addresses in them

    def _way_of_this_process(self) -> _Way:
        """Made anew after a fork, and where the environment points elsewhere by now: tests have one SES each."""
        place = os.getpid(), *map(os.environ.get, _WHERE)
        with self._lock:
            if self._way is None or self._way.place != place:
                self._way = _Way(place, self._new_client(), self._call)
                # Now that it is found who else hears of boto3's calls: they are told no address.
                self._way.client.meta.events.register("after-call.sesv2", hide_words)
                log.info("%s", self._way.said)
            return self._way

    def _new_client(self) -> SESV2Client:
        try:
            session = session_of(self._region, self._profile, self._key, self._role_arn)
            client = session.client("sesv2", endpoint_url=self._endpoint_url, config=self._config)
        except BotoCoreError as error:
            raise what_happens_next(error) from None
        except ValueError as error:
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


def _check_that_all_can_be_asked(client: SESV2Client) -> None:
    """An older model of SES lacks members that requests have, and unvalidated parameters then fail within the call."""
    send_email = client.meta.service_model.operation_model("SendEmail").input_shape
    if unknown := sorted(set(_unknown_members(send_email, request_with_everything()))):
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
