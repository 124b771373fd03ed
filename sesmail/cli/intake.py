"""`sesmail webhook|poll-sqs|drain-dlq|confirm`: the doors through which events of SES come in, as programs."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING

import click

from sesmail.cli.age import Age
from sesmail.cli.ending import told_to_end
from sesmail.cli.output import emit, json_option, two_columns
from sesmail.cli.site import site_client

ALIVE_EVERY_SECONDS = 10.0

if TYPE_CHECKING:
    from queue import SimpleQueue

    from sesmail.client import Client
    from sesmail.doors.sqs import SqsPoller


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8025,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@json_option
def webhook(host: str, port: int, as_json: bool) -> None:
    """Take in SES's events over HTTP, until Ctrl-C. SNS's notifications come in here, apart from the pages of the site;
    SIGTERM ends it, too.

    Each is answered after it is stored. Put it behind the proxy that has the certificate; any path will do. Where
    SESMAIL_UNSUBSCRIBE_URL and SESMAIL_UNSUBSCRIBE_SECRETS are set, it serves the unsubscribe page, too, at any path
    that ends with /unsubscribe/ and a link's token.
    """
    from sesmail.doors.asgi import listen, serve, unsubscribe_door_of

    _log_with_time()
    client = _listening()
    unsubscribe = unsubscribe_door_of(client)
    with listen(host, port) as listening:
        said = {"url": f"http://{host}:{listening.getsockname()[1]}/"}
        click.echo(json.dumps(said) if as_json else f"SNS may post to {said['url']}")
        serve(client.real_intake, listening, unsubscribe)


@click.command("poll-sqs")
@click.argument("queue_urls", nargs=-1, metavar="[URL]...")
@click.option(
    "--alive",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Touch this file every ten seconds while all goes well, so that a health check can look at its age.",
)
@json_option
def poll_sqs(queue_urls: tuple[str, ...], alive: Path | None, as_json: bool) -> None:
    """Take in SES's events from SQS queues, until Ctrl-C. What SNS puts there is moved into the event store; SIGTERM
    ends it, too.

    Without URL, the queues of SESMAIL_SQS_QUEUE_URLS. What is stored is deleted from its queue; the rest stays.
    Told to end, it does so at once, but for what it has just received.
    """
    queue_urls = queue_urls or tuple(site_client().settings.sqs_queue_urls)
    if not queue_urls:
        raise click.UsageError("Name the URL of a queue, or set SESMAIL_SQS_QUEUE_URLS.")
    _log_with_time()
    told, stop = told_to_end(), threading.Event()
    pollers = [_poller(url) for url in queue_urls]
    said = {"polling": queue_urls}
    click.echo(json.dumps(said) if as_json else f"Polling {', '.join(queue_urls)}")
    for poller in pollers:
        threading.Thread(target=_run, args=(poller, stop, told), daemon=True).start()
    broken = _wait(told, pollers, alive)  # one that broke takes the others with it: a supervisor starts all anew
    stop.set()
    for poller in pollers:
        poller.finish()
    if broken:
        raise broken


def _wait(told: SimpleQueue[Exception | None], pollers: list[SqsPoller], alive: Path | None) -> Exception | None:
    """Until the command is told to end, or one breaks; meanwhile the file tells that every queue is looked into."""
    while True:
        try:
            return told.get(timeout=ALIVE_EVERY_SECONDS if alive else None)
        except Empty:
            if alive and all(poller.is_well() for poller in pollers):
                alive.touch()


def _log_with_time() -> None:
    """On standard error, from INFO on: who reads it later wants to know when it was, and which line is an alarm."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("sesmail").setLevel(logging.INFO)


def _run(poller: SqsPoller, stop: threading.Event, told: SimpleQueue[Exception | None]) -> None:
    try:
        poller.run(stop)
    except Exception as error:  # noqa: BLE001  the command raises it
        told.put(error)


@click.command("drain-dlq")
@click.argument("queue_url", metavar="URL")
@click.option(
    "--max-age",
    type=Age(),
    default="15d",
    show_default=True,
    help="What SNS signed longer ago stays in the queue, such as 60d.",
)
@json_option
def drain_dlq(queue_url: str, max_age: float, as_json: bool) -> None:
    """Take in what ended in a dead-letter queue. What is stored is deleted there.

    What cannot be believed or stored stays in the queue; then the exit code is 1 and the log says why.
    """
    site_client().sns_verifier.max_age_seconds = max_age
    polled = _poller(queue_url).drain()
    emit(asdict(polled), as_json=as_json, table=two_columns(asdict(polled).items()))
    if polled.stored < polled.received:
        raise SystemExit(1)


@click.command()
@click.argument("event_id", metavar="ID")
@json_option
def confirm(event_id: str, as_json: bool) -> None:
    """Confirm a subscription of SNS by hand, within 2 days. It could not be confirmed when it came: the log says so,
    and has its ID.
    """
    from sesmail.events.intake import confirm_later

    client = _listening()
    try:
        confirm_later(event_id, client.event_store, client.sns_verifier, client.confirmation)
    except LookupError:
        raise click.ClickException(
            "No subscription to one of SESMAIL_TOPICS is stored under this id. Nothing was confirmed."
        ) from None
    emit({"confirmed": event_id}, as_json=as_json, table="Confirmed: events come from now on.")


def _listening() -> Client:
    from sesmail.errors import ConfigurationError

    client = site_client()
    if not client.settings.topics and client.settings.raw_delivery_site is None:
        raise ConfigurationError(
            "SESMAIL_TOPICS is empty, so every notification would be refused for good. Name the SNS topics that are "
            "believed, each with its site."
        )
    return client


def _poller(queue_url: str) -> SqsPoller:
    from sesmail.doors.sqs import SqsPoller

    client = _listening()
    return SqsPoller(client.sqs_client(queue_url), queue_url, client.real_intake)
