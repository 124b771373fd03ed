"""Programs started for a test, with their logs, and waiting for what they do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

PATIENCE_SECONDS = 120.0
"""How long something may take on a busy machine before it counts as not happening."""

CELERY = [sys.executable, "-m", "celery"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def eventually(what: Callable[[], Any], *, explain: Callable[[], str] = str) -> Any:
    """Wait until `what` answers something true, and give it back."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (answer := what()):
        assert time.monotonic() < end, f"it did not happen within {PATIENCE_SECONDS:g} s\n{explain()}"
        time.sleep(0.05)
    return answer


def fetch(url: str, data: bytes | None = None, **headers: str) -> str:
    with urlopen(Request(url, data=data, headers=headers), timeout=PATIENCE_SECONDS) as answer:
        return answer.read().decode()


class Program:
    """A program that runs beside the test. A context manager: at its end it is killed, with all that it started."""

    def __init__(self, *command: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._log = folder / f"{os.urandom(4).hex()}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, "PYTHONFAULTHANDLER": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str) -> Self:
        """Wait until it has said this."""

        def said() -> bool:
            assert self._process.poll() is None or text in self.output, self.output
            return text in self.output

        eventually(said, explain=lambda: self.output)
        return self

    def has_ended(self) -> bool:
        """Whether it has ended, by itself or by a signal."""
        return self._process.poll() is not None

    def wait(self) -> int:
        """Wait until it ends by itself; its exit code."""
        return self._process.wait(PATIENCE_SECONDS)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and wait; its exit code. Where it does not end, the test fails with what its threads do."""
        self._process.send_signal(number)
        try:
            return self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)
            self._process.wait(PATIENCE_SECONDS)
            raise AssertionError(f"it did not end within {PATIENCE_SECONDS:g} s\n{self.output[-20_000:]}") from None

    def kill(self) -> None:
        """End it and its children at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def run(*command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; standard error is part of what it says."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def python(script: str, *, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a script that must succeed; what it printed."""
    done = run(sys.executable, "-c", script, folder=folder, environment=environment)
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()
