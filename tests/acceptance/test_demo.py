"""`python -m demo`, whole: what it starts, what it says, and that nothing of it stays behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.acceptance.programs import eventually

ROOT = Path(__file__).parents[2]
STARTED = ("worker", "beat", "seslocal", "--appendonly")
"""What the command lines of the programs that the demo starts hold: two of Celery's, the local SES, the server."""


class Process(NamedTuple):
    pid: int
    parent: int
    group: int
    state: str
    command: str


def processes() -> list[Process]:
    """All that run on this machine. One that ended and waits to be collected by its parent does not."""
    said = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,pgid=,stat=,command="], capture_output=True, text=True, check=True
    )
    fields = (line.split(maxsplit=4) for line in said.stdout.splitlines())
    found = [
        Process(int(pid), int(parent), int(group), state, *rest) for pid, parent, group, state, *rest in fields if rest
    ]
    return [process for process in found if not process.state.startswith("Z")]


def started_by(pid: int) -> list[Process]:
    """Its children, theirs, and so on."""
    everything = processes()
    family = {pid}
    while more := {one.pid for one in everything if one.parent in family} - family:
        family |= more
    return [one for one in everything if one.pid in family - {pid}]


class Demo:
    """A demo that runs, and all that it has started so far."""

    def __init__(self, folder: Path, rows: int) -> None:
        people = "".join(f"success+{number}@simulator.amazonses.com,Ann\n" for number in range(rows))
        (folder / "people.csv").write_text("email,name\n" + people)
        (folder / "letter.txt").write_text("Dear {{name}}")
        (folder / "letter.html").write_text("<p>Dear {{name}}</p>")
        files = [f"--csv={folder}/people.csv", f"--text={folder}/letter.txt", f"--html={folder}/letter.html"]
        self._log = folder / "demo.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo", "--rate", "20", *files],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # a terminal's foreground group, which Ctrl-C goes to as a whole
            )
        self.started: set[Process] = set()

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_until_it_sends(self) -> None:
        """Until the letter is on its way, and everything runs that there is."""
        eventually(lambda: "already queued" in self.said or self.process.poll() is not None, explain=lambda: self.said)
        eventually(self._sees_all, explain=lambda: f"without {self._missing()}: {self.said}")

    def _sees_all(self) -> bool:
        self.started = set(started_by(self.process.pid))
        return not self._missing()

    def _missing(self) -> list[str]:
        return [name for name in STARTED if not any(name in one.command for one in self.started)]

    def still_running(self) -> list[Process]:
        """What is left of it: by process id, and by the groups that its programs lead."""
        groups = {one.group for one in self.started}
        return [one for one in processes() if one.pid in {each.pid for each in self.started} or one.group in groups]

    def end(self) -> None:
        for one in [*self.started, *started_by(self.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def demo(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Demo]:
    demo = Demo(tmp_path, rows=request.param)
    yield demo
    demo.end()


@pytest.mark.parametrize("demo", [40], indirect=True)
def test_it_mails_the_list_says_what_it_saw_and_leaves_nothing_behind(demo, tmp_path):
    demo.wait_until_it_sends()
    assert demo.process.wait(60) == 0, demo.said
    verdict = [line.strip() for line in demo.said.splitlines() if line.startswith("  ok")]
    assert verdict[:2] == ["ok   40 accepted of 40 rows", "ok   0 sent twice"]
    assert "the limit is 20" in verdict[2]
    assert "NOT" not in demo.said
    assert demo.still_running() == []
    assert list(tmp_path.glob("sesmail-demo-*")) == []


@pytest.mark.parametrize("demo", [1000], indirect=True)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_the_middle_it_stops_all_that_it_started(demo, tmp_path, number, code):
    demo.wait_until_it_sends()
    os.killpg(demo.process.pid, number)
    assert demo.process.wait(60) == code, demo.said
    assert "Traceback" not in demo.said
    assert demo.still_running() == []
    assert list(tmp_path.glob("sesmail-demo-*")) == []


@pytest.mark.parametrize("demo", [1000], indirect=True)
def test_killed_in_the_middle_it_takes_all_that_it_started_with_it(demo):
    demo.wait_until_it_sends()
    demo.process.kill()
    eventually(lambda: not demo.still_running(), explain=lambda: repr(demo.still_running()))


def test_a_list_that_cannot_be_mailed_ends_it_with_the_command_s_words(tmp_path):
    (tmp_path / "people.csv").write_text("email,name,boat\nnobody,Ann,Tern\n")
    command = [sys.executable, "-m", "demo", "--csv", tmp_path / "people.csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "line 2: to: " in done.stderr
    assert "Traceback" not in done.stderr
