"""What `manage.py check` says of email, before a request does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core import checks

from sesmail.errors import ConfigurationError

if TYPE_CHECKING:
    from sesmail.celery.current import HostApp


def register() -> None:
    """Have Django's checks call these; twice does no harm."""
    checks.register(check_settings)
    checks.register(check_installed)


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Whether the settings hold, and whether the project's Celery app is loaded. No Redis is asked."""
    from sesmail.celery.current import app_of_host, loaded_app, settings_of  # noqa: PLC0415  Celery is slow to load

    try:
        app = loaded_app()
        made = app_of_host() if app is None else None
        settings_of(app or made)
    except ConfigurationError as error:
        return [checks.Error(str(error), id="sesmail.E001")]
    return [_no_celery_app(made)] if made is not None else []


def _no_celery_app(made: HostApp) -> checks.CheckMessage:
    return checks.Warning(
        "The project's Celery app is not loaded, so tickets of emails go to the broker that the settings name.",
        hint=f"Write {made.missing}. Where a `celery -A sesmail worker` sends, silence this check instead.",
        id="sesmail.W001",
    )


def check_installed(**_: Any) -> list[checks.CheckMessage]:
    """Whether all is installed that there is for Django."""
    if apps.is_installed("sesmail.contrib.django"):
        return []
    return [
        checks.Info(
            'Of what there is for Django, "sesmail" in INSTALLED_APPS brings the tasks alone.',
            hint='Write "sesmail.contrib.django" instead, for `manage.py sesmail` and the views of SES\'s events.',
            id="sesmail.I001",
        )
    ]
