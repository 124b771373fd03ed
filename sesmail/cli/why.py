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
        if send_id:
            return _of_one(client, send_id, kept_back, elsewhere)
        seen = client.essence()
        found = [*kept_back, *seen.obstacles, *elsewhere]
        return Answer(found=found, said="" if found else _all_is_well(seen))
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


def _of_one(client: Client, send_id: str, kept_back: list[Obstacle], elsewhere: list[Obstacle]) -> Answer:
    """Of a send that still waits, what is in its way, too; of one that is at its end, nothing is."""
    from sesmail.sending.essence import duration
    from sesmail.sending.story import story
    from sesmail.sending.waits import WAITS_FOR_A_WORKER

    status = client.real_outbox.status(send_id)
    waits, reason, found = client.waits(), status.reason, []
    for listed in client.search.listed([send_id]):  # none where it was forgotten meanwhile
        reason = waits.why(listed)
        if listed.status.state in WAITS_FOR_A_WORKER:
            found = [*kept_back, *waits.in_the_way(listed), *elsewhere]
    said = f"It is {status.state} for {duration(waits.now.at - status.changed_at)}"
    said = f"{said}: {reason}" if reason else said
    return Answer(found=found, said=f"{said.rstrip('.')}.", happened=story(status))
