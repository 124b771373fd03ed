"""docker-compose.yml as the tests read it, and as `docker compose` would: with the variables of the environment put in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
TRIED_OUT = dict(
    line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")
)
"""The variables of .env.example, as it stands."""

VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<operator>:?[-?])(?P<word>[^}]*))?\})")


def load(environment: Mapping[str, str]) -> dict[str, Any]:
    """The whole file, interpolated as https://docs.docker.com/reference/compose-file/interpolation/ describes.

    Raises LookupError for `${NAME:?why}` without a value; docker compose then starts nothing and says why.
    """

    def value(found: re.Match[str]) -> str:
        if found["name"] is None:
            return "$"
        given = environment.get(found["name"])
        operator = found["operator"] or "-"
        if given is not None and (given or not operator.startswith(":")):
            return given
        if operator.endswith("?"):
            raise LookupError(found["word"])
        return found["word"] or ""

    def interpolate(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: interpolate(part) for key, part in node.items()}
        if isinstance(node, list):
            return [interpolate(part) for part in node]
        return VARIABLE.sub(value, node) if isinstance(node, str) else node

    result = interpolate(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))
    assert isinstance(result, dict)
    return result


def seconds(duration: str) -> float:
    """`90s`, `2m` in seconds."""
    return float(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]
