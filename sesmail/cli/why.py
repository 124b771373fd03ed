"""`sesmail why`: why is mail, or one email, not going out?"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from sesmail.cli.output import emit, json_option, two_columns
from sesmail.cli.site import site_client

if TYPE_CHECKING:
    from sesmail.client import Client
    from sesmail.sending.essence import Essence, Obstacle
    from sesmail.vocabulary import Status


@click.command()
@click.argument("send_id", required=False, metavar="[ID]")
@json_option
def why(send_id: str | None, as_json: bool) -> None:
    """Say why mail, or the send of this ID, is not going out, and what to do.

    Exits with 1 where something is in its way.
    """
    client = site_client()
    seen = client.essence()
    found = [*seen.obstacles]
    happened: list[tuple[float, str]] = []
    if send_id:
        status = client.real_outbox.status(send_id)
        found = _of_one(status, found)
        said, happened = _said_of_one(client, status), _story(status)
    else:
        said = "" if found else _all_is_well(seen)
    data: dict[str, Any] = {"said": said, "obstacles": [asdict(each) for each in found]}
    if send_id:
        data["happened"] = [{"at": at, "what": what} for at, what in happened]
    rows = [("", said)] if said else []
    rows += [(datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), what) for at, what in happened]
    for each in found:
        rows += [(each.id, each.what), ("", each.do)]
    emit(data, as_json=as_json, table=two_columns(rows))
    if found:
        raise SystemExit(1)


def _all_is_well(seen: Essence) -> str:
    from sesmail.sending.essence import duration, emails

    counts = seen.counts
    due = [lane.next_seconds for lane in seen.lanes.values() if lane.next_seconds is not None]
    waits = counts["queued"] + counts["claimed"] + counts["sending"] + seen.in_batches
    later = f" {emails(counts['scheduled'])} wait for their time" if counts["scheduled"] else ""
    if later and due:
        later += f", the first for {duration(min(due))} more"
    now = f"{emails(waits)} on their way." if waits else "Nothing waits for a worker."
    return f"Nothing is in the way. {now}{later}{'.' if later else ''}"


def _story(status: Status) -> list[tuple[float, str]]:
    from sesmail.sending.story import story

    return story(status)


def _said_of_one(client: Client, status: Status) -> str:
    from sesmail.sending.essence import duration

    since = duration(client.obstacles.waiting.now() - status.changed_at)
    said = f"It is {status.state} for {since}"
    if status.reason:
        said += f": {status.reason}"
    return f"{said.rstrip('.')}."


def _of_one(status: Status, found: list[Obstacle]) -> list[Obstacle]:
    """What is in the way of a send that still waits; of one that is at its end, nothing is."""
    from sesmail.vocabulary import State

    if status.state not in {State.QUEUED, State.SCHEDULED, State.CLAIMED}:
        return []
    general = {"refused", "unknown"}
    return [each for each in found if each.lane in {None, status.lane} and each.id not in general]
