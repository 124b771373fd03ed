"""`sesmail audit`: what operators did."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click

from sesmail.cli.output import counted, emit, json_option, two_columns
from sesmail.cli.site import site_client

why_option = click.option("--why", default="", help="For `sesmail audit`: why you do this.")


@click.command()
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many are listed.")
@json_option
def audit(limit: int, as_json: bool) -> None:
    """List what operators did, who, when and why. Pauses, resumes, emails sent again, erasures and opt-outs removed,
    the latest first.

    No address stands in it: of an opt-out that was removed, or a person who was erased, there is a digest.
    """
    acts = [*site_client().audit.read(limit)]
    rows = [
        (
            datetime.fromtimestamp(act.at, UTC).isoformat(timespec="seconds"),
            f"{act.who}: {act.what}, {act.about}{act.why and f' ({act.why})'}",
        )
        for act in acts
    ]
    emit([asdict(act) for act in acts], as_json=as_json, table=two_columns(rows, title=counted(len(acts), "act")))
