"""A letter to many, or to one: a text with places for the reader's own values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sesmail.errors import InvalidEmail
from sesmail.message import Email, Lane
from sesmail.message.addresses import bare_address, mailbox_of
from sesmail.sending.letters.folder import parts_in
from sesmail.sending.letters.lists import spellings
from sesmail.sending.letters.seen import Seen, seen
from sesmail.sending.letters.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sesmail.message import Attachment
    from sesmail.sending.letters.lists import Person

ADDRESS, UNSUBSCRIBE_URL = "email", "unsubscribe_url"
"""The values that every recipient of a batch has: the bare address, and where the reader leaves the list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """A row that cannot be mailed. It holds nothing of the row itself."""

    line: int
    problem: str


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Letter:
    """What everybody gets; `{{name}}` in subject, text and HTML stands for the reader's value, escaped in HTML.

    `{{name|there}}` stands for `there` where the value is empty, `{{email|url}}` for the value as a link may hold it.
    """

    subject: str
    text: str | None = None
    html: str | None = None
    from_email: str | None = None
    reply_to: Sequence[str] = ()
    headers: Mapping[str, str] | None = None
    attachments: Sequence[Attachment | Path] = ()
    tags: Mapping[str, str] | None = None
    metadata: Mapping[str, Any] | None = None
    """A JSON object of your own, handed to your receivers of signals with every email of it."""
    configuration_set: str | None = None
    lane: Lane | str | None = None
    """Without one, a letter to many is `bulk`, and one `email` is `transactional`."""
    verbatim: bool = False
    """Whether placeholders of other systems are text like any other."""
    jinja: bool = False
    """Whether subject, text and HTML are Jinja templates (`pip install 'sesmail[jinja]'`), rendered in its sandbox."""

    @classmethod
    def from_folder(cls, folder: str | Path, name: str, *, language: str | None = None, **more: Any) -> Self:
        """Read `NAME.subject.txt` and `NAME.txt` or `NAME.html`, or both, in UTF-8; `more` are arguments as above.

        With a `language` such as `de-AT`, they are read from the folder `de-AT` in it, or from `de`, or, where neither
        has the letter, from the folder itself; all from one of them. Raises `ConfigurationError` where there is none.
        """
        return cls(**(parts_in(Path(folder), name, language) | more))

    @property
    def texts(self) -> Texts:
        """What is written in it."""
        return Texts(subject=self.subject, text=self.text, html=self.html, jinja=self.jinja)

    def columns(self) -> set[str]:
        """The values that it uses."""
        return self.texts.names()

    def check(self, columns: Sequence[str]) -> None:
        """See that the letter itself can be sent to a list with these columns, whatever its rows hold.

        Raises `ConfigurationError` when it uses a column that the list does not have, or placeholders of another
        system, and `InvalidEmail` for what would be wrong in everybody's email.
        """
        self.texts.check(columns, verbatim=self.verbatim)
        self.to_nobody()

    def to_nobody(self) -> Email:
        """The letter as an email without recipients, its places as they stand. Raises `InvalidEmail`."""
        email = Email(None, self.subject, self.text, self.html, **self._terms(Lane.BULK))
        if email.text is None and email.html is None:  # which an alert may be, but no letter
            raise InvalidEmail("text", "there is no body in it")
        return email

    def email(self, address: str, context: Mapping[str, object] | None = None, **more: Any) -> Email:
        """The email to one reader, to send or to look at; `more` are arguments of `Email` beside or instead.

        Raises `ConfigurationError` where the letter uses a value that is not in `context`, or is no template, and
        `InvalidEmail`.
        """
        values = {ADDRESS: bare_address(mailbox_of("to", address)), **(context or {})}
        self.texts.check(sorted(values), verbatim=self.verbatim)
        return self.filled(address, values, **more)

    def filled(self, address: str, values: Mapping[str, object], **more: Any) -> Email:
        """As `email`, of a letter that has been checked."""
        subject, text, html = self.texts.filled(values)
        made = Email(address, subject, text, html, **(self._terms(Lane.TRANSACTIONAL) | more))
        if made.text is None and made.html is None:
            raise InvalidEmail("text", "there is no body in it")
        return made

    def _terms(self, lane: Lane) -> dict[str, Any]:
        return {
            "from_email": self.from_email,
            "reply_to": self.reply_to,
            "headers": self.headers,
            "attachments": self.attachments,
            "tags": self.tags,
            "metadata": self.metadata,
            "configuration_set": self.configuration_set,
            "lane": self.lane or lane,
        }


def other_keys(address: str, key: str) -> list[str]:
    """The idempotency keys by which earlier releases, that made a send of each row, may know the one to an address."""
    return [f"{key}:{spelling}" for spelling in sorted(spellings(address))]


def check(letter: Letter, people: Iterable[Person]) -> Iterator[Person | BadRow]:
    """Each row, or what is wrong with it: made into its email once, so that nothing is found out half-way.

    A mailbox that stands twice in the list, however it is spelt, is mailed once.
    """
    with seen() as mailboxes:
        for person in people:
            problem = person.problem or _problem(letter, person, mailboxes)
            yield BadRow(line=person.line, problem=problem) if problem else person


_A_URL = "https://example.com/"


def _problem(letter: Letter, person: Person, mailboxes: Seen) -> str:
    try:
        letter.filled(person.address, {ADDRESS: person.address, UNSUBSCRIBE_URL: _A_URL, **person.values})
    except InvalidEmail as error:
        return f"{error.field}: {error.problem}" + (f" ({error.limit})" if error.limit else "")
    line = mailboxes.first_line(person.mailbox, person.line)
    return "" if line == person.line else f"the same address stands in line {line}"
