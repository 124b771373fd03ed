"""`sesmail top`: how the sending goes, live."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sesmail.cli.output import json_option, shown_until_told, with_lines_above
from sesmail.cli.site import site_client
from sesmail.sending.essence import a_second, duration
from sesmail.vocabulary import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sesmail.client import Client
    from sesmail.sending.essence import Essence


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """How things stood at one time."""

    at: float
    essence: Essence


@click.command()
@click.option("--every", "every_seconds", type=click.FloatRange(0.2), default=1.0, show_default=True, help="Seconds.")
@click.option("--times", type=click.IntRange(0), default=0, help="End after so many; 0 goes on until Ctrl-C.")
@json_option
def top(every_seconds: float, times: int, as_json: bool) -> None:
    """Show live how the sending goes, in the terminal. It has the three lines of `sesmail status`, what is sent a
    second, margin, throttles and the expected end.

    Until Ctrl-C. With --json, one object a line each time.
    """
    client = site_client()
    before = _look(client)

    def look() -> dict[str, Any]:
        nonlocal before
        now = _look(client)
        data, before = _data(before, now), now
        return data

    shown_until_told(look, _table, every_seconds, as_json=as_json, times=times)


def _look(client: Client) -> Moment:
    return Moment(at=time.monotonic(), essence=client.essence())


def _data(before: Moment, now: Moment) -> dict[str, Any]:
    """What is shown. Rates are of sends a second; the expected end is in seconds from now."""
    seconds = now.at - before.at
    counts, snapshot = now.essence.counts, now.essence.throttle
    sent_a_second = max(0, counts["sent"] - before.essence.counts["sent"]) / seconds if seconds > 0.05 else 0.0
    waiting = counts["queued"] + counts["claimed"]
    essence = now.essence.as_dict()
    return {
        "essence": essence,
        "sent_a_second": round(sent_a_second, 1),
        "limit": essence["limit"],
        "margin": round(snapshot.margin, 4),
        "throttled_recipients": snapshot.refused,
        **{
            state: counts[state] for state in ("queued:transactional", "queued:bulk", "scheduled", "claimed", "sending")
        },
        **{state: counts[state] for state in ("unknown", "sent", "rejected", "abandoned")},
        "quota_used": snapshot.quota_used,
        "quota_left": {str(lane): left for lane, left in snapshot.quota_left.items()},
        "closed": essence["closed"],
        "accounts": essence["accounts"],
        "expected_end_seconds": round(waiting / sent_a_second) if sent_a_second else None,
    }


OF_THE_LINES = {"essence", "accounts", "limit", "quota_used", "closed", "queued:transactional", "queued:bulk"}
"""What the three lines say already."""


def _table(data: dict[str, Any]) -> RenderableType:
    end = data["expected_end_seconds"]
    left = ", ".join(f"{lane} {'unlimited' if n is None else n}" for lane, n in data["quota_left"].items())
    said = {**data, "quota_left": left, "expected_end_seconds": None if end is None else f"in {duration(end)}"}
    rows = [(name.replace("_", " "), value) for name, value in said.items() if value and name not in OF_THE_LINES]
    rows += [
        (
            f"account {name}",
            f"{each['rate_now']}/s of {a_second(each['limit'])}; {each['quota_used']} of {each['quota']}",
        )
        for name, each in data["accounts"].items()
        if name != DEFAULT_ACCOUNT
    ]
    return with_lines_above(data["essence"]["lines"], rows)
