"""`celery flower`, an entry point in Celery's group `celery.commands`: Flower's own command, or how to install Flower.

Without it, Celery says that there is no such command, and asks whether `worker` is meant.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from click import UNPROCESSED, ClickException, argument, command

ANY_OPTION = {"ignore_unknown_options": True}


@command("flower", hidden=True, add_help_option=False, context_settings=ANY_OPTION)
@argument("arguments", nargs=-1, type=UNPROCESSED)
def explained(arguments: tuple[str, ...]) -> None:  # noqa: ARG001  whatever Flower would be told
    """Say what is missing."""
    raise ClickException(
        "Flower is not installed; email is sent without it. `pip install 'sesmail[flower]'` brings it."
    )


def _found() -> Any:
    if find_spec("flower") is None:
        return explained
    from flower.command import flower  # noqa: PLC0415

    return flower


flower = _found()
