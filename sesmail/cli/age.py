"""How a span of time is written on a command line."""

from __future__ import annotations

import re
from typing import Any

import click


class Age(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """`90d`, `12h` or `30m`: a span of time, in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """To seconds."""
        match = re.fullmatch(r"(\d+)([dhm])", str(value))
        if match is None:
            self.fail(f"{value!r} is no age: write for example 90d, 12h or 30m.", param, ctx)
        return int(match[1]) * {"d": 86_400.0, "h": 3600.0, "m": 60.0}[match[2]]
