"""`run.py` on a project as small as can be, whose demo, pytest and linters tell how they were called. No network."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests import matrix

ROOT = Path(__file__).parents[2]
RUN_PY = ROOT / "run.py"

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny"
version = "1"
"""

# A build backend that needs nothing: its wheel holds the scripts that a step of `check` calls.
BACKEND = """
import os, time, zipfile

METADATA = "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\nProvides-Extra: demo\\nProvides-Extra: dev\\n"
SCRIPTS = "[console_scripts]\\n" + "".join(f"{name} = linter:main\\n" for name in ("ruff", "mypy", "lint-imports"))

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    with open("installs.txt", "a") as log:
        log.write("installed\\n")
    while os.path.exists("hold"):   # the test interrupts us here
        time.sleep(0.01)
    name = "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        wheel.writestr("tiny-1.dist-info/METADATA", METADATA)
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("tiny-1.dist-info/entry_points.txt", SCRIPTS)
        wheel.writestr("tiny.pth", os.getcwd() + "\\n")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return name
"""

# What every program of the tiny project does: say how it was called; then fail or wait if the test asks for it.
PROGRAM = """
'''Tells how it was called.'''
import os, signal, sys, time

def main():
    name = "NAME" if "NAME" != "linter" else os.path.basename(sys.argv[0])
    print(name, *sys.argv[1:], "pid", os.getpid(), "path", os.environ["PATH"].split(os.pathsep)[0], flush=True)
    if os.path.exists("wait-in-" + name):
        signals = []
        signal.signal(signal.SIGINT, lambda number, frame: signals.append(number))
        os.remove("wait-in-" + name)
        while not signals:
            time.sleep(0.01)
        time.sleep(0.3)
        print(name, "got", len(signals), "SIGINT", flush=True)
        sys.exit(1)
    if os.path.exists("fail-in-" + name):
        sys.exit(3)

if __name__ == "__main__":
    main()
"""


class Project:
    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.variables = variables

    def create(self) -> None:
        self.folder.mkdir()
        shutil.copy(RUN_PY, self.folder)
        (self.folder / "benchmarks").mkdir()
        (self.folder / "tests").mkdir()
        (self.folder / "docs").mkdir()
        shutil.copy(ROOT / "tests" / "matrix.py", self.folder / "tests")
        (self.folder / "tests" / "test_django.py").write_text("import django")
        (self.folder / "tests" / "test_other.py").write_text("import flask")
        for name in ("demo", "pytest", "linter", "benchmarks/send", "docs/site", "tests/simulation"):
            (self.folder / f"{name}.py").write_text(PROGRAM.replace("NAME", name))
        (self.folder / "benchmarks" / "_private.py").write_text("")
        (self.folder / "pyproject.toml").write_text(PYPROJECT)
        (self.folder / "constraints.txt").write_text("")
        (self.folder / "backend.py").write_text(BACKEND)

    def start(self, *arguments: str, python: str = sys.executable, **variables: str) -> subprocess.Popen[str]:
        environment = {"HOME": "/nonexistent", "PATH": "", "PIP_NO_INDEX": "1", **self.variables, **variables}
        command = [python, str(self.folder / "run.py"), *arguments]
        return subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0, **variables: str) -> str:
        with self.start(*arguments, **variables) as process:
            output = process.communicate(timeout=60)[0]
        assert process.returncode == code, output
        return output

    @property
    def installs(self) -> int:
        log = self.folder / "installs.txt"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def change(self, name: str, more: str) -> None:
        with (self.folder / name).open("a") as file:
            file.write(more)

    def flag(self, name: str) -> Path:
        path = self.folder / name
        path.touch()
        return path


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A project whose environment was made by `run.py test`."""
    project = Project(tmp_path_factory.mktemp("ready") / "project with a space")
    project.create()
    project.run("test")
    return project


@pytest.fixture
def without(tmp_path):
    """A folder for PYTHONPATH in which the given modules cannot be imported."""

    def folder(*names: str) -> str:
        (tmp_path / "broken").mkdir(exist_ok=True)
        for name in names:
            (tmp_path / "broken" / f"{name}.py").write_text(f"raise ImportError('no {name} here')")
        return str(tmp_path / "broken")

    return folder


@pytest.fixture
def fresh(tmp_path, without):
    """A project without an environment. It is made without ensurepip, which takes its seconds."""
    project = Project(tmp_path / "project", PYTHONPATH=without("ensurepip"))
    project.create()
    return project


def wait_for(condition, timeout_seconds: float = 30.0) -> None:
    end = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_the_second_start_takes_less_than_a_second_and_installs_nothing(ready):
    installs = ready.installs
    took = []
    for _ in range(3):
        start = time.monotonic()
        ready.run("test")
        took.append(time.monotonic() - start)
    assert min(took) < 1, "a busy machine may hold up one or another"
    assert ready.installs == installs


def test_arguments_go_to_the_program_which_finds_the_environment_s_programs_first(ready):
    output = ready.run("test", "-k", "a name", "--help")
    assert output.startswith("pytest -k a name --help pid")
    assert output.rstrip().endswith(f"path {ready.folder}/.venv/bin")


def test_the_demo_needs_no_second_installation_after_the_tests(ready):
    installs = ready.installs
    assert ready.run("demo", "--rows", "5").startswith("demo --rows 5")
    assert ready.installs == installs


def test_the_program_s_exit_code_is_ours(ready):
    flag = ready.flag("fail-in-demo")
    ready.run("demo", code=3)
    flag.unlink()


def test_the_program_takes_our_place_so_that_signals_reach_it(ready):
    waiting = ready.flag("wait-in-demo")
    with ready.start("demo") as process:
        assert f"pid {process.pid} " in process.stdout.readline()
        wait_for(lambda: not waiting.exists())
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10)[0] == "demo got 1 SIGINT\n"


def test_the_demo_s_environment_becomes_that_of_the_tests_but_any_other_change_makes_a_new_one(fresh):
    fresh.run("demo")
    kept = fresh.flag(".venv/of-the-old-environment")
    fresh.run("test")
    assert fresh.installs == 2
    assert kept.exists()
    fresh.change("pyproject.toml", "[tool.ruff]\n")
    fresh.run("test")
    assert fresh.installs == 2, "how a linter is set up changes no package"
    fresh.change("constraints.txt", "another==1\n")
    fresh.run("test")
    assert fresh.installs == 3
    assert not kept.exists(), "a package that is no longer needed must not stay"


def test_a_project_that_was_moved_gets_a_new_environment(fresh, tmp_path):
    fresh.run("test")
    moved = Project(fresh.folder.rename(tmp_path / "moved"), **fresh.variables)
    assert "failed" not in moved.run("check")
    assert str(moved.folder) in (moved.folder / ".venv" / "bin" / "mypy").read_text()


def test_the_environment_s_own_python_can_make_it_anew(fresh):
    fresh.run("test")
    fresh.change("constraints.txt", "another==1\n")
    with fresh.start("test", python=str(fresh.folder / ".venv" / "bin" / "python"), PYTHONPATH="") as process:
        assert "pytest pid" in process.communicate(timeout=60)[0]
    assert fresh.installs == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_installation_is_begun_anew(fresh, number):
    hold = fresh.flag("hold")
    with fresh.start("test") as process:
        wait_for(lambda: fresh.installs == 1)
        process.send_signal(number)
        process.wait(timeout=10)
        hold.unlink()
        assert "Traceback" not in process.stdout.read()
    (fresh.folder / ".venv" / "half-installed").touch()
    assert "pytest pid" in fresh.run("test")
    assert not (fresh.folder / ".venv" / "half-installed").exists()


def test_two_runs_at_once_make_one_environment(fresh):
    hold = fresh.flag("hold")
    with fresh.start("test") as first:
        wait_for(lambda: fresh.installs == 1)
        with fresh.start("demo") as second:
            assert "waiting" in second.stdout.readline()
            hold.unlink()
            assert "pytest pid" in first.communicate(timeout=60)[0]
            assert "demo pid" in second.communicate(timeout=60)[0]
    assert fresh.installs == 1


def test_an_environment_made_by_hand_is_used_not_replaced(fresh):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", fresh.folder / ".venv"], check=True)
    (fresh.folder / ".venv" / "mine").touch()
    fresh.run("test")
    assert (fresh.folder / ".venv" / "mine").exists()


def test_without_ensurepip_the_running_python_s_pip_is_used(fresh):
    assert "pytest pid" in fresh.run("test")
    assert not (fresh.folder / ".venv" / "bin" / "pip").exists()


@pytest.mark.parametrize("missing", [("ensurepip", "pip"), ("venv",)])
def test_a_python_that_can_install_nothing_is_told_what_to_add(fresh, without, missing):
    output = fresh.run("test", code=1, PYTHONPATH=without(*missing))
    assert "sudo apt install python3-venv" in output
    assert "Traceback" not in output


def test_a_folder_that_cannot_be_written_is_named_without_a_traceback(fresh):
    (fresh.folder / ".venv").write_text("a file where the folder should be")
    output = fresh.run("test", code=1)
    assert f"The environment in {fresh.folder}/.venv could not be made" in output
    assert "Traceback" not in output


def test_an_installation_that_fails_is_not_taken_for_one_that_worked(fresh):
    backend = (fresh.folder / "backend.py").read_text()
    (fresh.folder / "backend.py").write_text("raise SystemExit('the disk is full')")
    assert "The installation failed" in fresh.run("test", code=1)
    (fresh.folder / "backend.py").write_text(backend)
    assert "pytest pid" in fresh.run("test")


def test_check_runs_every_step_and_says_which_one_failed_and_how_to_repeat_it(ready):
    flag = ready.flag("fail-in-mypy")
    output = ready.run("check", code=1)
    flag.unlink()
    outcomes = [line.split()[:2] for line in output.partition("\n\n==> tests")[2].splitlines()[-7:]]
    assert outcomes == [
        ["ok", "style"],
        ["ok", "format"],
        ["failed", "types"],
        ["ok", "floors"],
        ["ok", "docs"],
        ["ok", "tests"],
        ["ok", "simulation"],
    ]
    assert "again with: .venv/bin/mypy" in output


def test_check_succeeds_when_every_step_does(ready):
    output = ready.run("check")
    for called in (
        "ruff check .",
        "ruff format --check .",
        "mypy pid",
        "lint-imports pid",
        "docs/site --check pid",
        "pytest pid",
        "tests/simulation --of-commit --seeds 60 pid",
    ):
        assert called in output
    assert "failed" not in output


def test_ctrl_c_reaches_the_step_of_check_that_runs_once_and_no_other_begins(ready):
    waiting = ready.flag("wait-in-mypy")
    with ready.start("check") as process:
        wait_for(lambda: not waiting.exists())
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=10)[0]
    assert process.returncode == 128 + signal.SIGINT
    assert "mypy got 1 SIGINT" in output
    assert "stopped  types" in output
    assert "not run  tests" in output
    assert "pytest pid" not in output


# The matrix


FAKE_PYTHON = """#!/bin/sh
# Says that it is CPython 3.VERSION, and is the Python that runs the tests.
case "$2" in
    *"'cpython', 3, VERSION)"*) exit 0;;
    *"'cpython', 3, "*) exit 1;;
esac
exec PYTHON "$@"
"""


def fake_python(path: Path, minor: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FAKE_PYTHON.replace("VERSION", str(minor)).replace("PYTHON", sys.executable))
    path.chmod(0o755)


def package(folder: Path, name: str, version: str) -> None:
    """A wheel of a package with nothing in it."""
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


OURS = sys.version_info[1]
OTHER = 12 if OURS != 12 else 13
THERE = (f"3.{OURS}", f"3.{OTHER}", "lowest")
OF_DJANGO = f"3.{OTHER}-django-5.2"


@pytest.fixture
def pythons(fresh, tmp_path):
    """The project with Djangos to install, and with one more Python."""
    home = tmp_path / "home"
    fake_python(home / ".pyenv" / "versions" / f"3.{OTHER}.0" / "bin" / "python", OTHER)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for version in ("4.2.30", "5.2.1", "5.2.19", "6.1.3"):
        package(wheels, "django", version)
    fresh.change("constraints.txt", "django==6.1.3\n")
    fresh.variables |= {"HOME": str(home), "PIP_FIND_LINKS": str(wheels)}
    return fresh


def django_in(environment: Path) -> list[str]:
    return [path.name for path in environment.glob("lib/*/site-packages/django-*.dist-info")]


def test_the_full_check_begins_with_what_it_found_and_what_it_did_not_find(pythons):
    output = pythons.run("check", "--full", "nothing", "like-it", code=1)
    found = [line.split()[1] for line in output.splitlines() if line.startswith("found ")]
    missing = [line.split()[2] for line in output.splitlines() if line.startswith("NOT found ")]
    names = [row.name for row in matrix.rows(pythons.folder)]
    assert found == [name for name in names if name.startswith(THERE)]
    assert missing == [name for name in names if not name.startswith(THERE)]
    assert output.endswith("There is no row like-it, nothing here.\n")
    assert pythons.installs == 0


def test_a_row_of_another_python_has_its_environment_and_a_row_of_django_only_the_tests_that_use_it(pythons):
    output = pythons.run("check", "--full", OF_DJANGO, f"3.{OTHER}")
    environment = pythons.folder / ".venvs" / f"3.{OTHER}"
    calls = [line.split(" pid ")[0] for line in output.splitlines() if line.startswith("pytest ")]
    assert calls == ["pytest", "pytest tests/test_django.py"]
    assert output.count(f"path {environment}/bin") == 2
    assert django_in(environment) == ["django-5.2.19.dist-info"]
    assert pythons.installs == 1
    assert not (pythons.folder / ".venv").exists()
    pythons.run("check", "--full", f"3.{OTHER}")
    assert django_in(environment) == ["django-6.1.3.dist-info"], "the pinned one"
    assert pythons.installs == 1


def test_every_row_is_run_and_summed_up_though_one_fails(pythons):
    pythons.flag("fail-in-mypy")
    output = pythons.run("check", "--full", code=1)
    outcomes = {line[9:31].strip(): line.split()[0] for line in output.rpartition("\n\n")[2].splitlines()}
    assert outcomes.pop(f"3.{OURS} types") == "failed", outcomes
    assert {name.partition(" ")[0]: outcome for name, outcome in outcomes.items()} == {
        row.name: "ok" if row.name.startswith(THERE) else "missing" for row in matrix.rows(pythons.folder)
    }


def test_the_lowest_versions_are_those_of_pyproject_and_a_row_that_cannot_be_installed_fails_alone(pythons, tmp_path):
    pythons.change("pyproject.toml", 'dependencies = ["flask>=3.0,<4"]\n[project.optional-dependencies]\n')
    pythons.change("pyproject.toml", 'django = ["Django[argon2] >= 4.2.30 ; 1 > 0"]\ndev = ["ruff>=9"]\n')
    pythons.change("backend.py", "METADATA += 'Requires-Dist: flask>=3.0,<4\\n'\n")
    package(tmp_path / "wheels", "flask", "3.1.0")
    output = pythons.run("check", "--full", "lowest", OF_DJANGO, code=1)
    assert (pythons.folder / ".venvs" / "lowest.txt").read_text() == "flask==3.0\nDjango==4.2.30\n"
    assert "The user requested (constraint) flask==3.0" in output
    assert "failed   lowest  " in output
    assert f"ok       {OF_DJANGO} tests" in output
    package(tmp_path / "wheels", "flask", "3.0.0")
    pythons.run("check", "--full", "lowest")
    (flask,) = (pythons.folder / ".venvs" / "lowest").glob("lib/*/site-packages/flask-*.dist-info")
    assert flask.name == "flask-3.0.0.dist-info"


def test_ctrl_c_while_a_row_is_installed_ends_pip_and_begins_no_other(pythons):
    hold = pythons.flag("hold")
    with pythons.start("check", "--full", "lowest", f"3.{OTHER}") as process:
        wait_for(lambda: pythons.installs == 1)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=10)[0]
    assert process.returncode == 128 + signal.SIGINT
    assert f"stopped  3.{OTHER}" in output
    assert "not run  lowest tests" in output
    assert str(pythons.folder / "run.py") not in output, "no traceback of ours"
    hold.unlink()
    assert "pytest pid" in pythons.run("check", "--full", f"3.{OTHER}")


@pytest.mark.parametrize("answer", ["exit 127", "exec PYTHON -S -c 'raise SystemExit(1)'"])
def test_a_name_that_leads_to_no_python_that_works_is_passed_over(pythons, tmp_path, answer):
    fake_python(tmp_path / "bin" / f"python3.{OTHER}", OTHER)
    fake_python(tmp_path / "shims" / f"python3.{OTHER}", OTHER)
    broken = tmp_path / "shims" / f"python3.{OTHER}"
    broken.write_text("#!/bin/sh\n" + answer.replace("PYTHON", sys.executable))
    path = os.pathsep.join([str(tmp_path / "shims"), str(tmp_path / "bin")])
    output = pythons.run("check", "--full", "nothing", code=1, PATH=path)
    assert f"({tmp_path}/bin/python3.{OTHER})" in output


def test_check_takes_nothing_else(fresh):
    assert "check takes --full or nothing" in fresh.run("check", "--ful", code=1)


def test_benchmarks_are_listed_with_what_they_say_of_themselves(ready):
    listed = ready.run("bench").splitlines()
    assert [line.split(maxsplit=1) for line in listed] == [["send", "Tells how it was called."]]


def test_a_benchmark_is_run_by_name(ready):
    assert ready.run("bench", "send", "--quick").startswith("benchmarks/send --quick")


def test_an_unknown_benchmark_or_command_is_answered_with_those_there_are(ready):
    assert "There are: send." in ready.run("bench", "nothing", code=1)
    assert "python3 run.py demo" in ready.run("tset", code=1)
    assert "python3 run.py demo" in ready.run("--help")
    assert "python3 run.py demo" in ready.run()


def test_python_older_than_3_11_can_read_the_script_and_is_told_so():
    ast.parse(RUN_PY.read_text(), feature_version=(3, 6))
    pretend = f"import sys, runpy; sys.version_info = (3, 6, 15, 'final', 0); runpy.run_path({str(RUN_PY)!r})"
    answer = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith("sesmail needs Python 3.11 or newer, and this is 3.6")
