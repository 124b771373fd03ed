"""`sesmail pause`, `resume` and `restored`: the line, closed and opened by an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sesmail.cli.audit import why_option
from sesmail.cli.output import emit, json_option
from sesmail.cli.site import account_option, accounts_of, client_with_workers, site_client
from sesmail.message import Lane
from sesmail.sending.account import read_at_once
from sesmail.state.line import ACCOUNT
from sesmail.vocabulary import WAITING

if TYPE_CHECKING:
    from collections.abc import Iterable

scope_options = [
    account_option,
    click.option("--lane", type=click.Choice([lane.value for lane in Lane]), help="One lane only."),
    click.option("--configuration-set", metavar="NAME", help="What goes out under this configuration set only."),
    click.option("--identity", metavar="DOMAIN", help="What comes from this sender's domain only."),
    json_option,
]


def _with_scope(command: Any) -> Any:
    for option in reversed(scope_options):
        command = option(command)
    return command


@click.command()
@click.option("--reason", default="by an operator", show_default=True, help="What `sesmail status` shows.")
@_with_scope
def pause(reason: str, account: str | None, as_json: bool, **scope: str | None) -> None:
    """Stop sending until `sesmail resume`. Emails are still accepted; they wait, and lose no attempt.

    Without --account, that holds for all accounts.
    """
    name = _scope(**scope)
    client = client_with_workers()
    accounts = accounts_of(client, account)
    changed = _of_any(each.throttle.line.pause(name, reason) for each in accounts)
    client.audit.note("pause", _audited(name, account), reason)
    said = f"{_audited(name, account)}: {'paused' if changed else 'was paused already'}"
    data = {"scope": name, "accounts": [each.name for each in accounts], "changed": changed}
    emit(data, as_json=as_json, table=said)


@click.command()
@why_option
@_with_scope
def resume(why: str, account: str | None, as_json: bool, **scope: str | None) -> None:
    """Go on with what was paused, or stopped by SES's refusals. What waits goes out within seconds to a minute.

    The next worker asks SES at once what the account may send by now: emails that wait for the quota or the rate go on,
    too, as far as there is room for them. Without --account, that holds for all accounts.
    """
    name, client = _scope(**scope), client_with_workers()
    accounts = accounts_of(client, account)
    changed = _of_any(each.throttle.line.resume(name) for each in accounts)
    client.audit.note("resume", _audited(name, account), why)
    for each in accounts:
        read_at_once(each.turns)
    waiting = client.ledger.waiting_for_room()
    said = f"{_audited(name, account)}: {'open again' if changed else 'was open'}"
    if waiting:
        said += f"\n{waiting} waiting for the 24-hour quota go on as far as it has room; a worker asks SES for it now"
    of = [each.name for each in accounts]
    data = {"scope": name, "accounts": of, "changed": changed, "waiting_for_quota": waiting}
    emit(data, as_json=as_json, table=said)


RESTORED = "restored from a backup: SES may have had since what waits here (sesmail restored --release)"


@click.command()
@click.option("--release", is_flag=True, help="Go on: what still waits may be sent.")
@json_option
def restored(release: bool, as_json: bool) -> None:
    """Hold everything, as the ledger came from a backup, until `--release`. Start it before any worker.

    What waits in a backup has most likely been sent since. What SES's events prove, or `sesmail unknown --settle`
    tells, counts as sent meanwhile; `sesmail cancel` takes back what is not to go out again. New email waits, too.
    """
    client = site_client()
    lines = [each.throttle.line for each in client.accounts.values()]
    changed = _of_any(line.resume(ACCOUNT) if release else line.pause(ACCOUNT, RESTORED) for line in lines)
    counts = client.ledger.counts()
    waiting = sum(counts[state] for state in WAITING)
    said = f"{'released' if release else 'held'}: {waiting} emails" + ("" if changed else " (as they were)")
    emit({"released": release, "changed": changed, "waiting": waiting}, as_json=as_json, table=said)


def _of_any(changes: Iterable[bool]) -> bool:
    """Whether there was any, when all are made."""
    return any([*changes])


def _audited(scope: str, account: str | None) -> str:
    return f"{scope} of {account}" if account else scope


def _scope(lane: str | None, configuration_set: str | None, identity: str | None) -> str:
    chosen = {"lane": lane, "configuration-set": configuration_set, "identity": identity}
    named = [f"{kind}:{name}" for kind, name in chosen.items() if name]
    if len(named) > 1:
        raise click.UsageError("Name one of --lane, --configuration-set and --identity, or none for everything.")
    return named[0] if named else ACCOUNT
