"""Whose process this is: a configured Django's, a Flask application's, or nobody's. Nothing is imported to find out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Mapping

BROKER = "Celery's broker_url"
"""How it is called to people, where it names a ledger that nobody else does."""


def django_settings() -> Any:
    """Django's settings where this process runs a configured Django, else None."""
    conf = sys.modules.get("django.conf")
    return conf.settings if conf is not None and conf.settings.configured else None


def runs_django_tests() -> bool:
    """Whether Django's test runner (or pytest-django) has set its test environment up, as it does for its own mail.

    https://docs.djangoproject.com/en/stable/topics/testing/tools/#email-services
    """
    mail = sys.modules.get("django.core.mail")
    return hasattr(mail, "outbox")


def flask_app() -> Any:
    """The Flask application whose context this is, else None."""
    flask = sys.modules.get("flask")
    if flask is None or not flask.has_app_context():
        return None
    return flask.current_app._get_current_object()  # noqa: SLF001  what the proxy stands for, as Flask documents it


def flask_is_testing() -> bool:
    """Whether the Flask application whose context this is has TESTING; outside of any, whether one that is known has.

    Known are those with the extension.
    """
    if "flask" not in sys.modules:
        return False
    here = flask_app()
    return any(app.testing for app in (known_flask_apps() if here is None else [here]))


def flask_settings(app: Any) -> Mapping[str, Any]:
    """The configuration of a Flask application; empty where there is none."""
    return app.config if app is not None else {}


_flask_apps: WeakSet[Any] = WeakSet()
_latest_flask_app: list[Any] = []
"""Kept alive: `celery_app = create_app().extensions["celery"]`, as a worker's module has it, may let go of it."""


def know_flask_app(app: Any) -> None:
    """Remember a Flask application with the extension: its worker has no context to find it by."""
    _flask_apps.add(app)
    _latest_flask_app[:] = [app]


def known_flask_apps() -> list[Any]:
    """The Flask applications with the extension."""
    return list(_flask_apps)
