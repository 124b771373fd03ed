"""The `mail` part of an event: what all events about one email have in common."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sesmail.events.model import NO_TIME, Mail
from sesmail.message import ID_HEADER, ID_TAG, LIST_TAG

if TYPE_CHECKING:
    from datetime import datetime

    from sesmail.events.fields import Part


_CLOCKS_DIFFER_BY = timedelta(days=1)


class EmailRead:
    """What can be read of it."""

    def __init__(self, mail: Part, site: str, event_id: str, received: datetime | None, unread: list[str]) -> None:
        """`received` stands in for times that cannot be read; `unread` collects what cannot be."""
        self.is_there = bool(mail)
        self.site = site
        self.event_id = event_id
        self.mail = Mail(mail.raw)
        self.message_id = mail.text("messageId")
        self._destination = mail.addresses("destination")
        self.recipients = self._destination or _in_headers(mail)
        self._received = received
        self._sent_at = self._time(mail)
        self._unread = unread
        tags = mail.get("tags")
        tags = tags if isinstance(tags, dict) else {}
        self._list = _first(tags.get(LIST_TAG))
        self._send_id = _first(tags.get(ID_TAG)) or self.mail.header(ID_HEADER) or None

    @property
    def only_recipient(self) -> str:
        """The one recipient, or nothing: SES does not tell which of several opened or clicked."""
        return self.recipients[0] if len(self.recipients) == 1 else ""

    def addressed(self, reported: str, named: set[str]) -> dict[str, Any]:
        """Whom an address that SES names belongs to, as fields of an event.

        With a report of the server that has the mailbox, SES gives its Final-Recipient: where a mailbox is forwarded,
        an address that the email was not sent to. `named` are all that SES names in this event.
        https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounced-recipients
        """
        if not self._destination or reported in self._destination:
            return {"recipient": reported, "reported_address": reported}
        candidates = tuple(one for one in self._destination if one not in named)
        if candidates and len(self._destination) == 1:
            return {"recipient": candidates[0], "reported_address": reported}
        return {"recipient": "", "reported_address": reported, "candidates": candidates}

    def fields(self, details: Part, *key: str, recipient: str = "", **more: Any) -> dict[str, Any]:
        """The fields of an event about this email. Its key begins with SES's id, which is unique in the world."""
        happened_at = self._time(details, not_before=self._sent_at)
        sent_at = self._sent_at or happened_at or self._received or NO_TIME
        occurred_at = happened_at or self._fallback(details) or NO_TIME
        return {
            "site": self.site,
            "event_id": self.event_id,
            "key": "\n".join((self.message_id or self.event_id, *key, recipient)),
            "recipient": recipient,
            "message_id": self.message_id,
            "send_id": self._send_id,
            "list": self._list,
            "occurred_at": occurred_at,
            "sent_at": sent_at,
            "mail": self.mail,
            "details": details.raw,
            "unread": tuple(dict.fromkeys(self._unread)) if self._unread else (),
            **more,
        }

    def _time(self, part: Part, *, not_before: datetime | None = None) -> datetime | None:
        """When it was; None for the absurd: after it was told, or `not_before` the email was sent."""
        time = part.time("timestamp")
        if time and (
            (self._received and time > self._received + _CLOCKS_DIFFER_BY)
            or (not_before and time < not_before - _CLOCKS_DIFFER_BY)
        ):
            part.note("timestamp")
            return None
        return time

    def _fallback(self, details: Part) -> datetime | None:
        """Where the time of what happened cannot be read, it happened when we heard of it; else when it was sent."""
        if details.get("timestamp") is not None:
            return self._received or self._sent_at
        return self._sent_at or self._received


def _in_headers(mail: Part) -> list[str]:
    """Where SES does not say whom it went to, those in its visible headers."""
    if not mail:
        return []
    mail.note("destination")
    common = mail.part("commonHeaders")
    return [address for name in ("to", "cc", "bcc") for address in common.addresses(name)]


def _first(values: object) -> str:
    first = values[0] if isinstance(values, list) and values else values
    return first if isinstance(first, str) else ""
