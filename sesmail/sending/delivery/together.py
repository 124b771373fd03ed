"""Recipients of one letter whose requests are ready, a call after the other: for one each, or for several at once."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from sesmail.errors import LedgerUnavailable, OutcomeUnknown, SesError, StaleClaim
from sesmail.sending.delivery.outcomes import Outcome, Sent, Stale
from sesmail.sending.delivery.turn import SHUTDOWN
from sesmail.sending.throttle import Granted, SlotLease, sum_of
from sesmail.ses.bulk import MOST_ENTRIES
from sesmail.vocabulary import Claim, Postponed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sesmail.sending.delivery.aftermath import Aftermath
    from sesmail.sending.delivery.turn import Turn
    from sesmail.sending.patience import Patience
    from sesmail.ses.transport import SesTransport

log = logging.getLogger("sesmail")

SINGLE_CALLS_SECONDS = 300.0
"""How long SES is asked by single calls after it took no call for several."""


Ready = TypeVar("Ready")


class Party(Protocol[Ready]):
    """Recipients of one letter, for whom SES is asked."""

    is_for_several: bool
    """Whether one call is for several, by SendBulkEmail."""

    def first(self) -> Claim:
        """Of the one whose turn it is."""

    def example(self) -> Claim:
        """Of one for whom all holds, before SES is asked, that holds for the first."""

    def alike(self, most: int) -> int:
        """How many, the first among them, count to the quota as that one does."""

    def begin(self, most: int, *, tries: bool) -> dict[int, Ready]:
        """Note that SES is asked for so many now; what it is asked for those for whom it may be."""

    def ask(self, transport: SesTransport, begun: Mapping[int, Ready]) -> list[str | SesError]:
        """Ask SES: a message id for each, or why not. Raises the `SesError` of what happens to all of them."""

    def took(self, number: int, message_id: str) -> None:
        """SES took one."""

    def claim(self, number: int) -> Claim:
        """Of one of those that were begun."""

    def put_back(self, numbers: Sequence[int]) -> None:
        """SES took none of these: they are to be asked for again."""

    def undo(self) -> None:
        """Those of the last `begin`, whose answer was lost, are not asked for."""


class Together:
    """Sends to one party after the other; for one thread."""

    def __init__(
        self,
        turn: Turn,
        aftermath: Aftermath,
        slots: SlotLease,
        patience: Patience,
        single_calls_until: dict[SesTransport, float],
    ) -> None:
        """`single_calls_until` is the process's: through whom SES is asked by single calls, until when (monotonic)."""
        self._turn = turn
        self._aftermath = aftermath
        self._slots = slots
        self._patience = patience
        self._single_calls_until = single_calls_until
        self._prepared: SesTransport | None = None

    def work(self, party: Party[Ready], worker: str | None) -> list[Outcome] | None:
        """Send to some of these by one call, and write down what became of each.

        None where SES should be asked by single calls that are not ready yet, and none of those left was asked for.
        """
        claim = party.example()
        account = self._turn.account_of(claim)
        transport = account.transport()
        if self._is_of_no_use(party, transport):
            return None
        try:
            slots = self._slots_of(party, claim, worker)
            held_up = slots if isinstance(slots, Postponed) else self._turn.try_account(account, slots[0], transport)
            if isinstance(slots, Postponed) or held_up:
                return [self._aftermath.postpone(party.first(), held_up or SHUTDOWN)]
            begun: dict[int, Ready] = {}
            if held_up := self._turn.begin_by(
                account, sum_of(slots), lambda: begun.update(party.begin(len(slots), tries=bool(slots[0].probes)))
            ):
                with suppress(LedgerUnavailable):  # then a sweep finds them
                    self._patience.unless_stopped(party.undo)
                return [self._aftermath.postpone(party.first(), held_up)]
        except StaleClaim:
            return [Stale()]
        if spare := slots[len(begun) :]:
            self._patience.whatever_happens(lambda: account.throttle.unused(sum_of(spare)))
        return self._ask_together(party, begun, slots, transport) if begun else []

    def _is_of_no_use(self, party: Party[Ready], transport: SesTransport) -> bool:
        """Whether other calls are to be made: nothing can be asked, or not for several at once."""
        if transport is not self._prepared:
            if self._turn.prepare(transport):
                return True
            self._prepared = transport
        return party.is_for_several and self._asks_singly(transport)

    def _asks_singly(self, transport: SesTransport) -> bool:
        """Whether calls for several are of no use now: an older botocore, or a SES that does not take them."""
        if time.monotonic() < self._single_calls_until.get(transport, 0.0):
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

    def _slots_of(self, party: Party[Ready], claim: Claim, worker: str | None) -> list[Granted] | Postponed:
        """One, or one for each of those that are asked for together."""
        if party.is_for_several:
            self._slots.wanted = party.alike(MOST_ENTRIES)
        slot = self._turn.wait_for_slot(claim, worker)
        if isinstance(slot, Postponed):
            return slot
        return [slot, *self._slots.rest()] if party.is_for_several else [slot]

    def _ask_together(
        self, party: Party[Ready], begun: dict[int, Ready], slots: list[Granted], transport: SesTransport
    ) -> list[Outcome] | None:
        """Ask, and write the answers down."""
        numbers = [*begun]
        slots = slots[: len(numbers)]
        try:
            answers = party.ask(transport, begun)
        except SesError as error:
            return self._none_answered(party, numbers, slots, error, transport)
        except Exception as bug:  # noqa: BLE001  what is not SES's answer still leaves the outcome open
            return [self._aftermath.cut_off(party.claim(number), bug) for number in numbers]
        return [
            self._answered(party, number, slot, answer)
            for number, slot, answer in zip(numbers, slots, answers, strict=True)
        ]

    def _answered(self, party: Party[Ready], number: int, slot: Granted, answer: str | SesError) -> Outcome:
        try:
            if isinstance(answer, SesError):
                return self._aftermath.not_sent(party.claim(number), slot, answer)
            if slot.probes:
                return self._aftermath.sent(party.claim(number), slot, answer)
        except StaleClaim:
            return Stale()
        party.took(number, answer)
        return Sent(message_id=answer)

    def _none_answered(
        self, party: Party[Ready], numbers: list[int], slots: list[Granted], error: SesError, transport: SesTransport
    ) -> list[Outcome] | None:
        """Why SES answers nothing but an error to a whole call, single calls find out better: it took none."""
        first, *others = numbers
        if error.is_answer and not isinstance(error, OutcomeUnknown):
            throttle = self._turn.account_of(party.claim(first)).throttle
            self._patience.whatever_happens(lambda: throttle.unused(sum_of(slots)))
            self._patience.whatever_happens(lambda: party.put_back(numbers))
            self._make_single_calls(transport, str(error))
            return None
        try:
            outcome = self._aftermath.not_sent(party.claim(first), sum_of(slots), error)
            if isinstance(error, OutcomeUnknown):
                claims = map(party.claim, others)
                return [outcome, *(self._aftermath.no_answer(claim, str(error), error.code) for claim in claims)]
            self._patience.whatever_happens(lambda: party.put_back(others))
        except StaleClaim:
            return [Stale()]
        return [outcome]
