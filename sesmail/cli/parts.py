"""What the commands work on: the parts of sesmail by the settings of the stand-alone app."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sesmail.runtime import Runtime


def parts() -> Runtime:
    """The runtime, with `celeryconfig.py` and the environment read as `celery -A sesmail` reads them."""
    import sesmail.tasks  # noqa: F401  they bring Celery's settings in
    from sesmail import runtime
    from sesmail.celery import app

    app.set_default()
    return runtime.current()
