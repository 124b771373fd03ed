"""Acts on stored events: gathers what is unprocessed of a site, does what follows from it, and tells who listens.

Safe to kill at any point and to run in several places at once. Events are leased; what follows from them in Redis is
done once however often it is tried; receivers are told at least once. An event is marked processed last.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sesmail import signals, tracing
from sesmail.errors import SesmailError
from sesmail.events import place_of
from sesmail.events.consequences import Consequences, Told
from sesmail.events.erasing import redacted_all
from sesmail.events.reading import read_stored
from sesmail.message.addresses import normal_address
from sesmail.message.redaction import Redaction
from sesmail.state.people.reputation import DELIVERY_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sesmail.events.model import Event
    from sesmail.events.stores import EventStore, StoredEvent
    from sesmail.state.people.reputation import Tally
    from sesmail.state.people.suppression import OptOutBook, SoftBouncePolicy

log = logging.getLogger(__name__)

BATCH = 500
LEASE_SECONDS = 120.0
MARK_EVERY = 50
"""When a worker is killed, receivers hear at most so many events twice."""
MOST_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 3600.0
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"'\\]+@[\w.-]*\w")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """What one batch came to."""

    gathered: int
    processed: int
    failed: int
    """Due again later, or set aside."""


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
        record_dropped: Callable[[str, str, str, str], object] = lambda _id, _message_id, _code, _reason: None,
        share_opt_outs_with: Sequence[str] = (),
        soft_bounces: SoftBouncePolicy | None = None,
        hard_bounce_expiry_seconds: float | None = None,
        on_counted: Callable[[], object] = lambda: None,
        on_failure: Callable[[Exception], object] | None = None,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Build it from its parts.

        `soft_bounces` is when passing bounces opt out for a while; `hard_bounce_expiry_seconds` how long hard ones do.

        `share_opt_outs_with` are other sites of the same store, for which opt-outs of everything hold, too.

        `record_evidence(send_id, message_id)` tells the ledger that SES took an email, `record_first_word` does where
        it is by the event that SES tells before all others, and `record_dropped(send_id, message_id, code, reason)`
        that it dropped one that it took; `metadata(send_id)` is what its caller gave with it.
        `on_counted` is called when something was counted that was not known before. `on_failure` is told what a
        receiver raised: for tests. What was gathered when a processor or its store went away is gathered again after
        `lease_seconds`. `clock` gives epoch seconds.
        """
        self._site = site
        self._store = store
        self._suppression = suppression
        self._consequences = Consequences(
            site,
            store,
            suppression,
            reputation,
            record_evidence=record_evidence,
            record_first_word=record_first_word or record_evidence,
            record_dropped=record_dropped,
            share_opt_outs_with=share_opt_outs_with,
            soft_bounces=soft_bounces,
            hard_bounce_expiry_seconds=hard_bounce_expiry_seconds,
            on_counted=on_counted,
            clock=clock,
        )
        self._metadata = metadata
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
        redacted = self._redacted(gathered) if gathered else []
        batch = [Told(stored=stored, events=read_stored(stored, site=self._site)) for stored in redacted]
        processed = self._act(batch, leased_until)
        return Processed(gathered=len(gathered), processed=processed, failed=len(gathered) - processed)

    def _redacted(self, gathered: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Without who was erased of late: what SES still tells of her is of email before that, and is not kept."""
        words = (word for stored in gathered for word in _ADDRESS.findall(stored.message))
        erased = self._suppression.erased_among(map(normal_address, words), within_seconds=DELIVERY_DAYS * 86_400.0)
        if not erased:
            return [*gathered]
        redacted = redacted_all(gathered, Redaction(erased))
        self._store.rewrite([*redacted.values()])
        return [redacted.get(stored.event_id, stored) for stored in gathered]

    def _act(self, batch: Sequence[Told], leased_until: float) -> int:
        """How many were processed. One event that cannot be acted on, by a bug of ours, must not hold up the others."""
        try:
            remaining = self._consequences.follow(batch)
        except SesmailError:
            raise
        except Exception as error:  # noqa: BLE001  it may be any bug
            log.error("%d events could not be acted on together: %s", len(batch), place_of(error))  # noqa: TRY400
            if len(batch) > 1:
                return sum(self._act([told], leased_until) for told in batch)
            self._failed(batch[0].stored, f"sesmail could not act on it ({type(error).__name__})")
            return 0
        return self._tell(remaining, leased_until)

    def rebuild_suppression(self) -> int:
        """Write down again all opt-outs that stored events tell of, but for who came back since; how many were new."""
        return self._consequences.rebuild_suppression()

    # -- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, batch: Sequence[Told], leased_until: float) -> int:
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

    def _told(self, told: Told) -> bool:
        """Whether every receiver took it; what did not is noted, and comes again later or is set aside."""
        failures: dict[str, str] = {}
        for event in told.events:
            ids = {"send_id": event.send_id or "", "message_id": event.message_id, "event_id": event.event_id}
            with tracing.span(f"SES {type(event).__name__}", after=event.mail.trace, kind="CONSUMER", **ids):
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
        also = signals.email_event
        signal = signals.OF_EVENTS[event.signal] if event.signal else also
        if not (signal.has_receivers_for(event.site) or also.has_receivers_for(event.site)):
            return {}
        said = {"event": event, "metadata": self._metadata(event.send_id) if event.send_id else {}}
        return signals.tell(signal, event.site, also=also, only=only, on_failure=self._on_failure, **said)


def _failed_before(stored: StoredEvent) -> set[str]:
    """The receivers that failed last time: only they are called again, as long as there are any of that name."""
    return {line.partition(": ")[0] for line in stored.error.splitlines() if ": " in line}


def _pause(attempts: int) -> float:
    return min(FIRST_PAUSE_SECONDS * 2.0**attempts, LONGEST_PAUSE_SECONDS)
