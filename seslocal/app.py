"""The simulator as an ASGI application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from seslocal.cannot_start import check_installed

check_installed()

from starlette.applications import Starlette
from starlette.middleware import Middleware

from seslocal.api import json_api, query_api
from seslocal.control import Control
from seslocal.guard import Guard
from seslocal.options import Options
from seslocal.page.mailbox_page import MailboxPage
from seslocal.ses import Ses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def create_app(options: Options | None = None) -> Starlette:
    """A new account with its APIs; `uvicorn --factory seslocal.app:create_app` runs it with the defaults.

    Raises `Refused` when the options name an endpoint that SNS would refuse.

    Resets and hangs of connections need the command or `Simulator`, whose server lets the application at them.
    """
    ses = Ses(options or Options())
    ses.check_subscriptions()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        ses.set_up()
        yield
        ses.publisher.stop()

    routes = [*json_api.routes(ses), *query_api.routes(ses), *Control(ses).routes(), *MailboxPage(ses).routes()]
    guard = Middleware(Guard, allowed_hosts=ses.options.allowed_hosts)
    return Starlette(routes=routes, lifespan=lifespan, middleware=[guard])
