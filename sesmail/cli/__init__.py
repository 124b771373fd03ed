"""The commands: `sesmail ...`, and the same as `manage.py sesmail ...` and `flask sesmail ...`.
Each tells standard error first which ledger it looks at, takes `--json`, and says by its exit code how it went.

0    done
1    not done, or something is wrong with an email: the message says what
2    the command line is wrong
75   Redis, the store of events or a queue of them cannot be reached: try again
78   a setting is missing or wrong, or Redis refuses: no trying again helps, the message says what to mend
130  interrupted
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from sesmail import __version__
from sesmail.cli.output import shown
from sesmail.cli.site import app_option
from sesmail.errors import ConfigurationError, EventStoreUnavailable, LedgerUnavailable, QueueUnavailable, SesmailError

COMMANDS = {
    "audit": "audit:audit",
    "batch": "batch:batch",
    "cancel": "sends:cancel",
    "confirm": "intake:confirm",
    "doctor": "doctor:doctor",
    "drain-dlq": "intake:drain_dlq",
    "erase": "erase:erase",
    "events": "events:events",
    "failed": "sends:failed",
    "find": "sends:find",
    "loadtest": "loadtest:loadtest",
    "metrics": "metrics:metrics",
    "migrate": "migrate:migrate",
    "page": "page:page",
    "pause": "line:pause",
    "poll-sqs": "intake:poll_sqs",
    "process-events": "events:process_events",
    "purge": "events:purge",
    "quota": "status:quota",
    "rates": "events:rates",
    "reschedule": "sends:reschedule",
    "restored": "line:restored",
    "resume": "line:resume",
    "send": "send:send",
    "sends": "listed:sends",
    "simulator": "simulator:simulator",
    "status": "status:status",
    "suppress": "suppress:suppress",
    "sweep": "sends:sweep",
    "top": "top:top",
    "unknown": "sends:unknown",
    "webhook": "intake:webhook",
    "why": "why:why",
}
"""Where each command is: module and name. Imported when it is used."""


class Failure(click.ClickException):
    """One of our errors, shown without a traceback."""

    def __init__(self, error: SesmailError) -> None:
        super().__init__(shown(_in_short(error)))
        self.error = error

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click has a class variable here
        """By what the caller does next."""
        if isinstance(self.error, ConfigurationError):
            return os.EX_CONFIG
        away = isinstance(self.error, LedgerUnavailable | EventStoreUnavailable | QueueUnavailable)
        return os.EX_TEMPFAIL if away else 1


def _in_short(error: SesmailError) -> str:
    """Of a Redis that is away, without what an application should know of its call."""
    return str(error).partition("\n\n")[0] if isinstance(error, LedgerUnavailable) else str(error)


class Commands(click.Group):
    """Loads a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """All names, in order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"sesmail.cli.{module}"), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does; of a name that is none, the nearest is told."""
        name = str(args[0]).lower()
        if name not in COMMANDS and (meant := get_close_matches(name, COMMANDS, 1, 0.6)):
            ctx.fail(f"No such command '{args[0]}'. Is `{meant[0]}` meant?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; our errors and Ctrl-C become a line and an exit code."""
        try:
            return super().invoke(ctx)
        except SesmailError as error:
            raise Failure(error) from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise SystemExit(130) from None


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@app_option()
@click.option(
    "--workdir",
    type=click.Path(exists=True, file_okay=False),
    callback=lambda _context, _option, folder: os.chdir(folder) if folder else None,
    expose_value=False,
    is_eager=True,
    help="The folder to work in.",
)
@click.version_option(__version__)
def main() -> None:
    """Email through Amazon SES in the background: queued, paced to the account's rate, lost by no crash.

    Commands are about the email of one application: that of -A, or of DJANGO_SETTINGS_MODULE or FLASK_APP in the
    environment; else the stand-alone one, which has its settings from SESMAIL_... in the environment and from
    celeryconfig.py in the working directory. Standard error is told first which ledger that is. `manage.py sesmail` and
    `flask sesmail` are the same commands.
    """
