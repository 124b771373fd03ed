"""`sesmail batch`: how far a letter to many is; to pause it, let it go on, take it back."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live

from sesmail.cli.output import emit, json_option, two_columns
from sesmail.cli.site import client_with_workers, site_client
from sesmail.errors import InvalidEmail
from sesmail.vocabulary import BatchState

if TYPE_CHECKING:
    from rich.table import Table

    from sesmail.client import Client
    from sesmail.sending.waits import Waits
    from sesmail.vocabulary import BatchStatus

LEAST_SECONDS = 0.05
"""Between two looks, for a rate that means something."""


@click.command()
@click.argument("batch_id", metavar="ID", required=False)
@click.option("--watch", is_flag=True, help="Look again every second until it has ended, or Ctrl-C.")
@click.option("--pause", "wish", flag_value="pause", help="Begin nothing more of it until --resume.")
@click.option("--resume", "wish", flag_value="resume", help="Go on after a pause.")
@click.option("--cancel", "wish", flag_value="cancel", help="Take back all that has not begun, for good.")
@click.option("--rate", metavar="RATE", help="Go on at this rate at most, such as 5/s or 300/m; `none` takes it off.")
@click.option(
    "--ramp", metavar="N", help="From now on N in 24 hours, and twice as many in each that follow; or `none`."
)
@json_option
def batch(
    *, batch_id: str | None, watch: bool, wish: str | None, rate: str | None, ramp: str | None, as_json: bool
) -> None:
    """Show how far a batch is, or the latest batches. Of one with an ID: recipients by state, the rate, and when it
    will be done.

    A recipient's send has the id ID-NUMBER: `sesmail find`, `cancel`, `unknown` and `failed` know it as any other. With
    --watch and --json, one object a line each time.
    """
    if batch_id is None:
        if watch or wish or rate or ramp:
            raise click.UsageError("Name the batch: `sesmail batch` lists the latest.")
        _list(site_client(), as_json)
        return
    if wish:
        client = client_with_workers()
        getattr(client.real_batch_office, wish)(batch_id)
        client.audit.note(f"{wish} batch", batch_id, "")
    if rate or ramp:
        _slow(batch_id, rate, ramp)
    client = site_client()
    if watch:
        watch_batch(client, batch_id, as_json=as_json)
        return
    data = _data(client, client.batches.status(batch_id), None, client.waits())
    emit(data, as_json=as_json, table=_table(data))


def _slow(batch_id: str, rate: str | None, ramp: str | None) -> None:
    client = client_with_workers()
    limits: dict[str, Any] = {} if rate is None else {"rate": None if rate == "none" else rate}
    if ramp is not None:
        limits["ramp"] = None if ramp == "none" else int(ramp) if ramp.isdecimal() else ramp
    try:
        client.real_batch_office.slow(batch_id, **limits)
    except InvalidEmail as error:
        raise click.BadParameter(f"--{error.field} {error.problem}: {error.limit}, or none.") from None
    said = ", ".join(f"{name} {limit or 'none'}" for name, limit in limits.items())
    client.audit.note(f"slow batch: {said}", batch_id, "")


def _list(client: Client, as_json: bool) -> None:
    found = [client.batches.status(each) for each in client.batches.latest()]
    waits = client.waits()
    data = [_data(client, status, None, waits) for status in found]
    lines = [f"{each['batch_id']}  {each['state']}  {each['done']} of {each['recipients']}" for each in data]
    emit(data, as_json=as_json, table="\n".join(lines) or "There are no batches.")


def watch_batch(client: Client, batch_id: str, *, as_json: bool) -> None:
    """Show how far it is, again each second, until it has ended, or Ctrl-C."""
    before = client.batches.status(batch_id), time.monotonic()
    with Live(console=Console(), refresh_per_second=4, screen=False) as screen:
        try:
            while True:
                status, now = client.batches.status(batch_id), time.monotonic()
                seconds = now - before[1]
                rate = (status.done - before[0].done) / seconds if seconds > LEAST_SECONDS else None
                data = _data(client, status, rate, client.waits())
                if as_json:
                    screen.stop()
                    click.echo(json.dumps(data))
                else:
                    screen.update(_table(data))
                if status.finished_at is not None:
                    return
                before = status, now
                time.sleep(1.0)
        except KeyboardInterrupt:
            pass


def _data(client: Client, status: BatchStatus, rate: float | None, waits: Waits) -> dict[str, Any]:
    """What is shown. The expected end is in seconds from now, by the rate that is seen, else by the account's."""
    by_rate = rate
    if by_rate is None and status.state is BatchState.RUNNING:
        by_rate = max(client.throttle.snapshot().limit, 0.0)
    left = status.waiting
    return {
        **asdict(status),
        "why": waits.why_batch(status),
        "recipients": status.recipients,
        "done": status.done,
        "a_second": None if rate is None else round(rate, 1),
        "expected_end_seconds": round(left / by_rate) if by_rate and left else None,
    }


def _table(data: dict[str, Any]) -> Table:
    hidden = {"counts", "events", "accepted_at", "changed_at", "finished_at", "waits_until"}
    hidden |= {"expected_end_seconds", "a_second"}
    shown = {name: value for name, value in data.items() if name not in hidden and value not in ("", None)}
    rows = [(name.replace("_", " "), value) for name, value in shown.items()]
    rows += [(f"  {state}", count) for state, count in data["counts"].items()]
    rows += [(f"  {what.replace('_', ' ')}", count) for what, count in data["events"].items()]
    if data["a_second"] is not None:
        rows.append(("a second", data["a_second"]))
    if data["expected_end_seconds"] is not None:
        rows.append(("expected end", f"in {data['expected_end_seconds']} s"))
    return two_columns(rows)
