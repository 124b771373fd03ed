"""An email, valid from birth: whatever constructs, SES takes.

boto3 checks almost none of SES's limits, so they are all checked here, before anything is queued. One `InvalidEmail`
names the field, what is wrong with its value and the limit; it never repeats the value, because addresses, subjects and
bodies do not belong in logs.

    Email("Ann <ann@example.org>", "Your receipt", "Thank you.", "<p>Thank you.</p>", from_email="shop@example.com")

Every argument may also be what JSON has for it, so a client in any language can post `Email`'s keywords:

    send_at, expires_at    "2027-01-31T09:00:00+01:00"      (ISO 8601 with an offset)
    attachments            [{"filename": "a.pdf", "content_base64": "JVBE...", "content_type": "application/pdf"}]

The limits are those of SES v2: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html and
https://docs.aws.amazon.com/ses/latest/dg/quotas.html
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from sesmail.accounts import DEFAULT
from sesmail.errors import InvalidEmail
from sesmail.frames import shows_no_email
from sesmail.message import mime
from sesmail.message.addresses import (
    MAX_RECIPIENTS,
    bare_address,
    folded,
    mailbox_of,
    mailboxes,
    normal_address,
)
from sesmail.message.alternative import alternatives_of, bodies_and_others
from sesmail.message.fields import (
    Lane,
    account_of,
    configuration_set_of,
    either,
    fill,
    idempotency_key_of,
    lane_of,
    metadata_of,
    moment_of,
    tags_of,
)
from sesmail.message.from_message import arguments_of
from sesmail.message.given import attachments_of
from sesmail.message.headers import MAX_HEADERS, NOTHING, headers_of
from sesmail.message.plain import AUTO, plain_text
from sesmail.message.reading import MAX_ENCODED_BYTES
from sesmail.message.ses_members import names_of, ses_members_of
from sesmail.message.shown import with_dispositions
from sesmail.message.text import body, line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sesmail.message.addresses import Addresses
    from sesmail.message.alternative import Alternative, AlternativeLike
    from sesmail.message.attachment import Attachment
    from sesmail.message.given import AttachmentLike

MAX_SUBJECT_LENGTH = 998 - len("Subject: ")
"""One line of a message: RFC 5322 §2.1.1."""
MAX_TEMPLATE_HEADERS = 14
"""Beside a template of SES's, which takes fifteen: one is ours."""
REDIRECTED_HEADER = "X-Sesmail-Redirected-From"
"""Who an email was for that was redirected on a staging site."""
MAX_REDIRECTED_LENGTH = 900
MAX_NAMED_LENGTH = 300
"""Of those named in the subject; an address has 254 characters at most."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Email:
    """One email. Immutable; compared by value, but not hashable: a send is known by its id. `repr` is not personal."""

    to: tuple[str, ...]
    """Who gets it: `ann@example.org`, `Ann <ann@example.org>`, or several in a list, who see each other. Together with
    `cc` and `bcc` 1 to 50; who stands twice, in whatever spelling, gets it once, where he stands first. An address has
    at most 254 characters, 64 of them before the @; its domain is kept in lower-case ASCII, by IDNA 2008 and UTS 46. A
    name that makes it longer than SES's 320 bytes, as encoded for a header, is shortened; a line of the log says so.
    `None` makes a letter of it, which `send_batch` alone takes."""
    subject: str
    """One line of at most 989 characters. It may be empty."""
    text: str | None
    """The body as plain text, without control characters, which mean nothing to a reader; `"auto"` makes it from `html`
    (`pip install 'sesmail[text]'`). Without any body, an empty one is sent."""
    html: str | None
    """The body as HTML, which most readers see instead of `text`."""
    alternatives: tuple[Alternative, ...]
    """Other forms of the text, at most 10, each as `(content, mimetype)` as in Django:
    `[(invitation, "text/calendar; method=REQUEST")]`. They travel in the order that readers expect: plain text, AMP and
    others, HTML, calendar."""
    from_email: str | None
    """The sender, of a domain or an address that SES has verified. Without it, SESMAIL_FROM_EMAIL."""
    cc: tuple[str, ...]
    """Who gets a copy; everybody sees it."""
    bcc: tuple[str, ...]
    """Who gets a copy; nobody sees it."""
    reply_to: tuple[str, ...]
    """Where answers go, instead of to the sender: at most 50."""
    headers: Mapping[str, str]
    """Headers of your own: at most 15, each at most 996 characters with its name, none that SES sets itself, such as
    `Subject` or `Date`. Numbers are taken as they are written. Values that are not ASCII are encoded on the way out
    (RFC 2047): of those with addresses, such as `Sender`, and of `List-Id` the names alone; those with URLs or ids must
    be ASCII. Of a long `References` the first and the last ids are kept."""
    attachments: tuple[Attachment, ...]
    """Files, at most 495, each as `Attachment`, `(filename, content, mimetype)` as in Django, `pathlib.Path`, bytes, an
    open file or an upload of Django's or Flask's, an `email.message` part, which is carried as it is, a whole email,
    which is forwarded as `message/rfc822`, or a mapping with `filename`, `content` (text) or `content_base64`,
    `content_type`, `content_id`, `disposition`. Files are read at once. The whole email has at most 40 MiB as encoded
    for sending."""
    tags: Mapping[str, str]
    """SES's message tags; they come back with every event. At most 49; names and values of 1 to 256 letters, digits, _
    and -, or numbers. `["newsletter"]` is short for `{"newsletter": "1"}`. The tag `sesmail-list` names the list that
    the email goes to: rates are counted by it, and readers may leave it alone."""
    _metadata: dict[str, Any]
    """A JSON object of your own, kept with the send and handed to your receivers of signals; SES never gets it. At most
    16384 bytes as JSON, 20 levels deep."""
    configuration_set: str | None
    """SES's configuration set, a name of 1 to 64 letters, digits, _ and -. Without it, SESMAIL_CONFIGURATION_SET."""
    ses: Mapping[str, Any]
    """What else SES takes with an email, by the names of its `SendEmail`: `{"TenantName": "shop-17"}`,
    `FeedbackForwardingEmailAddress`, `FromEmailAddressIdentityArn`, `ListManagementOptions`, and what botocore's model
    of SES knows besides; at most 4096 bytes as JSON. What it leaves open, SESMAIL_SES says. One of SES's own
    templates, `{"Content": {"Template": {"TemplateName": "welcome", "TemplateData": "{}"}}}`, stands in place of
    subject, bodies and files, with at most 14 headers and 262144 characters of data."""
    account: str | None
    """The SES account that it goes through, one of SESMAIL_ACCOUNTS. Without it, that of its sender's domain, or of its
    lane, or `default`."""
    lane: Lane
    """Which queue it waits in: `transactional` goes first, `bulk` gives way to it."""
    send_at: datetime | None
    """When it goes out at the earliest: an aware datetime, or ISO 8601 with an offset. Kept in UTC."""
    expires_at: datetime | None
    """When it is worth nothing any more, written as `send_at` is and after it: what no worker has taken by then ends as
    `expired`."""
    idempotency_key: str | None
    """A text of 1 to 256 characters that stands for this email on this site: the same key again answers the first send
    and makes none, for as long as SESMAIL_IDEMPOTENCY_SECONDS says. With other readers, sender, subject, bodies or
    files it is refused (`IdempotencyConflict`); times, lane, headers, tags and metadata may differ."""

    __hash__ = None  # type: ignore[assignment]  # mappings are not hashable, and nobody needs a set of emails

    @shows_no_email
    def __init__(
        self,
        to: Addresses | None,
        subject: str,
        text: str | None = None,
        html: str | None = None,
        *,
        from_email: str | None = None,
        cc: Addresses = (),
        bcc: Addresses = (),
        reply_to: Addresses = (),
        headers: Mapping[str, str | float] | None = None,
        alternatives: Iterable[AlternativeLike] | AlternativeLike = (),
        attachments: Iterable[AttachmentLike] | AttachmentLike = (),
        tags: Mapping[str, str | int] | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        configuration_set: str | None = None,
        ses: Mapping[str, Any] | None = None,
        account: str | None = None,
        lane: Lane | str = Lane.TRANSACTIONAL,
        send_at: datetime | str | None = None,
        expires_at: datetime | str | None = None,
        idempotency_key: str | None = None,
        message: str | None = None,
        html_message: str | None = None,
    ) -> None:
        """Check everything and keep it: what each argument is and may be stands at the field of its name.

            message       Django's word for `text`.
            html_message  Django's word for `html`.

        Raises `InvalidEmail` for any value that SES would not take.
        """
        is_letter = to is None
        to, cc, bcc = folded(mailboxes("to", to), mailboxes("cc", cc), mailboxes("bcc", bcc))
        text, html, others = bodies_and_others(
            body("text", either("text", text, "message", message)),
            body("html", either("html", html, "html_message", html_message)),
            alternatives_of(alternatives),
        )
        if text == AUTO and html is not None:
            text = body("text", plain_text(html))
        fill(
            self,
            to=to,
            subject=line("subject", subject, MAX_SUBJECT_LENGTH, least=0),
            text=text,
            html=html,
            alternatives=others,
            from_email=None if from_email is None else mailbox_of("from_email", from_email),
            cc=cc,
            bcc=bcc,
            reply_to=mailboxes("reply_to", reply_to),
            headers=headers_of(headers),
            attachments=with_dispositions(attachments_of(attachments), html),
            tags=tags_of(tags),
            _metadata=metadata_of(metadata),
            configuration_set=configuration_set_of(configuration_set),
            ses=ses_members_of(ses),
            account=account_of(account),
            lane=lane_of(lane),
            send_at=moment_of("send_at", send_at),
            expires_at=moment_of("expires_at", expires_at),
            idempotency_key=idempotency_key_of(idempotency_key),
        )
        _check_as_a_whole(self, least=0 if is_letter else 1)

    @property
    def metadata(self) -> dict[str, Any]:
        """Your own JSON object, kept with the send: a fresh copy each time."""
        return deepcopy(self._metadata) if self._metadata else {}

    @property
    def recipients(self) -> tuple[str, ...]:
        """The bare addresses of `to`, `cc` and `bcc`, in this order. SES counts its limits in these."""
        return tuple(map(bare_address, (*self.to, *self.cc, *self.bcc)))

    @property
    def recipient_count(self) -> int:
        """How many recipients SES will count."""
        return len(self.to) + len(self.cc) + len(self.bcc)

    @property
    def sender_domain(self) -> str:
        """The domain of `from_email`; empty while there is none."""
        return bare_address(self.from_email or "").rpartition("@")[2]

    @property
    def named(self) -> dict[str, str]:
        """What of the account at SES it goes out by, by kind: where SES refuses one of these, the others go on."""
        own = {"identity": self.sender_domain, "configuration-set": self.configuration_set or ""}
        return {kind: name for kind, name in own.items() if name} | (names_of(self.ses) if self.ses else {})

    def with_defaults(
        self,
        *,
        from_email: str | None = None,
        configuration_set: str | None = None,
        ses: Mapping[str, Any] | None = None,
    ) -> Self:
        """Fill in what this email leaves open. Raises `InvalidEmail` for a bad default."""
        missing: dict[str, Any] = {}
        if self.from_email is None and from_email is not None:
            missing["from_email"] = _usual_sender(from_email)
        if self.configuration_set is None and configuration_set is not None:
            missing["configuration_set"] = configuration_set_of(configuration_set)
        if ses and ses.keys() - self.ses.keys():
            missing["ses"] = MappingProxyType({**ses_members_of(ses), **self.ses})
        if not missing:
            return self
        return self._with(**missing)

    def at_account(self, account: str) -> Self:
        """The same email with the account that it goes through; none stands for `default`."""
        name = None if account == DEFAULT else account
        return self if self.account == name else self._with(account=name)

    def sent_with(self, *, configuration_set: str | None, ses: Mapping[str, Any]) -> Self:
        """The same email under another configuration set, with other members of SES's `SendEmail`."""
        return self._with(configuration_set=configuration_set, ses=MappingProxyType({**ses}) if ses else NOTHING)

    def without(self, addresses: Collection[str]) -> Self:
        """The same email, but not to these bare addresses, in whatever spelling they are."""
        left_out = set(map(normal_address, addresses))

        def remaining(mailboxes: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(mailbox for mailbox in mailboxes if bare_address(mailbox).lower() not in left_out)

        return self._with(to=remaining(self.to), cc=remaining(self.cc), bcc=remaining(self.bcc))

    def personal(
        self,
        to: str,
        *,
        subject: str,
        text: str | None,
        html: str | None,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        template: Mapping[str, Any] | None = None,
    ) -> Self:
        """The same email to one mailbox, with texts of its own and these `headers`, `tags` and `metadata` besides.

        A `template` that SES is to fill in, with its data, stands in place of texts.
        What is new is checked as in any email, what is common to all has been. Raises `InvalidEmail`.
        """
        changed = self._with(
            to=mailboxes("to", to),
            subject=line("subject", subject, MAX_SUBJECT_LENGTH, least=0),
            text=body("text", text),
            html=body("html", html),
            headers=headers_of({**self.headers, **headers}) if headers else self.headers,
            tags=tags_of({**self.tags, **tags}) if tags else self.tags,
            _metadata=metadata_of({**self._metadata, **metadata}) if metadata else self._metadata,
            ses=ses_members_of({**self.ses, "Content": {"Template": template}}) if template else self.ses,
        )
        _check_as_a_whole(changed)
        return changed

    def redirected(self, to: Collection[str], *, except_domains: Collection[str] = ()) -> Self:
        """The same email to other addresses, for staging: who it was for stands in the subject and in a header.

        Recipients in `except_domains` stay; an email to none but them stays as it is. Raises `InvalidEmail` for an
        address or a domain that is none.
        """
        kept_domains = {bare_address(mailbox_of("redirect_except_domains", f"x@{each}"))[2:] for each in except_domains}
        away = [address for address in self.recipients if address.rpartition("@")[2] not in kept_domains]
        if not away:
            return self
        kept = self.without(away)
        _, instead = folded(kept.recipients, mailboxes("redirect_to", to))
        return self._with(
            to=(*kept.to, *instead[: MAX_RECIPIENTS - kept.recipient_count]),
            cc=kept.cc,
            bcc=kept.bcc,
            subject=f"[for {_listed(away, MAX_NAMED_LENGTH)}] {self.subject}"[:MAX_SUBJECT_LENGTH],
            headers=_with_header(self.headers, REDIRECTED_HEADER, _listed(away, MAX_REDIRECTED_LENGTH)),
        )

    # -- as a value -------------------------------------------------------------------------------------------------

    @classmethod
    @shows_no_email
    def from_message(cls, message: object, **more: Any) -> Self:
        """Take what a message of Django's or of Python's `email` package says, and `more` arguments beside or instead.

        Of Django's: `EmailMessage`, `EmailMultiAlternatives` and what anymail adds (`tags`, `metadata`, `send_at`). All
        that is carried is carried as it is. Raises `InvalidEmail`, also for what SES would set itself or cannot do.
        """
        return cls(**(arguments_of(message) | more))

    def as_bytes(self) -> bytes:
        """The MIME message, as readers get it but for `Date` and `Message-ID`, which SES sets. `Bcc` is not in it."""
        return mime.build(self)

    @shows_no_email
    def replace(self, **changes: Any) -> Self:
        """The same email with other values for these arguments, such as `subject`. Raises `InvalidEmail`."""
        kept = self._arguments()
        kept["to"] = kept["to"] or None
        for name, alias in (("text", "message"), ("html", "html_message")):
            if alias in changes:
                del kept[name]
        return type(self)(**(kept | changes))

    __replace__ = replace  # copy.replace, of Python 3.13

    def _arguments(self) -> dict[str, Any]:
        return {each.name.lstrip("_"): getattr(self, each.name) for each in fields(self)}

    def _with(self, **changes: object) -> Self:
        changed = object.__new__(type(self))
        fill(changed, **dict(zip(_NAMES, _values(self), strict=True)) | changes)
        return changed

    def __copy__(self) -> Self:
        return self  # nothing in it can change

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        values = self._arguments() | {name: {**getattr(self, name)} for name in ("headers", "tags", "ses")}
        return _put_together, (type(self), values)

    def __repr__(self) -> str:
        bodies = "+".join(name for name in ("text", "html") if getattr(self, name))
        return f"<Email {self.lane}, {self.recipient_count} recipients, {bodies}, {len(self.attachments)} attachments>"


_NAMES = tuple(each.name for each in fields(Email))
_values = attrgetter(*_NAMES)


@lru_cache(maxsize=64)
def _usual_sender(from_email: str) -> str:
    """The mailbox of a sender that many emails leave to the settings."""
    return mailbox_of("from_email", from_email)


def _listed(addresses: Sequence[str], most: int) -> str:
    """As many addresses as fit, and how many more there are."""
    named = list(addresses)
    while len(text := ", ".join(named)) > most and len(named) > 1:
        named.pop()
    return text if len(named) == len(addresses) else f"{text} and {len(addresses) - len(named)} more"


def _with_header(headers: Mapping[str, str], name: str, value: str) -> Mapping[str, str]:
    """With one more header, or with this one instead of another of that name; without it where there is no room."""
    others = {each: content for each, content in headers.items() if each.lower() != name.lower()}
    return headers_of({**others, name: value}) if len(others) < MAX_HEADERS else headers


def _check_as_a_whole(email: Email, *, least: int = 1) -> None:
    if not least <= email.recipient_count <= MAX_RECIPIENTS:
        problem = f"has {email.recipient_count} recipients, cc and bcc included"
        raise InvalidEmail("to", problem, f"1 to {MAX_RECIPIENTS}; better send one email to each")
    if "Content" in email.ses:
        _check_beside_template(email)
    if email.send_at and email.expires_at and email.expires_at <= email.send_at:
        raise InvalidEmail("expires_at", "is not after send_at")
    if (size := _encoded_size(email)) > MAX_ENCODED_BYTES:
        largest = "attachments" if email.attachments else "html" if email.html else "text"
        raise InvalidEmail(
            largest, f"the email has {size} bytes as encoded for sending", f"at most {MAX_ENCODED_BYTES}"
        )


def _check_beside_template(email: Email) -> None:
    for name in ("subject", "text", "html", "alternatives", "attachments"):
        if getattr(email, name):
            raise InvalidEmail(name, "stands beside a template of SES's, which says all of the email", "an empty one")
    if len(email.headers) > MAX_TEMPLATE_HEADERS:
        problem = f"has {len(email.headers)} headers beside a template of SES's"
        raise InvalidEmail("headers", problem, f"at most {MAX_TEMPLATE_HEADERS}")


def _put_together(kind: type[Email], values: dict[str, Any]) -> Email:
    """What `pickle` calls: values that have been checked, put back."""
    email = object.__new__(kind)
    mappings = {name: MappingProxyType(values.pop(name)) for name in ("headers", "tags")}
    fill(email, _metadata=values.pop("metadata"), **values, **mappings)
    return email


def _encoded_size(email: Email) -> int:
    """An upper estimate of what SES will count: everything in base64, and its headers."""
    bodies = [len(body.encode()) for body in (email.text, email.html) if body]
    attached = [len(each.content) for each in email.attachments]
    contents = [*bodies, *attached, *(len(each.content) for each in email.alternatives)]
    headers = sum(len(name) + 6 * len(value) for name, value in email.headers.items())
    return sum(map(_base64_size, contents)) + headers + 1_000 * (len(contents) + email.recipient_count + 5)


def _base64_size(count: int) -> int:
    characters = -(-count // 3) * 4
    return characters + characters // 76 * len("\r\n")
