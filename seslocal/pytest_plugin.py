"""A pytest fixture: `pytest_plugins = ["seslocal.pytest_plugin"]` in a conftest.py makes it known.

    @pytest.mark.ses_simulator(rate=2, quota=100)
    def test_my_sending(ses_simulator):
        send_everything()
        assert ses_simulator.report()["accepted"]["calls"] == 3

While the fixture lasts, boto3's clients for SES and SNS find it by themselves, and find credentials.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from seslocal.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "ses_simulator(**options): options of the fixture ses_simulator")


@pytest.fixture
def ses_simulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A fresh simulated SES account, with the options of the marker of the same name."""
    with simulated(request, monkeypatch) as simulator:
        yield simulator


@contextmanager
def simulated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """The account of a test, which boto3 finds by itself until the test's environment is put back."""
    marker = request.node.get_closest_marker("ses_simulator")
    with Simulator(**(marker.kwargs if marker else {})) as simulator:
        for service in ("SESV2", "SES", "SNS"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", simulator.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "simulator")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "simulator")
        monkeypatch.setenv("AWS_DEFAULT_REGION", simulator.options.region)
        yield simulator
