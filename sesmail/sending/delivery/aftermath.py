"""What follows SES's answer, or its absence: each outcome is written down, whatever happens."""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from sesmail.errors import (
    DailyQuotaExceeded,
    LedgerUnavailable,
    LineStopped,
    OutcomeUnknown,
    SendRejected,
    SendThrottled,
    SesError,
    SesUnavailable,
    StaleClaim,
)
from sesmail.frames import forget_variables
from sesmail.sending.delivery.outcomes import STOPPED_SECONDS, Outcome, Rejected, Sent, Stale, Unknown
from sesmail.state.line.breaker import LONGEST_PAUSE_SECONDS, Probed
from sesmail.vocabulary import LOT, Cause, Claim, Postponed, State

if TYPE_CHECKING:
    from sesmail.sending.accounts import SesAccounts
    from sesmail.sending.delivery.outcomes import Moves
    from sesmail.sending.fallback import FallBack
    from sesmail.sending.patience import Patience
    from sesmail.sending.throttle import Granted

log = logging.getLogger("sesmail")

LONGEST_BACK_OFF_SECONDS = 600.0
"""AWS advises to wait up to ten minutes when the send rate is exceeded."""


class Aftermath:
    """Writes down what became of a claimed email, and tells throttle and breaker. Methods raise `StaleClaim`."""

    def __init__(self, moves: Moves, accounts: SesAccounts, fallback: FallBack, patience: Patience) -> None:
        self._moves = moves
        self._accounts = accounts
        self._fallback = fallback
        self._patience = patience

    def sent(self, claim: Claim, slot: Granted, message_id: str) -> Sent:
        """SES took it."""
        self._patience.whatever_happens(lambda: self._moves.sent(claim, message_id))
        throttle = self._accounts[claim.through].throttle
        if self._patience.whatever_happens(lambda: throttle.accepted(slot)):
            log.info("SES takes email again: what waits goes on", extra={"action": "line_opened"})
        return Sent(message_id=message_id)

    def not_sent(self, claim: Claim, slot: Granted, error: SesError) -> Outcome:
        """What happens next, by the kind of SES's answer."""
        throttle = self._accounts[claim.through].throttle
        self._tell_breaker(claim, slot, error)
        if isinstance(error, OutcomeUnknown):
            return self.no_answer(claim, str(error), error.code)
        if isinstance(error, SendThrottled):
            self._patience.whatever_happens(lambda: throttle.refused(slot))
            return self._back_off(claim, Cause.THROTTLED, error)
        if isinstance(error, DailyQuotaExceeded):
            seconds = self._patience.whatever_happens(lambda: throttle.quota_exhausted(slot))
            return self._wait_or_move(claim, _waits(error, seconds, Cause.QUOTA))
        self._patience.whatever_happens(lambda: throttle.unused(slot))
        if isinstance(error, LineStopped):
            self._patience.whatever_happens(lambda: self._stop_line(claim, error))
            return self._wait_or_move(claim, _waits(error, STOPPED_SECONDS, Cause.STOPPED))
        if isinstance(error, SendRejected):
            return self.rejected(claim, error)
        return self._back_off(claim, Cause.UNREACHABLE, error)

    def _wait_or_move(self, claim: Claim, waiting: Postponed) -> Postponed | Sent:
        """SES takes none; where there is a fall-back, the email comes back at once, and goes through that."""
        moves = self._fallback.instead(claim, waiting.cause)
        return self.postpone(claim, replace(waiting, seconds=0.0) if moves else waiting, asked=True)

    def _tell_breaker(self, claim: Claim, slot: Granted, error: SesError) -> None:
        """Of what was no clear answer; or that the line may be opened, where an email that tried it got one."""
        breaker = self._accounts[claim.through].throttle.breaker
        is_unclear = isinstance(error, OutcomeUnknown) or (isinstance(error, SesUnavailable) and not error.is_answer)
        if is_unclear:
            probed = Probed.EMAIL if slot.probes else None
            if self._patience.whatever_happens(lambda: breaker.unclear(f"{error} ({error.code})", probed=probed)):
                log.error(
                    "SES is out of order (%s): nothing is sent until it is well again, which is tried every now and "
                    "then, at the latest after 30 s. Emails wait, and use no attempt",
                    error.code,
                    extra={"action": "breaker", "code": error.code},
                )
        elif slot.probes != () and self._patience.whatever_happens(breaker.clear):
            log.info("SES gives clear answers again: what waits goes on", extra={"action": "line_opened"})

    def rejected(self, claim: Claim, error: SendRejected) -> Rejected | Sent:
        """It is refused for good; or was sent before, as an event has told meanwhile."""
        if self._patience.whatever_happens(lambda: self._moves.rejected(claim, str(error), error.code)) is State.SENT:
            return self._proved(claim)
        log.warning("not sent: %s", error, extra={"send_id": claim.send_id, "code": error.code})
        return Rejected(error=error)

    def _back_off(self, claim: Claim, cause: Cause, error: SesError) -> Postponed | Sent:
        """Wait for a random part of a time that doubles with each such wait: whole fleets must not come back at once.

        https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
        """
        longest_seconds = LONGEST_BACK_OFF_SECONDS if error.is_answer else LONGEST_PAUSE_SECONDS
        longest_seconds = min(longest_seconds, 2 ** min(claim.waits, 30))
        seconds = random.uniform(0, longest_seconds)  # noqa: S311  nobody must not guess it
        return self.postpone(claim, _waits(error, seconds, cause), asked=True, backs_off=True)

    def postpone(
        self, claim: Claim, waiting: Postponed, *, asked: bool = False, backs_off: bool = False
    ) -> Postponed | Sent:
        """Write down that it waits.

        Where SES was not `asked` and it cannot be written before this worker ends, its claim is taken back anyhow.
        """

        def give_back() -> State:
            for_room = waiting.cause is Cause.QUOTA or waiting.for_room
            return self._moves.postpone(
                claim,
                waiting.seconds,
                waiting.reason,
                backs_off=backs_off,
                for_room=for_room,
                for_scope=waiting.scope,
                why="" if waiting.cause is Cause.LOT else waiting.cause,
            )

        try:
            state = (self._patience.whatever_happens if asked else self._patience.unless_stopped)(give_back)
        except LedgerUnavailable:
            log.warning(
                "Redis cannot be reached and this worker stops: another one takes over what it held",
                extra={"send_id": claim.send_id},
            )
            return waiting
        return self._proved(claim) if state is State.SENT else waiting

    def _proved(self, claim: Claim) -> Sent:
        """An event came while SES was asked: it took the email by an earlier call, whatever it answered to this one."""
        status = self._patience.whatever_happens(lambda: self._moves.status(claim.send_id))
        return Sent(message_id=status.message_id or "")

    def give_back(self, claim: Claim) -> Outcome:
        """One before it in its lot has to wait, and so does it. Raises nothing."""
        waiting = Postponed(seconds=0.0, cause=Cause.LOT, reason=LOT)
        try:
            return self.postpone(claim, waiting)
        except StaleClaim:
            return Stale()

    def _stop_line(self, claim: Claim, error: LineStopped) -> None:
        line = self._accounts[claim.through].throttle.line
        if line.stop(error.scope, str(error), probe_every_seconds=STOPPED_SECONDS):
            log.error(
                "the line is stopped (%s): %s", error.scope, error, extra={"scope": error.scope, "code": error.code}
            )

    def no_answer(self, claim: Claim, reason: str, code: str = "") -> Unknown:
        """SES may have it."""
        state = self._patience.whatever_happens(lambda: self._moves.outcome_unknown(claim, reason, code))
        log.warning("no clear answer from SES", extra={"send_id": claim.send_id, "state": str(state), "code": code})
        return Unknown(reason=reason)

    def cut_off(self, claim: Claim, bug: Exception) -> Unknown:
        """A bug struck while SES was asked: it may have it."""
        forget_variables(bug)
        reason = f"{type(bug).__name__} while SES was asked"
        self.no_answer(claim, reason)
        shown = OutcomeUnknown(f"{reason}: SES may have the email.").with_traceback(bug.__traceback__)
        return Unknown(reason=reason, bug=shown)


def _waits(error: SesError, seconds: float, cause: Cause) -> Postponed:
    return Postponed(seconds=seconds, cause=cause, reason=str(error), error=error)
