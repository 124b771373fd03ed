"""`"sesmail"` in Django's INSTALLED_APPS, for the tasks; `"sesmail.contrib.django"` has all there is for Django."""

from __future__ import annotations

from django.apps import AppConfig

from sesmail.contrib.django import checks


class SesmailTasksConfig(AppConfig):
    """The app in whose folder Celery's `autodiscover_tasks()` finds the tasks."""

    name = "sesmail"
    verbose_name = "Tasks of email through Amazon SES"

    def ready(self) -> None:
        """Have `manage.py check` look."""
        checks.register()
