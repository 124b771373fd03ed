"""How the unsubscribe page looks: our own, plain, in light and dark; or a site's template."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path

from sesmail.errors import ConfigurationError

STYLE = """
:root{color-scheme:light dark;--ground:#f4f5f7;--card:#fff;--text:#1d2129;--soft:#505866;--line:#d5d9e0;--act:#0b57d0;\
--on-act:#fff}
@media(prefers-color-scheme:dark){:root{--ground:#14161a;--card:#1e2127;--text:#eceef2;--soft:#b3b9c5;--line:#3a3f49;\
--act:#a8c7fa;--on-act:#062e6f}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--ground);color:var(--text);\
font:1.0625rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{width:100%;max-width:30rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem;\
overflow-wrap:anywhere}
.sender{margin:0 0 1.25rem;color:var(--soft);font-size:.9375rem}
h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}
p{margin:0 0 1.5rem}
p:last-child{margin:0}
form{margin:0}
.again{margin:0 0 .75rem;padding-top:1.25rem;border-top:1px solid var(--line);color:var(--soft)}
button{min-height:2.75rem;padding:.5rem 1.25rem;border:2px solid var(--act);border-radius:.5rem;background:var(--act);\
color:var(--on-act);font:inherit;font-weight:600;cursor:pointer}
button.quiet{background:transparent;color:var(--act)}
button:focus-visible{outline:3px solid var(--text);outline-offset:2px}
@media(max-width:30rem){button{width:100%}main{padding:1.5rem}}
"""
STYLE_SOURCE = f"'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'"
POLICY = f"default-src 'none'; style-src {STYLE_SOURCE}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
"""Of our own page, so that a site's `form-action` cannot disable its button."""
COME_BACK = "come-back"
"""The field of the form that leads back; what mail providers post is another: `List-Unsubscribe=One-Click`."""

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_PLACEHOLDERS = {"language", "title", "text", "sender", "form"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a page says."""

    language: str
    title: str
    text: str
    sender: str
    button: str = ""
    """What is written on it; empty for a page without."""
    leads_back: bool = False
    """Whether the button ends the opt-out again."""
    beside: str = ""
    """What stands before the button."""

    @property
    def form(self) -> str:
        """The button, ready to stand in a page."""
        if not self.button:
            return ""
        if not self.leads_back:
            return f'<form method="post"><button>{escape(self.button)}</button></form>'
        return (
            f'<p class="again">{escape(self.beside)}</p><form method="post">'
            f'<button class="quiet" name="{COME_BACK}" value="1">{escape(self.button)}</button></form>'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dress:
    """Whose page it is, and how that looks."""

    sender: str = ""
    """How readers know who wrote; without it the host of the links is named."""
    template: str | None = None
    """A file with HTML of the site's own with {{title}}, {{text}}, {{form}}, {{sender}} and {{language}}."""

    def __post_init__(self) -> None:
        """Raises `ConfigurationError` for a template that cannot be read, or lacks what must be in it."""
        if self.template is not None:
            _checked(self.template)

    @property
    def is_ours(self) -> bool:
        """Whether it is our own page, which loads nothing; a site's is left to the site's policy."""
        return self.template is None

    def html(self, shown: Shown) -> str:
        """The whole page."""
        if self.template is None:
            return _plain(shown)
        said = {name: escape(getattr(shown, name)) for name in _PLACEHOLDERS - {"form"}} | {"form": shown.form}
        return _PLACEHOLDER.sub(lambda found: said[found[1]], _checked(self.template))


def _checked(template: str) -> str:
    try:
        text = Path(template).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The unsubscribe page cannot be shown: SESMAIL_UNSUBSCRIBE_TEMPLATE cannot be read ({error}). Nobody can "
            "leave by a link until it is mended."
        ) from None
    named = {*_PLACEHOLDER.findall(text)}
    if wrong := sorted(named - _PLACEHOLDERS) or sorted({"text", "form"} - named):
        raise ConfigurationError(
            f"The unsubscribe page cannot be shown: in SESMAIL_UNSUBSCRIBE_TEMPLATE {{{{{wrong[0]}}}}} "
            f"{'is unknown' if wrong[0] in named else 'is missing'}. There are {', '.join(sorted(_PLACEHOLDERS))}; "
            "text and form must be there."
        )
    return text


def _plain(shown: Shown) -> str:
    sender = f'<p class="sender">{escape(shown.sender)}</p>' if shown.sender else ""
    return (
        f'<!doctype html><html lang="{escape(shown.language)}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(shown.title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{sender}<h1>{escape(shown.title)}</h1><p>{escape(shown.text)}</p>{shown.form}</main></body></html>"
    )
