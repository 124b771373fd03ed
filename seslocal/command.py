"""The local SES as a command: `sesmail simulator` or `python -m seslocal`."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from seslocal.cannot_start import CannotStart
from seslocal.options import Options
from seslocal.server import serve


class TimeRange(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """`30..80ms`, `50ms` or `0.5s`: a range of times, in seconds."""

    name = "time range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """To (shortest, longest) in seconds."""
        if isinstance(value, tuple):
            return value
        parts = re.fullmatch(r"(\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?(ms|s)", value)
        if parts is None:
            self.fail(f"{value!r} is not a time: write for example 30..80ms, 50ms or 0.5s.", param, ctx)
        unit = 0.001 if parts[3] == "ms" else 1.0
        shortest = float(parts[1]) * unit
        return shortest, float(parts[2]) * unit if parts[2] else shortest


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8005,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    help="A name by which it may be asked for, besides addresses and localhost.",
)
@click.option("--rate", default=14.0, show_default=True, help="Max send rate, in recipients per second.")
@click.option("--burst", default=0, show_default=True, help="Recipients beyond the rate in a short burst.")
@click.option("--quota", default=50_000, show_default=True, help="Recipients in 24 hours; -1 is unlimited.")
@click.option(
    "--sandbox",
    is_flag=True,
    help="Only verified recipients, as in a new account; its limits are --rate 1 --quota 200.",
)
@click.option("--identity", "identities", multiple=True, help="A verified sender (address or domain); none: all are.")
@click.option("--configuration-set", "configuration_sets", multiple=True, help="Exists from the start.")
@click.option("--latency", type=TimeRange(), default="30..80ms", show_default=True, help="How long SES takes.")
@click.option("--sns-url", help="HTTP(S) endpoint that gets all events; it is asked to confirm first, as by SNS.")
@click.option("--sns-confirmed", is_flag=True, help="Skip that confirmation.")
@click.option("--delivery-policy", help="SNS's for that endpoint, as JSON; default: three retries 20 seconds apart.")
@click.option("--dead-letter-queue", help="Queue for what SNS gives up.")
@click.option("--sqs-queue", help="Queue that gets all events.")
@click.option("--sqs-endpoint-url", help="Address of the SQS-compatible server.")
@click.option(
    "--lambda-handler", metavar="MODULE:FUNCTION", help="Python function that gets all events as Lambda's do."
)
@click.option("--raw-delivery", is_flag=True, help="Events without SNS's envelope.")
@click.option("--signature-version", type=click.Choice(["1", "2"]), default="1", show_default=True, help="SNS's.")
@click.option("--time-scale", default=1.0, show_default=True, help="Events and SNS's retries, so many times faster.")
@click.option("--seed", type=int, help="Makes latencies, faults and ids repeat.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as a line of JSON.")
def simulator(*, latency: tuple[float, float], identities: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Run a local SES that behaves like SES, until Ctrl-C.

    Point any program at it with AWS_ENDPOINT_URL_SESV2 (and AWS_ENDPOINT_URL_SES, AWS_ENDPOINT_URL_SNS). What it took
    is shown in the browser, at the same address.
    """
    sys.path.insert(0, str(Path.cwd()))  # where the function of --lambda-handler is looked for
    try:
        settings = Options(latency_seconds=latency, identities=identities or None, **options)
        serve(settings, announce="json" if as_json else "text")
    except (CannotStart, ValueError) as error:
        raise click.ClickException(str(error)) from error
    os._exit(0)  # the threads of deliveries would keep the process until an endpoint that hangs lets go of them
