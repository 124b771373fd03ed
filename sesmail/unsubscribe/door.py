"""The door behind an unsubscribe link: GET asks, POST does it; who has left is told so, and may come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from sesmail.unsubscribe.page import COME_BACK, POLICY, Dress, Shown
from sesmail.unsubscribe.words import LANGUAGES, language_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.unsubscribe.links import UnsubscribeLinks, Unsubscription

FORM_LIMIT_BYTES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a door shows. Not to be kept by caches, nor found by search engines; the link is not passed on."""

    status: int
    html: str
    is_plain: bool = True
    """Whether it is our own page, which loads nothing; a site's own dress is left to the site's policy."""
    language: str = "en"

    @property
    def headers(self) -> dict[str, str]:
        """Its headers."""
        language = {"Content-Language": self.language}
        return _HEADERS | language | ({"Content-Security-Policy": POLICY} if self.is_plain else {})


_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Language",
    "X-Content-Type-Options": "nosniff",
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
        come_back: Callable[[Unsubscription], None] | None = None,
        has_left: Callable[[Unsubscription], bool] = lambda _who: False,
        dress: Dress | None = None,
        page: Callable[[str, str, bool], str] | None = None,
    ) -> None:
        """`opt_out` writes it down, durably; `come_back` ends it again, and without it nobody is offered that.

        `has_left` tells whether somebody has left already, by whatever way: who has is not asked again.
        `page(title, text, with_button)` makes the HTML instead of the `dress`.
        """
        self._links = links
        self._opt_out = opt_out
        self._come_back = come_back
        self._has_left = has_left
        self._dress = dress or Dress()
        self._page = page

    def answer(self, method: str, token: str, *, languages: str = "", body: bytes = b"") -> Page:
        """Answer a request: `languages` is its Accept-Language, `body` the form that was posted.

        Raises what `opt_out` raises: the framework answers 500, and who sent it may try again.
        """
        language = language_of(languages)
        words, sender = LANGUAGES[language], self._dress.sender or self._links.host
        unsubscription = self._links.read(token)
        if unsubscription is None:
            shown = Shown(language=language, title=words.not_found, text=words.incomplete, sender=sender)
            return self._shown(404, shown)

        def show(title: str, of_list: str, of_all: str, **more: Any) -> Page:
            text = _filled(of_list if unsubscription.list else of_all, unsubscription.list, sender)
            return self._shown(200, Shown(language=language, title=title, text=text, sender=sender, **more))

        def show_left(*, offers_return: bool) -> Page:
            way_back = {"button": words.come_back, "beside": words.mistake} if offers_return else {}
            return show(words.left, words.left_list, words.left_all, leads_back=True, **way_back)

        can_return = self._come_back is not None
        if method != "POST":
            if self._has_left(unsubscription):
                return show_left(offers_return=can_return)
            return show(words.ask, words.ask_list, words.ask_all, button=words.leave)
        if self._come_back and _wants_back(body):
            self._come_back(unsubscription)
            if self._has_left(unsubscription):  # an operator, say, wrote it down, which no link ends
                return show_left(offers_return=False)
            return show(words.back, words.back_list, words.back_all)
        self._opt_out(unsubscription)
        return show_left(offers_return=can_return)

    def _shown(self, status: int, shown: Shown) -> Page:
        if self._page:
            html = self._page(shown.title, shown.text, bool(shown.button))
            return Page(status=status, html=html, is_plain=False, language=shown.language)
        html, is_plain = self._dress.html(shown), self._dress.is_ours
        return Page(status=status, html=html, is_plain=is_plain, language=shown.language)


def _filled(text: str, list_name: str, sender: str) -> str:
    """Never by `str.format`: a list's name may have braces."""
    return text.replace("{sender}", sender).replace("{list}", list_name)


def _wants_back(body: bytes) -> bool:
    try:
        return COME_BACK in parse_qs(body[:FORM_LIMIT_BYTES].decode(), max_num_fields=20)
    except ValueError:
        return False
