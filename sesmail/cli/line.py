"""`sesmail pause`, `resume` and `restored`: the line, closed and opened by an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sesmail.cli.audit import why_option
from sesmail.cli.output import counted, emit, json_option
from sesmail.cli.site import account_option, accounts_of, client_with_workers, site_client
from sesmail.message import Lane
from sesmail.sending.account import read_at_once
from sesmail.state.line.brake import BULK_SCOPE
from sesmail.state.line.line import ACCOUNT, How, account_scope, list_scope, site_scope
from sesmail.vocabulary import WAITING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sesmail.client import Client

scope_options = [
    account_option,
    click.option("--lane", type=click.Choice([lane.value for lane in Lane]), help="One lane only."),
    click.option("--configuration-set", metavar="NAME", help="What goes out under this configuration set only."),
    click.option("--identity", metavar="DOMAIN", help="What comes from this sender's domain only."),
    click.option("--tenant", metavar="NAME", help="What is sent for this tenant of SES's only."),
    click.option("--template", metavar="NAME", help="What SES makes of this template of its own only."),
    click.option("--contact-list", metavar="NAME", help="What goes by this contact list of SES's only."),
    click.option("--global-endpoint", metavar="ID", help="What goes through this global endpoint only."),
    click.option("--list", "list_name", metavar="NAME", help="Bulk to this list only."),
    click.option("--site", metavar="SITE", help="Of this site: its list, or all its bulk."),
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
    client = client_with_workers()
    name = _scope(client, **scope)
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
    """Go on with what was paused or stopped. An operator paused it, or SES's refusals or the brake stopped it. What
    waits goes out within a minute.

    What the brake has stopped for too many bounces or complaints needs a `--why`: it is judged anew by what is sent
    from now on. Clean the list before.

    The next worker asks SES at once what the account may send by now: emails that wait for the quota or the rate go on,
    too, as far as there is room for them. Without --account, that holds for all accounts.
    """
    client = client_with_workers()
    name = _scope(client, **scope)
    accounts = accounts_of(client, account)
    of_accounts = name == BULK_SCOPE or (name == ACCOUNT and account)
    judged = {name, *(account_scope(each.name) for each in accounts if of_accounts)}
    is_braked = any(each.scope in judged and each.how is How.BRAKED for each in client.throttle.line.closures())
    if is_braked and not why:
        raise click.UsageError(
            f"The brake has stopped {name}: see `sesmail why`. It stays stopped. Where the cause is mended, or you "
            'mean it all the same, say so for `sesmail audit`: --why "list cleaned".'
        )
    changed = _of_any(
        [*map(client.brake.open, sorted(judged)), *(each.throttle.line.resume(name) for each in accounts)]
    )
    client.audit.note("resume", _audited(name, account), why)
    for each in accounts:
        read_at_once(each.turns)
    waiting = client.ledger.waiting_for_room()
    said = f"{_audited(name, account)}: {'open again' if changed else 'was open'}"
    if waiting:
        said += f"\n{waiting} waiting for the 24-hour quota or the rate go on where there is room: a worker asks SES"
    of = [each.name for each in accounts]
    data = {"scope": name, "accounts": of, "changed": changed, "waiting_for_quota": waiting}
    emit(data, as_json=as_json, table=said)


RESTORED = "restored from a backup: SES may have had since what waits here (sesmail restored --release)"


@click.command()
@click.option("--release", is_flag=True, help="Go on: what still waits may be sent.")
@json_option
def restored(release: bool, as_json: bool) -> None:
    """Hold everything, as the ledger came from a backup. `--release` ends that. Start it before any worker.

    What waits in a backup has most likely been sent since. What SES's events prove, or `sesmail unknown --settle`
    tells, counts as sent meanwhile; `sesmail cancel` takes back what is not to go out again. New email waits, too.
    """
    client = site_client()
    lines = [each.throttle.line for each in client.accounts.values()]
    changed = _of_any(line.resume(ACCOUNT) if release else line.pause(ACCOUNT, RESTORED) for line in lines)
    counts = client.ledger.counts()
    waiting = sum(counts[state] for state in WAITING)
    said = f"{'released' if release else 'held'}: {counted(waiting, 'email')}" + ("" if changed else " (as they were)")
    emit({"released": release, "changed": changed, "waiting": waiting}, as_json=as_json, table=said)


def _of_any(changes: Iterable[bool]) -> bool:
    """Whether there was any, when all are made."""
    return any([*changes])


def _audited(scope: str, account: str | None) -> str:
    return f"{scope} of {account}" if account else scope


def _scope(client: Client, list_name: str | None, site: str | None, **chosen: str | None) -> str:
    named = [f"{kind.replace('_', '-')}:{name}" for kind, name in chosen.items() if name]
    if list_name:
        named.append(list_scope(site or client.settings.site, list_name))
    elif site:
        named.append(site_scope(site))
    if len(named) > 1:
        raise click.UsageError(
            "Name one of --lane, --configuration-set, --identity, --list and the like, or none for everything."
        )
    return named[0] if named else ACCOUNT
