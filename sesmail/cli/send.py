"""`sesmail send`: a letter to a list from a CSV file."""

from __future__ import annotations

import codecs
import re
import secrets
from array import array
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from sesmail.cli.batch import watch_batch
from sesmail.cli.output import emit, json_option, progress_bar, two_columns
from sesmail.cli.site import accounts_of, client_with_workers, site_client
from sesmail.errors import ConfigurationError, IdempotencyConflict, InvalidEmail, LedgerUnavailable, UnknownSend
from sesmail.message import Lane
from sesmail.message.fields import idempotency_key_of
from sesmail.sending.batches.queueing import rate_of
from sesmail.sending.letters.letter import ADDRESS, UNSUBSCRIBE_URL, other_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sesmail.client import Client
    from sesmail.sending.batches.queueing import Recipient
    from sesmail.sending.letters.letter import BadRow, Letter
    from sesmail.sending.letters.lists import People, Person
    from sesmail.settings import Settings

SHOWN_BAD_ROWS = 20
LOOKED_UP_AT_ONCE = 500
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}
"""How those are written that a shell or the eye may lose."""
OPTIONS = {
    "from_email": "--from",
    "reply_to": "--reply-to",
    "tags": "--tag",
    "headers": "--header",
    "configuration_set": "--configuration-set",
    "attachments": "--attach",
    "filename": "--attach",
    "content_type": "--attach",
    "subject": "--subject",
    "text": "--text",
    "html": "--html",
    "idempotency_key": "--key",
    "list": "--list",
    "rate": "--rate",
}
"""What says which field of an email."""

a_file = click.Path(exists=True, dir_okay=False, path_type=Path)
a_file_or_stdin = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


def _delimiter(_context: click.Context, _option: click.Parameter, said: str | None) -> str | None:
    one = None if said is None else DELIMITERS.get(said.lower(), said)
    if one is not None and (len(one) != 1 or one in '"\r\n'):
        raise click.BadParameter(f"write one character, or {', '.join(DELIMITERS)}.")
    return one


def _encoding(_context: click.Context, _option: click.Parameter, said: str | None) -> str | None:
    if said is None:
        return None
    try:
        "".encode(said)  # refuses hex and its kind, too
        return codecs.lookup(said).name
    except (LookupError, ValueError):
        raise click.BadParameter(f"{said!r} is unknown; write utf-8, utf-16, cp1252 or another of Python's.") from None


def _pairs(_context: click.Context, _option: click.Parameter, said: tuple[str, ...]) -> Mapping[str, str]:
    tags: dict[str, str] = {}
    for tag in said:
        name, equals, value = tag.partition("=")
        if not equals:
            raise click.BadParameter(f"{tag}: write NAME=VALUE.")
        if tags.setdefault(name, value) != value:
            raise click.BadParameter(f"{name} has two values.")
    return tags


@click.command()
@click.option(
    "--csv",
    "csv_path",
    type=a_file_or_stdin,
    required=True,
    help="The list: CSV with a header, one recipient a row; - reads it from standard input.",
)
@click.option(
    "--column", help="The column with the address; without it email, Email Address and the like, then to, then address."
)
@click.option(
    "--delimiter",
    callback=_delimiter,
    help="What stands between values: a character, or comma, semicolon, tab or pipe; without it as the header tells.",
)
@click.option(
    "--encoding",
    callback=_encoding,
    help="How the list is encoded, such as cp1252; without it UTF-8, or what can be told from the file.",
)
@click.option("--subject", help="The subject; {{column}} stands for the row's value, here and in bodies.")
@click.option("--html", "html_path", type=a_file, help="The letter as HTML; values are escaped in it.")
@click.option("--text", "text_path", type=a_file, help="The letter as plain text.")
@click.option(
    "--letter",
    "path",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The letter as files: PATH.subject.txt, PATH.txt, PATH.html; instead of the options before.",
)
@click.option("--language", metavar="TAG", help="With --letter: read it from the folder of this language, such as de.")
@click.option("--jinja", is_flag=True, help="Subject, text and HTML are Jinja templates.")
@click.option(
    "--attach", "attach", type=a_file, multiple=True, help="A file for everybody; may be given several times."
)
@click.option("--from", "from_email", help="The sender; without it SESMAIL_FROM_EMAIL.")
@click.option("--reply-to", multiple=True, help="Where answers go.")
@click.option("--configuration-set", help="The SES configuration set; without it SESMAIL_CONFIGURATION_SET.")
@click.option(
    "--list",
    "list_name",
    metavar="NAME",
    help="The list's name: everybody gets a link to leave it, in two headers and as {{unsubscribe_url}}.",
)
@click.option(
    "--header", "headers", multiple=True, metavar="NAME=VALUE", callback=_pairs, help="A header of each email."
)
@click.option("--preview", is_flag=True, help="Show the first row's email, as it would go out; queue nothing.")
@click.option("--test-to", metavar="ADDRESS", help="Queue the first row's email to this address alone.")
@click.option("--cc-me", metavar="ADDRESS", help="Send it to this address, too: once, with the first row's values.")
@click.option("--rate", metavar="RATE", help="How fast it may go at most, such as 5/s or 300/m.")
@click.option("--ramp", type=click.IntRange(1), metavar="N", help="N on the first day, twice as many on each after it.")
@click.option("--watch", is_flag=True, help="Show how it goes on, until it has ended or Ctrl-C.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", callback=_pairs, help="A tag for SES's events.")
@click.option(
    "--lane",
    type=click.Choice([lane.value for lane in Lane]),
    default=Lane.BULK.value,
    show_default=True,
    help="Bulk gives way.",
)
@click.option("--account", metavar="NAME", help="The SES account, of SESMAIL_ACCOUNTS; without it by sender or lane.")
@click.option("--key", help="A name for this mailing: a rerun with the same key mails nobody twice.")
@click.option("--skip-bad", is_flag=True, help="Go on without the rows that cannot be mailed.")
@click.option(
    "--verbatim",
    is_flag=True,
    help="Let what looks like another system's placeholder, such as ${name} or {% if %}, go out as it stands.",
)
@json_option
def send(
    csv_path: Path,
    column: str | None,
    delimiter: str | None,
    encoding: str | None,
    key: str | None,
    preview: bool,
    test_to: str | None,
    cc_me: str | None,
    list_name: str | None,
    rate: str | None,
    ramp: int | None,
    watch: bool,
    account: str | None,
    **options: Any,
) -> None:
    """Queue a letter to everybody on a list. Workers send it at the account's rate.

    All rows are checked before the first is queued, and nothing goes out before the last is. The same run may be
    repeated with its key, after an interruption or with more rows: whoever has been queued is not queued again. Another
    letter under the key is refused. `sesmail batch` shows how far it is, pauses it and takes it back.

    The list may have commas, semicolons, tabs or pipes between its values, and be in UTF-8, UTF-16 or cp1252 (Excel's
    in Western Europe): what is told from it is said. What cannot be told for sure is refused; name it then. A mailbox
    that stands in the list twice, however it is spelt, is a row that cannot be mailed.

    {{name|there}} stands for `there` where a row has no name, {{email|url}} for the address as it may stand in a link.
    """
    from sesmail.sending.letters.lists import read_people

    skip_bad, as_json = options.pop("skip_bad"), options.pop("as_json")
    key = key or secrets.token_hex(4)
    letter = _letter(**options)
    if account:
        accounts_of(site_client(), account)
    with ExitStack() as list_is_open:
        with _told_as_no_setting():
            people = list_is_open.enter_context(read_people(csv_path, column, delimiter=delimiter, encoding=encoding))
            if preview or test_to:
                _try_one(letter, people, list_name, test_to, account, as_json=as_json)
                return
            found = _checked(letter, people, list_name, key)
        if found.bad and not skip_bad:
            raise click.ClickException(
                f"{found.bad} of {found.rows} rows cannot be mailed. Nothing was queued: mend them, or --skip-bad."
            )
        _see_to_a_way_out(letter, list_name)
        recipients = _recipients(found.good_ones(people), cc_me)
        with _told_by_its_option():
            terms = {"list": list_name, "rate": rate_of(rate), "ramp": ramp, "account": account}
        queued = _queue(letter, recipients, found.good + bool(cc_me), key, **terms)
    summary: dict[str, Any] = {"queued": queued.new, "already_queued": queued.known}
    summary |= {"bad": found.bad, "of": found.rows, "key": key, "batch_id": queued.batch_id}
    emit(summary, as_json=as_json, table=two_columns([(k.replace("_", " "), v) for k, v in summary.items()]))
    if queued.cut_off is not None:
        reason = str(queued.cut_off) or "Interrupted."
        click.echo(f"{reason}\nNothing goes out before all are queued; `--key {key}` goes on with the rest.", err=True)
        raise SystemExit(queued.exit_code)
    if found.bad and not found.good:
        raise click.ClickException(f"None of {found.rows} rows can be mailed. Nothing was queued.")
    if watch and queued.batch_id:
        watch_batch(site_client(), queued.batch_id, as_json=as_json)


def _recipients(people: Iterator[Person], cc_me: str | None) -> Iterator[Recipient]:
    """What a batch takes; somebody else gets the first one's, too."""
    for person in people:
        yield person.address, person.values
        if cc_me:
            yield cc_me, person.values
            cc_me = None


def _try_one(
    letter: Letter, people: People, list_name: str | None, to: str | None, account: str | None, *, as_json: bool
) -> None:
    """The first row's email: shown, or queued to somebody else."""
    with _told_by_its_option():
        _check_letter(letter, people, list_name)
        first = next(iter(people), None)
        if first is None or first.problem:
            raise click.ClickException("The list has no first row to try. Nothing was queued.")
        recipient = (to or first.address, first.values)
        email = site_client().composer.preview(letter, recipient, list=list_name, account=account)
    if to is not None:
        from sesmail.celery.tasks import send_ses_email

        site_client().check_not_suppressed()
        send_id = send_ses_email.delay(email).id
        emit({"send_id": send_id}, as_json=as_json, table=f"Queued to {to}: `sesmail status {send_id}`")
        return
    head = {"To": first.address, "Subject": email.subject, **email.headers}
    bodies = {"text": email.text, "html": email.html}
    lines = [f"{name}: {value}" for name, value in head.items()]
    text = "\n\n".join(["\n".join(lines), *filter(None, bodies.values())])
    emit({"headers": head, **bodies}, as_json=as_json, table=escape(text))


def _check_letter(letter: Letter, people: People, list_name: str | None) -> None:
    door = [UNSUBSCRIBE_URL] if list_name and _has_door(site_client().settings) else []
    if not door and UNSUBSCRIBE_URL in letter.columns() - {*people.names}:
        raise click.ClickException(
            "The letter has {{unsubscribe_url}}, for which --list, SESMAIL_UNSUBSCRIBE_URL and "
            "SESMAIL_UNSUBSCRIBE_SECRETS are needed. Nothing was queued."
        )
    letter.check([*people.names, *({ADDRESS} - {*people.names}), *door])


def _has_door(settings: Settings) -> bool:
    return bool(settings.unsubscribe_url and settings.unsubscribe_secrets)


def _see_to_a_way_out(letter: Letter, list_name: str | None) -> None:
    """Gmail and Yahoo ask bulk senders for one: without it, a warning, or by setting a refusal."""
    settings = site_client().settings
    if letter.lane != Lane.BULK or (list_name and _has_door(settings)):
        return
    missing = [] if list_name else ["--list NAME"]
    if not _has_door(settings):
        missing.append("SESMAIL_UNSUBSCRIBE_URL and SESMAIL_UNSUBSCRIBE_SECRETS, with the door behind them")
    said = (
        "Nobody can unsubscribe from this letter with one click, which Gmail and Yahoo ask of bulk senders: give "
        f"{' and '.join(missing)}. `sesmail webhook` serves the door where no Django or Flask does."
    )
    if settings.require_unsubscribe:
        raise click.ClickException(f"{said} Nothing was queued (SESMAIL_REQUIRE_UNSUBSCRIBE).")
    click.echo(f"WARNING: {said}", err=True)


def _letter(
    *,
    path: Path | None,
    language: str | None,
    subject: str | None,
    html_path: Path | None,
    text_path: Path | None,
    attach: tuple[Path, ...],
    **said: Any,
) -> Letter:
    from sesmail.message import Attachment
    from sesmail.sending.letters.letter import Letter

    if path is None and subject is None:
        raise click.UsageError("A letter needs --subject, or --letter.")
    if path is None and html_path is None and text_path is None:
        raise click.UsageError("A letter needs --html or --text, or both.")
    parts: dict[str, Any] = {} if subject is None else {"subject": subject}
    parts |= {name: _content(file) for name, file in (("html", html_path), ("text", text_path)) if file}
    with _told_by_its_option(), _told_as_no_setting():
        said["attachments"] = [Attachment(each.name, each.read_bytes()) for each in attach]
        if path is not None:
            return Letter.from_folder(path.parent, path.name, language=language, **parts, **said)
        return Letter(**parts, **said)


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{path.name} is not in UTF-8: {error}. Nothing was queued.") from None


@contextmanager
def _told_by_its_option() -> Iterator[None]:
    """What is wrong with the letter itself is a mistake of the command line."""
    try:
        yield
    except InvalidEmail as error:
        option = OPTIONS.get(re.split(r"[.\[]", error.field)[0], error.field)
        limit = f" ({error.limit})" if error.limit else ""
        raise click.UsageError(f"{option}: {error.problem}{limit}. Nothing was queued.") from None


@contextmanager
def _told_as_no_setting() -> Iterator[None]:
    """What is wrong with the list, or with the letter beside it, is no setting of the site."""
    try:
        yield
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None


# The check


@dataclass
class Found:
    """What a list holds."""

    good: int = 0
    bad_lines: array[int] = field(default_factory=lambda: array("Q"))
    """Where the bad rows stand; in order."""

    @property
    def bad(self) -> int:
        """How many rows cannot be mailed."""
        return len(self.bad_lines)

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.good + self.bad

    def good_ones(self, people: Iterable[Person]) -> Iterator[Person]:
        """The people of the list that was checked, but for the bad rows."""
        bad = iter(self.bad_lines)
        next_bad = next(bad, 0)
        for person in people:
            if person.line == next_bad:
                next_bad = next(bad, 0)
            else:
                yield person


def _checked(letter: Letter, people: People, list_name: str | None, key: str) -> Found:
    """Go through the whole list once, and tell what is wrong with the letter, or with which rows."""
    from sesmail.sending.letters.letter import BadRow, check

    for remark in people.remarks:
        click.echo(remark, err=True)
    with _told_by_its_option():
        idempotency_key_of(key)
        _check_letter(letter, people, list_name)
    found = Found()
    shown: list[BadRow] = []
    with progress_bar() as bar:
        checking = bar.add_task("checking", total=None)
        for row in check(letter, people):
            bar.update(checking, advance=1)
            if not isinstance(row, BadRow):
                found.good += 1
                continue
            found.bad_lines.append(row.line)
            if found.bad <= SHOWN_BAD_ROWS:
                shown.append(row)
    _report_bad(shown, found.bad)
    return found


def _report_bad(shown: list[BadRow], count: int) -> None:
    for row in shown:
        click.echo(f"line {row.line}: {row.problem}", err=True)
    if count > len(shown):
        click.echo(f"... and {count - len(shown)} more", err=True)


# The queueing


@dataclass
class Queued:
    """How many were queued now, how many had been before, in which batch, and what cut it off, if anything did."""

    new: int = 0
    known: int = 0
    batch_id: str = ""
    cut_off: KeyboardInterrupt | LedgerUnavailable | None = None

    @property
    def exit_code(self) -> int:
        """By what is to be done next."""
        return 130 if isinstance(self.cut_off, KeyboardInterrupt) else 75


def _queue(letter: Letter, people: Iterator[Recipient], count: int, key: str, **terms: Any) -> Queued:
    """Queue the batch; `count` is how many there are, for the progress that is shown."""
    site_client().check_not_suppressed()
    queued = Queued()
    try:
        click.echo(f"If this is cut off, `--key {key}` goes on with the rest.", err=True)
        former = _Formerly(client_with_workers(), key)
        with progress_bar() as bar:
            row = bar.add_task("queueing", total=count)
            rows = former.left_out_of(people, lambda: bar.update(row, advance=1))
            batch = site_client().real_batch_office.send(letter, rows, key=key, without_unsubscribe=True, **terms)
        queued.new, queued.known, queued.batch_id = batch.queued, batch.known + former.count, batch.id
    except (KeyboardInterrupt, LedgerUnavailable) as cut_off:
        queued.cut_off = cut_off
        if isinstance(cut_off, KeyboardInterrupt):
            with suppress(LedgerUnavailable, UnknownSend):
                queued.batch_id = site_client().batches.of_key(key)
                queued.new = site_client().batches.status(queued.batch_id).recipients
    except IdempotencyConflict:
        raise click.ClickException(
            f"Another letter, or list, was queued under the key {key}: nobody is mailed twice under one key, so "
            "nothing was queued now. Another --key sends this one to everybody."
        ) from None
    return queued


class _Formerly:
    """Whom a former release has queued under a key: it made a send of each."""

    def __init__(self, client: Client, key: str) -> None:
        self._client = client
        self._key = key
        self.count = 0

    def left_out_of(self, people: Iterator[Recipient], passed: Callable[[], None]) -> Iterator[Recipient]:
        """The others; `passed` is called for each."""
        while some := list(islice(people, LOOKED_UP_AT_ONCE)):
            keys = [other_keys(person[0], self._key) for person in some]
            known = iter(self._client.ledger.knows_each([*chain.from_iterable(keys)]))
            for person, own in zip(some, keys, strict=True):
                passed()
                if sum(next(known) for _ in own):
                    self.count += 1
                else:
                    yield person
