"""`sesmail sweep|unknown|failed|find|cancel|reschedule`: what an operator does with single sends."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sesmail.cli.audit import why_option
from sesmail.cli.output import counted, emit, json_option, two_columns
from sesmail.cli.site import site_client
from sesmail.message.addresses import normal_address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sesmail.client import Client
    from sesmail.sending.outbox import Outbox
    from sesmail.state.ledger.search import Listed
    from sesmail.vocabulary import State, Status

    Step = tuple[str, Callable[[], Any]]

STATES_LISTED_AS_FAILED = ("rejected", "abandoned", "expired")
STATES_ASKED_FOR = ("cancelled", "suppressed")


@click.command()
@json_option
def sweep(as_json: bool) -> None:
    """Look once for what fell between, and mend it. Every worker does so every few seconds; what was mended is said by
    its cause.
    """
    done = asdict(site_client().sweeper.sweep())
    emit(done, as_json=as_json, table=two_columns([(cause.replace("_", " "), count) for cause, count in done.items()]))


@click.command()
@click.option("--resend", multiple=True, metavar="ID", help="Send it again; if SES has it, it goes out twice.")
@click.option("--settle", nargs=2, multiple=True, metavar="ID MESSAGE_ID", help="SES has it, under this message id.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many are listed.")
@json_option
def unknown(resend: tuple[str, ...], settle: tuple[tuple[str, str], ...], limit: int, as_json: bool) -> None:
    """List the sends that SES may have, or decide about them. An event or the SES console tells which it has.

    Nobody needs to: unless SESMAIL_ON_UNKNOWN is `hold`, they are sent again when the evidence window is over.
    """
    from sesmail.vocabulary import State

    client = site_client()
    if not resend and not settle:
        _list(client, [State.UNKNOWN], limit, as_json)
        return
    steps: list[Step] = [(send_id, partial(_resend_unknown, client.real_outbox, send_id)) for send_id in resend]
    steps += [(send_id, partial(_settle, client.real_outbox, send_id, message_id)) for send_id, message_id in settle]
    each_step(steps, as_json)


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--requeue", is_flag=True, help="Send these again: a new start, with all attempts.")
@click.option("--all", "everything", is_flag=True, help="With --requeue: all that would be listed.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([*STATES_LISTED_AS_FAILED, *STATES_ASKED_FOR]),
    default=STATES_LISTED_AS_FAILED,
    show_default=True,
    help="Which; may be given several times.",
)
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many of each are listed.")
@why_option
@json_option
def failed(
    *,
    ids: tuple[str, ...],
    requeue: bool,
    everything: bool,
    states: tuple[str, ...],
    limit: int,
    why: str,
    as_json: bool,
) -> None:
    """Say why sends failed, and list them or send them again. They are counted by kind, and the latest are listed."""
    from sesmail.vocabulary import State

    if requeue != bool(ids or everything) or (ids and everything):
        raise click.UsageError("To send again: --requeue with IDs, or --requeue --all. To list: neither.")
    client, wanted = site_client(), [State(state) for state in states]
    if not requeue:
        _list_failed(client, wanted, limit, as_json)
        return
    if everything:
        counts = client.ledger.counts()
        ids = tuple(one for state in wanted for one in client.ledger.ids(state, limit=counts[state]))
    client.audit.note("requeue", _first_of(ids), why)
    each_step([(send_id, partial(client.real_outbox.requeue, send_id)) for send_id in ids], as_json)


def _first_of(ids: tuple[str, ...]) -> str:
    """For the trail: which sends, where they are few."""
    return ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")


@click.command()
@click.argument("address", required=False)
@click.option("--list", "list_name", help="Those to this list of the site, instead.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many are listed.")
@json_option
def find(address: str | None, list_name: str | None, limit: int, as_json: bool) -> None:
    """Find the sends to an ADDRESS, or to a list. The latest come first.

    Recipients of batches are found, too. Other email is not that was accepted while SESMAIL_SEARCH_BY_ADDRESS was off.
    """
    if bool(address) == bool(list_name):
        raise click.UsageError("Give an ADDRESS, or --list with its name.")
    client = site_client()
    search, site = client.search, client.settings.site
    if address:
        found = search.by_address(normal_address_of("ADDRESS", address), limit=limit)
    else:
        found = search.by_list(site, list_name or "", limit=limit)
    for batch_id in found.batches:
        click.echo(f"A former release queued the batch {batch_id} for it, too; under which id is not known.", err=True)
    sends = [each.status for each in search.listed(found.ids)]
    table = two_columns([(each.send_id, _in_words(each)) for each in sends], title=counted(len(sends), "send"))
    emit([asdict(each) for each in sends], as_json=as_json, table=table)


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
def cancel(ids: tuple[str, ...], as_json: bool) -> None:
    """Take sends back that SES has not been asked to take."""
    client = site_client()
    each_step([(send_id, partial(client.real_outbox.cancel, send_id)) for send_id in ids], as_json)


@click.command()
@click.argument("send_id", metavar="ID")
@click.argument("when")
@json_option
def reschedule(send_id: str, when: str, as_json: bool) -> None:
    """Give a waiting send another time. The time is `now`, or like 2026-11-30T18:00+01:00."""
    client = site_client()
    each_step([(send_id, partial(client.real_outbox.reschedule, send_id, moment_of(when)))], as_json)


def _resend_unknown(outbox: Outbox, send_id: str) -> None:
    from sesmail.errors import MoveRefused
    from sesmail.vocabulary import State

    state = outbox.status(send_id).state
    if state is not State.UNKNOWN:
        raise MoveRefused(f"The send is {state}, not unknown. Nothing was done.")
    outbox.requeue(send_id)


def _settle(outbox: Outbox, send_id: str, message_id: str) -> str:
    from sesmail.errors import UnknownSend

    became = outbox.record_evidence(send_id, message_id)
    if became == "gone":
        raise UnknownSend
    return became


def moment_of(when: str) -> datetime:
    """What is written on the command line: `now`, or a time with its zone."""
    if when == "now":
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        raise click.BadParameter("write it like 2026-11-30T18:00+01:00", param_hint="WHEN") from None
    if moment.tzinfo is None:
        so = f"{moment:%Y-%m-%dT%H:%M}"
        raise click.BadParameter(f"say the time of day and its zone, as in {so}+01:00 or {so}Z", param_hint="WHEN")
    return moment


def each_step(steps: Sequence[Step], as_json: bool) -> None:
    """Do a step for each id. Goes on after one that cannot be done; then exits with 1, so that nobody misses it."""
    from sesmail.errors import MoveRefused, UnknownSend

    outcomes: dict[str, str] = {}
    refused = 0
    for send_id, step in steps:
        try:
            outcomes[send_id] = step() or "done"
        except (MoveRefused, UnknownSend) as error:
            outcomes[send_id] = str(error)
            refused += 1
    data = {"done": len(outcomes) - refused, "refused": refused, "sends": outcomes}
    emit(data, as_json=as_json, table=two_columns(outcomes.items()))
    if refused:
        raise SystemExit(1)


def _list(client: Client, states: Iterable[State], limit: int, as_json: bool) -> None:
    ledger, counts = client.ledger, client.ledger.counts()
    found = [ledger.status(send_id) for state in states for send_id in ledger.ids(state, limit=limit)]
    total = {str(state): counts[state] for state in states}
    summary = ", ".join(f"{count} {state}" for state, count in total.items())
    table = two_columns([(status.send_id, _in_words(status)) for status in found], title=summary)
    emit({"total": total, "sends": [asdict(status) for status in found]}, as_json=as_json, table=table)


def _list_failed(client: Client, states: Iterable[State], limit: int, as_json: bool) -> None:
    """By their reasons, then one by one, the latest first."""
    waiting, search, counts = client.obstacles.waiting, client.search, client.ledger.counts()
    groups = [(state, group) for state in states for group in waiting.reasons(state)]
    groups.sort(key=lambda pair: -pair[1].emails)
    found = [each for state in states for each in search.listed(search.in_state(state, limit=limit).ids)]
    total = {str(state): counts[state] for state in states}
    data = {
        "total": total,
        "groups": [{"state": str(state), **asdict(group)} for state, group in groups],
        "sends": [{**asdict(each.status), "list": each.list} for each in found],
    }
    title = ", ".join(f"{count} {state}" for state, count in total.items())
    rows = [(f"{group.emails} x {state}", _short(group.reason, group.code)) for state, group in groups]
    rows += [("", "")] if rows else []
    rows += [(each.status.send_id, _failed_in_words(each)) for each in found]
    emit(data, as_json=as_json, table=two_columns(rows, title=title))


def _failed_in_words(each: Listed) -> str:
    status = each.status
    of_list = f" list {each.list}," if each.list else ""
    accepted, ended = (
        datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M") for at in (status.accepted_at, status.changed_at)
    )
    return (
        f"{status.lane},{of_list} accepted {accepted}, {status.state} {ended} UTC: {_short(status.reason, status.code)}"
    )


def _short(reason: str | None, code: str | None) -> str:
    """SES's own words where there are some: what is to be done is the same for all of a list."""
    said = reason or ""
    words = said.partition(" SES says: ")[2] or said
    return f"{code}: {words}" if code else words


def _in_words(status: Status) -> str:
    since = datetime.fromtimestamp(status.changed_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    code = f" ({status.code})" if status.code else ""
    return f"{status.state} since {since}, attempts {status.attempts}: {status.reason or ''}{code}"
