"""A batch's letter as it is kept, and as one recipient's email."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from sesmail.errors import InvalidEmail
from sesmail.message import MAX_HEADERS, Lane
from sesmail.message.addresses import (
    MAX_ADDRESS_LENGTH,
    bare_address,
    encoded_mailbox,
    is_normal_address,
    mailbox_of,
    normal_address,
)
from sesmail.message.email import MAX_SUBJECT_LENGTH
from sesmail.message.record import attach, detach
from sesmail.sending.letters.letter import ADDRESS, UNSUBSCRIBE_URL
from sesmail.sending.letters.texts import Texts
from sesmail.ses.bulk import Entry
from sesmail.ses.form import Form, Marks
from sesmail.state.ledger.newer import Newer
from sesmail.unsubscribe.links import Unsubscription, one_click_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sesmail.message import Email
    from sesmail.sending.letters.placeholders import Maker
    from sesmail.sending.letters.texts import SesTexts
    from sesmail.unsubscribe import UnsubscribeLinks

VERSION = 2
"""Of the form in which a letter is kept. One that SES fills in, former releases would fill in by themselves."""
OF_OTHERS = 1
"""What stands in all other letters, which former releases can send."""
OF_BULK_CALL = frozenset(
    {
        "ConfigurationOverrides",
        "EndpointId",
        "FeedbackForwardingEmailAddress",
        "FeedbackForwardingEmailAddressIdentityArn",
        "FromEmailAddressIdentityArn",
        "TenantName",
    }
)
"""What SendBulkEmail has of what an email may say to SES besides."""
MOST_TEXT = 400_000
"""Characters of a letter that goes as an inline template; SES takes 500 KB."""
OWN = frozenset({"headers", "tags", "metadata"})
"""What a recipient may have of its own, beside values."""
_UNUSUAL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST_URL = 900


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class LetterForm:
    """A letter's request of SES for one reader, with gaps, and how a reader's values are made ready for them."""

    form: Form
    made: Mapping[str, Maker]

    def filled(self, known: Mapping[str, str], mailbox: str, send_id: str) -> bytes:
        """The request for one reader; `known` are the values that the letter uses."""
        to = mailbox if is_normal_address(mailbox) else encoded_mailbox(mailbox_of("to", mailbox))
        values = {name: make(known) for name, make in self.made.items()}
        return self.form.filled(values | {"to": to, "id": send_id, "url": known[UNSUBSCRIBE_URL]})


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class WrittenLetter:
    """What everybody gets, with its placeholders, and what each row has to say."""

    email: Email
    """To nobody; its texts have places for values."""
    columns: tuple[str, ...]
    """The values of a row, in this order; behind them may stand what else is its own, of `OWN`."""
    has_door: bool
    """Whether each email says by its headers how to leave the list."""
    jinja: bool = False
    """Whether its texts are Jinja templates."""
    by_ses: bool = False
    """Whether they are a template that SES fills in."""
    redirect_to: tuple[str, ...] = ()
    redirect_except_domains: tuple[str, ...] = field(default=())

    @property
    def texts(self) -> Texts:
        """What is written in it."""
        email = self.email
        return Texts(subject=email.subject, text=email.text, html=email.html, jinja=self.jinja, by_ses=self.by_ses)

    def is_usual(self, row: Sequence[Any]) -> bool:
        """Whether nothing that a row's texts hold can be in the way of the email; not for rows of Jinja templates."""
        if len(row) > 1 + len(self.columns):
            return False
        joined = "".join(row)
        return len(joined) <= MAX_SUBJECT_LENGTH - len(self.email.subject) - MAX_ADDRESS_LENGTH and not _UNUSUAL.search(
            joined
        )

    def known(self, row: Sequence[Any], url: str) -> dict[str, Any]:
        """The values that one reader's email may use."""
        known = dict(zip(self.columns, row[1:], strict=False))
        known[ADDRESS], known[UNSUBSCRIBE_URL] = bare_address(row[0]), url
        return known

    def for_one(self, row: Sequence[Any], *, url: str, headers: Mapping[str, str]) -> Email:
        """The email to one recipient, from its mailbox and what follows. Raises `InvalidEmail`."""
        mailbox, count = row[0], 1 + len(self.columns)
        known = self.known(row, url)
        subject, text, html = ("", None, None) if self.by_ses else self.texts.filled(known)
        own = row[count] if len(row) > count else {}
        email = self.email.personal(
            mailbox,
            subject=subject,
            text=text,
            html=html,
            template=self._template_of(known) if self.by_ses else None,
            headers={**own.get("headers", {}), **headers},
            tags=own.get("tags"),
            metadata=own.get("metadata"),
        )
        if not self.redirect_to:
            return email
        return email.redirected(self.redirect_to, except_domains=self.redirect_except_domains)

    def _template_of(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """What SES is to fill in for one recipient, as SendEmail has it."""
        email, texts = self.email, cast("SesTexts", self.texts.for_ses())
        said = {"Subject": email.subject, "Text": email.text, "Html": email.html}
        content = {name: text for name, text in said.items() if text is not None}
        return {"TemplateContent": content, "TemplateData": json.dumps(texts.values(known), ensure_ascii=False)}

    def form(self) -> LetterForm | None:
        """What SES is asked for each by a call of its own, written already; None where each is another email."""
        email = self.email
        if email.lane is not Lane.BULK or self.jinja or self.by_ses or self.redirect_to:
            return None
        marks = Marks()
        texts, made = self.texts.marked(marks.of)
        if any(part and not "".join(marks.cut(part)[0]) for part in (texts.text, texts.html)):
            return None  # values alone: where they are empty, it has no such body
        headers = one_click_headers(marks.of("url")) if self.has_door else {}
        try:
            to = marks.mailbox("to")
            marked = email.personal(to, subject=texts.subject, text=texts.text, html=texts.html, headers=headers)
        except InvalidEmail:  # too long with the marks
            return None
        form = Form.of(marked, marks.of("id"), marks)
        return LetterForm(form=form, made=made) if form else None

    def for_ses(self) -> SesTexts | None:
        """Its texts as SES itself can fill them in for several at once; None where each needs a call of its own."""
        email = self.email
        is_plain = not email.attachments and not email.alternatives and not self.redirect_to
        has_room = len(email.headers) < MAX_HEADERS - 2 and len(email.html or "") + len(email.text or "") < MOST_TEXT
        has_body = email.html is not None or email.text is not None
        if (
            email.lane is not Lane.BULK
            or not is_plain
            or not has_body
            or not has_room
            or email.ses.keys() - OF_BULK_CALL
        ):
            return None
        return self.texts.for_ses()

    def entry(
        self, texts: SesTexts, row: Sequence[Any], *, send_id: str, url: str, headers: Mapping[str, str]
    ) -> Entry:
        """One recipient of a call for several, whose row was checked when it was queued."""
        count = 1 + len(self.columns)
        own = row[count] if len(row) > count else {}
        return Entry(
            send_id=send_id,
            mailbox=row[0],
            values=texts.values(self.known(row, url)),
            headers={**own.get("headers", {}), **headers},
            tags=own.get("tags") or {},
        )

    def pack(self) -> bytes:
        """As it is kept: compressed JSON."""
        record, parts = detach(self.email)
        said: dict[str, Any] = {
            "v": VERSION if self.by_ses else OF_OTHERS,
            "email": record,
            "parts": [b64encode(part).decode() for part in parts],
        }
        said |= {"columns": self.columns, "door": self.has_door}
        said["jinja"] = self.jinja
        said |= {"by_ses": True} if self.by_ses else {}
        said |= {"redirect_to": self.redirect_to, "redirect_except": self.redirect_except_domains}
        return zlib.compress(json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode())

    @classmethod
    def unpack(cls, packed: bytes) -> WrittenLetter:
        """It again. Raises `Newer` for one of a newer release."""
        said = json.loads(zlib.decompress(packed))
        if said["v"] > VERSION:
            raise Newer("its letter", said["v"], VERSION)
        return cls(
            email=attach(said["email"], [*map(b64decode, said["parts"])]),
            columns=tuple(said["columns"]),
            has_door=said["door"],
            jinja=said["jinja"],
            by_ses=said.get("by_ses", False),
            redirect_to=tuple(said["redirect_to"]),
            redirect_except_domains=tuple(said["redirect_except"]),
        )


def own_way_off(
    row: Sequence[Any], *, site: str, list_name: str, links: Callable[[], UnsubscribeLinks], send_id: str
) -> tuple[str, dict[str, str]]:
    """The reader's own link off the list, and the headers that say it."""
    recipient = normal_address(bare_address(row[0]))
    url = links().link(Unsubscription(site=site, recipient=recipient, list=list_name, send_id=send_id))
    return url, one_click_headers(url)


def personal(
    letter: WrittenLetter,
    row: Sequence[Any],
    *,
    site: str,
    list_name: str,
    links: Callable[[], UnsubscribeLinks],
    send_id: str = "",
) -> Email:
    """The email to one recipient, with the reader's own way off the list. Raises `InvalidEmail`."""
    if not letter.has_door:
        return letter.for_one(row, url="", headers={})
    url, headers = own_way_off(row, site=site, list_name=list_name, links=links, send_id=send_id)
    return letter.for_one(row, url=url, headers=headers)


def digest_of(packed: bytes) -> str:
    """By which workers know that they have read it."""
    return hashlib.sha256(packed).hexdigest()[:32]
