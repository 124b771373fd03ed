"""Whose site the commands work on: the client of the application that they find, as `celery` finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sesmail.client import Client


def site_client() -> Client:
    """The client, with `celeryconfig.py` and the environment read as `celery -A sesmail` reads them."""
    import sesmail.tasks  # noqa: F401  what workers are told
    from sesmail.celery.current import current_client
    from sesmail.celery.standalone import app

    app.set_default()
    return current_client()
