"""Acts on stored events: gathers what is unprocessed of a site, does what follows from it, and tells who listens.

Safe to kill at any point and to run in several places at once. Events are leased; what follows from them in Redis is
done once however often it is tried; receivers are told at least once. An event is marked processed last.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sesmail import signals
from sesmail.errors import SesmailError
from sesmail.events import place_of
from sesmail.events.model import Event, OptedOutElsewhere, Sent, Unhandled
from sesmail.events.reading import read
from sesmail.events.sharing import handed_on
from sesmail.events.stores import EventState, StoredEvent
from sesmail.state.reputation import Fact, Sight
from sesmail.state.suppression import OptOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sesmail.events.stores import EventStore
    from sesmail.state.reputation import Tally
    from sesmail.state.suppression import OptOutBook

log = logging.getLogger(__name__)

BATCH = 500
LEASE_SECONDS = 120.0
MARK_EVERY = 50
"""When a worker is killed, receivers hear at most so many events twice."""
MOST_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """What one batch came to."""

    gathered: int
    processed: int
    failed: int
    """Due again later, or set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """One notification: as stored, and the events in it that somebody may want to hear of."""

    stored: StoredEvent
    events: tuple[Event, ...]


class EventProcessor:
    """Processes the events of one site."""

    def __init__(
        self,
        site: str,
        store: EventStore,
        suppression: OptOutBook,
        reputation: Tally,
        *,
        record_evidence: Callable[[str, str], object],
        metadata: Callable[[str], Mapping[str, Any]],
        record_first_word: Callable[[str, str], object] | None = None,
        share_opt_outs_with: Sequence[str] = (),
        on_failure: Callable[[Exception], object] | None = None,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Build it from its parts.

        `share_opt_outs_with` are other sites of the same store, for which opt-outs of everything hold, too.

        `record_evidence(send_id, message_id)` tells the ledger that SES took an email, `record_first_word` does where
        it is by the event that SES tells before all others; `metadata(send_id)` is what its caller gave with it.
        `on_failure` is told what a receiver raised: for tests. What was gathered when a processor or its store went
        away is gathered again after `lease_seconds`. `clock` gives epoch seconds.
        """
        self._site = site
        self._store = store
        self._suppression = suppression
        self._reputation = reputation
        self._record_evidence = record_evidence
        self._record_first_word = record_first_word or record_evidence
        self._metadata = metadata
        self._share_opt_outs_with = share_opt_outs_with
        self._on_failure = on_failure
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._unmarked: dict[str, StoredEvent] = {}

    def process(self, *, limit: int = BATCH) -> Processed:
        """Process one batch. Raises `EventStoreUnavailable` or `LedgerUnavailable`; what is not done stays to be done.

        Call again while it gathers as many as `limit`.
        """
        self._mark_processed()
        leased_until = self._clock() + self._lease_seconds
        gathered = self._store.gather(self._site, limit=limit, lease_seconds=self._lease_seconds, now=self._clock())
        batch = [_Told(stored=stored, events=read(stored.message, site=self._site)) for stored in gathered]
        processed = self._act(batch, leased_until)
        return Processed(gathered=len(gathered), processed=processed, failed=len(gathered) - processed)

    def _act(self, batch: Sequence[_Told], leased_until: float) -> int:
        """How many were processed. One event that cannot be acted on, by a bug of ours, must not hold up the others."""
        try:
            remaining = self._do_what_follows(batch)
        except SesmailError:
            raise
        except Exception as error:  # noqa: BLE001  it may be any bug
            log.error("%d events could not be acted on together: %s", len(batch), place_of(error))  # noqa: TRY400
            if len(batch) > 1:
                return sum(self._act([told], leased_until) for told in batch)
            self._failed(batch[0].stored, f"sesmail could not act on it ({type(error).__name__})")
            return 0
        return self._tell(remaining, leased_until)

    def _do_what_follows(self, batch: Sequence[_Told]) -> list[_Told]:
        """All that an event changes here, the same however often it is done; what is left is to be told."""
        self._note_unhandled(batch)
        self._settle_sends(batch)
        self._suppress(batch)
        self._note_progress(batch)
        return self._count(batch)

    def rebuild_suppression(self) -> int:
        """Write down again all opt-outs that stored events tell of; how many were new."""
        return sum(
            self._suppression.add(opt_out)
            for state in EventState
            for stored in self._store.read(self._site, state)
            for event in read(stored.message, site=self._site)
            for opt_out in opt_outs(event, stored.event_id)
        )

    # -- what follows from events -----------------------------------------------------------------------------------

    @staticmethod
    def _note_unhandled(batch: Iterable[_Told]) -> None:
        for told in batch:
            for event in told.events:
                if isinstance(event, Unhandled):
                    what, id_ = event.what[:50], told.stored.event_id
                    extra = {"action": "event_unhandled", "event_id": id_}
                    # What SES or we may have got wrong is more than news: nothing followed from it.
                    level = logging.INFO if event.key else logging.WARNING
                    log.log(level, "An event has no meaning for us: %s (%s)", what, id_, extra=extra)

    def _settle_sends(self, batch: Iterable[_Told]) -> None:
        """Whatever SES tells of an email, it proves that SES took it."""
        events = [event for told in batch for event in told.events]
        first_words = {(event.send_id, event.message_id) for event in events if isinstance(event, Sent)}
        for send_id, message_id in {(event.send_id, event.message_id) for event in events}:
            is_first = (send_id, message_id) in first_words
            record = self._record_first_word if is_first else self._record_evidence
            if send_id and message_id and record(send_id, message_id) == "copy":
                log.warning(
                    "An email went out twice: SES has taken it under another message id as well (%s).",
                    send_id,
                    extra={"action": "sent_twice", "send_id": send_id, "message_id": message_id},
                )

    def _suppress(self, batch: Iterable[_Told]) -> None:
        found = [
            (event, opt_out)
            for told in batch
            for event in told.events
            for opt_out in opt_outs(event, told.stored.event_id)
        ]
        for _, opt_out in found:
            self._suppression.add(opt_out)
        own = [opt_out for event, opt_out in found if not isinstance(event, OptedOutElsewhere)]
        if shared := [*handed_on(own, self._share_opt_outs_with, received_at=self._clock())]:
            self._store.put(shared)

    def _note_progress(self, batch: Iterable[_Told]) -> None:
        self._reputation.progress(
            [
                (event.send_id, event.recipient, event.delivery)
                for told in batch
                for event in told.events
                if event.send_id and event.recipient and event.delivery
            ]
        )

    def _count(self, batch: Sequence[_Told]) -> list[_Told]:
        """Count each fact once. What remains to be told are those of which no other notification told before."""
        facts = [_fact(event, told.stored.event_id) for told in batch for event in told.events if event.key]
        sights = iter(self._reputation.count(facts))
        return [
            _Told(
                stored=told.stored,
                events=tuple(event for event in told.events if event.key and next(sights) is not Sight.TWIN),
            )
            for told in batch
        ]

    # -- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, batch: Sequence[_Told], leased_until: float) -> int:
        """Tell who listens, and mark what is done, some at a time; how many. Stops when the lease is nearly over."""
        processed = 0
        for told in batch:
            if self._clock() > leased_until - self._lease_seconds / 4:
                log.warning("Receivers are slow: the rest of the batch is left for the next one.")
                break
            if self._told(told):
                self._unmarked[told.stored.event_id] = told.stored
                processed += 1
            if len(self._unmarked) >= MARK_EVERY:
                self._mark_processed()
        self._mark_processed()
        return processed

    def _mark_processed(self) -> None:
        """Mark what receivers have been told of, also while the store was out of reach: they need not hear it again."""
        done = [*self._unmarked.values()]
        if done:
            self._store.mark_processed(done, now=self._clock())
        for stored in done:
            self._unmarked.pop(stored.event_id, None)  # another thread may have done the same

    def _told(self, told: _Told) -> bool:
        """Whether every receiver took it; what did not is noted, and comes again later or is set aside."""
        failures: dict[str, str] = {}
        for event in told.events:
            failures |= self._tell_receivers(event, only=_failed_before(told.stored))
        if not failures:
            return True
        self._failed(told.stored, "\n".join(f"{receiver}: {problem}" for receiver, problem in failures.items()))
        return False

    def _failed(self, stored: StoredEvent, error: str) -> None:
        if stored.attempts + 1 >= MOST_ATTEMPTS:
            log.error("An event was set aside after %d attempts.", MOST_ATTEMPTS, extra={"action": "event_set_aside"})
            self._store.set_aside(stored, error=error, now=self._clock())
        else:
            self._store.retry_later(stored, error=error, due_at=self._clock() + _pause(stored.attempts))

    def _tell_receivers(self, event: Event, only: set[str]) -> dict[str, str]:
        """Call those who listen, or only those named; what went wrong, by receiver."""
        if event.signal is None:
            return {}
        signal = signals.OF_EVENTS[event.signal]
        if not signal.has_receivers_for(event.site):
            return {}
        metadata = self._metadata(event.send_id) if event.send_id else {}
        return signals.tell(signal, event.site, only=only, on_failure=self._on_failure, event=event, metadata=metadata)


def opt_outs(event: Event, source: str) -> list[OptOut]:
    """What follows from an event for the opt-outs; `source` is its id."""
    return [
        OptOut(address=event.recipient, scope=scope, reason=reason, since=event.occurred_at, source=source)
        for reason, scope in event.suppresses
        if event.recipient
    ]


def _fact(event: Event, told_by: str) -> Fact:
    return Fact(
        key=event.key,
        told_by=told_by,
        happened_on=event.occurred_at.date(),
        site=event.site,
        list=event.list,
        sent_on=event.sent_at.date(),
        counter=event.counter,
    )


def _failed_before(stored: StoredEvent) -> set[str]:
    """The receivers that failed last time: only they are called again, as long as there are any of that name."""
    return {line.partition(": ")[0] for line in stored.error.splitlines() if ": " in line}


def _pause(attempts: int) -> float:
    return min(FIRST_PAUSE_SECONDS * 2.0**attempts, LONGEST_PAUSE_SECONDS)
