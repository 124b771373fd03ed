#!/usr/bin/env python3
"""The one command of this project; needs Python 3.11 or newer and nothing else.

    python3 run.py demo [ARGS]          mail an e-letter to a local stand-in for SES, and watch
    python3 run.py test [ARGS]          run the tests; ARGS go to pytest
    python3 run.py check                all that is checked before a merge: style, types, floors, tests
    python3 run.py bench [NAME [ARGS]]  run a benchmark; without a name, list them

The first run makes `.venv` from pyproject.toml and constraints.txt; later ones start at once. To start afresh, delete
that folder.
"""

# Only the standard library, and only syntax that old Pythons can read, so that they reach the message below.

import ast
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

if sys.version_info < (3, 11):  # noqa: UP036  # this is where the others are told
    sys.exit(
        "sesmail needs Python 3.11 or newer, and this is {}.{} ({}).\n"
        "Run it with a newer one, for example: python3.12 run.py".format(*sys.version_info[:2], sys.executable)
    )

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
PROGRAMS = ENVIRONMENT / "bin"
PYTHON = PROGRAMS / "python"
STAMP = ENVIRONMENT / "run.py.stamp"
UNFINISHED = "unfinished"


def main(arguments: list[str]) -> None:
    """Run the command that the arguments name."""
    os.chdir(ROOT)
    command, *rest = arguments or ["--help"]
    commands = {"demo": demo, "test": test, "check": check, "bench": bench}
    if command in {"-h", "--help", "help"}:
        print(__doc__)
    elif command in commands:
        commands[command](rest)
    else:
        sys.exit(f"run.py has no command {command!r}.\n{__doc__}")


# --- The commands


def demo(arguments: list[str]) -> None:
    """Become the demo."""
    prepare("demo")
    become_module("demo", arguments)


def test(arguments: list[str]) -> None:
    """Become pytest."""
    prepare("dev")
    become_module("pytest", arguments)


def bench(arguments: list[str]) -> None:
    """Become one of the benchmarks, or list them."""
    found = {path.stem: path for path in sorted(ROOT.glob("benchmarks/*.py")) if not path.stem.startswith("_")}
    if not arguments:
        print("\n".join(f"{name:<16}{first_line(path)}" for name, path in found.items()) or "There is none yet.")
    elif arguments[0] not in found:
        sys.exit(f"There is no benchmark {arguments[0]!r}. There are: {', '.join(found) or 'none yet'}.")
    else:
        prepare("dev")
        become_module(f"benchmarks.{arguments[0]}", arguments[1:])


def check(arguments: list[str]) -> None:
    """Run every check, also after one has failed; exit with 1 if any has."""
    if arguments:
        sys.exit("check takes no arguments: it checks everything. For single tests: python3 run.py test ARGS")
    prepare("dev")
    steps = {
        "style": ["ruff", "check", "."],
        "format": ["ruff", "format", "--check", "."],
        "types": ["mypy"],
        "floors": ["lint-imports"],
        "tests": ["python", "-m", "pytest"],
    }
    runner = StepRunner()
    results = [runner.run(name, command) for name, command in steps.items()]
    print("\n" + "\n".join(results))
    sys.exit(runner.exit_code)


class StepRunner:
    """Runs programs one after the other, each told exactly once of every signal that should stop us."""

    def __init__(self) -> None:
        self.exit_code = 0
        self.stopped_by = 0
        self.process: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.stop)

    def run(self, name: str, command: list[str]) -> str:
        """Run it to its end; returns the line that sums it up."""
        line = " ".join(command)
        if self.stopped_by:
            return f"not run  {name:<8} {line}"
        print(f"\n==> {name}: {line}", flush=True)
        start = time.monotonic()
        code = self.wait_for([str(PROGRAMS / command[0]), *command[1:]])
        if code:
            self.exit_code = self.exit_code or 1
        outcome = "stopped" if self.stopped_by else "failed" if code else "ok"
        repeat = f"again with: .venv/bin/{line}" if code else line
        return f"{outcome:<8} {name:<8} {repeat}  ({time.monotonic() - start:.1f} s)"

    def wait_for(self, command: list[str]) -> int:
        """Its exit code. It has a session of its own: Ctrl-C at the terminal comes from us, once, not twice."""
        self.process = process = subprocess.Popen(command, env=activated(), start_new_session=True)
        if self.stopped_by:  # while it was being started
            os.killpg(process.pid, self.stopped_by)
        return process.wait()

    def stop(self, number: int, _frame: object) -> None:
        """Pass the signal on to the running step and its children, and let no other begin."""
        self.stopped_by = number
        self.exit_code = 128 + number
        if self.process and self.process.returncode is None:
            os.killpg(self.process.pid, number)


def become_module(name: str, arguments: list[str]) -> None:
    """Replace this process by `python -m name`: signals and the exit code are then its own."""
    sys.stdout.flush()
    os.execve(PYTHON, [str(PYTHON), "-m", name, *arguments], activated())


def activated() -> dict[str, str]:
    """The variables of an activated environment, in which tests find `celery` and `sesmail` by name."""
    path = os.pathsep.join([str(PROGRAMS), os.environ.get("PATH") or os.defpath])
    return {**os.environ, "PATH": path, "VIRTUAL_ENV": str(ENVIRONMENT)}


def first_line(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


# --- The environment


def prepare(extra: str) -> None:
    """Make `.venv` hold sesmail with the extra, as pyproject.toml and constraints.txt have it now.

    A stamp in it tells what it was made for. With another stamp it is made anew, so that nothing stays that is not
    needed any more; only the tests' packages may be added to the demo's. Without one it was made by hand: added to.
    """
    with Path(__file__).open() as lock:
        take_turns(lock)
        demo, dev = stamp("demo"), stamp("dev")
        found = STAMP.read_text(encoding="utf-8") if STAMP.exists() else ""
        if PYTHON.exists() and (found == dev or (found == demo and extra == "demo")):
            return
        try:
            keep = PYTHON.exists() and (found == demo or (not found and is_our_version()))
            if not keep:
                make_environment()
            install(extra, lock)
        except OSError as error:
            sys.exit(f"The environment in {ENVIRONMENT} could not be made: {error}")
        STAMP.write_text(stamp(extra), encoding="utf-8")


def take_turns(lock: IO[str]) -> None:
    """Let only one run at a time make the environment. The lock ends with the file or the process."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another run.py is preparing .venv; waiting for it.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def stamp(extra: str) -> str:
    """What a finished environment is stamped with: what is written into its programs, and what it was made of."""
    import tomllib  # noqa: PLC0415  # not in the Pythons that only get as far as the message above

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = [project["build-system"], project["project"], (ROOT / "constraints.txt").read_text(encoding="utf-8")]
    made_of = hashlib.sha256(json.dumps(packages).encode()).hexdigest()
    return f"{extra} for Python {sys.version_info[0]}.{sys.version_info[1]} in {ROOT}\n{made_of}\n"


def is_our_version() -> bool:
    """Whether the environment's Python is of the version that runs us."""
    return succeeds(str(PYTHON), "-c", f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})")


def make_environment() -> None:
    """Make an empty environment, with pip if this Python can give one."""
    try:
        import venv  # noqa: PLC0415  # Debian has it in a package of its own
    except ImportError:
        sys.exit(f"{sys.executable} has no module venv. On Debian and Ubuntu: sudo apt install python3-venv")
    ENVIRONMENT.mkdir(exist_ok=True)
    STAMP.write_text(UNFINISHED, encoding="utf-8")
    for path in ENVIRONMENT.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != STAMP:
            path.unlink()
    venv.create(ENVIRONMENT, symlinks=True)
    succeeds(str(PYTHON), "-m", "ensurepip", "--default-pip")


def install(extra: str, lock: IO[str]) -> None:
    """Install sesmail, editable, with everything that the extra needs. Holds the lock even if we are killed."""
    pip = pip_command()
    print(f"Installing sesmail[{extra}] into {ENVIRONMENT}; once, a minute or so.", flush=True)
    STAMP.write_text(UNFINISHED, encoding="utf-8")
    options = ["--quiet", "--disable-pip-version-check", "--constraint", "constraints.txt"]
    variables = {**os.environ, "PIP_USER": "0"}  # a pip.conf that says `user = true` is not meant for this
    command = [*pip, "install", *options, "--editable", f".[{extra}]"]
    if subprocess.call(command, env=variables, pass_fds=[lock.fileno()]):
        sys.exit("The installation failed; pip says above why. Nothing was started. Mend it and run the same command.")


def pip_command() -> list[str]:
    """The environment's own pip, or else that of the Python that runs us."""
    for command in (
        [str(PYTHON), "-m", "pip"],
        [sys.executable, "-m", "pip", "--python", str(PYTHON)],  # from pip 22.3
    ):
        if succeeds(*command, "--version"):
            return command
    sys.exit(
        f"{sys.executable} has neither ensurepip nor pip 22.3 or newer, so nothing can be installed.\n"
        "On Debian and Ubuntu: sudo apt install python3-venv"
    )


def succeeds(*command: str) -> bool:
    """Run a program without its output; whether it ended well."""
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that pip is stopped with us
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
