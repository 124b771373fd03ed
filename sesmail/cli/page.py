"""`sesmail page`: the live page, for this machine."""

from __future__ import annotations

import json
import threading

import click

from sesmail.cli.ending import told_to_end
from sesmail.cli.output import json_option
from sesmail.cli.site import site_client


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8027,
    show_default=True,
    help="Where; 0 takes a free port.",
)
@json_option
def page(port: int, as_json: bool) -> None:
    """Serve a page that shows live how the sending goes. It ends by Ctrl-C or SIGTERM.

    On loopback alone, as it asks for no login: from elsewhere, look through `ssh -L 8027:127.0.0.1:8027 host`. Django's
    admin, a Flask application and Flower show the same page behind their logins.
    """
    from sesmail.doors.live import LivePage
    from sesmail.doors.live.server import listen

    told = told_to_end()
    server = listen(port, LivePage(site_client()))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said = {"url": f"http://127.0.0.1:{server.server_port}/"}
    click.echo(json.dumps(said) if as_json else f"How the sending goes: {said['url']}")
    told.get()
    server.shutdown()
    server.server_close()
