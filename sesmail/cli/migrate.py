"""`sesmail migrate`: what is still in the form of a former release."""

from __future__ import annotations

import click

from sesmail.cli.output import counted, emit, json_option, two_columns
from sesmail.cli.site import site_client


@click.command()
@click.option("--check", is_flag=True, help="Exit with 1 while anything is.")
@click.option(
    "--all-mine",
    is_flag=True,
    help="Take over what waits under the names of releases that did not heed Celery's global_keyprefix. Only where no "
    "other project has email there: it would be sent by this one.",
)
@json_option
def migrate(check: bool, all_mine: bool, as_json: bool) -> None:
    """Count what waits in the form of a former release. That is email that is kept in an older form, or under older
    names.

    They are sent as they are: nothing has to be done. A release that no longer reads a form says so in its changelog;
    install that once none is left.
    """
    from sesmail.state.ledger.former import former_rows

    client = site_client()
    found = {str(state): count for state, count in former_rows(client.scripts).items()}
    rows = dict(found)
    if names := client.former_names:
        if all_mine:
            names.say_all_are_mine()
            rows["taken over"] = names.adopt_all()
        rows["under former names"] = found["under_former_names"] = names.waiting()
    elif all_mine:
        raise click.UsageError("This project has no global_keyprefix, so its names are what they were.")
    left = sum(found.values())
    title = f"{counted(left, 'email')} in a former form" if left else "Nothing is in a former form."
    emit({"former": left, "sends": found}, as_json=as_json, table=two_columns(rows.items(), title=title))
    if check and left:
        raise SystemExit(1)
