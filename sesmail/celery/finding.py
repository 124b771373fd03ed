"""A Celery app by the name that `-A` is given."""

from __future__ import annotations

from celery import Celery
from celery.app.utils import find_app

from sesmail.errors import ConfigurationError


def make_current(name: str) -> Celery:
    """Find the app as `celery -A NAME` does, and make it everybody's in this process.

    Raises `ConfigurationError` where there is none, and whatever loading its module raises.
    """
    try:
        found = find_app(name)
    except AttributeError as error:
        raise ConfigurationError(f"`-A {name}` has no Celery app: {error}. Nothing was done.") from error
    if not isinstance(found, Celery):
        kind = type(found).__name__
        raise ConfigurationError(f"`-A {name}` is of type {kind}, and no Celery app. Nothing was done.")
    found.set_current()
    found.set_default()  # for threads, too
    return found
