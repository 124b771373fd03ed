"""`{{column}}` in a letter; and what other systems have for it, which would go out to everybody as it stands.

`{{column|there}}` stands for `there` where the row's value is empty, and `{{column|url}}` for the value as it may stand
in a link's query: `https://example.com/?to={{email|url}}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from sesmail.sending.letters.columns import column_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")

_FOREIGN = (
    r"\{{3,}[^{}]*\}{2,}",  # {{{x}}}: Mustache, Handlebars, SES's own templates
    r"\{%[^{}]*%\}",  # {% if x %}: Jinja, Django, Liquid, Twig
    r"\{#[^{}]*#\}",
    r"<%.{1,200}?%>",  # <%= x %>: ERB, EJS
    r"&lt;%.{1,200}?%&gt;",
    r"<\?(?:php\b|=).{0,200}?\?>",
    r"\*\|[^|*\r\n]{1,80}\|\*",  # *|FNAME|*: Mailchimp, Mandrill
    r"\*%7C[^*\s]{1,80}%7C\*",  # the same in a link, as editors write it
    r"%recipient(?:[._][\w.-]+)?%",  # Mailgun
    r"%(?:\w+_)?unsubscribe(?:_\w+)?%",
    r"%%=?[A-Za-z_\[][^%<>\r\n]{0,80}%%",  # Salesforce Marketing Cloud
    r"\[\[[^\[\]\r\n]{1,80}\]\]",  # [[x]]: Mailjet, Constant Contact
    r"\[\w+,\s*fallback=[^\]\r\n]*\]",  # Campaign Monitor, Sendy
    r"[$#]\{[^{}\r\n]{1,80}\}",  # ${x}, #{x}: JavaScript, JSP, FreeMarker, Ruby
    r"\{[$!][^{}\r\n]{1,80}\}",  # {$x}, {!x}: Smarty, MailerLite, Salesforce
    r"%7B%7B.{1,80}?%7D%7D",  # ours in a link, as editors write it
    r"(?:&#123;|&lcub;|&lbrace;){2}.{1,80}?(?:&#125;|&rcub;|&rbrace;){2}",  # and as they write it in a page
    r"\[%[^\[\]]{1,80}%\]",  # [% x %]: Template Toolkit
    r"</?#[a-z]+\b[^<>]{0,80}>",  # <#if x>: FreeMarker
)
_ANY_FOREIGN = re.compile("|".join(_FOREIGN), re.IGNORECASE | re.DOTALL)
_LEFT_OVER = re.compile(r"\{\{[^{\s<]{0,30}")
_AROUND_A_COLUMN = (
    r"(?<!\{{)\{{\s*(?:{0})\s*\}}(?!\}})",  # {x}: Python, and many more
    r"\[\s*(?:{0})\s*\]",
    r"\(\(\s*(?:{0})\s*\)\)",  # GOV.UK Notify
    r"%(?:{0})%",  # ActiveCampaign
    r"%\((?:{0})\)[sdr]",  # Python
    r"[\[{{(]\s*(?:{0})\s*\|[^\]}})\r\n]{{0,80}}[\]}})]",  # [x|friend], {x|friend}: or else
    r"(?<!\{{)\{{\s*[\w-]+\.(?:{0})\s*\}}(?!\}})",  # {contact.x}
    r"@@?(?:{0})@@?(?![\w.])",
    r"##(?:{0})##",
    r"\$(?:{0})\b",
    r"(?:<<|«|&lt;&lt;|&laquo;)\s*(?:{0})\s*(?:>>|»|&gt;&gt;|&raquo;)",  # Word
)
_STYLE = re.compile(r"<style\b.*?</style>", re.IGNORECASE | re.DOTALL)
SHOWN_LENGTH = 40
URL = "url"
_ALMOST_URL = re.compile(r"ur[li]s?|ulr|lru|rul|(?:ur[li][\s_-]?)?(?:en)?(?:quote|code|escape)d?", re.IGNORECASE)
"""`URL`, `uri`, `ulr`, `urlencode`, `url_escape`, `quote`, ...: filters of other systems, and slips."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value is to stand."""

    column: str
    otherwise: str | None
    """What stands there for an empty value; None where nothing is said behind the name."""

    def of(self, values: Mapping[str, object]) -> str:
        value = str(values[self.column])
        if self.otherwise == URL:
            return quote(value, safe="")
        return value if value.strip() or self.otherwise is None else self.otherwise


def placeholders(text: str) -> set[str]:
    """The columns that a text uses."""
    return {place.column for place in _split(text)[1]}


def filled(text: str, values: Mapping[str, object], quoted: Callable[[str], str]) -> str:
    """The text with a row's values, each `quoted`; what they hold is never a placeholder."""
    between, places = _split(text)
    parts = [*between, *between]
    parts[::2], parts[1::2] = between, [*(quoted(place.of(values)) for place in places), ""]
    return "".join(parts)


Maker = Callable[[Mapping[str, str]], str]
"""How a value is made ready of a row's."""


def marked(
    text: str, prefix: str, quoted: Callable[[str], str], mark: Callable[[str], str]
) -> tuple[str, dict[str, Maker]]:
    """The text with a `mark` for each value, and how that is made ready, by a name of `{prefix}{number}`."""
    between, places = _split(text)
    names = {place: f"{prefix}{number}" for number, place in enumerate(dict.fromkeys(places))}
    parts = [*between, *between]
    parts[::2], parts[1::2] = between, [*(mark(names[place]) for place in places), ""]
    return "".join(parts), {name: _maker(place, quoted) for place, name in names.items()}


def _maker(place: _Place, quoted: Callable[[str], str]) -> Maker:
    return lambda values: quoted(place.of(values))


def is_plain_to_ses(text: str) -> bool:
    """Whether what stands between the places means nothing to SES's own templates."""
    between, _ = _split(text)  # what would: braces, or a backslash before a place
    return not any("{{" in part or "}}" in part or part.endswith(("{", "\\")) for part in between)


def misspelt_placeholders(text: str) -> list[str]:
    """Those with something behind a `|` that means nothing, or most likely something else than it says."""
    return [
        match[0]
        for match in _PLACEHOLDER.finditer(text)
        if "|" in match[1] and _is_misspelt(match[1].partition("|")[2].strip())
    ]


def _is_misspelt(behind: str) -> bool:
    """Neither words, nor `url`: two of them, or what people write for `url` where it is not called so."""
    return not behind or "|" in behind or (behind != URL and bool(_ALMOST_URL.fullmatch(behind)))


def foreign_placeholders(text: str, columns: Iterable[str]) -> list[str]:
    """What looks like a placeholder and is none of ours, each once, as it stands there.

    Some are known by their form alone; what is also ordinary writing, such as `[name]`, only around a column's name.
    """
    found = [match[0] for match in _ANY_FOREIGN.finditer(text)]
    rest = _PLACEHOLDER.sub("", _ANY_FOREIGN.sub("", text))
    found += _LEFT_OVER.findall(rest)
    if around := _around(columns):
        found += [match[0] for match in around.finditer(_STYLE.sub("", rest))]  # a[title] {...} is CSS
    return list(dict.fromkeys(" ".join(each.split())[:SHOWN_LENGTH] for each in found))


@lru_cache(maxsize=16)
def _split(text: str) -> tuple[tuple[str, ...], tuple[_Place, ...]]:
    """The text between the places, and these; kept, since it is filled for everybody on a list."""
    parts = _PLACEHOLDER.split(text)
    return tuple(parts[::2]), tuple(map(_place, parts[1::2]))


def _place(said: str) -> _Place:
    name, bar, behind = said.partition("|")
    return _Place(column_name(name), behind.strip() if bar else None)


def _around(columns: Iterable[str]) -> re.Pattern[str] | None:
    names = [r"[\s_-]*".join(map(re.escape, re.split(r"[\s_-]+", name))) for name in columns if _is_a_word(name)]
    if not names:
        return None
    either = "|".join(sorted(names, key=len, reverse=True))
    return re.compile("|".join(form.format(either) for form in _AROUND_A_COLUMN), re.IGNORECASE)


def _is_a_word(name: str) -> bool:
    return any(map(str.isalpha, name))
