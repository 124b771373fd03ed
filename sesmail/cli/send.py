"""`sesmail send`: a letter to a list from a CSV file."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sesmail.cli.output import emit, json_option, progress_bar, two_columns
from sesmail.cli.site import site_client
from sesmail.errors import LedgerUnavailable
from sesmail.message import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sesmail.sending.letters import BadRow, Letter, Person

SHOWN_BAD_ROWS = 20

a_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--csv", "csv_path", type=a_file, required=True, help="The list: UTF-8, a header, one recipient a row.")
@click.option("--column", help="The column with the address; without it email, to or address.")
@click.option(
    "--subject", required=True, help="The subject; {{column}} stands for the row's value, here and in bodies."
)
@click.option("--html", "html_path", type=a_file, help="The letter as HTML; values are escaped in it.")
@click.option("--text", "text_path", type=a_file, help="The letter as plain text.")
@click.option(
    "--attach", "attach", type=a_file, multiple=True, help="A file for everybody; may be given several times."
)
@click.option("--from", "from_email", help="The sender; without it SESMAIL_FROM_EMAIL.")
@click.option("--reply-to", multiple=True, help="Where answers go.")
@click.option("--configuration-set", help="The SES configuration set; without it SESMAIL_CONFIGURATION_SET.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag for SES's events.")
@click.option(
    "--lane",
    type=click.Choice([lane.value for lane in Lane]),
    default=Lane.BULK.value,
    show_default=True,
    help="Bulk gives way.",
)
@click.option("--key", help="A name for this mailing: a rerun with the same key mails nobody twice.")
@click.option("--skip-bad", is_flag=True, help="Go on without the rows that cannot be mailed.")
@json_option
def send(csv_path: Path, column: str | None, key: str | None, **options: Any) -> None:
    """Queue a letter to everybody on a list; workers send it at the account's rate.

    All rows are checked before the first is queued. The same run may be repeated with its key, after an interruption or
    with more rows: whoever has been queued is not queued again.
    """
    from sesmail.sending import letters

    skip_bad, as_json = options.pop("skip_bad"), options.pop("as_json")
    letter, named, key = _letter(**options), bool(key), key or secrets.token_hex(4)
    good, bad = _sorted_out(letters.check(letter, letters.read_people(csv_path, column), key))
    _report_bad(bad)
    if bad and not skip_bad:
        raise click.ClickException(
            f"{len(bad)} of {len(bad) + len(good)} rows cannot be mailed. Nothing was queued: mend them, or --skip-bad."
        )
    if not named:
        click.echo(f"If this is cut off, `--key {key}` goes on with the rest.", err=True)
    queued, known, cut_off = _queue(letter, good, key)
    summary = {"queued": queued, "already_queued": known, "bad": len(bad), "of": len(good) + len(bad), "key": key}
    emit(summary, as_json=as_json, table=two_columns([(k.replace("_", " "), v) for k, v in summary.items()]))
    if cut_off is not None:
        reason = str(cut_off) or "Interrupted."
        click.echo(f"{reason}\nWhat is queued goes out; `--key {key}` goes on with the rest.", err=True)
        raise SystemExit(75 if isinstance(cut_off, LedgerUnavailable) else 130)


def _letter(
    *,
    html_path: Path | None,
    text_path: Path | None,
    attach: tuple[Path, ...],
    tags: tuple[str, ...],
    lane: str,
    **said: Any,
) -> Letter:
    from sesmail.message import Attachment
    from sesmail.sending.letters import Letter

    if html_path is None and text_path is None:
        raise click.UsageError("A letter needs --html or --text, or both.")
    if wrong := [tag for tag in tags if "=" not in tag]:
        raise click.UsageError(f"--tag {wrong[0]}: write NAME=VALUE.")
    return Letter(
        html=_content(html_path) if html_path else None,
        text=_content(text_path) if text_path else None,
        attachments=[Attachment(path.name, path.read_bytes()) for path in attach],
        tags=dict(tag.split("=", 1) for tag in tags),
        lane=Lane(lane),
        **said,
    )


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{path.name} is not in UTF-8: {error}. Nothing was queued.") from None


def _sorted_out(rows: Iterable[Person | BadRow]) -> tuple[list[Person], list[BadRow]]:
    from sesmail.sending.letters import BadRow

    good: list[Person] = []
    bad: list[BadRow] = []
    for row in rows:
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            good.append(row)
    return good, bad


def _report_bad(bad: list[BadRow]) -> None:
    for row in bad[:SHOWN_BAD_ROWS]:
        click.echo(f"line {row.line}: {row.problem}", err=True)
    if len(bad) > SHOWN_BAD_ROWS:
        click.echo(f"... and {len(bad) - SHOWN_BAD_ROWS} more", err=True)


def _queue(
    letter: Letter, people: list[Person], key: str
) -> tuple[int, int, KeyboardInterrupt | LedgerUnavailable | None]:
    """How many were queued now, how many had been before, and what cut it off, if anything did."""
    from sesmail.celery.current import current_app
    from sesmail.sending.outbox import lot_size

    client = site_client()
    size = lot_size(letter.lane, client.throttle.snapshot().limit)
    queued = known = 0
    with current_app().producer_pool.acquire(block=True) as producer, progress_bar() as bar:
        row = bar.add_task("queueing", total=len(people))
        try:
            for first in range(0, len(people), size):
                persons = people[first : first + size]
                lot = [letter.email(person, key) for person in persons]
                former_keys = [f"{key}:{person.former_mailbox}" for person in persons]
                accepted = client.real_outbox.send_lot(lot, former_keys=former_keys, options={"producer": producer})
                new = sum(one.new for one in accepted)
                queued, known = queued + new, known + len(lot) - new
                bar.update(row, advance=len(lot))
        except (KeyboardInterrupt, LedgerUnavailable) as cut_off:
            return queued, known, cut_off
    return queued, known, None
