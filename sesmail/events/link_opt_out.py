"""Leaving by one of our own unsubscribe links."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from sesmail.errors import LedgerUnavailable
from sesmail.events.consequences import opt_outs
from sesmail.events.reading import read_stored
from sesmail.events.stores import StoredEvent
from sesmail.message import ID_TAG, LIST_TAG
from sesmail.state.people.suppression import Scope
from sesmail.vocabulary import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sesmail.state.people.suppression import OptOut, OptOutBook
    from sesmail.unsubscribe import Unsubscription


class LinkOptOut:
    """What happens when somebody uses one of our unsubscribe links: for `UnsubscribeDoor`.

    The opt-out holds at once. It is also stored as SES would tell of it, so that it is counted and told by whoever
    processes events, and comes back when the opt-outs are rebuilt.
    """

    def __init__(
        self,
        suppression: OptOutBook,
        put: Callable[[Sequence[StoredEvent]], object],
        *,
        now: Callable[[], datetime],
    ) -> None:
        """`put` stores events durably, each id once; `now` gives an aware time."""
        self._suppression = suppression
        self._put = put
        self._now = now

    def __call__(self, who: Unsubscription) -> None:
        """Write the opt-out down. Raises `LedgerUnavailable` or `EventStoreUnavailable` when it could not be done."""
        now = self._now()
        stored = _stored(who, now)
        for event in read_stored(stored, site=who.site):
            for opt_out in opt_outs(event, stored.event_id):
                if not self._suppression.add(opt_out):
                    stored = self._as_told_before(who, opt_out, now)
        self._put([stored])

    def come_back(self, who: Unsubscription) -> None:
        """The reader wants it again after all. What SES or an operator has written down, a bounce say, stays.

        Raises as for an opt-out.
        """
        now = self._now()
        stored = _stored(who, now, back=True)
        for event in read_stored(stored, site=who.site):
            for scope in event.lifts:
                self._suppression.lift(event.recipient, scope, came_back_at=now, by_link=True)
        self._put([stored])

    def has_left(self, who: Unsubscription) -> bool:
        """Whether it is left already, however that was written down; no where that cannot be told now."""
        scopes = {Scope(), Scope(who.site), Scope(who.site, who.list)}
        try:
            entries = self._suppression.find(who.recipient)
        except LedgerUnavailable:
            return False
        return any(entry.reason is Reason.UNSUBSCRIBED and entry.scope in scopes for entry in entries)

    def _as_told_before(self, who: Unsubscription, opt_out: OptOut, now: datetime) -> StoredEvent:
        """Readers press the button twice: the event of the first time again, which may not have been stored."""
        for entry in self._suppression.find(opt_out.address):
            if entry.scope == opt_out.scope and entry.source.startswith(_OF_LINKS):
                return _stored(who, entry.since, entry.source)
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return _stored(who, day)  # it was there for another reason: told once a day


_OF_LINKS = "link-"


def _preferences(list_name: str, status: str) -> dict[str, object]:
    """Of everything where no list is named."""
    topics = [{"topicName": list_name, "subscriptionStatus": status}] if list_name else []
    return {"unsubscribeAll": not list_name and status == "OptOut", "topicSubscriptionStatus": topics}


def _stored(who: Unsubscription, when: datetime, event_id: str = "", *, back: bool = False) -> StoredEvent:
    """The event that tells of it, under an id that says who left what, or came back to it, and when."""
    use = f"{who.site}\n{who.list}\n{who.recipient}\n{when.isoformat()}{'back' if back else ''}"
    return StoredEvent(
        event_id=event_id or f"{_OF_LINKS}{hashlib.sha256(use.encode()).hexdigest()}",
        source=who.site,
        message=_told_by_link(who, when, back=back),
        received_at=when.timestamp(),
    )


def _told_by_link(who: Unsubscription, now: datetime, *, back: bool) -> str:
    """A `Subscription` event, as SES's own list management tells of the same."""
    tags = {LIST_TAG: [who.list], ID_TAG: [who.send_id]}
    out, in_ = _preferences(who.list, "OptOut"), _preferences(who.list, "OptIn")
    preferences = {"oldTopicPreferences": out, "newTopicPreferences": in_} if back else {"newTopicPreferences": out}
    subscription = {"source": "UnsubscribeLink", "timestamp": now.isoformat(), **preferences}
    mail = {
        "timestamp": now.isoformat(),
        "messageId": "",
        "destination": [who.recipient],
        "tags": {name: values for name, values in tags.items() if values != [""]},
    }
    return json.dumps({"eventType": "Subscription", "mail": mail, "subscription": subscription})
