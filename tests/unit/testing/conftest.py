"""A site's client whose Redis is nowhere: what a test's outbox keeps needs none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sesmail import Client, Settings

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def no_other_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apps that tests of other things have made, and that nobody has collected yet, are none of this site's."""
    monkeypatch.setattr("sesmail.celery.current.apps_of_this_process", list)


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client(Settings(redis_url=NOWHERE, from_email="Shop <shop@example.com>", site="shop"))
    yield made
    made.close()


@pytest.fixture
def listen():
    """Connects receivers for the length of a test."""
    connected = []

    def connect(signal, receiver):
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)
