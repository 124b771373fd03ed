"""The sends in a test's outbox, and which of them a test means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sesmail.message.addresses import normal_address, normal_address_of
from sesmail.sending.memory_ledger import MemoryLedger

if TYPE_CHECKING:
    from sesmail.message import Email
    from sesmail.sending.memory import Kept, Memory
    from sesmail.vocabulary import Status


class Send:
    """An email that was accepted, and what has become of it by now."""

    def __init__(self, memory: Memory, kept: Kept) -> None:
        self._memory = memory
        self._kept = kept

    @property
    def id(self) -> str:
        """The id, as `.delay(...).id` has it."""
        return self._kept.status.send_id

    @property
    def email(self) -> Email:
        """The email as it goes out: with the sender and all else that the settings fill in."""
        return self._kept.email

    @property
    def status(self) -> Status:
        """What `sesmail.status` answers."""
        status = MemoryLedger(self._memory, self._kept.settings).status(self.id)
        told = self._memory.reputation
        return replace(status, deliveries=told.deliveries(self.id), reached=told.reached(self.id))

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of Celery's that its ticket was to be published with, such as `queue`; empty for one that waits.

        Those of the last ticket, where it was sent again.
        """
        return self._kept.tickets[-1] if self._kept.tickets else {}

    @property
    def site(self) -> str:
        """The site that sent it."""
        return self._kept.settings.site

    def __repr__(self) -> str:
        return f"<Send {self.id}, {self._kept.status.state}>"

    def shown(self) -> str:
        """For the message of a failed assertion: whom it is for and its subject, no more."""
        tags = f", tags {dict(self.email.tags)}" if self.email.tags else ""
        return f"to {', '.join(self.email.recipients)}: {self.email.subject!r}{tags} ({self._kept.status.state})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which emails a test means; what is None does not matter."""

    to: str | None = None
    """An address, with or without a name, among all recipients."""
    subject: str | re.Pattern[str] | None = None
    """The whole subject, or a pattern that is found in it."""
    tag: str | Mapping[str, str] | None = None
    """A tag's name, or names with their values."""

    def fits(self, email: Email) -> bool:
        """Whether it is one of them."""
        return self._fits_to(email) and self._fits_subject(email) and self._fits_tag(email)

    def _fits_to(self, email: Email) -> bool:
        if self.to is None:
            return True
        return normal_address_of("to", self.to) in map(normal_address, email.recipients)

    def _fits_subject(self, email: Email) -> bool:
        if isinstance(self.subject, re.Pattern):
            return bool(self.subject.search(email.subject))
        return self.subject in (None, email.subject)

    def _fits_tag(self, email: Email) -> bool:
        if isinstance(self.tag, Mapping):
            return self.tag.items() <= email.tags.items()
        return self.tag is None or self.tag in email.tags

    def __str__(self) -> str:
        subject = self.subject.pattern if isinstance(self.subject, re.Pattern) else self.subject
        said = {"to": self.to, "subject": subject, "tag": self.tag}
        return ", ".join(f"{name}={value!r}" for name, value in said.items() if value is not None)
