"""`sesmail doctor`: what is wrong with the set-up?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from sesmail.cli.output import emit, json_option
from sesmail.cli.site import site_client
from sesmail.errors import ConfigurationError
from sesmail.settings import WRONG

if TYPE_CHECKING:
    from collections.abc import Collection

    from sesmail.doctor import Finding, Report

STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


@click.command()
@click.option("--skip", multiple=True, metavar="ID", help="Leave this check out, as it is meant so; several times.")
@click.option("--only", multiple=True, metavar="ID", help="Make this check alone; several times.")
@click.option(
    "--flower",
    "flower_url",
    default="http://127.0.0.1:5555",
    show_default=True,
    metavar="URL",
    help="Where a Flower may be found.",
)
@json_option
def doctor(*, skip: tuple[str, ...], only: tuple[str, ...], flower_url: str, as_json: bool) -> None:
    """Say what is wrong with the set-up, and what to do. It looks at settings, Redis, the broker, workers, SES and the
    way of events.

    Nothing is changed, and nobody gets an email. The weightiest comes first. Exits with 1 where an error or a warning
    is found. docs/doctor.md has all checks.
    """
    from sesmail.doctor import CHECKS

    if unknown := [one for one in (*skip, *only) if one not in CHECKS]:
        raise click.UsageError(f"There is no check {', '.join(unknown)}: docs/doctor.md has their ids.")
    report = examined(skip=skip, only=only or None, flower_url=flower_url)
    data = asdict(report) | {"well": report.is_well}
    emit(data, as_json=as_json, table=_table(report))
    if not report.is_well:
        raise SystemExit(1)


def examined(
    *, skip: Collection[str] = (), only: Collection[str] | None = None, flower_url: str = "http://127.0.0.1:5555"
) -> Report:
    """What the checks find, those of `only` where some are named; settings that cannot be read are a finding, too."""
    from sesmail.doctor import Patient, examine

    try:
        client = site_client()
        from sesmail.celery.broker_setup import broker_setup
        from sesmail.celery.current import current_app

        patient = Patient(client, broker_setup(current_app()), flower_url=flower_url)
    except ConfigurationError as error:
        return _unreadable(str(error))
    return examine(patient, skip=skip, only=only)


def _unreadable(why: str) -> Report:
    """There is nothing to look at: that is the finding."""
    from sesmail.doctor import CHECKS, Report
    from sesmail.doctor.table import Said

    known = CHECKS["settings-wrong"]
    lines = [line.strip() for line in why.splitlines() if line.strip() and line != WRONG]
    return Report(findings=tuple(known.finding(Said(what=line)) for line in lines), unseen=(), looked_at=1)


def _table(report: Report) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in report.findings:
        for row in _rows(each):
            table.add_row(*row)
    if not report.findings:
        table.add_row("[green]ok[/green]", f"{report.looked_at} checks found nothing wrong.")
    for why, ids in _unseen(report).items():
        table.add_row("not seen", escape(f"{why}: {', '.join(ids)}"))
    return table


def _unseen(report: Report) -> dict[str, list[str]]:
    """The checks that could not look, by the reason."""
    found: dict[str, list[str]] = {}
    for each in report.unseen:
        found.setdefault(each.why, []).append(each.id)
    return found


def _rows(each: Finding) -> list[tuple[Any, str]]:
    style = STYLES[each.level]
    return [
        (f"[{style}]{each.level}[/{style}]", escape(f"{each.what} [{each.id}]")),
        ("", escape(f"{each.do} ({each.docs})")),
    ]
