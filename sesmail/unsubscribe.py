"""One-click unsubscribe (RFC 8058): signed links, the headers that carry them, and the page behind them.

A link says who leaves which list of which site; nothing has to be looked up or kept for it, and it never expires. It is
signed, not encrypted: whoever has the link can read the address in it, and only we can make one.

Gmail and Yahoo ask bulk senders for these headers: https://support.google.com/a/answer/81126
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer

from sesmail.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SALT = "sesmail.unsubscribe.1"
_SHORTEST_SECRET = 16
_LOCAL = {"127.0.0.1", "localhost"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscription:
    """Who leaves what."""

    site: str
    recipient: str = field(repr=False)
    list: str = ""
    """The list left; empty for everything that the site sends."""
    send_id: str = ""
    """The email that the link was in."""


class UnsubscribeLinks:
    """Makes links, and reads what comes back."""

    def __init__(self, secrets: Sequence[str], base_url: str) -> None:
        """`secrets`: the first signs, all are good for reading, so a new one goes in front and old links go on working.

        `base_url` is where the door is, such as `https://example.com/sesmail/unsubscribe/`; mail providers post to
        https only. Raises `ConfigurationError`.
        """
        _check(secrets, base_url)
        self._serializer = URLSafeSerializer(list(reversed(secrets)), salt=_SALT)  # itsdangerous signs with the last
        self._base_url = base_url.rstrip("/")

    def link(self, unsubscription: Unsubscription) -> str:
        """The link for one recipient."""
        u = unsubscription
        return f"{self._base_url}/{self._serializer.dumps([u.site, u.list, u.recipient, u.send_id])}"

    def headers(self, unsubscription: Unsubscription) -> dict[str, str]:
        """The two headers of RFC 8058, for an email to this one recipient."""
        return self.headers_for(self.link(unsubscription))

    @staticmethod
    def headers_for(link: str) -> dict[str, str]:
        """The same, with a link that was made."""
        return {"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}

    def read(self, token: str) -> Unsubscription | None:
        """What the last part of a link says; None when we did not make it."""
        try:
            site, list_name, recipient, send_id = self._serializer.loads(token)
        except (BadData, ValueError, TypeError):
            return None
        return Unsubscription(site=site, list=list_name, recipient=recipient, send_id=send_id)


def _check(secrets: Sequence[str], base_url: str) -> None:
    if isinstance(secrets, str) or not secrets or any(len(secret) < _SHORTEST_SECRET for secret in secrets):
        raise ConfigurationError(
            f"Unsubscribe links need a list of secrets of at least {_SHORTEST_SECRET} characters; no link is made "
            "without. Make one with `python -c 'import secrets; print(secrets.token_urlsafe())'`."
        )
    url = urlsplit(base_url)
    if url.scheme != "https" and url.hostname not in _LOCAL:
        raise ConfigurationError(
            f"Unsubscribe links must begin with https://, and {base_url!r} does not: mail providers would not use "
            "them. Give the address of the unsubscribe door as readers reach it."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a door shows. Not to be kept by caches, nor found by search engines; the link is not passed on."""

    status: int
    html: str
    is_plain: bool = True
    """Whether it is our own page, which loads nothing; a site's own dress is left to the site's policy."""

    @property
    def headers(self) -> dict[str, str]:
        """Its headers. A policy of its own, so that a site's `form-action` cannot disable its button."""
        policy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        return _HEADERS | ({"Content-Security-Policy": policy} if self.is_plain else {})


_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}


class UnsubscribeDoor:
    """What is behind a link: GET asks, POST does it.

    GET must change nothing: programs that check mail for dangerous links follow them all. POST needs no cookie and no
    form field: it is sent by the reader's browser, or by the mail provider on the reader's behalf.
    """

    def __init__(
        self,
        links: UnsubscribeLinks,
        opt_out: Callable[[Unsubscription], None],
        *,
        page: Callable[[str, str, bool], str] | None = None,
    ) -> None:
        """`opt_out` writes it down, durably; `page(title, text, with_button)` makes the HTML in a site's own dress."""
        self._links = links
        self._opt_out = opt_out
        self._page = page or _plain_page

    def answer(self, method: str, token: str) -> Page:
        """Answer a request. Raises what `opt_out` raises: the framework answers 500, and who sent it may try again."""
        unsubscription = self._links.read(token)
        if unsubscription is None:
            text = "This link is not complete. Please copy all of it from the email, or answer the email."
            return self._shown(404, "Not found", text)
        what = f"the list “{unsubscription.list}”" if unsubscription.list else "all emails from this sender"
        if method != "POST":
            return self._shown(200, "Unsubscribe", f"Do you want to leave {what}?", with_button=True)
        self._opt_out(unsubscription)
        return self._shown(200, "Unsubscribed", f"Done. You have left {what}.")

    def _shown(self, status: int, title: str, text: str, *, with_button: bool = False) -> Page:
        return Page(status=status, html=self._page(title, text, with_button), is_plain=self._page is _plain_page)


def _plain_page(title: str, text: str, with_button: bool) -> str:
    button = '<form method="post"><button>Unsubscribe</button></form>' if with_button else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><body><h1>{escape(title)}</h1><p>{escape(text)}</p>{button}</body></html>"
    )
