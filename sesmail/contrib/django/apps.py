"""Django's handle on sesmail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig

from sesmail.contrib.django import checks

if TYPE_CHECKING:
    from sesmail.events.intake import Intake
    from sesmail.unsubscribe import UnsubscribeDoor


class SesmailConfig(AppConfig):
    """The app."""

    name = "sesmail.contrib.django"
    label = "sesmail_django"  # beside "sesmail" in INSTALLED_APPS, which has that label
    verbose_name = "Email through Amazon SES"

    intake: Intake | None = None
    unsubscribe: UnsubscribeDoor | None = None
    """What the views use instead of what the settings say: for tests."""

    def ready(self) -> None:
        """Have `manage.py check` look."""
        checks.register()
