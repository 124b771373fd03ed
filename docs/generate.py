"""Writes the pages that are made from the code: `python -m docs.generate` in the project's folder."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click
from pydantic_core import PydanticUndefined

from docs import public_names, reference
from sesmail import cli, settings
from sesmail.settings import knobs
from sesmail.settings.sources import KNOWN_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

HERE = Path(__file__).parent
COLUMNS = 100
KINDS = {
    "AccountSettings": "JSON object",
    "str": "text",
    "float": "number",
    "int": "whole number",
    "bool": "true or false",
}
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most", "pattern": "as in"}
SPANS = {86_400: "days", 3600: "hours", 60: "minutes"}


def main() -> None:
    """Write all pages."""
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """The text of each page that is made from the code, by file name."""
    return {
        "arguments.md": reference.arguments_page(),
        "commands.md": commands_page(),
        "doctor.md": reference.doctor_page(),
        "errors.md": reference.errors_page(),
        "event-types.md": reference.events_page(),
        "keys.md": reference.keys_page(),
        "names.md": public_names.page(),
        "settings.md": settings_page(),
        "states.md": reference.states_page(),
    }


def settings_page() -> str:
    """Every field of `Settings`, under the headings that stand above them there."""
    where_from = inspect.cleandoc(settings.__doc__ or "")
    lines = [reference.made_from("sesmail/settings/knobs.py"), "# Settings", "", where_from]
    for heading, names in _groups():
        lines += ["", f"## {heading}", "", "| environment variable | value | default | meaning |", "|---|---|---|---|"]
        lines += [_setting(name, settings.Settings.model_fields[name]) for name in names]
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """What `--help` says of each command."""
    usage, _, exit_codes = inspect.cleandoc(cli.__doc__ or "").partition("\n\n")
    codes = [
        f"| {code} | {meaning} |" for code, meaning in (line.split(maxsplit=1) for line in exit_codes.splitlines())
    ]
    lines = [
        reference.made_from("sesmail/cli"),
        "# Commands",
        "",
        usage,
        "",
        "| exit code | meaning |",
        "|---|---|",
        *codes,
    ]
    for context in _contexts():
        heading = "#" * max(2, len(context.command_path.split()))
        lines += ["", f"{heading} {context.command_path}", "", "```text", context.command.get_help(context), "```"]
    return "\n".join(lines) + "\n"


def _groups() -> Iterator[tuple[str, list[str]]]:
    """The comments that head groups of fields, each with its fields."""
    source = inspect.getsource(settings.Settings)
    for group in re.split(r"^    # ", source, flags=re.MULTILINE)[1:]:
        heading, _, fields = group.partition("\n")
        yield heading, re.findall(r"^    (\w+): ", fields, re.MULTILINE)


def _setting(name: str, field: FieldInfo) -> str:
    others = "".join(f" Else `{other}`." for other in KNOWN_NAMES.get(name, ()))
    variable = f"`{settings.ENVIRONMENT_PREFIX}{name.upper()}`"
    return f"| {variable} | {_kind(name, field)} | {_default(name, field.default)} | {field.description}{others} |"


def _kind(name: str, field: FieldInfo) -> str:
    kind = "seconds" if name.endswith("_seconds") else _words(field.annotation)
    return ", ".join([kind, *(_bound(bound) for bound in field.metadata)])


def _words(annotation: Any) -> str:
    if annotation == knobs.RateLimit:
        return "rate as `300/m`"
    arguments = [one for one in get_args(annotation) if one is not type(None)]
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if get_origin(annotation) is dict:
        return "JSON object" if arguments[1] is Any else f"JSON object, each a {_words(arguments[1])}"
    if get_origin(annotation) is list:
        return f"JSON list, each a {_words(arguments[0])}"
    return _words(arguments[0]) if arguments else KINDS[annotation.__name__]


def _bound(bound: Any) -> str:
    for attribute, words in BOUNDS.items():
        if (value := getattr(bound, attribute, None)) is not None:
            return f"{words} `{value}`"
    raise ValueError(f"no words for {bound!r}")


def _default(name: str, value: Any) -> str:
    if value in (None, "", PydanticUndefined):
        return ""
    if not isinstance(value, float) or not value.is_integer():
        return f"`{value}`"
    spans = (f" ({value / span:g} {words})" for span, words in SPANS.items() if value > span and value % span == 0)
    return f"`{value:.0f}`" + (next(spans, "") if name.endswith("_seconds") else "")


def _contexts() -> Iterator[click.Context]:
    """The command `sesmail` itself, and each that it has."""
    said = cli.main.context_settings
    main = click.Context(cli.main, info_name="sesmail", terminal_width=COLUMNS, max_content_width=COLUMNS, **said)
    yield main
    for name in sorted(cli.COMMANDS):
        if command := cli.main.get_command(main, name):
            yield from _with_subcommands(click.Context(command, info_name=name, parent=main))


def _with_subcommands(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name, command in sorted(context.command.commands.items()):
            yield click.Context(command, info_name=name, parent=context)


if __name__ == "__main__":
    main()
