"""Messages as Flask-Mail has them, for applications that come from it; `.delay` takes the same without them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from sesmail.message import Attachment, Email

if TYPE_CHECKING:
    from sesmail.testing.outbox import SesOutbox

Mailbox: TypeAlias = "str | tuple[str, str]"
"""An address, or a name and an address."""


@dataclass(kw_only=False, repr=False)
class Message:
    """One email, as Flask-Mail's `Message`: https://flask-mail.readthedocs.io/

    `date`, `charset`, `mail_options` and `rcpt_options` are taken and left out: SES writes the date, and text is UTF-8.
    `sesmail` are further arguments of `sesmail.Email`, such as `{"lane": "bulk"}`.
    """

    subject: str = ""
    recipients: list[Mailbox] = field(default_factory=list)
    body: str | None = None
    html: str | None = None
    alts: dict[str, str] | None = None
    sender: Mailbox | None = None
    cc: list[Mailbox] = field(default_factory=list)
    bcc: list[Mailbox] = field(default_factory=list)
    attachments: list[Any] = field(default_factory=list)
    reply_to: Mailbox | None = None
    date: Any = None
    charset: str | None = None
    extra_headers: dict[str, str] | None = None
    mail_options: Any = None
    rcpt_options: Any = None
    sesmail: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("recipients", "cc", "bcc", "attachments"):  # None, as Flask-Mail takes it
            setattr(self, name, [*(getattr(self, name) or ())])

    def add_recipient(self, recipient: Mailbox) -> None:
        """One more in `recipients`."""
        self.recipients.append(recipient)

    def attach(
        self,
        filename: str | None = None,
        content_type: str | None = None,
        data: bytes | str | None = None,
        disposition: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Add a file. Of `headers`, `Content-ID` is heeded. Raises `InvalidEmail`."""
        content_id = {name.lower(): value for name, value in (headers or {}).items()}.get("content-id")
        given = {"filename": filename, "content": data, "content_type": content_type}
        self.attachments.append(given | {"disposition": disposition, "content_id": content_id})

    def as_email(self) -> Email:
        """The email that says the same. Raises `InvalidEmail`."""
        alts = [(content, f"text/{kind}") for kind, content in (self.alts or {}).items()]
        said: dict[str, Any] = {
            "to": _written_all(self.recipients),
            "subject": self.subject,
            "text": self.body,
            "html": self.html,
            "alternatives": alts,
            "from_email": _written(self.sender) if self.sender else None,
            "cc": _written_all(self.cc),
            "bcc": _written_all(self.bcc),
            "reply_to": [_written(self.reply_to)] if self.reply_to else [],
            "headers": self.extra_headers,
            "attachments": [_attachment(each) for each in self.attachments],
        }
        return Email(**said | self.sesmail)

    @classmethod
    def of(cls, email: Email) -> Message:
        """What an email says, for tests that look at messages."""
        return cls(
            email.subject,
            recipients=[*email.to],
            body=email.text,
            html=email.html,
            sender=email.from_email,
            cc=[*email.cc],
            bcc=[*email.bcc],
            attachments=[*email.attachments],
            reply_to=email.reply_to[0] if email.reply_to else None,
            extra_headers={**email.headers},
        )


def _written_all(mailboxes: Iterable[Mailbox]) -> list[str]:
    return [_written(each) for each in mailboxes]


def _written(mailbox: Mailbox) -> str:
    if not isinstance(mailbox, tuple):
        return mailbox
    name, address = mailbox
    escaped = str(name).replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}" <{address}>'


def _attachment(given: Any) -> Any:
    """Ours as they are; those of Flask-Mail by the names that theirs have."""
    if not isinstance(given, dict) and hasattr(given, "data") and hasattr(given, "content_type"):
        given = {"filename": given.filename, "content": given.data, "content_type": given.content_type}
    if not isinstance(given, dict):
        return given
    return Attachment(
        given["filename"] or "attachment",
        given["content"] or b"",
        given["content_type"],
        content_id=given.get("content_id"),
        disposition=given.get("disposition"),
    )


class Recorded(Sequence[Message]):
    """The messages of an outbox, as they are by now: what Flask-Mail's `record_messages` gives."""

    def __init__(self, box: SesOutbox) -> None:
        self.box = box

    def __len__(self) -> int:
        return len(self.box.emails)

    def __getitem__(self, place: Any) -> Any:
        found = self.box.emails[place]
        return [*map(Message.of, found)] if isinstance(place, slice) else Message.of(found)

    def __iter__(self) -> Iterator[Message]:
        return map(Message.of, self.box.emails)
