"""What follows from events here, before anybody is told: the same however often it is done.

Sends are settled, addresses opted out or let in again, delivery statuses noted, facts counted.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sesmail.events.model import Bounced, Delivered, Event, OptedOutElsewhere, RenderingFailed, Sent, Unhandled
from sesmail.events.reading import read_stored
from sesmail.events.sharing import handed_on
from sesmail.events.stores import EventState, StoredEvent
from sesmail.state.batches.chunks import RECIPIENT_ID
from sesmail.state.people.reputation import Fact, Sight
from sesmail.state.people.suppression import OptOut, Passing
from sesmail.vocabulary import Reached, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sesmail.events.stores import EventStore
    from sesmail.state.people.reputation import Tally
    from sesmail.state.people.suppression import OptOutBook, SoftBouncePolicy
    from sesmail.vocabulary import Delivery

log = logging.getLogger("sesmail.events.processing")

UNFILLED = "SES took the email, could not fill in its template, and sent nothing. Mend the template or its data."
_WORD = re.compile(r"[A-Za-z_-]{1,40}")
MAILBOX_SIMULATOR = "@simulator.amazonses.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One notification: as stored, and the events in it that somebody may want to hear of."""

    stored: StoredEvent
    events: tuple[Event, ...]


class Consequences:
    """Does what follows from the events of one site."""

    def __init__(
        self,
        site: str,
        store: EventStore,
        suppression: OptOutBook,
        reputation: Tally,
        *,
        record_evidence: Callable[[str, str], object],
        record_first_word: Callable[[str, str], object],
        record_unfilled: Callable[[str, str, str], object],
        share_opt_outs_with: Sequence[str],
        soft_bounces: SoftBouncePolicy | None,
        hard_bounce_expiry_seconds: float | None,
        on_counted: Callable[[], object],
        clock: Callable[[], float],
    ) -> None:
        """As `EventProcessor`, which explains them."""
        self._site = site
        self._store = store
        self._suppression = suppression
        self._reputation = reputation
        self._record_evidence = record_evidence
        self._record_first_word = record_first_word
        self._record_unfilled = record_unfilled
        self._share_opt_outs_with = share_opt_outs_with
        self._soft_bounces = soft_bounces
        self._hard_bounce_expiry_seconds = hard_bounce_expiry_seconds
        self._on_counted = on_counted
        self._clock = clock

    def follow(self, batch: Sequence[Told]) -> list[Told]:
        """All that events change here; what is left is to be told. Raises as the ledger and the store do."""
        note_what_is_unread(batch)
        self._settle_sends(batch)
        self._suppress(batch)
        self._count_passing_bounces(batch)
        self._note_progress(batch)
        return self._count(batch)

    def rebuild_suppression(self) -> int:
        """Write down again all opt-outs that stored events tell of, but for who came back since; how many were new."""
        changes = [
            change
            for state in EventState
            for stored in self._store.read(self._site, state)
            for event in read_stored(stored, site=self._site)
            for change in _changes(event, stored.event_id)
        ]
        return sum(self._make(change) for change in sorted(changes, key=_when))

    def _settle_sends(self, batch: Iterable[Told]) -> None:
        """Whatever SES tells of an email, it proves that SES took it, if only to fail at its template."""
        everything = [event for told in batch for event in told.events]
        unfilled = [event for event in everything if isinstance(event, RenderingFailed)]
        events = [event for event in everything if not isinstance(event, RenderingFailed)] if unfilled else everything
        for event in unfilled:
            if event.send_id and event.message_id:
                self._record_unfilled(event.send_id, event.message_id, f"{UNFILLED} SES says: {event.error_message}")
        first_words = {(event.send_id, event.message_id) for event in events if isinstance(event, Sent)}
        for send_id, message_id in dict.fromkeys((event.send_id, event.message_id) for event in events):
            is_first = (send_id, message_id) in first_words
            record = self._record_first_word if is_first else self._record_evidence
            if send_id and message_id and record(send_id, message_id) == "copy":
                log.warning(
                    "An email went out twice: SES has taken it under another message id as well (%s).",
                    send_id,
                    extra={"action": "sent_twice", "send_id": send_id, "message_id": message_id},
                )

    def _suppress(self, batch: Iterable[Told]) -> None:
        """In the order in which it happened: who left, came back and left again has left."""
        changes = [
            change
            for told in batch
            for event in told.events
            if event.suppresses or event.lifts  # few have
            for change in _changes(event, told.stored.event_id)
        ]
        for change in sorted(changes, key=_when):
            self._make(change)
        own = [one for one in changes if isinstance(one, _OptsOut) and not isinstance(one.event, OptedOutElsewhere)]
        wide = [one.opt_out for one in own]
        if shared := [*handed_on(wide, self._share_opt_outs_with, received_at=self._clock())]:
            self._store.put(shared)

    def _make(self, change: _OptsOut | _ComesBack) -> int:
        """One change; by how much the number of opt-outs has grown."""
        if isinstance(change, _OptsOut):
            opt_out = self._expiring(change.opt_out)
            return int(self._suppression.add(opt_out))
        event = change.event
        return -sum(
            self._suppression.lift(event.recipient, scope, came_back_at=event.occurred_at, by_link=change.by_link)
            for scope in event.lifts
        )

    def _expiring(self, opt_out: OptOut) -> OptOut:
        """A hard bounce may be over after a while: somebody may have the mailbox again."""
        seconds = self._hard_bounce_expiry_seconds
        if seconds is None or opt_out.reason is not Reason.BOUNCED:
            return opt_out
        return replace(opt_out, until=opt_out.since + timedelta(seconds=seconds))

    def _count_passing_bounces(self, batch: Iterable[Told]) -> None:
        """Several in a row mean that a mailbox is given up; providers judge senders by how they go on."""
        if self._soft_bounces is None:
            return
        passing = [
            Passing(
                address=event.recipient,
                delivered=isinstance(event, Delivered),
                at=event.occurred_at,
                source=told.stored.event_id,
            )
            for told in batch
            for event in told.events
            if event.recipient
            and (isinstance(event, Delivered) or (isinstance(event, Bounced) and not event.permanent))
        ]
        in_order = sorted(passing, key=lambda one: one.at)
        if opted_out := self._suppression.count_passing(self._soft_bounces, in_order):
            log.info("%d addresses are opted out for a while, after several passing bounces.", opted_out)

    def _note_progress(self, batch: Iterable[Told]) -> None:
        self._reputation.progress(
            [
                (event.send_id, _reached(event, event.delivery))
                for told in batch
                for event in told.events
                if event.send_id and event.recipient and event.delivery
            ]
        )

    def _count(self, batch: Sequence[Told]) -> list[Told]:
        """Count each fact once. What remains to be told are those of which no other notification told before."""
        facts = [fact_of(event, told.stored.event_id) for told in batch for event in told.events if event.key]
        known = self._reputation.count(facts)
        if Sight.FIRST in known:
            self._on_counted()
        sights = iter(known)
        return [
            Told(
                stored=told.stored,
                events=tuple(event for event in told.events if event.key and next(sights) is not Sight.TWIN),
            )
            for told in batch
        ]


def note_what_is_unread(batch: Iterable[Told]) -> None:
    """Say what had no meaning, and what could not be read within the rest, by its place alone: once for a batch."""
    odd = defaultdict[tuple[str, ...], list[str]](list)
    for told in batch:
        for event in told.events:
            if isinstance(event, Unhandled):
                _note_unhandled(event, told.stored.event_id)
            elif event.unread:
                odd[event.unread].append(told.stored.event_id)
    for places, ids in odd.items():
        log.warning(
            "Of %d events, some could not be read and the rest was used (%s; the first is %s). They are kept: see "
            "`sesmail events --unread`.",
            len({*ids}),
            ", ".join(places)[:200],
            ids[0],
            extra={"action": "event_partly_unread", "event_id": ids[0]},
        )


def _note_unhandled(event: Unhandled, id_: str) -> None:
    # What SES or we may have got wrong is more than news: nothing followed from it.
    level = logging.INFO if event.key and not event.unread else logging.WARNING
    extra = {"action": "event_unhandled", "event_id": id_}
    what = "".join(letter if letter.isprintable() else " " for letter in event.what[:90])  # no line of its own in a log
    log.log(level, "An event has no meaning for us: %s (%s)", what, id_, extra=extra)


@dataclass(frozen=True, slots=True)
class _OptsOut:
    event: Event
    opt_out: OptOut


@dataclass(frozen=True, slots=True)
class _ComesBack:
    event: Event
    by_link: bool
    """By one of our own."""


def _changes(event: Event, source: str) -> list[_OptsOut | _ComesBack]:
    """Coming back first: what is still not wanted is written down behind it."""
    back = [_ComesBack(event, source.startswith("link-"))] if event.lifts and event.recipient else []
    return [*back, *(_OptsOut(event, opt_out) for opt_out in opt_outs(event, source))]


def _reached(event: Event, delivery: Delivery) -> Reached:
    return Reached(
        at=max(0.0, event.occurred_at.timestamp() // 1),
        recipient=event.recipient,
        delivery=delivery,
        why=event.why if _WORD.fullmatch(event.why) else "",
    )


def _when(change: _OptsOut | _ComesBack) -> float:
    return change.event.occurred_at.timestamp()


def opt_outs(event: Event, source: str) -> list[OptOut]:
    """What follows from an event for the opt-outs; `source` is its id."""
    address = event.opted_out_address
    return [
        OptOut(address=address, scope=scope, reason=reason, since=event.occurred_at, source=source)
        for reason, scope in event.suppresses
        if address
    ]


def _former_key(event: Event) -> str:
    """Of a bounce, which had neither sub-type nor status in it. To be dropped with the next release."""
    if not isinstance(event, Bounced):
        return ""
    message_id, bounced, *_, recipient = event.key.split("\n")
    return f"{message_id}\n{bounced}\n{event.bounce_type}\n{recipient}"


def fact_of(event: Event, told_by: str) -> Fact:
    """The event as something to be counted once."""
    return Fact(
        key=event.key,
        former_key=_former_key(event),
        told_by=told_by,
        happened_on=event.occurred_at.date(),
        site=event.site,
        list=event.list,
        sent_on=event.sent_at.date(),
        counter=event.counter,
        # AWS's mailbox simulator counts for nobody's reputation.
        sent_at=None if event.recipient.lower().endswith(MAILBOX_SIMULATOR) else event.sent_at,
        send_id=event.send_id or "",
        batch=of_batch[1] if (of_batch := RECIPIENT_ID.fullmatch(event.send_id or "")) else "",
    )
