"""A site in some set-up: a web process that goes on sending, a worker under a supervisor, and what came of the emails."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from celery import Celery

from sesmail.celery.current import client_of
from sesmail.client import Client
from sesmail.errors import LedgerUnavailable, UnknownSend
from sesmail.message import Email
from sesmail.simulator import Simulator
from tests.acceptance.fleet import ROOT, Worker, wait_until
from tests.conftest import FOREIGN, MADE_UP_CREDENTIALS

EMAILS_PER_SECOND = 25
QUICK = {"sesmail_sweep_interval_seconds": 0.5, "sesmail_ticket_grace_seconds": 2.0, "sesmail_lease_seconds": 4.0}
PROJECT = """
import json
from pathlib import Path
from celery import Celery

app = Celery("proj", include=["sesmail.tasks"])
app.conf.update(json.loads(Path(__file__).with_name("conf.json").read_text()))
"""


class Site:
    """A project with a Celery app of its own. A context manager: it runs, and is fed, until the end."""

    def __init__(self, folder: Path, conf: dict[str, Any]) -> None:
        """`conf` is Celery's configuration, with settings of sesmail in it."""
        self.folder = folder
        self.ses = Simulator(rate=500, quota=-1, calls_per_second=None)
        self._conf = conf
        self.accepted: dict[str, float] = {}
        """Ids, and when they were accepted."""
        self.refused = 0
        """How often it was said that Redis is away."""
        self._over, self._is_enough = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.ses.__enter__()
        said = {
            "sesmail_endpoint_url": self.ses.url,
            "sesmail_region": "us-east-1",
            "sesmail_from_email": "a@example.com",
        }
        options = {"worker_pool": "threads", "worker_concurrency": 4, "broker_connection_retry_on_startup": True}
        conf = QUICK | said | options | self._conf
        (self.folder / "proj.py").write_text(PROJECT)
        (self.folder / "conf.json").write_text(json.dumps(conf))
        self.app = Celery("proj", set_as_current=False)
        self.app.conf.update(conf)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        environment = {**kept, **MADE_UP_CREDENTIALS, "PYTHONPATH": f"{ROOT}{os.pathsep}{self.folder}"}
        self.worker = Worker("worker", self.folder, [], environment, app="proj").wait_until_ready()
        self._run(self._supervise)
        self._run(self._send)
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._is_enough.set()
        for thread in self._threads:
            thread.join()
        self.worker.end()
        self.client.close()
        self.app.close()
        self.ses.__exit__(*exception)

    def _run(self, what: Any) -> None:
        self._threads.append(threading.Thread(target=what, daemon=True))
        self._threads[-1].start()

    @property
    def client(self) -> Client:
        return client_of(self.app)

    # -- what goes on ------------------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        """Start the worker again when it ends, as systemd and compose do."""
        while not self._over.wait(0.2):
            if self.worker.process.poll() is not None:
                self.worker.start()

    def _send(self) -> None:
        """One after the other; what is not accepted is tried again under its id, as a good caller does."""
        number = 0
        while not self._is_enough.wait(1 / EMAILS_PER_SECOND):
            send_id = f"send-{number}"
            try:
                self.client.send(Email("success@simulator.amazonses.com", "Hello", "Hi."), send_id=send_id)
            except LedgerUnavailable:
                self.refused += 1
            else:
                self.accepted[send_id] = time.monotonic()
                number += 1

    def park(self, count: int) -> list[str]:
        """Have so many accepted that are due in an hour."""
        ids = [f"parked-{number}" for number in range(count)]
        for send_id in ids:
            email = Email("success@simulator.amazonses.com", "Hello", "Hi.")
            self.client.outbox.send(email, send_id=send_id, delay_seconds=3600)
            self.accepted[send_id] = time.monotonic()
        return ids

    def hasten(self, send_ids: Iterable[str]) -> None:
        """Have those of them that Redis knows go now."""
        for send_id in send_ids:
            with suppress(UnknownSend):
                self.client.outbox.reschedule(send_id, datetime.now(UTC))

    # -- what came of it ---------------------------------------------------------------------------------------------

    def copies(self) -> Counter[str]:
        """How often SES has accepted each send."""
        return Counter(message["sesmail_id"] for message in self.ses.messages())

    def wait_for_mail(self, what: str = "mail goes out") -> None:
        """Until something that is accepted from now on is sent."""
        since = time.monotonic()

        def sent() -> bool:
            copies = self.copies()
            return any(at > since and send_id in copies for send_id, at in list(self.accepted.items()))

        wait_until(sent, what)

    def recover(self) -> tuple[float, float]:
        """Seconds until the running web process has an email accepted, and until the worker has sent one of those."""
        start = time.monotonic()
        wait_until(lambda: any(at > start for at in list(self.accepted.values())), "emails are accepted again")
        accepted_after = time.monotonic() - start
        self.wait_for_mail()
        return accepted_after, time.monotonic() - start

    def forgotten(self, send_ids: set[str]) -> set[str]:
        """Those that Redis does not know of any more."""
        gone = set()
        for send_id in send_ids:
            with suppress(LedgerUnavailable):
                try:
                    self.client.ledger.status(send_id)
                except UnknownSend:
                    gone.add(send_id)
        return gone

    def settle(self) -> tuple[set[str], set[str]]:
        """Stop sending; ids that SES never got, and those that it got twice."""
        self._is_enough.set()
        accepted = set(self.accepted)

        def is_over() -> bool:
            waiting = accepted - self.copies().keys()
            return waiting == self.forgotten(waiting)  # asked anew each time: a busy machine may fail over once more

        wait_until(is_over, "all that Redis knows is sent")
        copies = self.copies()
        return accepted - copies.keys(), {send_id for send_id, count in copies.items() if count > 1}
