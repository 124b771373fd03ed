"""`sesmail events|process-events|rates|purge`: what SES has told, and what follows from it."""

from __future__ import annotations

import json
import time
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from sesmail.cli.age import Age
from sesmail.cli.output import counted, emit, json_option, two_columns
from sesmail.cli.site import site_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sesmail.client import Client
    from sesmail.events.model import Event
    from sesmail.events.stores import StoredEvent
    from sesmail.state.people.reputation import Rates


NOTHING_COUNTED = "Nothing was counted in these days: no event of SES has been processed. See docs/events-setup.md."


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--unprocessed", is_flag=True, help="List those that wait or back off, not those set aside.")
@click.option("--unread", is_flag=True, help="List those of which something cannot be read, processed or not.")
@click.option("--replay", is_flag=True, help="Process again: those named, or all that were set aside.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many are listed.")
@json_option
def events(ids: tuple[str, ...], unprocessed: bool, unread: bool, replay: bool, limit: int, as_json: bool) -> None:
    """List the events that failed, and count those that wait. Failed ones were set aside, and are shown with their
    errors.

    With IDs, show these whole: how they are read, and SES's own words. `--unread` looks through all that are kept.
    """
    if (ids or replay) and (unprocessed or unread):
        raise click.UsageError("To list: --unprocessed or --unread alone. To show or process again: the IDs.")
    client = site_client()
    if replay:
        _replay(client, ids, as_json)
    elif ids:
        _show(client, ids, as_json)
    elif unread:
        _list_unread(client, limit, as_json)
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

    return {
        "event_id": stored.event_id,
        "kind": type(read_stored(stored, site=site)[0]).__name__,
        "received_at": _iso(stored.received_at),
        "attempts": stored.attempts,
        "error": stored.error,
    }


def _iso(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="seconds")


def _list_unread(client: Client, limit: int, as_json: bool) -> None:
    from sesmail.events.stores import EventState

    site, store = client.settings.site, client.event_store
    kept = (stored for state in EventState for stored in store.read(site, state))
    found = [*islice((one for one in (_unread_of(stored, site) for stored in kept) if one["unread"]), limit)]
    rows = [(one["event_id"], f"{one['kind']}: {', '.join(one['unread'])}") for one in found]
    title = f"{site}: {len(found)} of which something cannot be read"
    emit({"site": site, "events": found}, as_json=as_json, table=two_columns(rows, title=title))


def _unread_of(stored: StoredEvent, site: str) -> dict[str, Any]:
    """What cannot be read of it, by this release; the whole of it where it tells of no email."""
    from sesmail.events.model import Unhandled
    from sesmail.events.reading import read_stored

    read = read_stored(stored, site=site)
    whole = [event.what for event in read if isinstance(event, Unhandled) and not event.key]
    places = dict.fromkeys(place for event in read for place in event.unread)
    return _described(stored, site) | {"unread": [*whole, *places]}


def _show(client: Client, ids: Sequence[str], as_json: bool) -> None:
    site, store = client.settings.site, client.event_store
    kept = {id_: store.get(id_) for id_ in ids}
    found = [_whole(stored, site) for stored in kept.values() if stored]
    emit(found, as_json=as_json, table="\n\n".join(_as_text(one) for one in found) or "No such event is kept.")
    if len(found) < len(kept):
        raise SystemExit(1)


def _whole(stored: StoredEvent, site: str) -> dict[str, Any]:
    from sesmail.events.reading import read_stored

    read = [_event_as_read(event) for event in read_stored(stored, site=stored.source or site)]
    about = {"site": stored.source, "topic": stored.topic_arn}
    return _described(stored, site) | about | {"events": read, "message": stored.message}


def _event_as_read(event: Event) -> dict[str, Any]:
    """All that it says, but for SES's own words, which stand beside it."""
    names = [field.name for field in fields(event) if field.name not in {"mail", "details", "key"}]
    said = {name: getattr(event, name) for name in names}
    shown = {name: _plain(value) for name, value in said.items() if value not in (None, "", ())}
    return {"kind": type(event).__name__, **shown}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, bool | int | float) else str(value)


def _as_text(one: dict[str, Any]) -> str:
    """For people: SES's words are indented where they are JSON."""
    try:
        message = json.dumps(json.loads(one["message"]), indent=2, ensure_ascii=False)
    except ValueError:
        message = one["message"]
    head = {name: value for name, value in one.items() if name not in {"events", "message"} and value != ""}
    lines = [f"{name}: {value}" for name, value in head.items()]
    lines += [f"read as: {json.dumps(event, ensure_ascii=False)}" for event in one["events"]]
    return escape("\n".join([*lines, message]))


@click.command("process-events")
@click.option("--site", help="Another site than SESMAIL_SITE.")
@json_option
def process_events(site: str | None, as_json: bool) -> None:
    """Act on the events that wait, and call your functions. Workers do that by themselves; this is for cron.

    Ends when none are due; those that failed come again later, and the exit code is 1 then.
    """
    client = site_client()
    processor = client.event_processor_of(site) if site else client.event_processor
    done = {"processed": 0, "failed": 0, "told": 0}
    while (batch := processor.process()).gathered:
        done["processed"] += batch.processed
        done["failed"] += batch.failed
        if not batch.processed:
            break
    done["told"] = 0 if site else client.teller.tell_what_ended()
    emit(done, as_json=as_json, table=two_columns(done.items()))
    if done["failed"]:
        raise SystemExit(1)


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
    """Show bounces and complaints by list and day. The day is the one on which the emails were sent; deliveries and the
    rest are there, too.

    Marked is what AWS would mark: `!` is high (hard bounces from 2 %, complaints from 0.05 %), and `!!` is what it
    reviews an account for (5 %, 0.1 %). With --json there is more.
    """
    client = site_client()
    today = datetime.now(UTC).date()
    found = client.reputation.rates(site or client.settings.site, today - timedelta(days=days - 1), today)
    emit([one.as_dict() for one in found], as_json=as_json, table=_rates(found) if found else NOTHING_COUNTED)


OF_RATES = {"sent": "sent", "delivered": "arrived", "opened": "opens", "clicked": "clicks", "unsubscribed": "unsub"}
"""What of the counts is shown in 80 columns, and its heading."""
MARKS = {"": "", "high": "!", "reviewed": "!!"}
LONGEST_LIST_NAME = 14


def _rates(found: Sequence[Rates]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("day", no_wrap=True)
    table.add_column("list", no_wrap=True)
    for heading in [*OF_RATES.values(), "bounced", "complained"]:
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        counts = one.as_dict()
        name = one.list if len(one.list) <= LONGEST_LIST_NAME else f"{one.list[: LONGEST_LIST_NAME - 1]}…"
        bounced = f"{one.bounce_rate:.1%}{MARKS[one.bounce_mark]:<2}"
        complained = f"{one.complaint_rate:.2%}{MARKS[one.complaint_mark]:<2}"
        table.add_row(str(one.day), escape(name), *(str(counts[each]) for each in OF_RATES), bounced, complained)
    return table


@click.command()
@click.option("--older-than", type=Age(), required=True, help="Those processed longer ago than this, such as 90d.")
@json_option
def purge(older_than: float, as_json: bool) -> None:
    """Forget processed events of this site. Those that wait or were set aside are kept, however old."""
    client = site_client()
    purged = client.event_store.purge(client.settings.site, older_than=time.time() - older_than)
    emit({"purged": purged}, as_json=as_json, table=f"{counted(purged, 'event')} forgotten.")
