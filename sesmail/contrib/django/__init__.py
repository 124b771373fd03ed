"""sesmail for Django: put `sesmail.contrib.django` into INSTALLED_APPS.

    EMAIL_BACKEND = "sesmail.contrib.django.EmailBackend"

And of Django 6.1: `MAILERS = {"default": {"BACKEND": "sesmail.contrib.django.EmailBackend"}}`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sesmail.contrib.django.mail import EmailBackend
    from sesmail.contrib.django.task_backend import TaskBackend, send_email

__all__ = ["EmailBackend", "TaskBackend", "send_email"]

_HOMES = {"EmailBackend": "mail", "TaskBackend": "task_backend", "send_email": "task_backend"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # not before: Django's settings may be on their way to be read
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
