"""A pytest fixture: `pytest_plugins = ["sesmail.testing.pytest_plugin"]` in a conftest.py makes it known.

    def test_a_new_member_is_welcomed(ses_outbox):
        sign_up("ann@example.org")
        ses_outbox.assert_sent(to="ann@example.org", subject="Welcome")

Each test that asks for it has an outbox of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sesmail.testing.outbox import outbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.testing.outbox import SesOutbox


@pytest.fixture
def ses_outbox() -> Iterator[SesOutbox]:
    """What the test sends: kept in memory, sent to nobody."""
    with outbox() as box:
        yield box
