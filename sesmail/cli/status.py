"""`sesmail status` and `sesmail quota`: how things stand."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from sesmail.cli.output import emit, json_option, shown_until_told, two_columns, with_lines_above
from sesmail.cli.site import SILENT_SECONDS, account_option, accounts_of, site_client
from sesmail.message import Lane
from sesmail.sending.account import read_at_once
from sesmail.sending.essence import a_second
from sesmail.sending.story import story
from sesmail.vocabulary import DEFAULT_ACCOUNT, WAITING

UNATTENDED = "no worker takes from it: add it to a worker's -Q, or start one without -Q"

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sesmail.client import Client
    from sesmail.sending.throttle import Snapshot
    from sesmail.vocabulary import Status


@click.command()
@click.argument("send_id", required=False, metavar="[ID]")
@click.option("--check", is_flag=True, help="Exit with 1 where somebody should see to something: see `sesmail why`.")
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--every", "every_seconds", type=click.FloatRange(0.2), default=2.0, show_default=True, help="Seconds.")
@json_option
def status(*, send_id: str | None, check: bool, watch: bool, every_seconds: float, as_json: bool) -> None:
    """Show how things stand, or what became of one send. How things stand is told in three lines, with the states that
    hold sends below them.

    The lines: workers, and the oldest that waits in each lane; rate and limit, quota, account; the line, and what is
    in the way.
    """
    if send_id and (check or watch):
        raise click.UsageError("--check and --watch are about all sends, not about one.")
    client = site_client()
    if send_id:
        known, why = client.real_outbox.status(send_id), _why(client, send_id)
        emit(asdict(known) | {"why": why}, as_json=as_json, table=two_columns(_readable(known, why)))
        return
    if watch:
        shown_until_told(lambda: _everything(client), _table, every_seconds, as_json=as_json)
        return
    data = _everything(client)
    for warning in data["redis"]["warnings"]:
        click.echo(f"WARNING: {warning}", err=True)
    emit(data, as_json=as_json, table=_table(data))
    if check and not data["essence"]["well"]:
        raise SystemExit(1)


def _why(client: Client, send_id: str) -> str:
    """Why one waits, by now."""
    listed = client.search.listed([send_id])
    return client.waits().why(listed[0]) if listed and listed[0].status.state in WAITING else ""


def _everything(client: Client) -> dict[str, Any]:
    essence = client.essence()
    redis, kept = client.redis_health.read(), client.redis_health.kept_bytes(dict(essence.counts))
    return {
        "essence": essence.as_dict(),
        "sends": dict(essence.counts),
        "batches": client.batches.counts(),
        "line": [
            {"account": name, **asdict(closure)}
            for name, throttle in essence.throttles.items()
            for closure in throttle.closures
        ],
        "reputation": [each.as_dict() for each in client.brake.judgements() if each.why],
        "rate": _rate(essence.throttle),
        "accounts": {
            name: {**_rate(throttle), "fallback": client.accounts[name].fallback}
            for name, throttle in essence.throttles.items()
        },
        "unattended": _unattended(client, dict(essence.counts)),
        "redis": {**asdict(redis), "warnings": client.redis_health.warnings(), "in_short": redis.in_short()},
        "kept_mb": {which: round(size / 1e6, 2) for which, size in kept.items()},
    }


def _table(data: dict[str, Any]) -> RenderableType:
    kept = [f"{which.replace('_', ' ')} {size} MB" for which, size in data["kept_mb"].items() if size]
    rows: list[tuple[str, Any]] = [(name, count) for name, count in data["sends"].items() if count and ":" not in name]
    rows += [(f"in batches {name}", count) for name, count in data["batches"].items()]
    rows += [
        (f"line {_of(c['account'])}{c['scope']}", f"{c['how']} since {_time(c['since'])}: {c['reason']}")
        for c in data["line"]
    ]
    rows += [(each["scope"], f"{each['level']}: {each['why']}") for each in data["reputation"]]
    rows += [(f"queue {name}", UNATTENDED) for name in data["unattended"]]
    rows += [("Redis", data["redis"]["in_short"])]
    others = {name: each for name, each in data["accounts"].items() if name != DEFAULT_ACCOUNT}
    rows += [(f"account {name}", _in_short(each)) for name, each in others.items()]
    rows += [("kept, about", ", ".join(kept))] if kept else []
    return with_lines_above(data["essence"]["lines"], rows)


def _of(account: str) -> str:
    return "" if account == DEFAULT_ACCOUNT else f"{account}: "


def _in_short(account: dict[str, Any]) -> str:
    falls_back = f"; falls back to {account['fallback']}" if account["fallback"] else ""
    return f"{account['sent_last_second']}/s of {a_second(account['limit_now'])}; {account['account']}{falls_back}"


def _unattended(client: Client, counts: dict[str, int]) -> list[str]:
    """The queues in which emails wait although no worker takes them."""
    waiting = [client.settings.queue_of(lane) for lane in Lane if counts[f"queued:{lane}"]]
    return client.fleet.unattended(list(dict.fromkeys(waiting)), SILENT_SECONDS)


@click.command()
@account_option
@json_option
def quota(account: str | None, as_json: bool) -> None:
    """Show each account's send rate and 24-hour quota. It says what SES allows, what is used, and what is left.

    This is what the workers know by now. The next one asks SES again at once: call it again a few seconds later to see
    what has changed.
    """
    client = site_client()
    asked = accounts_of(client, account)
    for each in asked:
        read_at_once(each.turns)
    snapshots = {each.name: each.throttle.snapshot() for each in asked}
    by_account = {name: {**_rate(snapshot), **_quota(snapshot)} for name, snapshot in snapshots.items()}
    waiting = {"waiting_for_quota": client.ledger.waiting_for_room()}
    rows: list[tuple[str, Any]] = []
    for name, figures in by_account.items():
        rows += [(name, "")] if len(by_account) > 1 else []
        rows += [(what.replace("_", " "), "unlimited" if n == -1 else n) for what, n in figures.items()]
    rows += [(what.replace("_", " "), n) for what, n in waiting.items()]
    data = {**by_account[asked[0].name], **waiting, "accounts": by_account}
    emit(data, as_json=as_json, table=two_columns(rows))


def _rate(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "max_send_rate": round(snapshot.rate, 2),
        "share": snapshot.share,
        "limit_now": round(snapshot.limit, 2),
        "sent_last_second": snapshot.rate_now,
        "throttled_recipients": snapshot.refused,
        "account": snapshot.standing or "not known",
        "told_by": snapshot.source or "nobody yet: no worker has asked SES; the sandbox's limits hold",
    }


def _quota(snapshot: Snapshot) -> dict[str, Any]:
    left = {f"left_for_{lane}": "unlimited" if n is None else n for lane, n in snapshot.quota_left.items()}
    return {
        "max_24_hour_send": snapshot.quota,
        "used_24_hours": snapshot.quota_used,
        "used_by_others": snapshot.quota_used_by_others,
        **left,
    }


def _readable(known: Status, why: str) -> list[tuple[str, Any]]:
    found = asdict(known)
    happened = [(f"  {_time(at)}", what) for at, what in story(known)] if known.moves or known.reached else []
    del found["moves"], found["reached"]
    times = {name: _time(found[name]) for name in ("accepted_at", "changed_at")}
    deliveries = [(f"  {recipient}", reached) for recipient, reached in found.pop("deliveries").items()]
    rows = [(name.replace("_", " "), value) for name, value in (found | times).items() if value not in (None, "")]
    rows += [("by now", why)] if why else []
    return [*rows, *([("what happened", ""), *happened] if happened else []), *deliveries]


def _time(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
