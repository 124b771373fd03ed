"""`sesmail loadtest`: many emails to the mailbox simulator's addresses, followed to their ends, with a report."""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter as Counts
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sesmail.cli.age import Age
from sesmail.cli.output import counted, emit, json_option, progress_bar, two_columns
from sesmail.cli.site import client_with_workers, site_client
from sesmail.errors import ConfigurationError
from sesmail.message import LIST_TAG, Email, Lane
from sesmail.vocabulary import FAILED, Delivery, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sesmail.client import Client
    from sesmail.ses.soundings import Soundings

MAILBOX_SIMULATOR = "simulator.amazonses.com"
EXPECTED = {"success": Delivery.DELIVERED, "bounce": Delivery.BOUNCED, "complaint": Delivery.COMPLAINED}
"""What AWS's addresses do: https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html"""
DOLLARS_PER_EMAIL = 0.10 / 1000
"""https://aws.amazon.com/ses/pricing/"""
PAGE = 500
ANOTHER_PLACE = ("AWS_ENDPOINT_URL_SESV2", "AWS_ENDPOINT_URL")
"""Variables of AWS's own that lead to a local SES."""
Thing = TypeVar("Thing")
ENDS = {State.SENT, *FAILED}


def _mix(_context: click.Context, _option: click.Parameter, said: str) -> dict[str, int]:
    mix = {}
    for part in said.split(","):
        name, _, weight = part.strip().partition("=")
        if name not in EXPECTED or not weight.isdigit():
            raise click.BadParameter(f"{part!r}: write {', '.join(f'{each}=NUMBER' for each in EXPECTED)}.")
        mix[name] = int(weight)
    if not sum(mix.values()):
        raise click.BadParameter("one of them must be above 0.")
    return mix


@dataclass
class Run:
    """What was queued, and what is known of it."""

    name: str
    kinds: dict[str, str] = field(default_factory=dict)
    """Send ids, and what their addresses do."""
    states: dict[str, str] = field(default_factory=dict)
    waited_seconds: list[float] = field(default_factory=list)
    """From acceptance to SES's yes, of those sent."""
    unheard: set[str] = field(default_factory=set)
    """Those of which SES has not told the end."""
    sent_at: dict[str, float] = field(default_factory=dict)
    """When SES took each, in epoch seconds by Redis' clock."""
    heard_after_seconds: list[float] = field(default_factory=list)
    """From SES's yes to the event of its end, to within half a second, of those heard."""


@click.command()
@click.option("--emails", type=click.IntRange(1), required=True, help="How many.")
@click.option(
    "--mix",
    default="success=97,bounce=2,complaint=1",
    show_default=True,
    callback=_mix,
    help="What becomes of them, in parts of their sum.",
)
@click.option("--events", is_flag=True, help="Wait for SES's events of each, too.")
@click.option(
    "--timeout", type=Age(), default="1h", show_default=True, help="What is not done by then is lost, or unheard."
)
@click.option(
    "--settle/--no-settle",
    default=None,
    help="Find out afterwards what AWS does not document: its burst, calls for several, an empty body. Without either, "
    "of a real account.",
)
@click.option("--yes", is_flag=True, help="Do not ask: the price is paid.")
@json_option
def loadtest(
    *,
    emails: int,
    mix: Mapping[str, int],
    events: bool,
    timeout: float,
    settle: bool | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Send test emails, and follow each of them to its end. They go through your workers to addresses of SES's mailbox
    simulator.

    They go where all email goes: to a local SES (SESMAIL_ENDPOINT_URL), or to AWS, which bills them, counts them to the
    rate, but neither to the 24-hour quota nor to your reputation. Exits with 1 where any was lost or doubled, or with
    --events unheard.
    """
    site_client().check_not_suppressed()
    client = client_with_workers()
    if events:
        _check_that_events_are_heard(client)
    is_local = client.settings.endpoint_url or any(map(os.environ.get, ANOTHER_PLACE))
    soundings = _soundings(client) if (not is_local if settle is None else settle) else None
    if not is_local and not yes:
        _confirm(client, emails + (soundings.most_emails if soundings else 0))
    run, began = Run(name=f"loadtest-{secrets.token_hex(4)}"), time.monotonic()
    before = client.throttle.snapshot(), Counts(client.meters.door_answers())
    _queue(client, run, emails, mix)
    queued_seconds = time.monotonic() - began
    _follow(client, run, began + timeout, events=events)
    report = _report(client, run, before, events=events)
    report |= {"queueing_seconds": round(queued_seconds, 1), "seconds": round(time.monotonic() - began, 1)}
    if soundings:
        report |= {"settled": soundings.take()}
    emit(report, as_json=as_json, table=two_columns(_lines(report)))
    if report["lost"] or report["doubled"] or report["unheard"]:
        raise SystemExit(1)


def _soundings(client: Client) -> Soundings:
    from sesmail.ses.soundings import Soundings

    settings = client.settings
    return Soundings(
        client.transport,
        rate=client.throttle.snapshot().rate,
        from_email=settings.from_email or f"a@{MAILBOX_SIMULATOR}",
    )


def _lines(report: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in report.items():
        if name != "settled":
            yield name.replace("_", " "), value
            continue
        for what, found in value.items():
            figures = ", ".join(f"{key} {figure}" for key, figure in found.items() if key != "said")
            yield what.replace("_", " "), f"{found['said']}{f' ({figures})' if figures else ''}"


def _check_that_events_are_heard(client: Client) -> None:
    """Before emails are queued and waited for in vain. Raises `ConfigurationError`."""
    settings = client.settings
    if settings.topics or settings.raw_delivery_site or client.hearing.heard_at(settings.site):
        return
    raise ConfigurationError(
        "No SESMAIL_TOPICS are set, and no event of SES was ever heard: --events would wait for what cannot come. "
        "Nothing was queued. Set SESMAIL_TOPICS here and for the door (docs/events-setup.md), or leave out --events."
    )


def _confirm(client: Client, emails: int) -> None:
    rate = client.throttle.snapshot().rate
    pace = f", which takes {emails / rate / 60:.0f} minutes at {rate:g} a second" if rate > 0 else ""
    click.confirm(
        f"{counted(emails, 'email goes', 'emails go')} by your account to AWS's mailbox simulator: "
        f"${emails * DOLLARS_PER_EMAIL:.2f}{pace}. "
        "They count to the send rate, not to the 24-hour quota. Go on?",
        abort=True,
        err=True,
    )


def _queue(client: Client, run: Run, emails: int, mix: Mapping[str, int]) -> None:
    with progress_bar() as bar:
        row = bar.add_task("queueing", total=emails)
        for lot in _pages(_emails(client, run, emails, mix), 50):
            for one, kind in zip(client.real_outbox.send_lot([email for email, _ in lot]), lot, strict=True):
                run.kinds[one.send_id] = kind[1]
            bar.update(row, advance=len(lot))


def _emails(client: Client, run: Run, emails: int, mix: Mapping[str, int]) -> Iterator[tuple[Email, str]]:
    """Evenly mixed: the kind that is furthest behind its share comes next."""
    total, given = sum(mix.values()), dict.fromkeys(mix, 0)
    for number in range(1, emails + 1):
        kind = max(mix, key=lambda each: mix[each] * number / total - given[each])
        given[kind] += 1
        yield (
            Email(
                f"{kind}+{run.name}-{number}@{MAILBOX_SIMULATOR}",
                "sesmail loadtest",
                f"Email {number} of {emails}.",
                from_email=client.settings.from_email,
                lane=Lane.BULK,
                tags={LIST_TAG: run.name},
            ),
            kind,
        )


def _follow(client: Client, run: Run, until: float, *, events: bool) -> None:
    """Until all are at their ends, and SES has told of them; or the time is up."""
    waiting = set(run.kinds)
    run.unheard = set(run.kinds) if events else set()
    with progress_bar() as bar:
        sent = bar.add_task("sending", total=len(waiting))
        heard = bar.add_task("hearing", total=len(run.unheard), visible=events)
        while (waiting or run.unheard) and time.monotonic() < until:
            _look_at_sends(client, run, waiting)
            _look_at_deliveries(client, run)
            bar.update(sent, completed=len(run.kinds) - len(waiting))
            bar.update(heard, completed=len(run.kinds) - len(run.unheard))
            time.sleep(0.5)


def _look_at_sends(client: Client, run: Run, waiting: set[str]) -> None:
    key, redis = client.scripts.keys, client.scripts.redis
    for page in _pages(sorted(waiting), PAGE):
        with redis.pipeline(transaction=False) as pipe:
            for send_id in page:
                pipe.hmget(key("send", send_id), "state", "accepted_at", "moved_at")
            rows: list[Any] = pipe.execute()
        for send_id, (state, accepted_at, moved_at) in zip(page, rows, strict=True):
            run.states[send_id] = said = (state or b"gone").decode()
            if said in ENDS:
                waiting.discard(send_id)
            if said == State.SENT:
                run.sent_at[send_id] = float(moved_at) / 1000
                run.waited_seconds.append((float(moved_at) - float(accepted_at)) / 1000)


def _look_at_deliveries(client: Client, run: Run) -> None:
    key, redis = client.scripts.keys, client.scripts.redis
    time_of_redis: Any = redis.time()
    now = time_of_redis[0] + time_of_redis[1] / 1e6
    for page in _pages(sorted(run.unheard), PAGE):
        with redis.pipeline(transaction=False) as pipe:
            for send_id in page:
                pipe.hvals(key("delivery", send_id))
            rows: list[Any] = pipe.execute()
        for send_id, reached in zip(page, rows, strict=True):
            if EXPECTED[run.kinds[send_id]].encode() in reached:
                run.unheard.discard(send_id)
                if send_id in run.sent_at:
                    run.heard_after_seconds.append(max(0.0, now - run.sent_at[send_id]))


def _report(client: Client, run: Run, before: tuple[Any, Counts[str]], *, events: bool) -> dict[str, Any]:
    snapshot, answers = client.throttle.snapshot(), Counts(client.meters.door_answers())
    states, tail, heard = Counts(run.states.values()), sorted(run.waited_seconds), sorted(run.heard_after_seconds)
    today = datetime.now(UTC).date()
    counted = [rates for rates in client.reputation.rates(client.settings.site, today, today) if rates.list == run.name]
    told_as_sent = sum(rates.counts.get("sent", 0) for rates in counted)  # type: ignore[call-overload]
    return {
        "run": run.name,
        "emails": len(run.kinds),
        "sent": states[State.SENT],
        "lost": len(run.kinds) - states[State.SENT],
        "not_sent_by_state": {state: count for state, count in states.items() if state != State.SENT},
        "doubled": max(0, told_as_sent - len(run.kinds)) if events else None,
        "throttled_by_ses": snapshot.refused - before[0].refused,
        "seconds_to_sent": _tail(tail),
        "seconds_to_heard": _tail(heard) if events else None,
        "unheard": len(run.unheard),
        "door_answers": dict(answers - before[1]),
    }


def _pages(things: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
    rest = iter(things)
    while page := list(islice(rest, size)):
        yield page


def _tail(ordered: list[float]) -> dict[str, float | None]:
    return {name: _quantile(ordered, part) for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


def _quantile(ordered: list[float], part: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 2) if ordered else None
