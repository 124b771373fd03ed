"""What readers choose at SES's own page of preferences, or by the unsubscribe link that SES puts into emails.

https://docs.aws.amazon.com/ses/latest/dg/sending-email-subscription-management.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sesmail.events.fields import folded
from sesmail.events.model import Event, Resubscribed, Unhandled, Unsubscribed
from sesmail.state.people.suppression import Scope
from sesmail.vocabulary import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.events.fields import Part
    from sesmail.events.mail import EmailRead


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What somebody wants no more, and what again."""

    is_there: bool
    is_whole: bool
    """Whether all of it could be read."""
    of_everything: bool
    out: tuple[str, ...]
    in_: tuple[str, ...]


def subscription(email: EmailRead, details: Part) -> Iterator[Event]:
    """What changed between the old preferences and the new ones; the rest was told before, or never chosen."""
    before, now = _chosen(details.part("oldTopicPreferences")), _chosen(details.part("newTopicPreferences"))
    told = str(details.get("timestamp") or email.event_id)
    recipient = email.only_recipient
    left = _left(before, now, details)
    back = _back(before, now)
    if recipient and left is not None:
        opt_outs = tuple((Reason.UNSUBSCRIBED, Scope(email.site, topic)) for topic in left or ("",))
        fields = email.fields(details, "subscription", told, recipient=recipient)
        yield Unsubscribed(**fields, topics=left, suppresses=opt_outs)
    if recipient and back is not None:
        fields = email.fields(details, "resubscribed", told, recipient=recipient)
        lifts = tuple(Scope(email.site, topic) for topic in ("", *now.in_))
        yield Resubscribed(**fields, topics=back, lifts=lifts, suppresses=_still_out(before, now, email.site))
    if not recipient or (left is None and back is None):
        yield Unhandled(**email.fields(details, "subscription", told, recipient=recipient), what="Subscription")


def _chosen(preferences: Part) -> _Chosen:
    chosen: dict[str, list[str]] = {"optout": [], "optin": [], "": []}
    for topic in preferences.parts("topicSubscriptionStatus"):
        status, name = folded(topic.text("subscriptionStatus")), topic.text("topicName")
        chosen[status if name and status in chosen else ""].append(name)
    if unread := chosen.pop(""):
        preferences.note("topicSubscriptionStatus")
    everything = preferences.flag("unsubscribeAll") if preferences else None
    says_something = everything is not None and (preferences.get("unsubscribeAll") is not None or any(chosen.values()))
    out, in_ = (tuple(dict.fromkeys(names)) for names in chosen.values())
    return _Chosen(bool(preferences), says_something and not unread, bool(everything), out, in_)


def _left(before: _Chosen, now: _Chosen, details: Part) -> tuple[str, ...] | None:
    """The topics left by this; empty for everything, None for nothing. All that are out where the old are not known."""
    if now.of_everything:
        return None if before.of_everything else ()
    left = tuple(topic for topic in now.out if topic not in before.out)
    if left or now.is_whole:
        return left or None
    # Nothing tells what is left: somebody who unsubscribes must not be written to.
    details.note("newTopicPreferences")
    source = details.text("source").lower()
    return () if not source or "unsubscribe" in source else None


def _back(before: _Chosen, now: _Chosen) -> tuple[str, ...] | None:
    """The topics come back to by this; empty for everything, None for nothing."""
    if now.of_everything or not before.is_there or not now.is_there:
        return None
    if before.of_everything:
        return (now.in_ if now.out else ()) if now.is_whole else None
    return tuple(topic for topic in now.in_ if topic in before.out) or None


def _still_out(before: _Chosen, now: _Chosen, site: str) -> tuple[tuple[Reason, Scope], ...]:
    """Who left everything was written down for the site: what is still not wanted is now written down by itself."""
    topics = now.out if before.of_everything else ()
    return tuple((Reason.UNSUBSCRIBED, Scope(site, topic)) for topic in topics)
