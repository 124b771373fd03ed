"""`sesmail erase`: a person's request to be forgotten, carried out."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich.console import Group
from rich.text import Text

from sesmail.cli.audit import why_option
from sesmail.cli.output import emit, json_option, two_columns
from sesmail.cli.site import site_client


@click.command()
@click.argument("address")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@why_option
@json_option
def erase(address: str, dry_run: bool, why: str, as_json: bool) -> None:
    """Remove what is kept of a person, by one ADDRESS. It is removed from the ledger and from the stored events of all
    its sites.

    Email to it that waits is not sent, and that which failed cannot be sent again; an email to several goes to the
    others. Events, deliveries and metadata name it no more. Opt-outs hold as before, under a keyed hash. What SES still
    tells of earlier email, within 30 days, is kept without the address; email that you accept afterwards is sent. What
    was removed is said in numbers, and where else you may have to look in words; with --json for the file.

    The exit code is 1 where something was left: email of a newer release, or that cannot be read.
    """
    client = site_client()
    client.check_not_suppressed()
    erased = client.erase(address, why=why, dry_run=dry_run)
    said = asdict(erased)
    at = datetime.fromtimestamp(erased.at, UTC).isoformat(timespec="seconds")
    rows = [
        (name.replace("_", " "), value)
        for name, value in {**said, "at": at}.items()
        if name not in {"dry_run", "not_looked_through"}
    ]
    title = "It would remove (--dry-run: nothing was done)" if dry_run else "Removed"
    elsewhere = ["", "Not looked through", *erased.not_looked_through]
    emit(said, as_json=as_json, table=Group(two_columns(rows, title=title), *map(Text, elsewhere)))
    if erased.left_unread or erased.left_to_newer_release:
        raise SystemExit(1)
