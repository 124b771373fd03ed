"""Where an optional package is not installed, whoever needs it says which extra brings it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
WITHOUT = "import sys; sys.modules[sys.argv[1]] = None; sys.argv[1:] = []\n"
COMMAND = "from sesmail.cli import main; main(['simulator', '--port', '0'])"
START = "from sesmail.simulator import Simulator; Simulator().start()"
NEEDS = [
    ("uvicorn", "from sesmail.contrib.asgi import serve; serve(None, None)", "server"),
    ("prometheus_client", "import sesmail.contrib.prometheus", "metrics"),
    ("flower", "from sesmail.celery.flower import flower; flower()", "flower"),
    ("jinja2", "from sesmail import Letter; Letter(subject='s', text='t', jinja=True).columns()", "jinja"),
    ("sqlalchemy", "import sesmail.events.stores.sql", "sql"),
    ("starlette", COMMAND, "simulator"),
    ("uvicorn", COMMAND, "simulator"),
    ("httptools", COMMAND, "simulator"),
    ("starlette", START, "simulator"),
    ("uvicorn", START, "simulator"),
    ("starlette", "import sesmail.simulator.app", "simulator"),
]


def brought_by(extra: str) -> set[str]:
    """The packages of an extra, and of the extras that it names."""
    needed = [Requirement(line) for line in EXTRAS[extra]]
    inner = [brought_by(other) for one in needed if one.name == "sesmail" for other in one.extras]
    return {one.name.replace("-", "_") for one in needed if one.name != "sesmail"}.union(*inner)


@pytest.mark.parametrize(("package", "script", "extra"), NEEDS)
def test_what_is_not_installed_is_named_with_the_extra_that_brings_it(package, script, extra):
    command = [sys.executable, "-c", WITHOUT + script, package]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert re.findall(r"pip install 'sesmail\[(\w+)\]'", done.stderr.splitlines()[-1]) == [extra]
    assert package in brought_by(extra)


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "httptools"])
def test_the_command_says_so_in_a_line(package):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + COMMAND, package], capture_output=True, text=True, check=False, timeout=60
    )
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"Error: The simulator cannot run: not installed: {package}.")


def test_the_names_that_extras_had_before_they_went_by_purpose_bring_what_they_brought():
    assert {"starlette", "uvicorn", "httptools", "uvloop"} <= brought_by("simulator")
    assert {"flower", "prometheus_client"} <= brought_by("flower")
