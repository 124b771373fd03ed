"""`sesmail events|rates|purge`: what SES has told, and what follows from it."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from sesmail.cli.output import emit, json_option, two_columns
from sesmail.cli.site import site_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sesmail.client import Client
    from sesmail.events.stores import StoredEvent


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--unprocessed", is_flag=True, help="List those that wait or back off, not those set aside.")
@click.option("--replay", is_flag=True, help="Process again: those named, or all that were set aside.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many are listed.")
@json_option
def events(ids: tuple[str, ...], unprocessed: bool, replay: bool, limit: int, as_json: bool) -> None:
    """List the events that were set aside after failures, with their errors, and count those that wait."""
    if (ids and not replay) or (replay and unprocessed):
        raise click.UsageError("To process again: --replay, with or without IDs. To list: neither.")
    client = site_client()
    if replay:
        _replay(client, ids, as_json)
    else:
        _list(client, unprocessed, limit, as_json)


def _list(client: Client, unprocessed: bool, limit: int, as_json: bool) -> None:
    from sesmail.events.stores import EventState

    site, store = client.settings.site, client.event_store
    counts = store.counts(site)
    state = EventState.UNPROCESSED if unprocessed else EventState.SET_ASIDE
    found = [_described(stored, site) for stored in islice(store.read(site, state), limit)]
    total = {"unprocessed": counts.unprocessed, "set_aside": counts.set_aside}
    title = f"{site}: {counts.unprocessed} unprocessed, {counts.set_aside} set aside"
    rows = [(one["event_id"], f"{one['kind']}, attempts {one['attempts']}: {one['error']}") for one in found]
    emit({"site": site, **total, "events": found}, as_json=as_json, table=two_columns(rows, title=title))


def _described(stored: StoredEvent, site: str) -> dict[str, Any]:
    from sesmail.events.reading import read_stored

    received_at = datetime.fromtimestamp(stored.received_at, UTC).isoformat(timespec="seconds")
    return {
        "event_id": stored.event_id,
        "kind": type(read_stored(stored, site=site)[0]).__name__,
        "received_at": received_at,
        "attempts": stored.attempts,
        "error": stored.error,
    }


def _replay(client: Client, ids: Sequence[str], as_json: bool) -> None:
    from sesmail.events.stores import EventState

    site, store = client.settings.site, client.event_store
    found = [store.get(id_) for id_ in ids] if ids else list(store.read(site, EventState.SET_ASIDE))
    known = [stored for stored in found if stored is not None]
    store.replay(known, now=time.time())
    data = {"replayed": len(known), "unknown": len(found) - len(known)}
    emit(data, as_json=as_json, table=two_columns(data.items()))
    if data["unknown"]:
        raise SystemExit(1)


@click.command()
@click.option("--days", type=click.IntRange(1, 400), default=7, show_default=True, help="So many, up to today (UTC).")
@click.option("--site", help="Another site than SESMAIL_SITE.")
@json_option
def rates(days: int, site: str | None, as_json: bool) -> None:
    """Show what became of the emails of a site, by list and by the day on which they were sent."""
    client = site_client()
    today = datetime.now(UTC).date()
    found = client.reputation.rates(site or client.settings.site, today - timedelta(days=days - 1), today)
    shown = ("sent", "delivered", "bounced_permanent", "bounced_transient", "complained", "opened", "clicked")
    table = Table("day", "list", *shown, "unsubscribed", "bounce rate", "complaint rate", box=None, pad_edge=False)
    for one in found:
        counts = [str(one.as_dict()[name]) for name in (*shown, "unsubscribed")]
        table.add_row(str(one.day), one.list, *counts, f"{one.bounce_rate:.2%}", f"{one.complaint_rate:.3%}")
    emit([one.as_dict() for one in found], as_json=as_json, table=table if found else "Nothing was counted.")


class Age(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """`90d`, `12h` or `30m`: a span of time, in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """To seconds."""
        match = re.fullmatch(r"(\d+)([dhm])", str(value))
        if match is None:
            self.fail(f"{value!r} is no age: write for example 90d, 12h or 30m.", param, ctx)
        return int(match[1]) * {"d": 86_400.0, "h": 3600.0, "m": 60.0}[match[2]]


@click.command()
@click.option("--older-than", type=Age(), required=True, help="Those processed longer ago than this, such as 90d.")
@json_option
def purge(older_than: float, as_json: bool) -> None:
    """Forget processed events of this site. Those that wait or were set aside are kept, however old."""
    client = site_client()
    purged = client.event_store.purge(client.settings.site, older_than=time.time() - older_than)
    emit({"purged": purged}, as_json=as_json, table=f"{purged} events forgotten.")
