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
from sesmail.vocabulary import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from rich.table import Table

    from sesmail.client import Client
    from sesmail.sending.throttle import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What was counted at one time."""

    at: float
    counts: dict[str, int]
    snapshots: dict[str, Snapshot]
    """By account."""


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
    snapshots = {name: account.throttle.snapshot() for name, account in client.accounts.items()}
    return Moment(at=time.monotonic(), counts=client.ledger.counts(), snapshots=snapshots)


def _data(before: Moment, now: Moment) -> dict[str, Any]:
    """What is shown. Rates are of sends a second; the expected end is in seconds from now."""
    seconds = now.at - before.at
    counts, accounts = now.counts, {name: _account(snapshot) for name, snapshot in now.snapshots.items()}
    sent_a_second = max(0, counts["sent"] - before.counts["sent"]) / seconds if seconds > 0.05 else 0.0
    waiting = counts["queued"] + counts["claimed"]
    return {
        "sent_a_second": round(sent_a_second, 1),
        **{name: accounts[DEFAULT_ACCOUNT][name] for name in ("limit", "margin", "throttled_recipients")},
        **{
            state: counts[state] for state in ("queued:transactional", "queued:bulk", "scheduled", "claimed", "sending")
        },
        **{state: counts[state] for state in ("unknown", "sent", "rejected", "abandoned")},
        **{name: accounts[DEFAULT_ACCOUNT][name] for name in ("quota_used", "quota_left", "closed")},
        "accounts": accounts,
        "expected_end_seconds": round(waiting / sent_a_second) if sent_a_second else None,
    }


def _account(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "limit": round(snapshot.limit, 2),
        "margin": round(snapshot.margin, 4),
        "sent_last_second": snapshot.rate_now,
        "throttled_recipients": snapshot.refused,
        "quota_used": snapshot.quota_used,
        "quota_left": {str(lane): left for lane, left in snapshot.quota_left.items()},
        "closed": [f"{closure.scope}: {closure.how}, {closure.reason}" for closure in snapshot.closures],
    }


def _table(data: dict[str, Any]) -> Table:
    others = {name: each for name, each in data["accounts"].items() if name != DEFAULT_ACCOUNT}
    end = data["expected_end_seconds"]
    shown = {**data, **_shown(data), "expected_end_seconds": "" if end is None else f"in {end} s"}
    del shown["accounts"]
    for account, each in others.items():
        shown |= {f"{account}: {name}": value for name, value in {**each, **_shown(each)}.items()}
    return two_columns([(name.replace("_", " "), value) for name, value in shown.items()])


def _shown(account: dict[str, Any]) -> dict[str, Any]:
    """What of an account is written otherwise for people."""
    left = {lane: "unlimited" if n is None else n for lane, n in account["quota_left"].items()}
    return {
        "quota_left": ", ".join(f"{lane} {n}" for lane, n in left.items()),
        "closed": "\n".join(account["closed"]) or "nothing: the line is open",
        "limit": "none" if account["limit"] < 0 else account["limit"],
    }
