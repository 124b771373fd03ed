"""The simulator as an ASGI application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from sesmail.simulator import api_v2, query_api
from sesmail.simulator.control import Control
from sesmail.simulator.options import Options
from sesmail.simulator.page import MailboxPage
from sesmail.simulator.ses import Ses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def create_app(options: Options | None = None) -> Starlette:
    """A new account with its APIs; `uvicorn --factory sesmail.simulator.app:create_app` runs it with the defaults.

    Raises `Refused` when the options name an endpoint that SNS would refuse.

    Resets and hangs of connections need `sesmail simulator` or `Simulator`, whose server lets the application at them.
    """
    ses = Ses(options or Options())
    ses.check_subscriptions()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        ses.set_up()
        yield
        ses.publisher.stop()

    routes = [*api_v2.routes(ses), *query_api.routes(ses), *Control(ses).routes(), *MailboxPage(ses).routes()]
    return Starlette(routes=routes, lifespan=lifespan)
