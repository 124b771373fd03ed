"""A letter to a list: one email a row, with the row's own values in it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sesmail.errors import ConfigurationError, InvalidEmail
from sesmail.message import Email, Lane
from sesmail.sending.letters.lists import Person
from sesmail.sending.letters.placeholders import filled, foreign_placeholders, misspelt_placeholders, placeholders
from sesmail.sending.letters.seen import Seen, seen
from sesmail.unsubscribe.links import one_click_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sesmail.message import Attachment

SHOWN_PLACEHOLDERS = 10
UNSUBSCRIBE_URL = "unsubscribe_url"


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """A row that cannot be mailed. It holds nothing of the row itself."""

    line: int
    problem: str


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Letter:
    """What everybody gets; `{{column}}` in subject, text and HTML stands for the row's value, escaped in HTML."""

    subject: str
    text: str | None = None
    html: str | None = None
    from_email: str | None = None
    reply_to: Sequence[str] = ()
    headers: Mapping[str, str] | None = None
    attachments: Sequence[Attachment | Path] = ()
    tags: Mapping[str, str] | None = None
    configuration_set: str | None = None
    lane: Lane = Lane.BULK
    verbatim: bool = False
    """Whether placeholders of other systems are text like any other."""
    unsubscribe: Callable[[str], str] | None = None
    """Makes the link by which an address leaves the letter's list; it is in two headers, and is {{unsubscribe_url}}."""

    def columns(self) -> set[str]:
        """The columns that it uses."""
        return set[str]().union(*map(placeholders, self._parts()))

    def check(self, columns: Sequence[str], key: str) -> None:
        """See that the letter itself can be sent to a list with these columns, whatever its rows hold.

        Raises `ConfigurationError` when it uses a column that the list does not have, or placeholders of another
        system, and `InvalidEmail` for what would be wrong in everybody's email.
        """
        self._refuse_foreign(columns)
        self._refuse_misspelt()
        own = {UNSUBSCRIBE_URL} if self.unsubscribe else set()
        if missing := self.columns() - set(columns) - own:
            raise ConfigurationError(
                f"The letter uses {', '.join(f'{{{{{name}}}}}' for name in sorted(missing))}, but the list has no such "
                f"column (it has {', '.join(filter(None, columns))}). Nothing was queued."
            )
        self.email(Person(line=1, address="a@example.org", values=dict.fromkeys(columns, "x")), key)

    def email(self, person: Person, key: str) -> Email:
        """The email to one person; `key` with their address is its idempotency key. Raises `InvalidEmail`."""
        link = self.unsubscribe(person.mailbox) if self.unsubscribe else ""
        values = person.values if not link else {UNSUBSCRIBE_URL: link, **person.values}
        email = Email(
            person.address,
            filled(self.subject, values, str),
            None if self.text is None else filled(self.text, values, str),
            None if self.html is None else filled(self.html, values, html.escape),
            from_email=self.from_email,
            reply_to=self.reply_to,
            headers={**(self.headers or {}), **(one_click_headers(link) if link else {})} or None,
            attachments=self.attachments,
            tags=self.tags,
            configuration_set=self.configuration_set,
            lane=self.lane,
            idempotency_key=f"{key}:{person.mailbox}",
        )
        if email.text is None and email.html is None:  # which an alert may be, but no letter to a list
            raise InvalidEmail("text", "there is no body in it")
        return email

    def _parts(self) -> tuple[str, str, str]:
        return self.subject, self.text or "", self.html or ""

    def _refuse_misspelt(self) -> None:
        if found := dict.fromkeys(each for part in self._parts() for each in misspelt_placeholders(part)):
            raise ConfigurationError(
                f"The letter has {', '.join([*found][:SHOWN_PLACEHOLDERS])}: behind the | stands what a row without a "
                "value gets, as {{name|there}}, or the word url, which makes the value fit for a link, as "
                "{{email|url}}. Nothing was queued."
            )

    def _refuse_foreign(self, columns: Sequence[str]) -> None:
        if self.verbatim:
            return
        found = dict.fromkeys(each for part in self._parts() for each in foreign_placeholders(part, columns))
        if found:
            shown = ", ".join(list(found)[:SHOWN_PLACEHOLDERS]) + (", ..." if len(found) > SHOWN_PLACEHOLDERS else "")
            raise ConfigurationError(
                f"The letter has {shown}: nothing is put in its place, it would go out to everybody as it stands. "
                "A column's value is written {{column}}, and there are no conditions. If it is meant to be read so, "
                "say --verbatim. Nothing was queued."
            )


def other_keys(person: Person, key: str) -> list[str]:
    """The idempotency keys by which earlier releases may know the email to the person of a valid row."""
    return [f"{key}:{spelling}" for spelling in sorted(person.other_spellings)]


def check(letter: Letter, people: Iterable[Person], key: str) -> Iterator[Person | BadRow]:
    """Each row, or what is wrong with it: made into its email once, so that nothing is found out half-way.

    A mailbox that stands twice in the list, however it is spelt, is mailed once.
    """
    with seen() as mailboxes:
        for person in people:
            problem = person.problem or _problem(letter, person, key, mailboxes)
            yield BadRow(line=person.line, problem=problem) if problem else person


def _problem(letter: Letter, person: Person, key: str, mailboxes: Seen) -> str:
    try:
        email = letter.email(person, key)
    except InvalidEmail as error:
        return f"{error.field}: {error.problem}" + (f" ({error.limit})" if error.limit else "")
    line = mailboxes.first_line(email.idempotency_key or "", person.line)
    return "" if line == person.line else f"the same address stands in line {line}"
