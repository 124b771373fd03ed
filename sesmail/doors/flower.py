"""The live page in Flower, behind Flower's own login. In `flowerconfig.py`, beside Flower's other options:

    from sesmail.doors.flower import add_live_page

    add_live_page()

Then it is at `/sesmail/` of Flower. Flower without a login shows it to everybody, as it does all else.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sesmail.celery.current import client_of
from sesmail.doors.live import EVERY_SECONDS, STREAM, LivePage, event_of
from sesmail.errors import MissingExtra

try:
    from flower.urls import handlers
    from flower.views import BaseHandler
    from tornado.iostream import StreamClosedError
    from tornado.web import authenticated
except ImportError as error:
    raise MissingExtra(
        "There is no Flower to show the page in. Email is sent all the same. Install it with "
        "`pip install 'sesmail[flower]'`."
    ) from error

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = r"/sesmail/(.*)"


def add_live_page() -> None:
    """Have the Flower that starts in this process show the page; a second time changes nothing.

    Flower has no way to add a page but its list of them (flower/urls.py: `handlers`), read when it starts. Its last
    entry takes all other paths.
    """
    if not any(each[0] == PATH for each in handlers if isinstance(each, tuple)):
        handlers.insert(len(handlers) - 1, (PATH, LiveHandler))


class LiveHandler(BaseHandler):  # type: ignore[misc]  # Flower has no types
    """The page and its parts, for whom Flower lets in."""

    @authenticated
    async def get(self, path: str) -> None:
        """Figures are read in a thread of Flower's, so that it goes on meanwhile."""
        if path == STREAM:
            await self._stream()
            return
        found = await self._in_a_thread(self._page.answer, path)
        self.set_status(found.status)
        self._set(found.headers)
        self.finish(found.body)

    async def _stream(self) -> None:
        self._set(self._page.stream_headers())
        try:
            while True:
                self.write(event_of(await self._in_a_thread(self._page.figures)))
                await self.flush()
                await asyncio.sleep(EVERY_SECONDS)
        except StreamClosedError:  # who looked has gone
            return

    async def _in_a_thread(self, act: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, act, *args)

    @cached_property
    def _page(self) -> LivePage:
        """One for all who look, of Flower's own app."""
        application = self.application
        page: LivePage | None = getattr(application, "sesmail_live_page", None)
        if page is None:
            page = application.sesmail_live_page = LivePage(client_of(application.capp))
        return page

    def _set(self, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            self.set_header(name, value)
