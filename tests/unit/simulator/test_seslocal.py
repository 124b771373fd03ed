"""The local SES stands on its own feet, and is found by its old names."""

from __future__ import annotations

import subprocess
import sys

import seslocal
import seslocal.app
import seslocal.pytest_plugin
import sesmail.simulator
import sesmail.simulator.app
import sesmail.simulator.pytest_plugin


def test_its_names_in_sesmail_are_the_same_things():
    assert sesmail.simulator.__all__ == seslocal.__all__
    for name in seslocal.__all__:
        assert getattr(sesmail.simulator, name) is getattr(seslocal, name)
    assert sesmail.simulator.app.create_app is seslocal.app.create_app
    assert sesmail.simulator.pytest_plugin.pytest_configure is seslocal.pytest_plugin.pytest_configure


def test_it_runs_without_sesmail():
    script = """
import sys
sys.modules["sesmail"] = None
import seslocal.app, seslocal.child, seslocal.command, seslocal.pytest_plugin
seslocal.app.create_app()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)


def test_whoever_starts_it_in_another_process_loads_no_web_server():
    script = "import sys, seslocal; print(*{'starlette', 'uvicorn', 'boto3', 'cryptography'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
