"""From the claim to SES's answer, and all that follows from it: one place, whoever brings the claim.

`Delivery.work` answers what became of the email; whatever the answer, it is written down. Nothing that can be expected
is raised.
"""

from __future__ import annotations

import logging
import random
import time
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sesmail import tracing
from sesmail.errors import (
    ConfigurationError,
    DailyQuotaExceeded,
    LedgerUnavailable,
    LineStopped,
    OutcomeUnknown,
    SendPostponed,
    SendRejected,
    SendThrottled,
    SesError,
    SesUnavailable,
    StaleClaim,
)
from sesmail.frames import forget_variables
from sesmail.message import LIST_TAG, Lane
from sesmail.sending.crowd import CROWDED, Crowd
from sesmail.sending.fallback import TAKES_NONE, FallBack
from sesmail.sending.patience import Patience
from sesmail.sending.shares import Shares
from sesmail.sending.throttle import Granted, Share, SlotLease, sum_of
from sesmail.ses.bulk import MOST_ENTRIES
from sesmail.state.breaker import LONGEST_PAUSE_SECONDS, Probed
from sesmail.state.ledger import new_token
from sesmail.state.line import list_scope, site_scope
from sesmail.vocabulary import LOT, Cause, Claim, Postponed, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sesmail.message import Email
    from sesmail.sending.accounts import SesAccount, SesAccounts
    from sesmail.sending.crowd import Place
    from sesmail.ses.bulk import Entry
    from sesmail.ses.request import Composed
    from sesmail.ses.transport import SesTransport
    from sesmail.settings import Settings
    from sesmail.state.ledger import Ledger
    from sesmail.state.workers import WorkerLease, WorkerRates
    from sesmail.vocabulary import Status

log = logging.getLogger("sesmail")

SIMULATOR_DOMAIN = "@simulator.amazonses.com"
"""Emails to AWS's mailbox simulator count to the rate, not to the 24-hour quota.

https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html
"""

STOPPED_SECONDS = 60.0
"""How long a send waits before it asks again whether a stopped line is open."""

TRIED_AGAIN_SECONDS = 1.0
"""How long a send waits that would have tried a closed line; then the sweeper decides who does."""

LONGEST_BACK_OFF_SECONDS = 600.0
"""AWS advises to wait up to ten minutes when the send rate is exceeded."""


SINGLE_CALLS_SECONDS = 300.0
"""How long SES is asked by single calls after it took no call for several."""

CLAIMED_AT_ONCE = 10
"""Of a lot, in one round trip: their bodies come with one answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """SES took it."""

    message_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown:
    """SES gave no clear answer: it may have it. An event settles it, or the end of the evidence window."""

    reason: str
    bug: OutcomeUnknown | None = None
    """What cut the call off where it was a bug: its traceback, without its words, which may quote the email."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """SES refused it for good, or it could not be composed."""

    error: SendRejected


@dataclass(frozen=True, slots=True)
class Stale:
    """This worker had been given up, and another one has the send. Nothing was done here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """What SES is to be asked now: it is noted already that it may have it."""

    claim: Claim
    slot: Granted
    transport: SesTransport
    composed: Composed
    why_there: str = ""
    """Why it goes through another account than its own."""


Outcome: TypeAlias = Sent | Unknown | Postponed | Rejected | Stale


class Moves(Protocol):
    """Where it is written down what becomes of a claimed email: the ledger, or a chunk of a batch."""

    def begin(self, claim: Claim, *, tries: bool = False) -> None:
        """SES is asked now."""

    def sent(self, claim: Claim, message_id: str) -> State:
        """SES took it."""

    def rejected(self, claim: Claim, reason: str, code: str = "") -> State:
        """SES refused it for good."""

    def outcome_unknown(self, claim: Claim, reason: str, code: str = "") -> State:
        """SES may have it."""

    def postpone(
        self,
        claim: Claim,
        delay_seconds: float,
        reason: str,
        *,
        backs_off: bool = False,
        for_room: bool = False,
        for_scope: str = "",
        why: str = "",
    ) -> State:
        """It waits."""

    def status(self, send_id: str) -> Status:
        """What is known of it."""


class Party(Protocol):
    """Recipients of one letter, for whom SES is asked together."""

    @property
    def letter(self) -> Email:
        """What all of them get."""

    def first(self) -> Claim:
        """Of the one whose turn it is: what holds for it, holds for all."""

    def alike(self, most: int) -> int:
        """How many, the first among them, count to the quota as that one does."""

    def begin(self, most: int, *, tries: bool) -> dict[int, Entry]:
        """Note that SES is asked for so many now; those for whom it may be."""

    def request(self, entries: Mapping[int, Entry]) -> dict[str, Any]:
        """What SES is asked."""

    def took(self, number: int, message_id: str) -> None:
        """SES took one."""

    def claim(self, number: int) -> Claim:
        """Of one of those that were begun."""

    def put_back(self, numbers: Sequence[int]) -> None:
        """SES took none of these: they are to be asked for again."""

    def undo(self) -> None:
        """Those of the last `begin`, whose answer was lost, are not asked for."""


class Delivery:
    """Delivers claimed emails to SES; one object a process, for all its threads."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        lease: WorkerLease,
        rates: WorkerRates,
        accounts: SesAccounts,
    ) -> None:
        self._settings = settings
        self._claims = ledger
        self._ledger: Moves = ledger
        self._lease = lease
        self._rates = rates
        self._accounts = accounts
        self._fallback = FallBack(accounts)
        self._shares = Shares(settings)
        self._crowd: Crowd | None = None
        self._slots: SlotLease | None = None
        self._single_calls_until: dict[SesTransport, float] = {}
        self.patience = Patience()

    def over(self, moves: Moves, slots: SlotLease) -> Delivery:
        """The same for one thread, where what becomes of an email is written down elsewhere than in the ledger."""
        other = copy(self)
        other._ledger, other._slots = moves, slots  # noqa: SLF001  its own kind
        return other

    def stop(self) -> None:
        """A warm shutdown has begun: those who wait before they ask SES hand their sends back."""
        self.patience.stop()
        for account in self._accounts.values():
            account.throttle.stop()
        if self._crowd:
            self._crowd.stop()

    def spare_threads(self, worker: str | None) -> None:
        """Where there are several accounts: what waits for a slow one leaves the threads to others. See `crowd.py`."""
        if len(self._accounts) > 1 and self._crowd is None:
            patient = copy(self)  # whose emails wait for their turns
            self._crowd = Crowd(self._next_waiting, lambda claim: patient.work(claim, worker))

    def _next_waiting(self, place: Place) -> Claim | None:
        account, lane = place
        for ticket in self._claims.queue_for_room(lane, 1, account=account, one_went=True):
            if isinstance(claim := self.claim(ticket.send_id), Claim):
                return claim
        return None

    def claim(self, send_id: str) -> Claim | State | None:
        """Take a send for this worker; its state when it is not to be had, None when the ledger knows no such send.

        Raises `LedgerUnavailable` when this worker is stopped while it waits for Redis: the ticket is to be given back.
        """
        token = new_token()  # one for all tries: where the answer was lost, the next one finds the claim its own
        return self.patience.unless_stopped(lambda: self._claims.claim(send_id, self._lease.owner(), token))

    def work(self, claim: Claim, worker: str | None, *, trace: str | None = None) -> Outcome:
        """Send a claimed email, and write down what became of it.

        `worker` is whose own rate limit is kept to; None in a process that is no worker. `trace` is the one that a
        ticket carries, where it is to go on: see `tracing.parent_of`.
        """
        with tracing.span("deliver email", after=trace, send_id=claim.send_id, lane=claim.lane) as span:
            outcome = self._work(claim, worker)
            span.note(outcome=type(outcome).__name__.lower())
            if isinstance(outcome, Postponed):
                span.note(cause=outcome.cause)
        return outcome

    def _work(self, claim: Claim, worker: str | None) -> Outcome:
        try:
            ready = self._until_asking(claim, worker)
            if not isinstance(ready, _Ready):
                return ready
            outcome = self._ask(ready)
            self._fallback.tell(ready.claim, ready.why_there)
            return outcome
        except StaleClaim:
            return Stale()

    def claim_lot(self, send_ids: Iterable[str]) -> tuple[list[Claim], list[str]]:
        """Those of several sends that are to be had, and the ids that the ledger does not know. Raises as `claim`."""
        found: dict[str, Claim | State | None] = {}
        tokens = {send_id: new_token() for send_id in send_ids}
        for first in range(0, len(tokens), CLAIMED_AT_ONCE):
            some = dict(islice(tokens.items(), first, first + CLAIMED_AT_ONCE))
            found |= self.patience.unless_stopped(partial(self._claim_each, some))
        claims = [claim for claim in found.values() if isinstance(claim, Claim)]
        return claims, [send_id for send_id, claim in found.items() if claim is None]

    def _claim_each(self, tokens: Mapping[str, str]) -> dict[str, Claim | State | None]:
        return self._claims.claim_each(tokens, self._lease.owner())

    def work_lot(self, claims: Iterable[Claim], worker: str | None) -> Iterator[Outcome]:
        """Send several, one after the other.

        What holds one back (SES out of reach, the line closed, a shutdown) most likely holds back those behind it: they
        are given back at once, rather than kept from other workers for a time-out each.
        """
        waiting = iter(claims)
        for claim in waiting:
            try:
                outcome = self.work(claim, worker)
            except Exception:
                for another in waiting:
                    self._give_back(another)
                raise
            if isinstance(outcome, Unknown) and outcome.bug:
                log.error("a bug cut off a send", exc_info=outcome.bug, extra={"send_id": claim.send_id})
            yield outcome
            if isinstance(outcome, Postponed):
                break
        for claim in waiting:
            yield self._give_back(claim)

    # -- the steps of work() ------------------------------------------------------------------------------------------

    def _until_asking(self, claim: Claim, worker: str | None) -> _Ready | Outcome:
        """All that is done before SES is asked. Raises `StaleClaim`.

        Whatever strikes in it, a time limit of Celery's or a bug, gives the claim back at once: SES was not asked.
        """
        try:
            return self._make_ready(claim, worker)
        except StaleClaim:
            raise
        except Exception as error:
            reason = f"{type(error).__name__} before SES was asked"
            seconds = random.uniform(0, min(LONGEST_PAUSE_SECONDS, 2 ** min(claim.waits, 30)))  # noqa: S311
            self._postpone(claim, Postponed(seconds=seconds, cause=Cause.SHUTDOWN, reason=reason), backs_off=True)
            raise

    def _make_ready(self, claim: Claim, worker: str | None) -> _Ready | Outcome:
        """All that is done before SES is asked; by the fall-back, where its own account takes none and it may move."""
        ready = self._make_ready_there(claim, worker)
        if not isinstance(ready, Postponed):
            return ready
        waiting = ready
        if moved := self._fallback.instead(claim, waiting.cause):
            ready = self._make_ready_there(moved, worker)
            if isinstance(ready, _Ready):
                return replace(ready, why_there=waiting.reason)
            if not isinstance(ready, Postponed):
                return ready
            waiting = waiting if ready.cause in TAKES_NONE else ready
        return self._postpone(claim, waiting)

    def _make_ready_there(self, claim: Claim, worker: str | None) -> _Ready | Outcome:
        """Compose, wait for the turn, and note that SES is asked; that it has to wait is not written down yet."""
        account = self._account_of(claim)
        transport = account.transport()
        if held_up := self._prepare(transport):
            return held_up
        try:
            composed = transport.compose(claim.email, send_id=claim.send_id)
        except SendRejected as error:  # before it takes a slot, and before anybody may think that SES has it
            forget_variables(error)
            log.exception("an email could not be put together", extra={"send_id": claim.send_id})
            return self._rejected(claim, error)
        slot = self._wait_for_slot(claim, worker)
        if isinstance(slot, Postponed):
            return slot
        if held_up := self._try_account(account, slot, transport) or self._begin(claim, slot):
            return held_up
        return _Ready(claim=claim, slot=slot, transport=transport, composed=composed)

    # -- several by one call ------------------------------------------------------------------------------------------

    def work_together(self, party: Party, worker: str | None) -> list[Outcome] | None:
        """Send to some of these by one SendBulkEmail, and write down what became of each.

        None where SES should be asked by single calls, and none of those left was asked for.
        """
        claim = party.first()
        account = self._account_of(claim)
        transport = account.transport()
        if self._asks_singly(transport):
            return None
        try:
            slots = self._slots_together(claim, party, worker)
            held_up = slots if isinstance(slots, Postponed) else self._try_account(account, slots[0], transport)
            if isinstance(slots, Postponed) or held_up:
                return [self._postpone(claim, held_up or _SHUTDOWN)]
            begun: dict[int, Entry] = {}
            if held_up := self._begin_by(
                account, sum_of(slots), lambda: begun.update(party.begin(len(slots), tries=bool(slots[0].probes)))
            ):
                with suppress(LedgerUnavailable):  # then a sweep finds them
                    self.patience.unless_stopped(party.undo)
                return [self._postpone(claim, held_up)]
        except StaleClaim:
            return [Stale()]
        if spare := slots[len(begun) :]:
            self.patience.whatever_happens(lambda: account.throttle.unused(sum_of(spare)))
        return self._ask_together(party, begun, slots, transport) if begun else []

    def _asks_singly(self, transport: SesTransport) -> bool:
        """Whether calls for several are of no use now: an older botocore, or a SES that does not take them."""
        if self._prepare(transport) or time.monotonic() < self._single_calls_until.get(transport, 0.0):
            return True
        try:
            can = transport.can_send_bulk
        except SesError:
            return True
        if not can:
            self._make_single_calls(transport, "the installed botocore does not know all that SendBulkEmail has")
        return not can

    def _make_single_calls(self, transport: SesTransport, why: str) -> None:
        self._single_calls_until[transport] = time.monotonic() + SINGLE_CALLS_SECONDS
        log.warning(
            "SendBulkEmail is of no use (%s): nobody was sent to by it, and SES is asked by single calls for %d s",
            why,
            SINGLE_CALLS_SECONDS,
            extra={"action": "single_calls"},
        )

    def _slots_together(self, claim: Claim, party: Party, worker: str | None) -> list[Granted] | Postponed:
        assert self._slots is not None, "only who holds several sends them together"
        self._slots.wanted = party.alike(MOST_ENTRIES)
        slot = self._wait_for_slot(claim, worker)
        return slot if isinstance(slot, Postponed) else [slot, *self._slots.rest()]

    def _ask_together(
        self, party: Party, begun: dict[int, Entry], slots: list[Granted], transport: SesTransport
    ) -> list[Outcome] | None:
        """Ask, and write the answers down."""
        numbers = [*begun]
        slots = slots[: len(numbers)]
        try:
            with tracing.span("SES SendBulkEmail", kind="CLIENT"):
                answers = transport.send_bulk(party.letter, party.request(begun))
        except SesError as error:
            return self._none_answered(party, numbers, slots, error, transport)
        except Exception as bug:  # noqa: BLE001  what is not SES's answer still leaves the outcome open
            return [self._cut_off(party.claim(number), bug) for number in numbers]
        return [
            self._answered(party, number, slot, answer)
            for number, slot, answer in zip(numbers, slots, answers, strict=True)
        ]

    def _answered(self, party: Party, number: int, slot: Granted, answer: str | SesError) -> Outcome:
        try:
            if isinstance(answer, SesError):
                return self._not_sent(party.claim(number), slot, answer)
            if slot.probes:
                return self._sent(party.claim(number), slot, answer)
        except StaleClaim:
            return Stale()
        party.took(number, answer)
        return Sent(message_id=answer)

    def _none_answered(
        self, party: Party, numbers: list[int], slots: list[Granted], error: SesError, transport: SesTransport
    ) -> list[Outcome] | None:
        """Why SES answers nothing but an error to a whole call, single calls find out better: it took none."""
        first, *others = numbers
        if error.is_answer and not isinstance(error, OutcomeUnknown):
            throttle = self._account_of(party.claim(first)).throttle
            self.patience.whatever_happens(lambda: throttle.unused(sum_of(slots)))
            self.patience.whatever_happens(lambda: party.put_back(numbers))
            self._make_single_calls(transport, str(error))
            return None
        try:
            outcome = self._not_sent(party.claim(first), sum_of(slots), error)
            if isinstance(error, OutcomeUnknown):
                return [outcome, *(self._no_answer(party.claim(number), str(error), error.code) for number in others)]
            self.patience.whatever_happens(lambda: party.put_back(others))
        except StaleClaim:
            return [Stale()]
        return [outcome]

    def _account_of(self, claim: Claim) -> SesAccount:
        """The one that SES is asked through."""
        return self._accounts[claim.through]

    def _ask(self, ready: _Ready) -> Outcome:
        """Ask, and write the answer down. Raises `StaleClaim`."""
        claim, slot = ready.claim, ready.slot
        try:
            with tracing.span("SES SendEmail", kind="CLIENT", send_id=claim.send_id) as span:
                message_id = ready.transport.send_composed(ready.composed)
                span.note(message_id=message_id)
        except SesError as error:
            return self._not_sent(claim, slot, error)
        except Exception as bug:  # noqa: BLE001  what is not SES's answer still leaves the outcome open
            return self._cut_off(claim, bug)
        return self._sent(claim, slot, message_id)

    @staticmethod
    def _prepare(transport: SesTransport) -> Postponed | None:
        """A worker whose installation cannot ask SES at all gives the send back, for one that can."""
        try:
            transport.prepare()
        except ConfigurationError as error:
            log.error("no email is sent by this worker: %s", error)  # noqa: TRY400  it is no bug of ours
            return Postponed(seconds=STOPPED_SECONDS, cause=Cause.CONFIGURATION, reason=str(error))
        return None

    def _wait_for_slot(self, claim: Claim, worker: str | None) -> Granted | Postponed:
        try:
            self.patience.unless_stopped(self._account_of(claim).watch.make_sure)
            crowd = self._crowd_of(claim)
            if crowd is None:
                return self.patience.unless_stopped(lambda: self._acquire(claim, worker))
            limit = self._account_of(claim).throttle.snapshot
            if not crowd.enter(claim.account, claim.lane, lambda: self.patience.unless_stopped(limit).limit):
                return CROWDED
            try:
                return self.patience.unless_stopped(lambda: self._acquire(claim, worker))
            finally:
                crowd.leave(claim.account, claim.lane)
        except LedgerUnavailable:
            return _SHUTDOWN

    def _crowd_of(self, claim: Claim) -> Crowd | None:
        """Where it waits in the ledger if its account is slow; a chunk of a batch holds its thread for a moment."""
        return self._crowd if claim.through == claim.account and self._ledger is self._claims else None

    def _acquire(self, claim: Claim, worker: str | None) -> Granted | Postponed:
        email = claim.email
        scopes = [f"{kind}:{name}" for kind, name in email.named.items()]
        if claim.lane is Lane.BULK:  # the brake holds up nothing else
            scopes += [site_scope(claim.site), list_scope(claim.site, email.tags.get(LIST_TAG, ""))]
        return self._account_of(claim).throttle.acquire(
            email.recipient_count,
            claim.lane,
            express=claim.express,
            quota_recipients=sum(not to.lower().endswith(SIMULATOR_DOMAIN) for to in email.recipients),
            shares=self._shares_of(claim, worker),
            scopes=scopes,
            begins=self._claims.beginning(claim) if self._ledger is self._claims else None,
            patience_seconds=self._settings.patience_seconds,
            lease=self._slots,
        )

    def _shares_of(self, claim: Claim, worker: str | None) -> list[Share]:
        """What this email keeps to besides the account's rate."""
        rates = {
            f"worker:{worker}": self._rates.of(worker) if worker else None,
            f"run:{claim.run}": claim.run_rate,
        }
        own = [Share(scope=scope, rate=rate) for scope, rate in rates.items() if rate is not None]
        return [*own, *self._shares.of(claim.email)]

    def _try_account(self, account: SesAccount, slot: Granted, transport: SesTransport) -> Postponed | None:
        """Before an email tries a line that the breaker has closed, `GetAccount` does: it makes no email uncertain.

        Any answer will do, a refusal, too. Where none has ever come (emulators may not know it), silence says nothing.
        """
        try:
            reason = self._why_account_is_silent(account, slot, transport)
            if reason is None:
                return None
            self.patience.unless_stopped(lambda: account.throttle.unused(slot))
            self.patience.unless_stopped(lambda: account.throttle.breaker.unclear(reason, probed=Probed.ACCOUNT))
        except LedgerUnavailable:
            return _SHUTDOWN
        return Postponed(seconds=TRIED_AGAIN_SECONDS, cause=Cause.STOPPED, reason=reason)

    def _why_account_is_silent(self, account: SesAccount, slot: Granted, transport: SesTransport) -> str | None:
        if not slot.asks_account_first or self.patience.unless_stopped(account.throttle.snapshot).source != "ses":
            return None
        try:
            transport.account()
        except SesError as error:
            return None if error.is_answer or not isinstance(error, SesUnavailable) else str(error)
        return None

    def _begin(self, claim: Claim, slot: Granted) -> Postponed | None:
        """From here on, SES may have it. A slot that waited for Redis is old by then, so that is not waited for."""
        if slot.has_begun:
            return None
        tries = {"tries": True} if slot.probes else {}
        return self._begin_by(self._account_of(claim), slot, lambda: self._ledger.begin(claim, **tries))

    def _begin_by(self, account: SesAccount, slot: Granted, begin: Callable[[], None]) -> Postponed | None:
        throttle = account.throttle
        try:
            begin()
        except SendPostponed as closed:
            self.patience.unless_stopped(lambda: throttle.unused(slot))
            return Postponed(seconds=closed.seconds, cause=Cause.STOPPED, reason=closed.reason)
        except StaleClaim:
            self.patience.unless_stopped(lambda: throttle.unused(slot))
            raise
        except LedgerUnavailable:
            reason = "Redis could not be reached, or its write not made safe, just before SES was to be asked"
            return Postponed(seconds=0.0, cause=Cause.UNREACHABLE, reason=reason)
        return None

    # -- what follows -------------------------------------------------------------------------------------------------

    def _sent(self, claim: Claim, slot: Granted, message_id: str) -> Sent:
        self.patience.whatever_happens(lambda: self._ledger.sent(claim, message_id))
        throttle = self._account_of(claim).throttle
        if self.patience.whatever_happens(lambda: throttle.accepted(slot)):
            log.info("SES takes email again: what waits goes on", extra={"action": "line_opened"})
        return Sent(message_id=message_id)

    def _not_sent(self, claim: Claim, slot: Granted, error: SesError) -> Outcome:
        """What happens next, by the kind of SES's answer."""
        throttle = self._account_of(claim).throttle
        self._tell_breaker(claim, slot, error)
        if isinstance(error, OutcomeUnknown):
            return self._no_answer(claim, str(error), error.code)
        if isinstance(error, SendThrottled):
            self.patience.whatever_happens(lambda: throttle.refused(slot))
            return self._back_off(claim, Cause.THROTTLED, error)
        if isinstance(error, DailyQuotaExceeded):
            seconds = self.patience.whatever_happens(lambda: throttle.quota_exhausted(slot))
            return self._wait_or_move(claim, _waits(error, seconds, Cause.QUOTA))
        self.patience.whatever_happens(lambda: throttle.unused(slot))
        if isinstance(error, LineStopped):
            self.patience.whatever_happens(lambda: self._stop_line(claim, error))
            return self._wait_or_move(claim, _waits(error, STOPPED_SECONDS, Cause.STOPPED))
        if isinstance(error, SendRejected):
            return self._rejected(claim, error)
        return self._back_off(claim, Cause.UNREACHABLE, error)

    def _wait_or_move(self, claim: Claim, waiting: Postponed) -> Postponed | Sent:
        """SES takes none; where there is a fall-back, the email comes back at once, and goes through that."""
        moves = self._fallback.instead(claim, waiting.cause)
        return self._postpone(claim, replace(waiting, seconds=0.0) if moves else waiting, asked=True)

    def _tell_breaker(self, claim: Claim, slot: Granted, error: SesError) -> None:
        """Of what was no clear answer; or that the line may be opened, where an email that tried it got one."""
        breaker = self._account_of(claim).throttle.breaker
        is_unclear = isinstance(error, OutcomeUnknown) or (isinstance(error, SesUnavailable) and not error.is_answer)
        if is_unclear:
            probed = Probed.EMAIL if slot.probes else None
            if self.patience.whatever_happens(lambda: breaker.unclear(f"{error} ({error.code})", probed=probed)):
                log.error(
                    "SES is out of order (%s): nothing is sent until it is well again, which is tried every now and "
                    "then, at the latest after 30 s. Emails wait, and use no attempt",
                    error.code,
                    extra={"action": "breaker", "code": error.code},
                )
        elif slot.probes != () and self.patience.whatever_happens(breaker.clear):
            log.info("SES gives clear answers again: what waits goes on", extra={"action": "line_opened"})

    def _rejected(self, claim: Claim, error: SendRejected) -> Rejected | Sent:
        if self.patience.whatever_happens(lambda: self._ledger.rejected(claim, str(error), error.code)) is State.SENT:
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
        return self._postpone(claim, _waits(error, seconds, cause), asked=True, backs_off=True)

    def _postpone(
        self, claim: Claim, waiting: Postponed, *, asked: bool = False, backs_off: bool = False
    ) -> Postponed | Sent:
        """Write down that it waits.

        Where SES was not `asked` and it cannot be written before this worker ends, its claim is taken back anyhow.
        """

        def give_back() -> State:
            for_room = waiting.cause is Cause.QUOTA or waiting.for_room
            return self._ledger.postpone(
                claim,
                waiting.seconds,
                waiting.reason,
                backs_off=backs_off,
                for_room=for_room,
                for_scope=waiting.scope,
                why="" if waiting.cause is Cause.LOT else waiting.cause,
            )

        try:
            state = (self.patience.whatever_happens if asked else self.patience.unless_stopped)(give_back)
        except LedgerUnavailable:
            log.warning(
                "Redis cannot be reached and this worker stops: another one takes over what it held",
                extra={"send_id": claim.send_id},
            )
            return waiting
        if waiting is CROWDED and self._crowd:
            self._crowd.one_waits_at(claim.account, claim.lane)
        return self._proved(claim) if state is State.SENT else waiting

    def _proved(self, claim: Claim) -> Sent:
        """An event came while SES was asked: it took the email by an earlier call, whatever it answered to this one."""
        status = self.patience.whatever_happens(lambda: self._ledger.status(claim.send_id))
        return Sent(message_id=status.message_id or "")

    def _give_back(self, claim: Claim) -> Outcome:
        waiting = Postponed(seconds=0.0, cause=Cause.LOT, reason=LOT)
        try:
            return self._postpone(claim, waiting)
        except StaleClaim:
            return Stale()

    def _stop_line(self, claim: Claim, error: LineStopped) -> None:
        if self._account_of(claim).throttle.line.stop(error.scope, str(error), probe_every_seconds=STOPPED_SECONDS):
            log.error(
                "the line is stopped (%s): %s", error.scope, error, extra={"scope": error.scope, "code": error.code}
            )

    def _no_answer(self, claim: Claim, reason: str, code: str = "") -> Unknown:
        state = self.patience.whatever_happens(lambda: self._ledger.outcome_unknown(claim, reason, code))
        log.warning("no clear answer from SES", extra={"send_id": claim.send_id, "state": str(state), "code": code})
        return Unknown(reason=reason)

    def _cut_off(self, claim: Claim, bug: Exception) -> Unknown:
        forget_variables(bug)
        reason = f"{type(bug).__name__} while SES was asked"
        self._no_answer(claim, reason)
        shown = OutcomeUnknown(f"{reason}: SES may have the email.").with_traceback(bug.__traceback__)
        return Unknown(reason=reason, bug=shown)


_SHUTDOWN = Postponed(seconds=0.0, cause=Cause.SHUTDOWN, reason="this worker is shutting down")


def _waits(error: SesError, seconds: float, cause: Cause) -> Postponed:
    return Postponed(seconds=seconds, cause=cause, reason=str(error), error=error)
