"""What others wrote reaches neither a terminal nor a spreadsheet as a command."""

from __future__ import annotations

import csv
import io

import click
import pytest
from rich.table import Table

from sesmail.cli import Failure, output, suppress
from sesmail.errors import MoveRefused

ESCAPES = "\x1b]0;PWNED\x07 \x1b[2J \x9b31m \u202egnp.exe"


def printed(capsys: pytest.CaptureFixture[str], table: Table | str) -> str:
    output.emit({}, as_json=False, table=table)
    return capsys.readouterr().out


def test_a_terminal_is_told_of_control_characters_and_does_not_obey_them(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("reason")
    table.add_row(ESCAPES)
    for shown in (output.two_columns([(ESCAPES, ESCAPES)]), table, ESCAPES):
        said = printed(capsys, shown)
        assert "\\x1b]0;PWNED\\x07" in said
        assert all(letter.isprintable() or letter == "\n" for letter in said)
    assert "\x1b" not in Failure(MoveRefused(ESCAPES)).message


@pytest.mark.parametrize(
    "address", ["=1+1@example.org", "+cmd|'/c'!a0@example.org", "-x@example.org", "o'neil@example.org"]
)
def test_an_export_holds_no_formula_and_is_read_back_as_it_was(
    capsys: pytest.CaptureFixture[str], address: str
) -> None:
    row = dict.fromkeys(suppress.COLUMNS, "") | {"address": address}
    suppress._write_csv([row])
    text = capsys.readouterr().out
    (read,) = csv.DictReader(io.StringIO(text))
    assert not read["address"].startswith(("=", "+", "-", "@"))
    assert suppress._as_written(read) == row


def test_an_export_holds_no_controls_either_as_an_event_may_name_any_address(
    capsys: pytest.CaptureFixture[str],
) -> None:
    suppress._write_csv([dict.fromkeys(suppress.COLUMNS, "") | {"address": f"a{ESCAPES}@example.org"}])
    said = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in said)


@pytest.mark.parametrize(
    "address", [f"a{ESCAPES}@example.org", "a\t@example.org", "a@exam\x00ple.org", "a\r\nb@example.org"]
)
def test_an_address_with_controls_in_it_is_not_taken_into_the_list(address: str) -> None:
    with pytest.raises(click.ClickException, match="bare address"):
        suppress._check_address(address)
