from __future__ import annotations

import pytest

from sesmail.simulator import Simulator
from tests.contract.simulator.simulator_client import client_for


@pytest.fixture(scope="session")
def _server():
    with Simulator(rate=1000, calls_per_second=None, seed=7) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def _client(_server):
    return client_for(_server)


@pytest.fixture
def ses(_server):
    """A simulator that remembers nothing of other tests."""
    _server.reset()
    return _server


@pytest.fixture
def sesv2(ses, _client):
    return _client
