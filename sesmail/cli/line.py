"""`sesmail pause`, `resume` and `restored`: the line, closed and opened by an operator."""

from __future__ import annotations

from typing import Any

import click

from sesmail.cli.audit import why_option
from sesmail.cli.output import emit, json_option
from sesmail.cli.site import client_with_workers, site_client
from sesmail.message import Lane
from sesmail.sending.account import read_at_once
from sesmail.state.line import ACCOUNT
from sesmail.vocabulary import WAITING

scope_options = [
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
def pause(reason: str, as_json: bool, **scope: str | None) -> None:
    """Stop sending until `sesmail resume`. Emails are still accepted; they wait, and lose no attempt."""
    name = _scope(**scope)
    client = client_with_workers()
    changed = client.throttle.line.pause(name, reason)
    client.audit.note("pause", name, reason)
    said = f"{name}: paused" if changed else f"{name}: was paused already"
    emit({"scope": name, "changed": changed}, as_json=as_json, table=said)


@click.command()
@why_option
@_with_scope
def resume(why: str, as_json: bool, **scope: str | None) -> None:
    """Go on with what was paused, or stopped by SES's refusals. What waits goes out within seconds to a minute.

    The next worker asks SES at once what the account may send by now: emails that wait for the quota or the rate go on,
    too, as far as there is room for them.
    """
    name, client = _scope(**scope), client_with_workers()
    changed = client.throttle.line.resume(name)
    client.audit.note("resume", name, why)
    read_at_once(client.turns)
    waiting = client.ledger.waiting_for_room()
    said = f"{name}: open again" if changed else f"{name}: was open"
    if waiting:
        said += f"\n{waiting} waiting for the 24-hour quota go on as far as it has room; a worker asks SES for it now"
    emit({"scope": name, "changed": changed, "waiting_for_quota": waiting}, as_json=as_json, table=said)


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
    line = client.throttle.line
    changed = line.resume(ACCOUNT) if release else line.pause(ACCOUNT, RESTORED)
    counts = client.ledger.counts()
    waiting = sum(counts[state] for state in WAITING)
    said = f"{'released' if release else 'held'}: {waiting} emails" + ("" if changed else " (as they were)")
    emit({"released": release, "changed": changed, "waiting": waiting}, as_json=as_json, table=said)


def _scope(lane: str | None, configuration_set: str | None, identity: str | None) -> str:
    chosen = {"lane": lane, "configuration-set": configuration_set, "identity": identity}
    named = [f"{kind}:{name}" for kind, name in chosen.items() if name]
    if len(named) > 1:
        raise click.UsageError("Name one of --lane, --configuration-set and --identity, or none for everything.")
    return named[0] if named else ACCOUNT
