"""A configured Django in this process, and an outbox that keeps what its mail backend accepts."""

from __future__ import annotations

from collections.abc import Iterator

import django.conf
import pytest

from sesmail.celery.current import close_clients
from sesmail.testing import outbox
from sesmail.testing.outbox import SesOutbox


@pytest.fixture
def django_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[django.conf.LazySettings]:
    """Settings to change; other tests in this process know nothing of it, nor it of their apps and clients."""
    close_clients()
    monkeypatch.setattr("sesmail.celery.current.apps_of_this_process", list)
    monkeypatch.setattr("sesmail.celery.current.app_of_this_thread", lambda: None)
    before = django.conf.settings._wrapped
    django.conf.settings._wrapped = django.conf.empty
    django.conf.settings.configure(
        USE_I18N=False,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[],  # Django takes those of its first set-up in a process, whoever's that is
        SESMAIL={"REDIS_URL": "redis://127.0.0.1:1/0", "FROM_EMAIL": "shop@example.com"},
        CELERY_BROKER_URL="redis://127.0.0.1:1/0",
    )
    django.setup()
    yield django.conf.settings
    django.conf.settings._wrapped = before
    close_clients()


@pytest.fixture
def box(django_site: django.conf.LazySettings) -> Iterator[SesOutbox]:
    with outbox() as box:
        yield box
