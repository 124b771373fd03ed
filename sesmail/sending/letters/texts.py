"""A letter's subject and bodies before a reader's values are in them: in `{{column}}`, Jinja, or SES's language."""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sesmail.errors import ConfigurationError
from sesmail.sending.letters import handlebars, jinja
from sesmail.sending.letters.placeholders import (
    Maker,
    filled,
    foreign_placeholders,
    is_plain_to_ses,
    marked,
    misspelt_placeholders,
    placeholders,
)
from sesmail.ses.bulk import Template

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

SHOWN_PLACEHOLDERS = 10


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SesTexts:
    """A letter's texts as a template of SES, and how a reader's values are made ready for it."""

    template: Template
    made: Mapping[str, Callable[[Mapping[str, Any]], Any]]

    def values(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """One reader's, escaped where they stand in HTML, unless the template is SES's own; without those that are not
        there.
        """
        values = {name: make(known) for name, make in self.made.items()}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Texts:
    """What is written in a letter; `jinja` or `by_ses` says in which language its values are named."""

    subject: str
    text: str | None = None
    html: str | None = None
    jinja: bool = False
    by_ses: bool = False
    """Whether they are a template in SES's own language, to be filled in by SES."""

    def names(self) -> set[str]:
        """The values that it uses. Raises `ConfigurationError` for what is no Jinja template."""
        names = jinja.names if self.jinja else handlebars.names if self.by_ses else placeholders
        return set[str]().union(*map(names, self._parts()))

    def needed(self) -> set[str]:
        """The values that must be there: all, but in SES's language, where conditions ask whether they are."""
        return set[str]().union(*map(handlebars.needed, self._parts())) if self.by_ses else self.names()

    def read_as_ses_does(self) -> Texts:
        """The same of a template that SES keeps: what is more than places for values, only SES can fill in."""
        return replace(self, by_ses=any(map(handlebars.needs_ses, self._parts())))

    def filled(self, values: Mapping[str, object]) -> tuple[str, str | None, str | None]:
        """Subject, text and HTML with one reader's values, which are escaped in HTML.

        Raises `InvalidEmail` where a Jinja template cannot be rendered with them, `KeyError` where one is missing.
        """
        if self.jinja:
            return (
                jinja.rendered("subject", self.subject, values),
                None if self.text is None else jinja.rendered("text", self.text, values),
                None if self.html is None else jinja.rendered("html", self.html, values, in_html=True),
            )
        return (
            filled(self.subject, values, str),
            None if self.text is None else filled(self.text, values, str),
            None if self.html is None else filled(self.html, values, html.escape),
        )

    def for_ses(self) -> SesTexts | None:
        """As SES itself can fill them in; None where it cannot."""
        if self.by_ses:
            template = Template(subject=self.subject, text=self.text, html=self.html)
            return SesTexts(template=template, made={name: itemgetter(name) for name in self.names()})
        if self.jinja or not all(map(is_plain_to_ses, self._parts())):
            return None
        texts, made = self.marked("{{{{{}}}}}".format)
        return SesTexts(template=Template(subject=texts.subject, text=texts.text, html=texts.html), made=made)

    def marked(self, mark: Callable[[str], str]) -> tuple[Texts, dict[str, Maker]]:
        """With a `mark` for each value, not of a Jinja template; and how each is made ready for its place, by name."""
        made: dict[str, Maker] = {}

        def of(text: str | None, prefix: str, quoted: Callable[[str], str]) -> str | None:
            if text is None:
                return None
            with_marks, makers = marked(text, prefix, quoted, mark)
            made.update(makers)
            return with_marks

        subject, text = of(self.subject, "s", str) or "", of(self.text, "t", str)
        return Texts(subject=subject, text=text, html=of(self.html, "h", html.escape)), made

    def check(self, columns: Collection[str], *, verbatim: bool = False) -> None:
        """See that all values that it uses are among these. Raises `ConfigurationError`.

        Refused is, too, what is misspelt, and what looks like a placeholder of another system, unless it is `verbatim`.
        """
        if not self.jinja and not self.by_ses:
            self._refuse_misspelt()
            if not verbatim:
                self._refuse_foreign(columns)
        if missing := self.names() - set(columns):
            raise ConfigurationError(
                f"The letter uses {', '.join(f'{{{{{name}}}}}' for name in sorted(missing))}, but the list has no such "
                f"column (it has {', '.join(filter(None, columns))}). Nothing was queued."
            )

    def _parts(self) -> tuple[str, str, str]:
        return self.subject, self.text or "", self.html or ""

    def _refuse_misspelt(self) -> None:
        if found := _each_once(misspelt_placeholders(part) for part in self._parts()):
            raise ConfigurationError(
                f"The letter has {', '.join(found[:SHOWN_PLACEHOLDERS])}: behind the | stands what a row without a "
                "value gets, as {{name|there}}, or the word url, which makes the value fit for a link, as "
                "{{email|url}}. Nothing was queued."
            )

    def _refuse_foreign(self, columns: Collection[str]) -> None:
        if found := _each_once(foreign_placeholders(part, columns) for part in self._parts()):
            shown = ", ".join(found[:SHOWN_PLACEHOLDERS]) + (", ..." if len(found) > SHOWN_PLACEHOLDERS else "")
            raise ConfigurationError(
                f"The letter has {shown}: nothing is put in its place, it would go out to everybody as it stands. "
                "A column's value is written {{column}}, and there are no conditions. If it is meant to be read so, "
                "say --verbatim (in code, Letter(verbatim=True)). Nothing was queued."
            )


def _each_once(found: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(each for part in found for each in part))
