"""One email that a call asks SES to send, after validation, whichever API and form it came in."""

from __future__ import annotations

from dataclasses import dataclass, field

MAILBOX_SIMULATOR = "@simulator.amazonses.com"
"""AWS's domain of addresses that a sender may try things out on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file in an email."""

    filename: str
    content_type: str
    content: bytes
    disposition: str = "ATTACHMENT"
    content_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an email says: its parts, or the MIME message (`raw`) that came instead of them."""

    subject: str = ""
    text: str | None = None
    html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()
    raw: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """Its size, as far as it is known without building a message."""
        if self.raw is not None:
            return len(self.raw)
        letters = len(self.subject) + len(self.text or "") + len(self.html or "")
        return letters + sum(len(attachment.content) for attachment in self.attachments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A valid email: who sends it, to whom, what it says, and how it is to be tracked."""

    operation: str
    source: str
    """The sender as given, perhaps with a display name."""
    sender: str
    """The sender's bare address."""
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    written: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The headers of its addresses as they were given, with names."""
    content: Content
    tags: dict[str, str] = field(default_factory=dict)
    configuration_set: str | None = None
    tenant: str | None = None
    sent_as: tuple[tuple[str, str], ...] = ()
    """Addresses with the ARN of the identity by which each is sent as: of the sender, of where feedback goes."""
    untracked: frozenset[str] = frozenset()
    """What is not to be told of it: `open`, `click`."""
    template_name: str | None = None
    rendering_failure: str | None = None
    """Why the template could not be filled in. SES accepts it, then publishes an event instead of sending."""
    source_ip: str = "127.0.0.1"

    @property
    def addressing(self) -> tuple[tuple[str, str], ...]:
        """The headers that SES makes of the addresses; Bcc makes none."""
        lists = self.written or (("To", self.to), ("Cc", self.cc), ("Reply-To", self.reply_to))
        return ("From", self.source), *((name, ", ".join(addresses)) for name, addresses in lists if addresses)

    @property
    def recipients(self) -> tuple[str, ...]:
        """All bare addresses."""
        return self.to + self.cc + self.bcc

    @property
    def counted_in_quota(self) -> int:
        """How many recipients use up the daily quota: the mailbox simulator's addresses do not."""
        return sum(not is_to_mailbox_simulator(recipient) for recipient in self.recipients)


def is_to_mailbox_simulator(address: str) -> bool:
    """Whether mail to an address is played with by SES, and delivered to nobody."""
    return address.lower().endswith(MAILBOX_SIMULATOR)
