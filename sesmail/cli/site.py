"""Whose site the commands work on: the client of the application that is found, told in the first line of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sesmail.cli.application import load_application

if TYPE_CHECKING:
    from sesmail.client import Client
    from sesmail.sending.accounts import SesAccount

APP = "sesmail.app"
CLIENT = "sesmail.client"
"""What is kept in a context's `meta`, which all commands of a command line share: what `-A` said, and the client."""

SILENT_SECONDS = 120.0
account_option = click.option("--account", metavar="NAME", help="One account of SESMAIL_ACCOUNTS only.")

Command = TypeVar("Command", bound=Callable[..., Any])


def app_option(*, hidden: bool = False) -> Callable[[Command], Command]:
    """`-A`: heeded before the name of a command as well as behind it, where it is told of in the former alone."""

    def keep(context: click.Context, _option: click.Parameter, name: str | None) -> None:
        if name:
            context.meta[APP] = name

    words = "Your application's Celery app, as for `celery -A`."
    return click.option("-A", "--app", metavar="APP", help=words, hidden=hidden, callback=keep, expose_value=False)


def site_client() -> Client:
    """The client of this site. When it is found, standard error is told which ledger that is.

    Raises `ConfigurationError`.
    """
    context = click.get_current_context()
    client: Client | None = context.meta.get(CLIENT)
    if client is None:
        whose = load_application(context.find_root(), context.meta.get(APP))
        import sesmail.tasks  # noqa: F401  what workers are told
        from sesmail.celery.current import current_client

        client = context.meta[CLIENT] = current_client()
        click.echo(f"{_ledger(client)} ({whose})", err=True)
    return client


def client_with_workers() -> Client:
    """`site_client`, for what matters where workers send only: standard error is told if none is heard.

    Raises `ConfigurationError` and `LedgerUnavailable`.
    """
    client = site_client()
    silent_seconds = client.fleet.silent_seconds()
    if silent_seconds is None:
        click.echo("No worker has ever been heard on this ledger: is it the right one?", err=True)
    elif silent_seconds > SILENT_SECONDS:
        click.echo(f"No worker has been heard for {silent_seconds / 60:.0f} minutes: is one running?", err=True)
    return client


def accounts_of(client: Client, account: str | None) -> list[SesAccount]:
    """The account of that name, or all where none is named. Raises `click.BadParameter` for one that there is not."""
    if account is None:
        return [*client.accounts.values()]
    if account not in client.accounts:
        raise click.BadParameter(f"there is no account {account!r}, but {', '.join(client.accounts)}.")
    return [client.accounts[account]]


def _ledger(client: Client) -> str:
    from sesmail.state.server.connection import shown

    settings = client.settings
    place = shown(settings.redis_url, master_name=settings.redis_master_name, said_as=settings.said_as("redis_url"))
    prefix = f"{settings.global_key_prefix}{settings.key_prefix}"
    return f"ledger {place}, prefix {prefix}, site {settings.site}"
