"""Running the simulator in this process until it is stopped."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from seslocal.cannot_start import CannotStart, check_installed
from seslocal.errors import Refused

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from seslocal.options import Options


def serve(options: Options, *, announce: Literal["text", "json", "no"] = "no") -> None:
    """Run the simulator in this process until SIGINT or SIGTERM, after printing where it is if asked to.

    Raises CannotStart if the port is taken, an endpoint that the options name is none, or the extra `simulator` is not
    installed.
    """
    check_installed()
    import uvicorn  # noqa: PLC0415 - who imports Simulator need not load a web server

    from seslocal.api.connection import HttpProtocol  # noqa: PLC0415

    listening = _listen(options)
    options = replace(options, port=listening.getsockname()[1])
    app = _app(options)
    _announce(options, announce)
    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=120,
    )
    with suppress(KeyboardInterrupt):  # uvicorn has stopped in good order and hands the signal on
        uvicorn.Server(config).run(sockets=[listening])


def _listen(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise CannotStart(
            f"The simulator cannot listen on {options.host}, port {options.port}: {error}. "
            "Name another port; 0 takes a free one."
        ) from error


def _app(options: Options) -> Starlette:
    from seslocal.app import create_app  # noqa: PLC0415

    try:
        return create_app(options)
    except Refused as refused:
        raise CannotStart(str(refused)) from refused


def address_of(options: Options) -> str:
    """The address to give to boto3 as `endpoint_url`."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{options.port}"


def _announce(options: Options, form: str) -> None:
    url = address_of(options)
    if form == "json":
        print(json.dumps({"url": url}), flush=True)  # noqa: T201 - Simulator and scripts read this line
    elif form == "text":
        print(  # noqa: T201 - for a person at a terminal
            f"SES simulator: {options.rate:g} recipients a second, {options.quota} a day. What it saw: {url}/\n"
            f"    export AWS_ENDPOINT_URL_SESV2={url} AWS_ENDPOINT_URL_SES={url} AWS_ENDPOINT_URL_SNS={url}",
            flush=True,
        )
