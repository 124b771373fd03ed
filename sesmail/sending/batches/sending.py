"""Sends batches, a chunk at a time; and what a sweep does for chunks whose worker has died."""

from __future__ import annotations

import json
import logging
import time
import zlib
from functools import cached_property, partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sesmail import tracing
from sesmail.errors import InvalidEmail, LedgerUnavailable, SendPostponed, SesError, StaleClaim, UnknownSend
from sesmail.message import Lane
from sesmail.message.addresses import bare_address, normal_address
from sesmail.sending.batches.written import WrittenLetter, own_way_off, personal
from sesmail.sending.delivery.outcomes import Stale
from sesmail.sending.delivery.turn import SIMULATOR_DOMAIN
from sesmail.sending.throttle import SlotLease
from sesmail.ses.bulk import Entry, send_bulk_email_request
from sesmail.ses.form import Filled
from sesmail.ses.lean import as_json
from sesmail.ses.request import compose
from sesmail.state.batches.chunks import CHUNK, unpacked
from sesmail.state.ledger.ledger import CLOSED_SECONDS, new_token, pack
from sesmail.state.ledger.newer import Newer
from sesmail.state.people import guard
from sesmail.vocabulary import Cause, Claim, Postponed, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sesmail.message import Email
    from sesmail.sending.batches.office import BatchOffice
    from sesmail.sending.batches.written import LetterForm
    from sesmail.sending.delivery.delivery import Delivery
    from sesmail.sending.letters.texts import SesTexts
    from sesmail.ses.transport import SesTransport
    from sesmail.settings import Settings
    from sesmail.state.batches.batches import Batches
    from sesmail.state.batches.chunks import Held, Row
    from sesmail.state.fleet.workers import WorkerLease
    from sesmail.state.ledger.ledger import Ledger
    from sesmail.unsubscribe import UnsubscribeLinks
    from sesmail.vocabulary import Status

log = logging.getLogger("sesmail")

Ready = TypeVar("Ready")
"""What SES is asked for one recipient, made ready."""
HOLD_SECONDS = 2.0
"""How long a ticket may keep a thread: what comes meanwhile waits no longer for it."""
LONGEST_WAIT_SECONDS = 30.0
"""After which a batch that waits looks again by itself, whatever it waits for."""
LETTERS_KEPT = 8
NO_ADDRESS = "its address or the letter cannot be read in Redis: was it evicted, or deleted by hand?"


class ChunkLedger:
    """The moves of one recipient after the other of a held chunk, as `Delivery` asks a ledger for them.

    That SES took one is written down in the act that begins the next, which is asked for at once; else by `flush`.
    """

    def __init__(self, batches: Batches, ledger: Ledger, held: Held) -> None:
        self._batches = batches
        self._ledger = ledger
        self._held = held
        self.is_over = False
        """Whether nothing more of the chunk may be begun: the batch is paused or taken back, or the chunk another's."""
        self.backs_off: bool | None = None
        """Whether the batch's next back-off is to be longer: not once one was sent."""
        self._taken: dict[int, str] = {}
        """Whom SES took, of which that is not written down yet, by number; with its message id."""

    def begin(self, claim: Claim, *, tries: bool = False) -> None:
        """Note that SES is asked now. Raises `StaleClaim` where it must not be, and `SendPostponed`."""
        (answer,) = self.begin_each({number_of(claim): claim.email.recipients[0]}, lambda _: claim, tries=tries)
        if answer != "sending":
            raise StaleClaim(f"SES is not asked: {answer}")

    def begin_each(self, recipients: Mapping[int, str], claim: Callable[[int], Claim], *, tries: bool) -> list[str]:
        """Note that SES is asked for these now, in one call: `sending`, or why not. Raises `SendPostponed`.

        Who has had too many emails within the hour is set aside, by the `claim` that is made of a number.
        """
        taken = [*self._taken]
        addresses = {number: normal_address(address) for number, address in recipients.items()}
        said, written = self._batches.begin(self._held, addresses, tries=tries, taken=taken)
        for number, is_written in zip(taken, written, strict=True):
            if is_written:
                del self._taken[number]
        answers = []
        for number, (answer, *more) in zip(recipients, map(str.split, said), strict=True):
            answers.append(answer)
            if answer == "too-many":
                self._hold_back(claim(number), *more)
        self.is_over = not {"sending", "suppressed", "expired", "sent", "closed", "too-many"}.issuperset(answers)
        if "closed" in answers:
            raise SendPostponed(CLOSED_SECONDS, "SES is out of order")
        return answers

    def _hold_back(self, claim: Claim, whose: str, is_news: str) -> None:
        """It is set aside, as any email beyond SESMAIL_HOURLY_LIMIT_PER_ADDRESS."""
        limit = self._batches.hourly_limit
        if is_news == "1":
            guard.tell(limit, whose, claim.send_id)
        self._leave(claim, State.ABANDONED, f"more than {limit} emails an hour to one of its recipients", "too-many")

    def sent(self, claim: Claim, message_id: str) -> State:
        """SES took it."""
        self.took(number_of(claim), message_id)
        return State.SENT

    def took(self, number: int, message_id: str) -> None:
        """SES took one; to be written down soon."""
        self.backs_off = False
        self._taken[number] = message_id

    def put_back(self, numbers: Sequence[int]) -> None:
        """SES took none of these. Raises `LedgerUnavailable`."""
        self._batches.settle(self._held, numbers, "queued")

    def flush(self) -> None:
        """Write down whom SES took; what it says late still counts. May be repeated. Raises `LedgerUnavailable`."""
        taken = self._taken.copy()
        states = self._batches.settle(self._held, [*taken], "sent") if taken else ()
        for (number, message_id), state in zip(taken.items(), states, strict=True):
            if state is None:
                self._ledger.record_evidence(f"{self._held.batch_id}-{number}", message_id)
            del self._taken[number]

    def postpone(
        self,
        claim: Claim,
        delay_seconds: float,  # noqa: ARG002  the whole batch waits for so long
        reason: str,  # noqa: ARG002
        *,
        backs_off: bool = False,
        for_room: bool = False,  # noqa: ARG002
        for_scope: str = "",  # noqa: ARG002
        why: str = "",  # noqa: ARG002
    ) -> State:
        """It waits in its chunk."""
        if backs_off and self.backs_off is None:
            self.backs_off = True
        (state,) = self._batches.settle(self._held, [number_of(claim)], "queued")
        if state is None:
            raise StaleClaim
        return state

    def rejected(self, claim: Claim, reason: str, code: str = "") -> State:
        """SES refused it for good: it gets a row of the ledger."""
        return self._leave(claim, State.REJECTED, reason, code)

    def outcome_unknown(self, claim: Claim, reason: str, code: str = "") -> State:
        """SES may have it: it gets a row of the ledger."""
        return self._leave(claim, State.UNKNOWN, reason, code)

    def status(self, send_id: str) -> Status:
        """As the ledger knows it."""
        return self._ledger.status(send_id)

    def _leave(self, claim: Claim, to: State, reason: str, code: str) -> State:
        record, blobs = pack(claim.email)
        addresses = [*map(normal_address, claim.email.recipients)]
        how = {"reason": reason, "code": code, "record": record, "blobs": blobs, "addresses": addresses}
        how["metadata"] = json.dumps(claim.email.metadata) if claim.email.metadata else ""
        return self._batches.leave(self._held, number_of(claim), to, **how)  # type: ignore[arg-type]


def number_of(claim: Claim) -> int:
    """A recipient's number in its batch."""
    return int(claim.send_id.rpartition("-")[2])


class ReadLetter:
    """A letter, and what is made of it once for all who get it."""

    def __init__(self, letter: WrittenLetter) -> None:
        self.letter = letter

    @cached_property
    def form(self) -> LetterForm | None:
        """As SES is asked for each by single calls; None where each is another email."""
        return self.letter.form()

    @cached_property
    def for_ses(self) -> SesTexts | None:
        """As SES can fill it in by itself; None where it cannot."""
        return self.letter.for_ses()


class Letters:
    """The letters that this process has read of late."""

    def __init__(self, batches: Batches, settings: Settings, links: Callable[[], UnsubscribeLinks]) -> None:
        self._batches = batches
        self._settings = settings
        self._links = links
        self._read: dict[str, ReadLetter] = {}

    def of(self, held: Held) -> ReadLetter:
        """A chunk's. Raises `Newer`, and `UnknownSend` or `ValueError` where it is lost."""
        found = self._read.get(held.letter_digest)
        if found is None:
            found = ReadLetter(WrittenLetter.unpack(self._batches.letter(held.batch_id)))
            while len(self._read) >= LETTERS_KEPT:
                self._read.pop(next(iter(self._read)), None)
            self._read[held.letter_digest] = found
        return found

    def email(self, held: Held, letter: WrittenLetter, number: int, row: Row) -> Email:
        """The email to one recipient. Raises `InvalidEmail`."""
        return personal(
            letter,
            row,
            site=self._settings.site,
            list_name=held.list_name,
            links=self._links,
            send_id=f"{held.batch_id}-{number}",
        )

    def filled(self, held: Held, letter: WrittenLetter, form: LetterForm, number: int, row: Row) -> Filled:
        """What SES is asked for one recipient. Raises `InvalidEmail`, and `SendRejected` as `compose`."""
        send_id, made = f"{held.batch_id}-{number}", partial(self.email, held, letter, number, row)
        if not letter.is_usual(row):
            body = as_json(compose(made(), send_id=send_id).request).encode()
        else:
            url, _ = self._way_off(held, letter, send_id, row)
            body = form.filled(letter.known(row, url), row[0], send_id)
        return Filled(send_id=send_id, body=body, made=made)

    def entry(self, held: Held, letter: WrittenLetter, texts: SesTexts, number: int, row: Row) -> Entry:
        """A recipient of a call for several."""
        send_id = f"{held.batch_id}-{number}"
        url, headers = self._way_off(held, letter, send_id, row)
        return letter.entry(texts, row, send_id=send_id, url=url, headers=headers)

    def _way_off(self, held: Held, letter: WrittenLetter, send_id: str, row: Row) -> tuple[str, dict[str, str]]:
        if not letter.has_door:
            return "", {}
        site, links = self._settings.site, self._links
        return own_way_off(row, site=site, list_name=held.list_name, links=links, send_id=send_id)

    def claims(self, held: Held, rows: Mapping[int, Row]) -> Iterator[Claim | int]:
        """A claim for each; the number alone of one that cannot be made into an email."""
        letter = self.of(held).letter
        for number, row in rows.items():
            try:
                email = self.email(held, letter, number, row)
            except (InvalidEmail, ValueError, LookupError):  # checked when it was queued: another release did that
                yield number
                continue
            yield Claim(
                send_id=f"{held.batch_id}-{number}",
                token=held.token,
                lane=email.lane,
                express=False,
                attempts=0,
                waits=held.waits,
                email=email,
                account=held.account,
                through=held.account,
                site=self._settings.site,
                run=held.batch_id,
                run_rate=held.rate,
            )


class Party(Generic[Ready]):
    """Those of a chunk for whom calls are made ready, as `Together` asks."""

    is_for_several: bool

    def __init__(self, held: Held, moves: ChunkLedger, letters: Letters, rows: dict[int, Row]) -> None:
        self._held, self._moves, self._letters = held, moves, letters
        self._letter = letters.of(held).letter
        self.rows = rows
        """Those who still wait; who is dealt with is taken out."""
        self._known: dict[int, Row] = {}
        self._tried: dict[int, Row] = {}
        self._examples: dict[bool, Claim] = {}

    @property
    def is_over(self) -> bool:
        """Whether nothing more of the chunk may be begun."""
        return self._moves.is_over

    def first(self) -> Claim:
        """Of the one whose turn it is. Raises `LookupError` where it is broken."""
        number, row = next(iter(self.rows.items()))
        return self._claim(number, row)

    def example(self) -> Claim:
        """Of one for whom all holds, before SES is asked, that holds for the first. Raises as `first`."""
        is_simulated = _is_simulated(next(iter(self.rows.values())))
        found = self._examples.get(is_simulated)
        if found is None:
            found = self._examples[is_simulated] = self.first()
        return found

    def alike(self, most: int) -> int:
        """How many, the first among them, count to the quota as that one does."""
        are_simulated = [*map(_is_simulated, islice(self.rows.values(), most))]
        return len([*takewhile(lambda each: each is are_simulated[0], are_simulated)])

    def begin(self, most: int, *, tries: bool) -> dict[int, Ready]:
        """Take out so many; answers those for whom SES is asked now. Raises `SendPostponed`, `StaleClaim`."""
        some = self._tried = dict(islice(self.rows.items(), most))
        ready = {number: self._ready(number, row) for number, row in some.items()}
        addresses = {number: bare_address(row[0]) for number, row in some.items()}
        answers = self._moves.begin_each(addresses, lambda number: self._claim(number, some[number]), tries=tries)
        for number in some:
            self._known[number] = self.rows.pop(number)
        return {number: ready[number] for number, answer in zip(some, answers, strict=True) if answer == "sending"}

    def _ready(self, number: int, row: Row) -> Ready:
        raise NotImplementedError

    def ask(self, transport: SesTransport, begun: Mapping[int, Ready]) -> list[str | SesError]:
        """As `Together` asks."""
        raise NotImplementedError

    def took(self, number: int, message_id: str) -> None:
        """SES took one."""
        self._moves.took(number, message_id)

    def claim(self, number: int) -> Claim:
        """Of one of those that were begun."""
        return self._claim(number, self._known[number])

    def put_back(self, numbers: Sequence[int]) -> None:
        """SES took none of these: they are to be asked for again. Raises `LedgerUnavailable`."""
        self._moves.put_back(numbers)
        self.rows.update({number: self._known[number] for number in numbers})

    def undo(self) -> None:
        """Those of the last `begin`, whose answer was lost, are not asked for. Raises `LedgerUnavailable`."""
        self._moves.put_back([*self._tried])

    def _claim(self, number: int, row: Row) -> Claim:
        (claim,) = self._letters.claims(self._held, {number: row})
        if isinstance(claim, int):
            raise LookupError  # noqa: TRY004  it is the row that is broken
        return claim


class OneEach(Party[Filled]):
    """By a call for each."""

    is_for_several = False

    def __init__(
        self, held: Held, moves: ChunkLedger, letters: Letters, rows: dict[int, Row], *, form: LetterForm
    ) -> None:
        super().__init__(held, moves, letters, rows)
        self._form = form

    def _ready(self, number: int, row: Row) -> Filled:
        return self._letters.filled(self._held, self._letter, self._form, number, row)

    def ask(self, transport: SesTransport, begun: Mapping[int, Filled]) -> list[str | SesError]:
        """For the one that was begun."""
        (filled,) = begun.values()
        try:
            return [transport.send_composed(filled)]
        except SesError as error:
            return [error]


class AllAtOnce(Party[Entry]):
    """By calls for several."""

    is_for_several = True

    def __init__(
        self, held: Held, moves: ChunkLedger, letters: Letters, rows: dict[int, Row], *, texts: SesTexts
    ) -> None:
        super().__init__(held, moves, letters, rows)
        self._texts = texts

    def _ready(self, number: int, row: Row) -> Entry:
        return self._letters.entry(self._held, self._letter, self._texts, number, row)

    def ask(self, transport: SesTransport, begun: Mapping[int, Entry]) -> list[str | SesError]:
        """For all of them."""
        letter = self._letter.email
        with tracing.span("SES SendBulkEmail", kind="CLIENT"):
            return transport.send_bulk(letter, send_bulk_email_request(letter, self._texts.template, [*begun.values()]))


def _is_simulated(row: Row) -> bool:
    mailbox: str = row[0]
    return mailbox.lower().endswith(SIMULATOR_DOMAIN)


class ChunkWorker:
    """Takes chunks and sends them; one object a process, for all its threads."""

    def __init__(
        self,
        batches: Batches,
        ledger: Ledger,
        delivery: Delivery,
        lease: WorkerLease,
        letters: Letters,
        *,
        together: bool = False,
    ) -> None:
        """`together`: by calls for several, where a letter allows it."""
        self._batches = batches
        self._ledger = ledger
        self._delivery = delivery
        self._lease = lease
        self._letters = letters
        self._together = together
        self._busy_seconds = 0.0

    def work(
        self, lane: Lane, worker: str | None, *, on_end: Callable[[str, int], None] = lambda _batch_id, _count: None
    ) -> int | None:
        """Send a part of the batch whose turn it is; how many recipients were dealt with. None where no batch waits.

        `on_end` is told of which batch they are, too.
        Raises `LedgerUnavailable` when this worker is stopped while it waits for Redis.
        """
        token, patience = new_token(), self._delivery.patience
        held = patience.unless_stopped(lambda: self._batches.claim(lane, self._lease.owner(), token))
        if held is None:
            return None
        moves = ChunkLedger(self._batches, self._ledger, held)
        slots = SlotLease(
            busy_seconds=self._busy_seconds, before_waiting=lambda: patience.whatever_happens(moves.flush)
        )
        wait_seconds, done, went = 0.0, 0, False
        try:
            for outcome in self._outcomes(held, moves, slots, worker):
                if isinstance(outcome, Postponed):
                    if outcome.cause is Cause.THROTTLED and went:
                        went = False
                        continue  # the whole fleet is slower by now: the others go on at that pace
                    wait_seconds = min(outcome.seconds, LONGEST_WAIT_SECONDS)
                    break
                done, went = done + 1, True
        except Exception:  # not what ends the process: then a sweep takes the chunk over
            self._release(held, moves, slots, wait_seconds)
            raise
        self._release(held, moves, slots, wait_seconds)
        on_end(held.batch_id, done)
        return done

    def _outcomes(self, held: Held, moves: ChunkLedger, slots: SlotLease, worker: str | None) -> Iterator[object]:
        delivery = self._delivery.over(moves, slots)
        end = time.monotonic() + HOLD_SECONDS
        try:
            rows, letter = self._rows(held), self._letters.of(held)
            if self._together and letter.for_ses:
                party: Party[Any] = AllAtOnce(held, moves, self._letters, rows, texts=letter.for_ses)
                yield from self._by_ready_calls(delivery, party, slots, worker, end)
            if letter.form and not tracing.is_on():
                party = OneEach(held, moves, self._letters, rows, form=letter.form)
                yield from self._by_ready_calls(delivery, party, slots, worker, end)
            for place, claim in enumerate(self._letters.claims(held, rows)):
                if isinstance(claim, int):
                    yield self._broken(held, claim)
                    continue
                is_in_time = time.monotonic() < end
                slots.wanted = len(rows) - place if is_in_time else 1
                yield delivery.work(claim, worker)
                if moves.is_over or (not slots.slots and time.monotonic() >= end):
                    return
        except Newer as newer:
            log.warning("a batch is left to another worker: %s", newer, extra={"batch_id": held.batch_id})
            yield Postponed(seconds=LONGEST_WAIT_SECONDS, cause=Cause.VERSION, reason=str(newer))
        except (UnknownSend, ValueError, LookupError, zlib.error):
            for number in held.numbers("queued"):
                yield self._broken(held, number)

    @staticmethod
    def _by_ready_calls(
        delivery: Delivery, party: Party[Any], slots: SlotLease, worker: str | None, end: float
    ) -> Iterator[object]:
        """Until its rows are dealt with, its time is over, or SES should be asked in another way."""
        slots.together = party.is_for_several
        try:
            while party.rows:
                is_in_time = time.monotonic() < end
                if party.is_over or (not is_in_time and not slots.slots):
                    party.rows.clear()
                    return
                slots.wanted = len(party.rows) if is_in_time else 1
                try:
                    outcomes = delivery.work_together(party, worker)
                except (
                    InvalidEmail,
                    SesError,
                    ValueError,
                    LookupError,
                ):  # a broken row: the rest goes the long way
                    return
                if outcomes is None:
                    return
                yield from outcomes
        finally:
            slots.together = False

    def _rows(self, held: Held) -> dict[int, Row]:
        """Those of the chunk that still wait and have not opted out."""
        rows = unpacked(held.data)
        waiting = {number: rows[number % CHUNK] for number in held.numbers("queued")}
        addresses = {number: normal_address(bare_address(row[0])) for number, row in waiting.items()}
        left_out = self._delivery.patience.unless_stopped(lambda: self._batches.screen(held, addresses))
        return {number: row for number, row in waiting.items() if number not in left_out}

    def _broken(self, held: Held, number: int) -> object:
        try:
            self._batches.leave(held, number, State.REJECTED, reason=NO_ADDRESS, code="broken", **_NOTHING)  # type: ignore[arg-type]
        except StaleClaim:
            return Stale()
        return None

    def _release(self, held: Held, moves: ChunkLedger, slots: SlotLease, wait_seconds: float) -> None:
        """Where Redis is away and this worker stops, a sweep takes the chunk over."""
        self._busy_seconds = slots.busy_seconds
        patience = self._delivery.patience
        patience.whatever_happens(moves.flush)
        try:
            patience.unless_stopped(slots.give_back)
            patience.unless_stopped(
                lambda: self._batches.release(held, wait_seconds=wait_seconds, backs_off=moves.backs_off)
            )
        except LedgerUnavailable:
            log.warning("Redis cannot be reached and this worker stops: another takes over its chunk of a batch")


_NOTHING: dict[str, object] = {"record": "null", "blobs": {}, "addresses": ()}
"""What stands in the row of a recipient whose email cannot be made any more."""


class Recovery:
    """What a sweep does for batches: chunks of dead workers, and which have ended."""

    def __init__(self, batches: Batches, ledger: Ledger, letters: Letters, office: Callable[[], BatchOffice]) -> None:
        self._batches = batches
        self._ledger = ledger
        self._letters = letters
        self._office = office

    def sweep(self) -> tuple[int, int]:
        """All of it; how many chunks were given back, and how many recipients became unknown."""
        if not self._batches.any_open():
            return 0, 0
        found = self.take_over()
        for batch_id in self._batches.finish():
            log.info("a batch has ended", extra={"action": "batch_finished", "batch_id": batch_id})
        for lane in Lane:
            self._office().issue_tickets(lane)
        return found

    def take_over(self) -> tuple[int, int]:
        """Give back what dead workers held; how many chunks, and how many became unknown.

        Whom SES was being asked for it may have: evidence settles that, or the window's end.
        """
        chunks = unknown = 0
        while held := self._batches.take_over(new_token()):
            try:
                unknown += self._write_unknown(held)
                self._batches.release(held)
            except StaleClaim:  # another sweep has it
                continue
            chunks += 1
        return chunks, unknown

    def _write_unknown(self, held: Held) -> int:
        reason, count = "the worker died or got no answer while SES was asked", 0
        moves = ChunkLedger(self._batches, self._ledger, held)
        for number in held.numbers("sending"):
            try:
                row = unpacked(held.data)[number % CHUNK]
                (claim,) = self._letters.claims(held, {number: row})
            except (UnknownSend, ValueError, LookupError, Newer, zlib.error):
                claim = number
            if isinstance(claim, int):
                state = self._batches.leave(held, number, State.UNKNOWN, reason=reason, code="broken", **_NOTHING)  # type: ignore[arg-type]
            else:
                state = moves.outcome_unknown(claim, reason)
            count += state is State.UNKNOWN
        return count
