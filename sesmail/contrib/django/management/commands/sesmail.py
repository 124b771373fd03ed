"""`manage.py sesmail ...`: the commands of `sesmail`, about this project's email."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from django.core.management.base import BaseCommand, CommandError

from sesmail.cli import main

if TYPE_CHECKING:
    from collections.abc import Sequence


class Command(BaseCommand):
    """An adapter: what is behind its name is click's, help and errors included."""

    help = "Email through Amazon SES: what is sent, what waits, who is not written to."
    requires_system_checks: list[str] = []  # noqa: RUF012  Django's own form

    def run_from_argv(self, argv: list[str]) -> None:
        """From the command line. `--settings` and `--pythonpath` stand among the rest and have been heeded by now."""
        django = ArgumentParser(add_help=False, allow_abbrev=False)
        django.add_argument("--settings")
        django.add_argument("--pythonpath")
        _, rest = django.parse_known_args(argv[2:])
        main.main(rest, prog_name=_name(argv[0], argv[1]))

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """For `manage.py help sesmail`."""
        main.main(["--help"], prog_name=_name(prog_name, subcommand), standalone_mode=False)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """For `call_command("sesmail", "status", "--json")`: all are click's."""
        parser.add_argument("arguments", nargs=REMAINDER)

    def handle(self, *_: Any, arguments: Sequence[str], **__: Any) -> None:
        """From `call_command`. Raises `CommandError`, with the exit code that the command line would have."""
        try:
            main.main(arguments, prog_name="sesmail", standalone_mode=False)
        except click.ClickException as error:
            raise CommandError(error.format_message(), returncode=error.exit_code) from error
        except SystemExit as end:
            raise CommandError("It could not be done for all.", returncode=int(end.code or 0)) from end


def _name(program: str, command: str) -> str:
    return f"{Path(program).name} {command}"
