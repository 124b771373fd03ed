"""What some tests need that not every machine has: PostgreSQL, RabbitMQ, a browser, the AWS CLI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

ALL_MUST_BE_THERE = bool(os.environ.get("TEST_ALL_SERVICES"))
LOWEST_VERSIONS = bool(os.environ.get("TEST_LOWEST_VERSIONS"))
"""Whether the packages are the oldest that pyproject.toml allows, as `run.py check --full` has them in one row."""


def absent(what: str) -> NoReturn:
    """Skip the test, and say what it needs; fail it where `TEST_ALL_SERVICES` is set."""
    if ALL_MUST_BE_THERE:
        pytest.fail(what)
    pytest.skip(what)
