"""`sesmail suppress`: who is not written to."""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sesmail.cli.audit import why_option
from sesmail.cli.output import counted, emit, json_option, shown, two_columns
from sesmail.cli.site import account_option, accounts_of, app_option, client_with_workers, site_client
from sesmail.message.addresses import normal_address
from sesmail.state.fleet.audit import digest_of
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.vocabulary import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sesmail.client import Client

COLUMNS = ("address", "scope", "reason", "since", "source", "until")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ScopeName(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """`everything`, `site:NAME` or `list:SITE/NAME`."""

    name = "scope"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Scope:
        """To a `Scope`."""
        try:
            return value if isinstance(value, Scope) else Scope.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


scope_option = click.option(
    "--scope",
    type=ScopeName(),
    default="everything",
    show_default=True,
    help="How far it reaches: everything, site:NAME or list:SITE/NAME.",
)
reason_option = click.option(
    "--reason",
    type=click.Choice([reason.value for reason in Reason]),
    default=Reason.MANUAL.value,
    show_default=True,
    help="Why; transactional email ignores `unsubscribed`.",
)


@click.group()
@app_option(hidden=True)
def suppress() -> None:
    """Show and change who is not written to. These are addresses that bounced, complained or unsubscribed, and those
    that you add.
    """


@suppress.command()
@click.argument("address")
@scope_option
@reason_option
@json_option
def add(address: str, scope: Scope, reason: str, as_json: bool) -> None:
    """Write to an address no more. Holds for what is queued, too."""
    _check_address(address)
    added = client_with_workers().suppression.add(_opt_out({"address": address}, scope, reason, source="command"))
    said = "Added." if added else "It was there already, for this reason or a stronger one."
    emit({"added": added}, as_json=as_json, table=said)


@suppress.command()
@click.argument("address")
@scope_option
@click.option("--also-at-ses", is_flag=True, help="Take it off SES's own suppression list of each account, too.")
@why_option
@json_option
def remove(address: str, scope: Scope, also_at_ses: bool, why: str, as_json: bool) -> None:
    """Write to an address again, within one scope. Those who complained should ask for it themselves.

    SES has a list of its own: who bounced or complained is on that, too, and SES refuses the next email to them, which
    opts them out again. `--also-at-ses` takes them off it.
    """
    client = client_with_workers()
    found = [one for one in client.suppression.find(address) if one.scope == scope]
    removed = client.suppression.remove(address, scope)
    if removed:
        client.audit.note("opt-out removed", f"{digest_of(address)} of {scope}", why)
    removed_at_ses = _off_ses_lists(client, address) if also_at_ses else None
    said = "Removed." if removed else f"It was not there ({scope})."
    if also_at_ses:
        said += " SES has it no more, either." if removed_at_ses else " It was not on SES's own list."
    elif any(one.reason in KEPT_AT_SES for one in found):
        said += (
            " SES's own suppression list most likely has it, too, and refuses the next email: run it again with "
            "--also-at-ses."
        )
    emit({"removed": removed, "removed_at_ses": removed_at_ses}, as_json=as_json, table=said)
    if not (removed or removed_at_ses):
        raise SystemExit(1)


def _off_ses_lists(client: Client, address: str) -> bool:
    """Off those of all accounts; whether it was on any."""
    normal = normal_address(address)
    return _of_any(client.ses_suppression(name).delete(normal) for name in client.accounts)


def _of_any(removals: Iterable[bool]) -> bool:
    """Whether there was any, when all are made."""
    return any([*removals])


KEPT_AT_SES = {Reason.BOUNCED, Reason.COMPLAINED, Reason.SES_LIST}
"""The reasons for which SES puts an address on a list of its own."""


@suppress.command()
@account_option
@json_option
def sync(account: str | None, as_json: bool) -> None:
    """Read SES's own suppression list of each account into ours, then put our hard bounces and complaints there.

    One call a second, as SES allows: 1,000 addresses read, or one put. Interrupted, it goes on where it was for a day.
    Unsubscribes are not given to SES.
    """
    from sesmail.sending.list_sync import ListSync

    client = site_client()
    client.check_not_suppressed()
    so_far = {"read": 0, "put": 0}

    def progress(what: str, count: int) -> None:
        so_far[what] += count
        click.echo(f"\r{so_far['read']} read, {so_far['put']} put at SES", nl=False, err=True)

    synced: dict[str, int] = {}
    for each in accounts_of(client, account):
        scripts = client.scripts.of_account(each.name)
        done = asdict(ListSync(scripts, client.suppression, client.ses_suppression(each.name)).run(progress))
        synced = {name: count + synced.get(name, 0) for name, count in done.items()}
    click.echo("", err=True)
    emit(synced, as_json=as_json, table=two_columns(synced.items()))


@suppress.command("list")
@click.argument("address", required=False)
@json_option
def list_(address: str | None, as_json: bool) -> None:
    """List who is not written to, or all entries of one ADDRESS."""
    suppression = site_client().suppression
    rows = [_row(opt_out) for opt_out in (suppression.find(address) if address else suppression.read())]
    lines = [(row["address"], _in_words(row)) for row in rows]
    emit(rows, as_json=as_json, table=two_columns(lines, title=counted(len(rows), "entry", "entries")))


@suppress.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@scope_option
@reason_option
@json_option
def import_(file: Path, scope: Scope, reason: str, as_json: bool) -> None:
    """Add the addresses of a CSV file, as `export` writes it; only the column `address` is needed.

    Those at erased.invalid are of people who were erased: they hold only in the ledger that they were exported from.

    SCOPE and REASON are for rows that name none. All rows are checked before the first is added.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            opt_outs = [
                _read(_as_written(row), scope, reason, line) for line, row in enumerate(csv.DictReader(lines), start=2)
            ]
    except UnicodeDecodeError:
        raise click.ClickException(f"{file.name} is not in UTF-8. Nothing was added.") from None
    suppression = client_with_workers().suppression
    added = sum(suppression.add(opt_out) for opt_out in opt_outs)
    data = {"added": added, "known": len(opt_outs) - added}
    emit(data, as_json=as_json, table=two_columns(data.items()))


@suppress.command()
@json_option
def export(as_json: bool) -> None:
    """Write all entries as CSV to standard output; with --json, as a list."""
    rows = map(_row, site_client().suppression.read())
    if as_json:
        emit(list(rows), as_json=True, table="")
    else:
        _write_csv(rows)


def _write_csv(rows: Iterable[Mapping[str, str]]) -> None:
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _no_formula(shown(value)) for name, value in row.items()} for row in rows)


def _no_formula(value: str) -> str:
    """A spreadsheet takes what begins so for a formula: https://owasp.org/www-community/attacks/CSV_Injection."""
    return f"'{value}" if value.startswith(_FORMULA) else value


def _as_written(row: dict[str, Any]) -> dict[str, Any]:
    """What `_no_formula` was given."""
    marked = tuple(f"'{sign}" for sign in _FORMULA)
    return {
        name: value[1:] if isinstance(value, str) and value.startswith(marked) else value for name, value in row.items()
    }


@suppress.command()
@json_option
def rebuild(as_json: bool) -> None:
    """Write down again all opt-outs that stored events of this site tell of. Those removed by hand come back, too."""
    added = site_client().event_processor.rebuild_suppression()
    said = f"{counted(added, 'entry that was missing is', 'entries that were missing are')} there again."
    emit({"added": added}, as_json=as_json, table=said)


def _in_words(row: Mapping[str, str]) -> str:
    ends = f", until {row['until']}" if row["until"] else ""
    return f"{row['reason']}, {row['scope']}, since {row['since']}{ends}"


def _row(opt_out: OptOut) -> dict[str, str]:
    return {
        "address": opt_out.address,
        "scope": str(opt_out.scope),
        "reason": opt_out.reason.value,
        "since": opt_out.since.isoformat(timespec="seconds"),
        "source": opt_out.source,
        "until": opt_out.until.isoformat(timespec="seconds") if opt_out.until else "",
    }


def _read(row: Mapping[str, str | None], scope: Scope, reason: str, line: int) -> OptOut:
    try:
        _check_address(row.get("address") or "")
        return _opt_out(row, scope, reason, source="import")
    except (ValueError, OverflowError, click.ClickException) as error:
        problem = error.message if isinstance(error, click.ClickException) else str(error)
        raise click.ClickException(f"Line {line}: {problem.rstrip('.')}. Nothing was added.") from None


def _opt_out(row: Mapping[str, str | None], scope: Scope, reason: str, *, source: str) -> OptOut:
    """Raises ValueError for a scope, a reason or a time that is none, OverflowError for a time in no year."""
    written, until = row.get("scope"), row.get("until")
    return OptOut(
        address=row["address"] or "",
        scope=Scope.parse(written) if written else scope,
        reason=Reason(row.get("reason") or reason),
        since=_time(since) if (since := row.get("since")) else datetime.now(UTC),
        source=row.get("source") or source,
        until=_time(until) if until else None,
    )


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def _check_address(address: str) -> None:
    """A bare one: `Ann <ann@example.org>` would match no email."""
    local, _, domain = address.strip().rpartition("@")
    if not local or not domain or any(sign in address for sign in "<>") or not address.strip().isprintable():
        raise click.ClickException("this is not a bare address, such as ann@example.org.")
