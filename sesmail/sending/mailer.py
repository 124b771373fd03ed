"""An email's way out: `accept` writes it down, `deliver` takes it from the claim to SES's answer, step by step."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TypeVar

from sesmail.errors import (
    ConfigurationError,
    DailyQuotaExceeded,
    InvalidEmail,
    LedgerUnavailable,
    LineStopped,
    OutcomeUnknown,
    SendRejected,
    SendThrottled,
    SesError,
    SesmailError,
    StaleClaim,
)
from sesmail.settings import rate_limit
from sesmail.state.ledger import Claim
from sesmail.state.throttle import Granted, Postponed, Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sesmail.message import Email
    from sesmail.sending.account import AccountWatch
    from sesmail.sending.ses import SesTransport
    from sesmail.settings import Settings
    from sesmail.state.ledger import Accepted, Ledger, State
    from sesmail.state.throttle import SendThrottle
    from sesmail.state.workers import WorkerLease, WorkerRates

log = logging.getLogger("sesmail")

Answer = TypeVar("Answer")

SIMULATOR_DOMAIN = "@simulator.amazonses.com"
"""Emails to AWS's mailbox simulator count to the rate, not to the 24-hour quota.

https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html
"""

LARGE_BYTES = 1_000_000
"""Attachments of this size get `redis_timeout_seconds` to reach the ledger's Redis, which may be far away."""

STOPPED_SECONDS = 60.0
"""How long a send waits before it asks again whether a stopped line is open."""


class SendPostponed(SesmailError):
    """The email must wait for the rate, the quota or the line. It is written down as waiting; no attempt is used."""

    def __init__(self, seconds: float, reason: str) -> None:
        self.seconds = seconds
        self.reason = reason
        super().__init__(f"waits {seconds:.1f} s: {reason}")

    def __reduce__(self) -> tuple[type[SendPostponed], tuple[float, str]]:
        return type(self), (self.seconds, self.reason)


class Mailer:
    """Accepts emails into the ledger and delivers them to SES, one claim at a time."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        quick_ledger: Ledger,
        throttle: SendThrottle,
        lease: WorkerLease,
        account: AccountWatch,
        rates: WorkerRates,
        transport: Callable[[], SesTransport],
    ) -> None:
        """`quick_ledger` is the ledger with a time-out for callers who cannot wait.

        `transport` makes the way to SES when it is first needed: who only accepts does not load boto3.
        """
        self._settings = settings
        self._ledger = ledger
        self._quick_ledger = quick_ledger
        self._throttle = throttle
        self._lease = lease
        self._account = account
        self._rates = rates
        self._set_rates = {name: rate_limit(text) for name, text in settings.configuration_set_rate_limits.items()}
        self._transport = transport

    def accept(
        self,
        send_id: str,
        email: Email,
        *,
        delay_seconds: float = 0.0,
        expires_in_seconds: float | None = None,
        in_a_hurry: bool = True,
    ) -> Accepted:
        """Take responsibility for an email: once this returns, it is sent in the end, whatever crashes.

        Raises `InvalidEmail` when no sender is named or set, and `LedgerUnavailable` when it could not be written, or
        is not known to be: within a second when the caller is `in_a_hurry` and no large attachments are on their way.
        """
        complete = email.with_defaults(
            from_email=self._settings.from_email, configuration_set=self._settings.configuration_set
        )
        if complete.from_email is None:
            raise InvalidEmail("from_email", "no sender is named and none is set", "from_email=, or SESMAIL_FROM_EMAIL")
        attached_bytes = sum(len(each.content) for each in complete.attachments)
        ledger = self._quick_ledger if in_a_hurry and attached_bytes < LARGE_BYTES else self._ledger
        return ledger.accept(send_id, complete, delay_seconds=delay_seconds, expires_in_seconds=expires_in_seconds)

    def adopt(self, send_id: str, email: Email) -> str:
        """Accept an email that is nowhere but in the broker, waiting for Redis if need be; answers the send's id."""
        return self._patiently(lambda: self.accept(send_id, email, in_a_hurry=False)).send_id

    def set_aside(self, send_id: str, content: str, reason: str) -> None:
        """Keep what came through the broker as an email but is none, where an operator finds it."""
        self._patiently(lambda: self._ledger.set_aside(send_id, content, reason))

    def claim(self, send_id: str) -> Claim | State | None:
        """Take a send for this worker; its state when it is not to be had (done, waiting, another worker's)."""
        return self._patiently(lambda: self._ledger.claim(send_id, self._lease.owner()))

    def claim_lot(self, send_ids: Iterable[str]) -> list[Claim]:
        """Those of several sends that are to be had."""
        found = map(self.claim, send_ids)
        return [claim for claim in found if isinstance(claim, Claim)]

    def deliver(self, claim: Claim, worker: str) -> str | None:
        """Send a claimed email. Answers SES's message id, or None when SES gave no clear answer (`unknown`).

        `worker` is the name of the Celery worker, whose own rate limit is kept to.
        Raises `SendPostponed`, `SendThrottled` or `SesUnavailable` while the claim is still held: the caller postpones.
        Raises `SendRejected` once that is written down, and `StaleClaim` when another worker has the send.
        """
        transport = self._transport()
        self._prepare(transport)
        slot = self._wait_for_slot(claim, worker)
        self._begin(claim, slot)
        try:
            message_id = transport.send(claim.email, send_id=claim.send_id)
        except SesError as error:
            self._not_sent(claim, slot, error)
            return None
        except Exception as bug:  # noqa: BLE001  what is not SES's answer still leaves the outcome open
            reason = f"{type(bug).__name__} while SES was asked"
            self._no_answer(claim, reason)
            # Not the bug itself: its words may quote the email, and Celery logs and stores them.
            raise OutcomeUnknown(f"{reason}: SES may have the email.").with_traceback(bug.__traceback__) from None
        self._patiently(lambda: self._ledger.sent(claim, message_id))
        self._patiently(lambda: self._throttle.accepted(slot))
        return message_id

    def postpone(self, claim: Claim, delay_seconds: float, reason: str, *, backs_off: bool = False) -> None:
        """Give a claimed send back to wait."""
        self._patiently(lambda: self._ledger.postpone(claim, delay_seconds, reason, backs_off=backs_off))

    def stop(self) -> None:
        """A warm shutdown has begun: those who wait for a slot hand their sends back."""
        self._throttle.stop()

    # -- the steps of deliver() --------------------------------------------------------------------------------------

    @staticmethod
    def _prepare(transport: SesTransport) -> None:
        """A worker whose installation cannot ask SES at all gives the send back, for one that can."""
        try:
            transport.prepare()
        except ConfigurationError as error:
            log.error("no email is sent by this worker: %s", error)  # noqa: TRY400  it is no bug of ours
            raise SendPostponed(STOPPED_SECONDS, str(error)) from None

    def _wait_for_slot(self, claim: Claim, worker: str) -> Granted:
        email = claim.email
        scopes = [f"identity:{email.sender_domain}"]
        if email.configuration_set:
            scopes.append(f"configuration-set:{email.configuration_set}")
        self._patiently(self._account.make_sure)
        slot = self._patiently(
            lambda: self._throttle.acquire(
                email.recipient_count,
                claim.lane,
                express=claim.express,
                quota_recipients=sum(not to.lower().endswith(SIMULATOR_DOMAIN) for to in email.recipients),
                shares=self._shares(email, worker),
                scopes=scopes,
                patience_seconds=self._settings.patience_seconds,
            )
        )
        if isinstance(slot, Postponed):
            raise SendPostponed(slot.seconds, slot.reason)
        return slot

    def _shares(self, email: Email, worker: str) -> list[Share]:
        """What this email keeps to besides the account's rate."""
        under = email.configuration_set or ""
        rates = {
            f"worker:{worker}": self._rates.of(worker),
            f"configuration-set:{under}": self._set_rates.get(under),
        }
        return [Share(scope=scope, rate=rate) for scope, rate in rates.items() if rate is not None]

    def _begin(self, claim: Claim, slot: Granted) -> None:
        """From here on, SES may have it. A slot that waited for Redis is old by then, so that is not waited for."""
        try:
            self._ledger.begin(claim)
        except StaleClaim:
            self._patiently(lambda: self._throttle.unused(slot))
            raise
        except LedgerUnavailable as error:
            raise SendPostponed(0.0, "Redis could not be reached just before SES was to be asked") from error

    def _not_sent(self, claim: Claim, slot: Granted, error: SesError) -> None:
        """What happens next, by the kind of SES's answer. Raises what the caller has to know."""
        match error:
            case OutcomeUnknown():
                self._no_answer(claim, str(error), error.code)
                return
            case SendThrottled():
                self._patiently(lambda: self._throttle.refused(slot))
                raise error
            case DailyQuotaExceeded():
                seconds = self._patiently(lambda: self._throttle.quota_exhausted(slot))
                raise SendPostponed(seconds, str(error)) from None
        self._patiently(lambda: self._throttle.unused(slot))
        match error:
            case LineStopped():
                self._patiently(lambda: self._stop_line(error))
                raise SendPostponed(STOPPED_SECONDS, str(error)) from None
            case SendRejected():
                self._patiently(lambda: self._ledger.rejected(claim, str(error), error.code))
                log.warning("not sent: %s", error, extra={"send_id": claim.send_id, "code": error.code})
        raise error

    def _stop_line(self, error: LineStopped) -> None:
        if self._throttle.line.stop(error.scope, str(error), probe_every_seconds=STOPPED_SECONDS):
            log.error(
                "the line is stopped (%s): %s", error.scope, error, extra={"scope": error.scope, "code": error.code}
            )

    def _no_answer(self, claim: Claim, reason: str, code: str = "") -> None:
        state = self._patiently(lambda: self._ledger.outcome_unknown(claim, reason, code))
        log.warning("no clear answer from SES", extra={"send_id": claim.send_id, "state": str(state), "code": code})

    @staticmethod
    def _patiently(step: Callable[[], Answer]) -> Answer:
        """Do a step on the ledger, waiting for Redis as long as it takes: above all, SES's yes must be written down."""
        pause_seconds = 0.2
        while True:
            try:
                return step()
            except LedgerUnavailable:
                log.warning("Redis cannot be reached; waiting for it", extra={"pause_seconds": pause_seconds})
                time.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 5.0)
