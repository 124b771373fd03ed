"""One-click unsubscribe (RFC 8058): signed links, and the headers that carry them.

A link says who leaves which list of which site; nothing has to be looked up or kept for it, and it never expires. It is
signed, not encrypted: whoever has the link can read the address in it, and only we can make one.

Gmail and Yahoo ask bulk senders for these headers: https://support.google.com/a/answer/81126
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer

from sesmail.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    @property
    def host(self) -> str:
        """Where the door is."""
        return urlsplit(self._base_url).hostname or ""

    def link(self, unsubscription: Unsubscription) -> str:
        """The link for one recipient."""
        u = unsubscription
        return f"{self._base_url}/{self._serializer.dumps([u.site, u.list, u.recipient, u.send_id])}"

    def headers(self, unsubscription: Unsubscription) -> dict[str, str]:
        """The two headers of RFC 8058, for an email to this one recipient."""
        return one_click_headers(self.link(unsubscription))

    def read(self, token: str) -> Unsubscription | None:
        """What the last part of a link says; None when we did not make it."""
        try:
            site, list_name, recipient, send_id = self._serializer.loads(token)
        except (BadData, ValueError, TypeError):
            return None
        return Unsubscription(site=site, list=list_name, recipient=recipient, send_id=send_id)


def one_click_headers(link: str) -> dict[str, str]:
    """The two headers of RFC 8058 that carry a link."""
    return {"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


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
