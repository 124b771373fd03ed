"""`sesmail migrate`: what is still in the form of a former release."""

from __future__ import annotations

import click

from sesmail.cli.output import emit, json_option, two_columns
from sesmail.cli.site import site_client


@click.command()
@click.option("--check", is_flag=True, help="Exit with 1 while anything is.")
@json_option
def migrate(check: bool, as_json: bool) -> None:
    """Show how many emails that wait are kept in the form of a former release.

    They are sent as they are: nothing has to be done. A release that no longer reads a form says so in its changelog;
    install that once none is left.
    """
    from sesmail.state.former import former_rows

    found = {str(state): count for state, count in former_rows(site_client().scripts).items()}
    left = sum(found.values())
    title = f"{left} emails in a former form" if left else "Nothing is in a former form."
    emit({"former": left, "sends": found}, as_json=as_json, table=two_columns(found.items(), title=title))
    if check and left:
        raise SystemExit(1)
