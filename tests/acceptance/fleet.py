"""Real workers on a real Redis and a simulated SES, to be killed; what they did is read from the ledger and from SES."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from celery import Celery
from redis import Redis

from sesmail.embedded import EmbeddedRedis
from sesmail.errors import UnknownSend
from sesmail.message import Email
from sesmail.sending.throttle import SendThrottle
from sesmail.settings import Settings
from sesmail.simulator import Simulator
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import State
from tests.conftest import FOREIGN, MADE_UP_CREDENTIALS

ROOT = Path(__file__).parents[2]
SOON_SECONDS = 120.0
"""For what takes a few seconds on an idle machine."""


def wait_until(condition: Callable[[], object], what: str, seconds: float = SOON_SECONDS) -> None:
    """Return as soon as it is true; fail when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Supervised:
    """A program in a process group of its own, to be killed, frozen, and started again as a supervisor does."""

    def __init__(self, name: str, folder: Path, command: Iterable[str], environment: dict[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._folder = folder
        self._command = list(command)
        self._environment = environment
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start it, or start it again as a supervisor does."""
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """To the parent alone, as supervisors do."""
        self.process.send_signal(number)

    def exit_code(self) -> int:
        """Wait for its end; if that does not come, say what it was doing."""
        try:
            return self.process.wait(SOON_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end:\n{self.said()[-5000:]}") from None

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()

    def is_frozen(self) -> bool:
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def end(self) -> None:
        """Leave nothing behind."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self.process.wait()


class Worker(Supervised):
    """A `celery -A APP worker`."""

    def __init__(
        self, name: str, folder: Path, arguments: Iterable[str], environment: dict[str, str], app: str = "sesmail"
    ) -> None:
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", f"{name}@test"]
        command += ["-l", "info", "--without-gossip", "--without-mingle", *arguments]
        super().__init__(name, folder, command, environment)

    def wait_until_ready(self) -> Self:
        wait_until(lambda: self.said().count(" ready.") >= self.starts, f"{self.name} is ready")
        return self


class Fleet:
    """Workers, the Redis and the SES that they share, and the test's own view of both."""

    def __init__(self, folder: Path, redis: EmbeddedRedis, ses: Simulator, **environment: str) -> None:
        self.folder = folder
        self.server = redis
        self.ses = ses
        self.redis = Redis.from_url(redis.url)
        scripts = Scripts(self.redis, Keys(environment.get("SESMAIL_KEY_PREFIX", "sesmail")))
        self.ledger = Ledger(scripts, Settings())
        self.throttle = SendThrottle(scripts)
        self.celery = Celery("test", broker=redis.url, set_as_current=False)
        self.workers: list[Worker] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)},
            **MADE_UP_CREDENTIALS,
            "PYTHONPATH": str(ROOT),
            "SESMAIL_REDIS_URL": redis.url,
            "SESMAIL_ENDPOINT_URL": ses.url,
            "SESMAIL_FROM_EMAIL": "shop@example.com",
            **environment,
        }

    def worker(self, *arguments: str, pool: str = "threads", concurrency: int = 4, **environment: str) -> Worker:
        """Start one; it is ready after `wait_until_ready`.

        Celery takes `--pool prefork` for "nothing said" and then heeds its configuration; `processes` is prefork too.
        """
        options = [
            "--pool",
            {"prefork": "processes"}.get(pool, pool),
            "--concurrency",
            str(concurrency),
            "--include",
            "tests.acceptance.crash_points",
        ]
        name = f"worker{len(self.workers)}"
        worker = Worker(name, self.folder, [*options, *arguments], self.environment | environment)
        self.workers.append(worker)
        return worker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self.workers:
            worker.end()
        self.celery.close()
        self.redis.close()

    # -- what goes in ------------------------------------------------------------------------------------------------

    def accept(self, send_id: str, **changes: object) -> str:
        """Write an email into the ledger; no ticket is issued for it, as when the broker lost it."""
        to = changes.pop("to", "success@simulator.amazonses.com")
        email = Email(to, "Hello", "Hi.", **{"from_email": "shop@example.com", **changes})  # type: ignore[arg-type]
        self.ledger.accept(send_id, email)
        return send_id

    def ticket(self, send_id: str, queue: str = "sesmail.transactional") -> None:
        self.celery.send_task("sesmail.send_ses_email", kwargs={"send_id": send_id}, task_id=send_id, queue=queue)

    def send(self, send_id: str, queue: str = "sesmail.transactional", **changes: object) -> str:
        self.accept(send_id, **changes)
        self.ticket(send_id, queue)
        return send_id

    # -- what came of it ---------------------------------------------------------------------------------------------

    def state(self, send_id: str) -> State | None:
        try:
            return self.ledger.status(send_id).state
        except UnknownSend:
            return None

    def wait_for(self, send_ids: Iterable[str], state: State = State.SENT, seconds: float = SOON_SECONDS) -> None:
        waiting = set(send_ids)

        def done() -> bool:
            waiting.difference_update([one for one in waiting if self.state(one) is state])
            return not waiting

        wait_until(done, f"{waiting} {state}", seconds)

    def copies(self) -> Counter[str]:
        """How often SES has accepted each send."""
        return Counter(message["sesmail_id"] for message in self.ses.messages())
