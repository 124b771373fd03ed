"""The rows of `python3 run.py check --full`: with which Pythons, Djangos and versions the tests are run.

Only the standard library, as in run.py, which imports this.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

MINORS = sorted({11, 12, 13, 14, sys.version_info[1]})
"""Of the CPythons 3 that are supported."""

DJANGOS = {"4.2": range(8, 13), "5.2": range(10, 15), "6": range(12, 100)}
"""The Djangos that are supported, each with the Pythons that it is for.

https://docs.djangoproject.com/en/stable/faq/install/#what-python-version-can-i-use-with-django
"""

LOWEST = "lowest"
FLOOR = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?\s*>=\s*(?P<version>[\w.]+)")
USES_DJANGO = re.compile(r"^import django|django_site|contrib\.django", re.MULTILINE)
TESTS = ["python", "-m", "pytest"]
PINNED = ["--constraint", "constraints.txt", "django"]


class Row(NamedTuple):
    """The tests with one Python and, where it matters, one Django."""

    name: str
    what: str
    """All of it, for people."""
    minor: int
    interpreter: str
    """Empty where this machine has none."""
    folder: str
    """Where its environment is."""
    tests: list[str]
    packages: list[str]
    """What is installed into the environment before, without its dependencies."""
    variables: dict[str, str]
    """What the tests find in their environment."""


def rows(root: Path) -> list[Row]:
    """All of them, those too that cannot be run here."""
    pythons = find_pythons()
    found = [row for minor in MINORS for row in _rows_of(minor, pythons.get(minor, ""), django_tests(root))]
    lowest = min(pythons)
    what = f"Python 3.{lowest} and the lowest versions that pyproject.toml allows: all tests"
    variables = {"TEST_LOWEST_VERSIONS": "1"}
    return [*found, Row(LOWEST, what, lowest, pythons[lowest], f".venvs/{LOWEST}", TESTS, [], variables)]


def _rows_of(minor: int, interpreter: str, django_files: list[str]) -> list[Row]:
    """All tests with the newest Django, which is the pinned one; with the others those that it may matter to."""
    version, folder = f"3.{minor}", f".venvs/3.{minor}"
    *earlier, newest = [django for django, minors in DJANGOS.items() if minor in minors]
    what, bare = f"Python {version} and Django {newest}: all tests", {"TEST_BARE_INSTALL": "1"}
    first = Row(version, what, minor, interpreter, folder, TESTS, PINNED, bare)
    if minor == sys.version_info[1]:
        first = first._replace(folder=".venv", packages=[])
    others = [
        Row(
            name=f"{version}-django-{django}",
            what=f"Python {version} and Django {django}: the tests that use Django",
            minor=minor,
            interpreter=interpreter,
            folder=folder,
            tests=[*TESTS, *django_files],
            packages=[f"django=={django}.*"],
            variables={},
        )
        for django in earlier
    ]
    return [first, *others]


def django_tests(root: Path) -> list[str]:
    """The files of tests that use Django."""
    files = sorted(root.glob("tests/**/test_*.py"))
    return [str(file.relative_to(root)) for file in files if USES_DJANGO.search(file.read_text(encoding="utf-8"))]


def find_pythons() -> dict[int, str]:
    """For each minor version a CPython that works: the running one, the first on PATH, pyenv's newest."""
    found = {sys.version_info[1]: sys.executable}
    for minor in set(MINORS) - set(found):
        on_path = [Path(folder, f"python3.{minor}") for folder in os.get_exec_path()]
        of_pyenv = Path("~/.pyenv/versions").expanduser().glob(f"3.{minor}.*/bin/python")
        newest_first = sorted(of_pyenv, key=lambda path: [*map(int, re.findall(r"\d+", path.parts[-3]))], reverse=True)
        if path := next((path for path in [*on_path, *newest_first] if _is_cpython(path, minor)), None):
            found[minor] = str(path)
    return found


def _is_cpython(path: Path, minor: int) -> bool:
    """Whether it is one of this version that can make environments: not all names of pyenv and Debian lead to one."""
    asked = f"import sys, venv; sys.exit((sys.implementation.name, *sys.version_info[:2]) != ('cpython', 3, {minor}))"
    command = [str(path), "-c", asked]
    return os.access(path, os.X_OK) and subprocess.run(command, capture_output=True, check=False).returncode == 0


def lowest_versions(project: dict[str, Any]) -> str:
    """Constraints: the lowest version that the project allows of each package, but for the tools of its developers."""
    extras = project.get("optional-dependencies", {})
    needed = [project.get("dependencies", []), *(lines for extra, lines in extras.items() if extra != "dev")]
    floors = [FLOOR.match(line) for lines in needed for line in lines]
    return "".join(f"{floor['name']}=={floor['version']}\n" for floor in floors if floor)
