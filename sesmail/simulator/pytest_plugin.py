"""A pytest fixture: `pytest_plugins = ["sesmail.simulator.pytest_plugin"]` in a conftest.py makes it known.

    @pytest.mark.ses_simulator(rate=2, quota=100)
    def test_my_sending(ses_simulator):
        send_everything()  # by a worker, or with `task_always_eager`
        assert ses_simulator.report()["accepted"]["calls"] == 3

While the fixture lasts, email is really sent, to a simulated SES that is the test's own, whatever Django's test runner,
Flask's TESTING or SESMAIL_SUPPRESS_SEND say; and what sesmail keeps in Redis and its queues have names of the test's
own, so that nothing of other tests is there, and nothing stays. Programs that the test starts, such as a worker, find
all of it in their environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from seslocal.pytest_plugin import pytest_configure, simulated
from sesmail.testing.installation import own_installation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seslocal.simulator import Simulator

__all__ = ["pytest_configure", "ses_simulator"]


@pytest.fixture
def ses_simulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A fresh simulated SES account, with the options of the marker of the same name, and a ledger of its own."""
    with simulated(request, monkeypatch) as simulator, own_installation(endpoint_url=simulator.url):
        yield simulator
