#!/usr/bin/env python3
"""The one command of this project; needs Python 3.11 or newer and nothing else.

    python3 run.py demo [ARGS]          mail an e-letter to a local stand-in for SES, and watch
    python3 run.py test [ARGS]          run the tests; ARGS go to pytest
    python3 run.py check                all that is checked before a merge: style, types, floors, tests, simulation
    python3 run.py check --full [ROWS]  the same with each Python and Django that is supported and found; takes an hour
    python3 run.py bench [NAME [ARGS]]  run a benchmark; without a name, list them
    python3 run.py docs                 show the documentation as a site, on this machine; --check builds it only
    python3 run.py simulate [ARGS]      the whole product under virtual time and misfortunes; --help

The first run makes `.venv` from pyproject.toml and constraints.txt; later ones start at once. To start afresh, delete
that folder. `check --full` makes another one for each Python, in `.venvs`.
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
from typing import IO, Any

if sys.version_info < (3, 11):  # noqa: UP036  # this is where the others are told
    sys.exit(
        "sesmail needs Python 3.11 or newer, and this is {}.{} ({}).\n"
        "Run it with a newer one, for example: python3.12 run.py".format(*sys.version_info[:2], sys.executable)
    )

ROOT = Path(__file__).resolve().parent
PINS = ROOT / "constraints.txt"
UNFINISHED = "unfinished"

STEPS = {
    "style": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "floors": ["lint-imports"],
    "docs": ["python", "-m", "docs.site", "--check"],
    "tests": ["python", "-m", "pytest"],
    "simulation": ["python", "-m", "tests.simulation", "--of-commit", "--seeds", "60"],
}
FULL_STEPS = {**STEPS, "planted": ["python", "-m", "tests.simulation", "--mutants"]}


def main(arguments: list[str]) -> None:
    """Run the command that the arguments name."""
    os.chdir(ROOT)
    command, *rest = arguments or ["--help"]
    commands = {"demo": demo, "test": test, "check": check, "bench": bench, "docs": docs, "simulate": simulate}
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


def docs(arguments: list[str]) -> None:
    """Become what builds the documentation, and serves it."""
    prepare("dev")
    become_module("docs.site", arguments)


def simulate(arguments: list[str]) -> None:
    """Become the simulation."""
    prepare("dev")
    become_module("tests.simulation", arguments)


def check(arguments: list[str]) -> None:
    """Run every check, also after one has failed; exit with 1 if any has."""
    if arguments and arguments[0] == "--full":
        check_matrix(arguments[1:])
    if arguments:
        sys.exit("check takes --full or nothing: it checks everything. For single tests: python3 run.py test ARGS")
    prepare("dev")
    runner = StepRunner()
    finish(runner, [runner.run(name, command) for name, command in STEPS.items()])


def check_matrix(names: list[str]) -> None:
    """Run all rows of the matrix that can be run here, or those that are named."""
    from tests import matrix  # noqa: PLC0415  # nothing else needs it

    rows = matrix.rows(ROOT)
    missing = [row.name for row in rows if not row.interpreter]
    wanted = [row for row in rows if row.interpreter and (row.name in names or not names)]
    show_matrix(rows)
    unknown = set(names) - {row.name for row in wanted}
    if unknown:
        sys.exit(f"There is no row {', '.join(sorted(unknown))} here.")
    runner = StepRunner(width=22)
    results = [line for number, row in enumerate(wanted, 1) for line in run_row(runner, row, f"{number}/{len(wanted)}")]
    finish(runner, results + [runner.summary("missing", name, "") for name in missing if not names])


def show_matrix(rows: list[Any]) -> None:
    """Say which rows can be run here, and which cannot."""
    for row in rows:
        if row.interpreter:
            print(f"found      {row.name:<16} {row.what} ({row.interpreter})")
    for row in rows:
        if not row.interpreter:
            print(f"NOT found  {row.name:<16} {row.what} (no CPython 3.{row.minor} on PATH or in ~/.pyenv/versions)")
    sys.stdout.flush()


def run_row(runner: "StepRunner", row: Any, place: str) -> list[str]:
    """Make the environment that a row needs and run its steps there; returns the lines that sum them up."""
    print(f"\n==> row {place}: {row.name}", flush=True)
    steps = FULL_STEPS if row.folder == OURS.folder.name else {"tests": row.tests}
    constraints = write_lowest_versions() if row.name == "lowest" else PINS
    runner.environment = environment = Environment(ROOT / row.folder, row.interpreter, row.minor, constraints)
    try:
        if not runner.stopped_by:
            environment.prepare("dev", runner.call)
            environment.add(row.packages, runner.call)
    except CannotBeMade as error:
        return [runner.summary(runner.outcome(1), row.name, str(error))]
    return [runner.run(f"{row.name} {step}", command, **row.variables) for step, command in steps.items()]


def write_lowest_versions() -> Path:
    """Write the constraints by which the lowest versions are installed; their file."""
    from tests import matrix  # noqa: PLC0415  # as above

    path = ROOT / ".venvs" / "lowest.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(matrix.lowest_versions(pyproject()["project"]), encoding="utf-8")
    return path


def finish(runner: "StepRunner", results: list[str]) -> None:
    """Sum up, and exit."""
    print("\n" + "\n".join(results))
    sys.exit(runner.exit_code)


class StepRunner:
    """Runs an environment's programs one by one, each told exactly once of every signal that should stop us."""

    def __init__(self, width: int = 10) -> None:
        """`width` is that of the names in the lines that sum up."""
        self.width = width
        self.environment = OURS
        self.exit_code = 0
        self.stopped_by = 0
        self.process: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.stop)

    def run(self, name: str, command: list[str], **variables: str) -> str:
        """Run it to its end; returns the line that sums it up."""
        line = " ".join(command)
        if self.stopped_by:
            return self.summary("not run", name, line)
        print(f"\n==> {name}: {line}", flush=True)
        start = time.monotonic()
        programs = self.environment.programs
        code = self.call([str(programs / command[0]), *command[1:]], {**self.environment.activated(), **variables})
        repeat = f"again with: {programs.relative_to(ROOT)}/{line}" if code else line
        return self.summary(self.outcome(code), name, f"{repeat}  ({time.monotonic() - start:.1f} s)")

    def summary(self, outcome: str, name: str, text: str) -> str:
        """The line that sums up a step."""
        return f"{outcome:<8} {name:<{self.width}} {text}".rstrip()

    def outcome(self, code: int) -> str:
        """What is said of it; a failure makes all fail."""
        if code:
            self.exit_code = self.exit_code or 1
        return "stopped" if self.stopped_by else "failed" if code else "ok"

    def call(self, command: list[str], variables: dict[str, str], pass_fds: tuple[int, ...] = ()) -> int:
        """Its exit code. It has a session of its own: Ctrl-C at the terminal comes from us, once, not twice."""
        self.process = process = subprocess.Popen(command, env=variables, pass_fds=pass_fds, start_new_session=True)
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
    os.execve(OURS.python, [str(OURS.python), "-m", name, *arguments], OURS.activated())


def first_line(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


# --- The environment


class CannotBeMade(Exception):
    """An environment cannot be made, and why."""


def call(command: list[str], variables: dict[str, str], pass_fds: tuple[int, ...] = ()) -> int:
    """Run a program; its exit code."""
    return subprocess.call(command, env=variables, pass_fds=pass_fds)


def prepare(extra: str) -> None:
    """Make `.venv` hold sesmail with the extra."""
    try:
        OURS.prepare(extra, call)
    except CannotBeMade as error:
        sys.exit(str(error))


class Environment:
    """A virtual environment with sesmail, editable, and what an extra needs, for one Python."""

    def __init__(self, folder: Path, interpreter: str, minor: int, constraints: Path = PINS) -> None:
        """`interpreter` is the Python 3.`minor` that it is made with."""
        self.folder = folder
        self.interpreter = interpreter
        self.minor = minor
        self.constraints = constraints
        self.programs = folder / "bin"
        self.python = self.programs / "python"
        self.stamp_file = folder / "run.py.stamp"

    def activated(self) -> dict[str, str]:
        """The variables of an activated environment, in which tests find `celery` and `sesmail` by name."""
        path = os.pathsep.join([str(self.programs), os.environ.get("PATH") or os.defpath])
        return {**os.environ, "PATH": path, "VIRTUAL_ENV": str(self.folder)}

    def prepare(self, extra: str, call: Any) -> None:
        """Make it hold sesmail with the extra, as pyproject.toml and the constraints have it now.

        A stamp in it tells what it was made for. With another stamp it is made anew, so that nothing stays that is not
        needed any more; only the tests' packages may be added to the demo's. Without one it was made by hand: added to.
        Raises `CannotBeMade`.
        """
        with Path(__file__).open() as lock:
            take_turns(lock)
            demo, dev = self.stamp("demo"), self.stamp("dev")
            found = self.stamp_file.read_text(encoding="utf-8") if self.stamp_file.exists() else ""
            if self.python.exists() and (found == dev or (found == demo and extra == "demo")):
                return
            try:
                keep = self.python.exists() and (found == demo or (not found and self.is_of_its_version()))
                if not keep:
                    self.make()
                self.install(extra, lock, call)
            except OSError as error:
                raise CannotBeMade(f"The environment in {self.folder} could not be made: {error}") from error
            self.stamp_file.write_text(self.stamp(extra), encoding="utf-8")

    def stamp(self, extra: str) -> str:
        """What it is stamped with when finished: what is written into its programs, and what it was made of."""
        project = pyproject()
        packages = [project["build-system"], project["project"], project.get("tool", {}).get("hatch")]
        made_of = json.dumps([*packages, self.constraints.read_text(encoding="utf-8")])
        digest = hashlib.sha256(made_of.encode()).hexdigest()
        return f"{extra} for Python 3.{self.minor} in {ROOT}\n{digest}\n"

    def is_of_its_version(self) -> bool:
        """Whether the Python in it is of the version that it is for."""
        return succeeds(str(self.python), "-c", f"import sys; sys.exit(sys.version_info[:2] != (3, {self.minor}))")

    def make(self) -> None:
        """Make it anew, empty, with pip if its Python can give one."""
        self.folder.mkdir(exist_ok=True, parents=True)
        self.stamp_file.write_text(UNFINISHED, encoding="utf-8")
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != self.stamp_file:
                path.unlink()
        if self.interpreter == sys.executable:
            make_with_our_python(self.folder)
        elif not succeeds(self.interpreter, "-m", "venv", "--symlinks", "--without-pip", str(self.folder)):
            raise CannotBeMade(f"{self.interpreter} -m venv {self.folder} failed.")
        succeeds(str(self.python), "-m", "ensurepip", "--default-pip")

    def install(self, extra: str, lock: IO[str], call: Any) -> None:
        """Install sesmail, editable, with everything that the extra needs. Holds the lock even if we are killed."""
        pip = self.pip()
        print(f"Installing sesmail[{extra}] into {self.folder}; once, a minute or so.", flush=True)
        self.stamp_file.write_text(UNFINISHED, encoding="utf-8")
        quiet = ["--quiet"] if self.constraints == PINS else []  # pip is silent then of which floors do not go together
        command = [*pip, *quiet, "--constraint", str(self.constraints), "--editable", f".[{extra}]"]
        if call(command, pip_variables(), pass_fds=(lock.fileno(),)):
            raise CannotBeMade(
                "The installation failed; pip says above why. Nothing was started. Mend it and run the same command."
            )

    def add(self, packages: list[str], call: Any) -> None:
        """Install these, and nothing that they need. Raises `CannotBeMade`."""
        if packages and call([*self.pip(), "--upgrade", "--no-deps", *packages], pip_variables()):
            raise CannotBeMade(f"{' '.join(packages)} could not be installed; pip says above why.")

    def pip(self) -> list[str]:
        """How to install into it: with its own pip, or else that of the Python that runs us."""
        for command in (
            [str(self.python), "-m", "pip"],
            [sys.executable, "-m", "pip", "--python", str(self.python)],  # from pip 22.3
        ):
            if succeeds(*command, "--version"):
                return [*command, "install", "--disable-pip-version-check"]
        raise CannotBeMade(
            f"{sys.executable} has neither ensurepip nor pip 22.3 or newer, so nothing can be installed.\n"
            "On Debian and Ubuntu: sudo apt install python3-venv"
        )


OURS = Environment(ROOT / ".venv", sys.executable, sys.version_info[1])


def make_with_our_python(folder: Path) -> None:
    """Make an environment in this process, whose Python may be that of the folder, just deleted."""
    try:
        import venv  # noqa: PLC0415  # Debian has it in a package of its own
    except ImportError:
        raise CannotBeMade(
            f"{sys.executable} has no module venv. On Debian and Ubuntu: sudo apt install python3-venv"
        ) from None
    venv.create(folder, symlinks=True)


def pip_variables() -> dict[str, str]:
    """A pip.conf that says `user = true` is not meant for this."""
    return {**os.environ, "PIP_USER": "0"}


def pyproject() -> dict[str, Any]:
    """What pyproject.toml says."""
    import tomllib  # noqa: PLC0415  # not in the Pythons that only get as far as the message above

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def take_turns(lock: IO[str]) -> None:
    """Let only one run at a time make an environment. The lock ends with the file or the process."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another run.py is preparing .venv; waiting for it.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def succeeds(*command: str) -> bool:
    """Run a program without its output; whether it ended well."""
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that pip is stopped with us
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
