"""`sesmail why`: why is mail, or one email, not going out?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from sesmail.cli.output import emit, json_option, two_columns
from sesmail.cli.site import site_client
from sesmail.errors import SesmailError, UnknownSend

if TYPE_CHECKING:
    from sesmail.client import Client
    from sesmail.doctor import Finding
    from sesmail.sending.essence import Essence, Obstacle
    from sesmail.vocabulary import Status

KEEPS_BACK = (
    *("settings-wrong", "misspelt-variable", "misspelt-celery", "suppressed", "sender-wrong"),
    *("redis-unreachable", "redis-replica", "redis-failover", "redis-version", "redis-rights", "redis-disk"),
    *("redis-crowded", "redis-durability", "broker-unreachable"),
)
"""Checks of `sesmail doctor` that say why no mail is accepted, or none reaches a worker, and that ask no AWS."""
LEADS_ELSEWHERE = ("redirected",)
"""Those by which mail goes out, but not to whom it is for; often meant so, and told last."""


@click.command()
@click.argument("send_id", required=False, metavar="[ID]")
@json_option
def why(send_id: str | None, as_json: bool) -> None:
    """Say why mail is not going out, and what to do. With an ID, why this one is not.

    It looks at settings, Redis, broker, workers, line, rate and quota, and does not ask AWS: `sesmail doctor` does.
    Exits with 1 where something is in its way, also where Redis cannot be reached.
    """
    answer = _answer(send_id)
    data: dict[str, Any] = {"said": answer.said, "obstacles": [asdict(each) for each in answer.found]}
    if send_id:
        data["happened"] = [{"at": at, "what": what} for at, what in answer.happened]
    rows = [("", answer.said)] if answer.said else []
    rows += [(datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), what) for at, what in answer.happened]
    for each in answer.found:
        rows += [(each.id, each.what), ("", each.do)]
    emit(data, as_json=as_json, table=two_columns(rows))
    if answer.found:
        raise SystemExit(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What is told."""

    found: list[Obstacle]
    said: str = ""
    happened: list[tuple[float, str]] = field(default_factory=list)


def _answer(send_id: str | None) -> Answer:
    kept_back, elsewhere = _set_up()
    try:
        client = site_client()
        seen = client.essence()
        found = [*kept_back, *seen.obstacles, *elsewhere]
        if not send_id:
            return Answer(found=found, said="" if found else _all_is_well(seen))
        status = client.real_outbox.status(send_id)
        return Answer(found=_of_one(status, found), said=_said_of_one(client, status), happened=_story(status))
    except UnknownSend:
        raise
    except SesmailError:
        if not kept_back:
            raise
        return Answer(found=kept_back)  # which says why nothing more can be seen


def _set_up() -> tuple[list[Obstacle], list[Obstacle]]:
    """What is wrong with the set-up: what keeps mail back, and what leads it elsewhere."""
    from sesmail.cli.doctor import examined

    findings = examined(only=(*KEEPS_BACK, *LEADS_ELSEWHERE)).findings
    kept_back = [_as_obstacle(each) for each in findings if each.id in KEEPS_BACK]
    return kept_back, [_as_obstacle(each) for each in findings if each.id in LEADS_ELSEWHERE]


def _as_obstacle(found: Finding) -> Obstacle:
    from sesmail.sending.essence import Obstacle

    return Obstacle(id=found.id, level=found.level, what=found.what, do=f"{found.do} ({found.docs})")


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
    return [
        each
        for each in found
        if each.lane in {None, status.lane} and each.account in {None, status.account} and each.id not in general
    ]
