"""Celery's part: it carries tickets to workers and tells them what to do. Nobody else imports Celery or kombu."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sesmail.celery.standalone import app as app


def __getattr__(name: str) -> Any:
    """`app`, the stand-alone one, loaded when it is asked for: `celery -A sesmail.celery` finds it here, too."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sesmail.celery.standalone import app  # noqa: PLC0415

    return app
