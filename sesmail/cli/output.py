"""What the commands share: how they print."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from sesmail.cli.site import Command, app_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import RenderableType


def json_option(command: Command) -> Command:
    """`--json`, and `-A` for those who name the application behind the command."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
    return as_json(app_option(hidden=True)(command))


def counted(number: int, one: str, many: str = "") -> str:
    """So many of something: `1 entry`, `2 entries`; `many` is only for what does more than take an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def emit(data: Any, *, as_json: bool, table: RenderableType) -> None:
    """Print for a program, or for people."""
    if as_json:
        click.echo(json.dumps(data, default=str))
    else:
        if isinstance(table, Table):  # what else is shown has been made fit to be
            for column in table.columns:
                column._cells = [shown(cell) for cell in column._cells]  # noqa: SLF001  there is no other way
        elif isinstance(table, str):
            table = shown(table)
        # A pipe has no width: nothing is to be cut or wrapped in it.
        Console(width=None if sys.stdout.isatty() else 1000, soft_wrap=True, highlight=False).print(table)


_CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]")
"""Control characters and what turns the direction of writing."""


def shown(cell: Any) -> Any:
    """A text without what a terminal obeys: mail servers and whoever wrote a list may have put it there."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", cell) if isinstance(cell, str) else cell


def two_columns(rows: Iterable[tuple[str, Any]], title: str | None = None) -> Table:
    """A plain table of names and values."""
    table = Table(show_header=False, box=None, title=title, title_justify="left", pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in rows:
        table.add_row(escape(shown(name)), escape(shown(str(value))))
    return table


def with_lines_above(lines: Sequence[str], rows: Iterable[tuple[str, Any]]) -> Group:
    """Lines as they are, and a plain table of names and values below them."""
    return Group(*(Text(shown(line), no_wrap=True, overflow="ellipsis") for line in lines), Text(""), two_columns(rows))


def shown_until_told(
    look: Callable[[], dict[str, Any]],
    table: Callable[[dict[str, Any]], RenderableType],
    every_seconds: float,
    *,
    as_json: bool,
    times: int = 0,
) -> None:
    """Look and show, again and again until Ctrl-C, or so many times; with `as_json`, one object a line each time."""
    done = 0
    with Live(console=Console(), refresh_per_second=4, screen=False) as screen:
        if as_json:
            screen.stop()
        try:
            while not times or done < times:
                data = look()
                if as_json:
                    click.echo(json.dumps(data, default=str))
                else:
                    screen.update(table(data))
                done += 1
                if done != times:
                    time.sleep(every_seconds)
        except KeyboardInterrupt:
            pass


def progress_bar() -> Progress:
    """A bar with counts, rate and remaining time, on standard error; one closing line where that is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f}/s", style="progress.data.speed")
