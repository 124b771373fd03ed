"""`sesmail top`: how the sending goes, live."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live

from sesmail.cli.output import json_option, two_columns
from sesmail.cli.site import site_client

if TYPE_CHECKING:
    from rich.table import Table

    from sesmail.client import Client
    from sesmail.sending.throttle import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What was counted at one time."""

    at: float
    counts: dict[str, int]
    snapshot: Snapshot


@click.command()
@click.option("--every", "every_seconds", type=click.FloatRange(0.2), default=1.0, show_default=True, help="Seconds.")
@click.option("--times", type=click.IntRange(0), default=0, help="End after so many; 0 goes on until Ctrl-C.")
@json_option
def top(every_seconds: float, times: int, as_json: bool) -> None:
    """Show rate, limit, margin, throttles, queues, quota and the expected end, until Ctrl-C.

    With --json, one object a line each time.
    """
    client = site_client()
    before = _look(client)
    with Live(console=Console(), refresh_per_second=4, screen=False) as screen:
        try:
            shown = 0
            while not times or shown < times:
                now = _look(client)
                data = _data(before, now)
                if as_json:
                    screen.stop()
                    click.echo(json.dumps(data))
                else:
                    screen.update(_table(data))
                shown += 1
                before = now
                if shown != times:
                    time.sleep(every_seconds)
        except KeyboardInterrupt:
            pass


def _look(client: Client) -> Moment:
    return Moment(at=time.monotonic(), counts=client.ledger.counts(), snapshot=client.throttle.snapshot())


def _data(before: Moment, now: Moment) -> dict[str, Any]:
    """What is shown. Rates are of sends a second; the expected end is in seconds from now."""
    seconds = now.at - before.at
    counts, snapshot = now.counts, now.snapshot
    sent_a_second = max(0, counts["sent"] - before.counts["sent"]) / seconds if seconds > 0.05 else 0.0
    waiting = counts["queued"] + counts["claimed"]
    return {
        "sent_a_second": round(sent_a_second, 1),
        "limit": round(snapshot.limit, 2),
        "margin": round(snapshot.margin, 4),
        "throttled_recipients": snapshot.refused,
        **{
            state: counts[state] for state in ("queued:transactional", "queued:bulk", "scheduled", "claimed", "sending")
        },
        **{state: counts[state] for state in ("unknown", "sent", "rejected", "abandoned")},
        "quota_used": snapshot.quota_used,
        "quota_left": {str(lane): left for lane, left in snapshot.quota_left.items()},
        "closed": [f"{closure.scope}: {closure.how}, {closure.reason}" for closure in snapshot.closures],
        "expected_end_seconds": round(waiting / sent_a_second) if sent_a_second else None,
    }


def _table(data: dict[str, Any]) -> Table:
    left = {lane: "unlimited" if n is None else n for lane, n in data["quota_left"].items()}
    shown = {
        **data,
        "quota_left": ", ".join(f"{lane} {n}" for lane, n in left.items()),
        "closed": "\n".join(data["closed"]) or "nothing: the line is open",
        "limit": "none" if data["limit"] < 0 else data["limit"],
        "expected_end_seconds": "" if data["expected_end_seconds"] is None else f"in {data['expected_end_seconds']} s",
    }
    return two_columns([(name.replace("_", " "), value) for name, value in shown.items()])
