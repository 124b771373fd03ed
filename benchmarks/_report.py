"""What every benchmark prints: a table for people and, with `--json`, one JSON object as the last line for programs."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator


def arguments(description: str | None) -> argparse.Namespace:
    """What every benchmark can be told."""
    return parser(description).parse_args()


def parser(description: str | None) -> argparse.ArgumentParser:
    """`--quick` for the same figures in under a minute, `--json` for programs; a benchmark may add its own."""
    common = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_argument("--quick", action="store_true", help="the same figures from shorter runs, in under a minute")
    common.add_argument("--json", action="store_true", help="one JSON object as the last line of standard output")
    return common


@dataclass
class Report:
    """The figures of one run, each with the number that it must reach where there is one, and the cases behind them."""

    bench: str
    figures: dict[str, float] = field(default_factory=dict)
    goals: dict[str, str] = field(default_factory=dict)
    cases: list[dict[str, Any]] = field(default_factory=list)

    def figure(self, name: str, value: float, goal: str = "") -> None:
        self.figures[name] = round(value, 4)
        self.goals[name] = goal

    def show(self, *, as_json: bool) -> None:
        console = Console(width=None if Console().is_terminal else 140)
        for table in self._case_tables():
            console.print(table)
        console.print(self._figure_table())
        if as_json:
            print(json.dumps({"bench": self.bench, "machine": machine(), "figures": self.figures, "cases": self.cases}))

    def _case_tables(self) -> Iterator[Table]:
        """A table for each kind of case, by what was measured of it."""
        kinds: dict[tuple[str, ...], Table] = {}
        for case in self.cases:
            columns = tuple(case)
            if columns not in kinds:
                headings = [Column(name.replace("_", " "), justify="right") for name in columns[1:]]
                kinds[columns] = Table("case", *headings, title=f"{self.bench}: cases")
            kinds[columns].add_row(*map(_text, case.values()))
        yield from kinds.values()

    def _figure_table(self) -> Table:
        table = Table("figure", "value", "goal", title=f"{self.bench}: figures")
        for name, value in self.figures.items():
            table.add_row(name, _text(value), self.goals[name])
        return table


def machine() -> dict[str, Any]:
    """Where it ran: numbers of different machines are not compared."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
