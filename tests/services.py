"""What some tests need that not every machine has: PostgreSQL, RabbitMQ, a browser, the AWS CLI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

ALL_MUST_BE_THERE = bool(os.environ.get("SESMAIL_TEST_ALL"))  # read now: tests see nothing of the developer's settings


def absent(what: str) -> NoReturn:
    """Skip the test, and say what it needs; fail it where `SESMAIL_TEST_ALL` is set."""
    if ALL_MUST_BE_THERE:
        pytest.fail(what)
    pytest.skip(what)
