"""`sesmail metrics`: the figures that Prometheus collects."""

from __future__ import annotations

import json
from collections import defaultdict
from math import isinf
from typing import TYPE_CHECKING, Any

import click

from sesmail.cli.ending import told_to_end
from sesmail.cli.output import json_option
from sesmail.cli.site import site_client

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from sesmail.client import Client


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="Serve them there, at any path, until Ctrl-C or SIGTERM; 0 takes a free port.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve them at.")
@json_option
def metrics(port: int | None, host: str, as_json: bool) -> None:
    """Print the fleet's figures for Prometheus, or serve them.

    One such process is enough. While Redis or the store of events is away, scrapes are answered 503, and work again
    when it is back.
    """
    client = site_client()
    if port is not None:
        _serve(host, port, client, as_json)
        return
    from sesmail.doors.prometheus import registry, text

    click.echo(json.dumps(_as_data(registry(client))) if as_json else text(client), nl=as_json)


def _serve(host: str, port: int, client: Client, as_json: bool) -> None:
    from sesmail.doors.prometheus import serve

    told = told_to_end()
    server = serve(host, port, client)
    said = {"url": f"http://{host}:{server.server_port}/metrics"}
    click.echo(json.dumps(said) if as_json else f"Prometheus may scrape {said['url']}")
    told.get()
    server.shutdown()
    server.server_close()


def _as_data(registry: CollectorRegistry) -> dict[str, list[dict[str, Any]]]:
    """Samples by name, each with labels and value; JSON has no infinity, so what has no limit is null."""
    found = defaultdict(list)
    for sample in (sample for metric in registry.collect() for sample in metric.samples):
        found[sample.name].append({"labels": sample.labels, "value": None if isinf(sample.value) else sample.value})
    return found
