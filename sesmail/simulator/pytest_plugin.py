"""`pytest_plugins = ["sesmail.simulator.pytest_plugin"]` in a conftest.py; what it is stands in `seslocal`."""

from __future__ import annotations

from seslocal.pytest_plugin import pytest_configure, ses_simulator

__all__ = ["pytest_configure", "ses_simulator"]
