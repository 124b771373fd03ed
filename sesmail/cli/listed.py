"""`sesmail sends`: sends as an operator looks for them, and what is done with all of those at once."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sesmail.cli.age import Age
from sesmail.cli.audit import why_option
from sesmail.cli.output import counted, emit, json_option, two_columns
from sesmail.cli.sends import each_step, moment_of
from sesmail.cli.site import site_client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from sesmail.client import Client
    from sesmail.sending.essence import Essence
    from sesmail.state.ledger.search import Found, Listed
    from sesmail.vocabulary import State

PAGE = 5000
ALL = 1_000_000_000
STATES = (
    *("queued", "scheduled", "claimed", "sending", "unknown"),
    *("sent", "rejected", "suppressed", "cancelled", "expired", "abandoned"),
)
WAITING = STATES[:5]


@click.command()
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Which; several times. Else all that wait."
)
@click.option("--list", "list_name", help="Those to this list of the site.")
@click.option("--to", "address", help="Those with this address among their recipients.")
@click.option("--lane", type=click.Choice(["transactional", "bulk"]), help="Those of this lane.")
@click.option("--older-than", type=Age(), help="Those accepted longer ago than this, such as 10m, 12h or 3d.")
@click.option("--cancel", is_flag=True, help="Take all of them back.")
@click.option("--reschedule", metavar="WHEN", help="Give all of them another time: `now`, or 2026-11-30T18:00+01:00.")
@click.option("--requeue", is_flag=True, help="Send all of them again: those that did not go out, or are unknown.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many are listed.")
@why_option
@json_option
def sends(
    *,
    states: tuple[str, ...],
    list_name: str | None,
    address: str | None,
    lane: str | None,
    older_than: float | None,
    cancel: bool,
    reschedule: str | None,
    requeue: bool,
    yes: bool,
    limit: int,
    why: str,
    as_json: bool,
) -> None:
    """List the sends that wait, each with its reason. `--state` lists those of other states. The reason is as things
    stand now.

    With --cancel, --reschedule or --requeue, that is done with all that are found, however many; it asks first. By
    --list and --to, recipients of batches are found, too; no other email is that was accepted while
    SESMAIL_SEARCH_BY_ADDRESS was off. Without them, `sesmail batch` lists who waits in batches.
    """
    from sesmail.vocabulary import State

    wished = [name for name, given in (("cancel", cancel), ("reschedule", reschedule), ("requeue", requeue)) if given]
    if len(wished) > 1:
        raise click.UsageError("One of --cancel, --reschedule and --requeue at a time.")
    if wished and not (states or list_name or address or lane or older_than):
        raise click.UsageError(f"--{wished[0]} is for all that are found: say which, by --state, --list, --to, ...")
    when = moment_of(reschedule) if reschedule else None
    client = site_client()
    wanted = Wanted([State(name) for name in states or WAITING], list_name, address, lane, older_than)
    found = _found(client, wanted)
    if not wished:
        _list(client, found, limit, as_json)
        return
    ids = [each.status.send_id for each in found]
    _ask(wished[0], ids, yes=yes, as_json=as_json)
    act: dict[str, Callable[[str], Any]] = {
        "cancel": client.real_outbox.cancel,
        "reschedule": lambda send_id: client.real_outbox.reschedule(send_id, when or datetime.now(UTC)),
        "requeue": client.real_outbox.requeue,
    }
    client.audit.note(wished[0], f"{counted(len(ids), 'send')}, the first {ids[0]}" if ids else "no sends", why)
    each_step([(send_id, partial(act[wished[0]], send_id)) for send_id in ids], as_json)


class Wanted:
    """Which sends are looked for."""

    def __init__(
        self,
        states: Sequence[State],
        list_name: str | None,
        address: str | None,
        lane: str | None,
        older_than_seconds: float | None,
    ) -> None:
        self.states, self.list_name, self.address = states, list_name, address
        self._lane, self._older_than_seconds = lane, older_than_seconds

    def holds(self, send: Listed, now: float) -> bool:
        """Whether this is one of them."""
        status = send.status
        return (
            status.state in self.states
            and (self._lane is None or status.lane == self._lane)
            and (self.list_name is None or send.list in {self.list_name, ""})
            and (self._older_than_seconds is None or now - status.accepted_at > self._older_than_seconds)
        )


def _found(client: Client, wanted: Wanted) -> list[Listed]:
    now, ids = client.obstacles.waiting.now(), _ids(client, wanted)
    pages = (client.search.listed(ids[first : first + PAGE]) for first in range(0, len(ids), PAGE))
    return [each for page in pages for each in page if wanted.holds(each, now)]


def _ids(client: Client, wanted: Wanted) -> list[str]:
    """Of all that may be meant: by address and list, or else by state; each once."""
    search, by_index = client.search, []
    if wanted.address:
        by_index.append(dict.fromkeys(search.by_address(wanted.address, limit=ALL).ids))
    if wanted.list_name:
        of_site, states = client.settings.site, wanted.states
        found = search.by_list(of_site, wanted.list_name, limit=ALL, of_batches=states)
        by_index.append(dict.fromkeys(found.ids))
    if by_index:
        first, *others = by_index
        return [send_id for send_id in first if all(send_id in other for other in others)]
    by_state: dict[str, None] = {}
    for state in wanted.states:
        by_state |= _all(partial(search.in_state, state))
    return [*by_state]


def _all(look: Callable[..., Found]) -> dict[str, None]:
    found: dict[str, None] = {}
    skip = 0
    while (page := look(skip=skip, limit=PAGE)).ids:
        found |= dict.fromkeys(page.ids)
        skip += PAGE
    return found


def _ask(wish: str, ids: Sequence[str], *, yes: bool, as_json: bool) -> None:
    if yes or not ids:
        return
    if as_json:
        raise click.UsageError("With --json nobody is asked: say --yes, too.")
    number = f"{len(ids)} send{'' if len(ids) == 1 else 's'}"
    click.confirm(f"{wish.capitalize()} {number}?", abort=True, err=True)


def _list(client: Client, found: Sequence[Listed], limit: int, as_json: bool) -> None:
    waits = client.waits()
    shown = [(each, waits.why(each)) for each in found[:limit]]
    data = {
        "total": len(found),
        "sends": [{**asdict(each.status), **_more(each), "why": why} for each, why in shown],
    }
    emit(data, as_json=as_json, table=_table(shown, len(found), waits.now))


def _more(each: Listed) -> dict[str, Any]:
    return {"site": each.site, "account": each.account, "list": each.list, "due_at": each.due_at}


def _table(shown: Sequence[tuple[Listed, str]], total: int, now: Essence) -> Table:
    title = counted(total, "send") + (f", the first {len(shown)}" if len(shown) < total else "")
    return two_columns([(each.status.send_id, _in_words(each, why, now)) for each, why in shown], title=title)


def _in_words(each: Listed, why: str, now: Essence) -> str:
    from sesmail.sending.essence import duration

    status = each.status
    about = [f"{status.state}, {duration(now.at - status.accepted_at)} old", str(status.lane)]
    about += [f"list {each.list}"] if each.list else []
    return ": ".join(filter(None, [", ".join(about), why]))
