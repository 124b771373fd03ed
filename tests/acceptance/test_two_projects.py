"""Two Celery projects on one Redis, kept apart by `global_keyprefix` alone: neither sends the other's email."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email
from sesmail.settings import Settings
from sesmail.simulator import Simulator
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import State
from tests.acceptance.fleet import ROOT, Fleet, Worker, wait_until
from tests.acceptance.programs import python

QUICK = {
    "SESMAIL_LEASE_SECONDS": "2",
    "SESMAIL_SWEEP_INTERVAL_SECONDS": "0.5",
    "SESMAIL_TICKET_GRACE_SECONDS": "1",
}
PROJECT = """
import os
from celery import Celery
app = Celery("{name}", broker=os.environ["CELERY_BROKER_URL"], include=["sesmail.tasks"])
app.conf.update(broker_transport_options={{"global_keyprefix": "{name}:"}}, task_default_queue="{name}",
                sesmail_from_email="{name}@example.com")
app.set_default()
"""
SEND = """
import {name}
from sesmail import send_ses_email
print(send_ses_email.delay("success@simulator.amazonses.com", "Hello", "Hi.", idempotency_key="order-7").id)
"""
TICKET = """
import {name}
{name}.app.send_task("sesmail.send_ses_email", kwargs=dict(send_id="formerly"), task_id="formerly",
                     queue="sesmail.transactional")
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    for name in ("alpha", "beta"):
        (tmp_path / f"{name}.py").write_text(PROJECT.format(name=name))
    ses = Simulator(rate=100, quota=-1, calls_per_second=None)
    with ses, EmbeddedRedis(tmp_path / "redis") as redis, Fleet(tmp_path, redis, ses, **QUICK) as fleet:
        del fleet.environment["SESMAIL_FROM_EMAIL"]
        fleet.environment |= {"CELERY_BROKER_URL": redis.url, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
        yield fleet


def worker_of(fleet: Fleet, name: str) -> Worker:
    worker = Worker(name, fleet.folder, ["--pool", "threads", "-c", "2"], fleet.environment, app=name)
    fleet.workers.append(worker)
    return worker.wait_until_ready()


def run(fleet: Fleet, script: str, name: str) -> str:
    return python(script.format(name=name), folder=fleet.folder, environment=fleet.environment)


def senders(fleet: Fleet) -> dict[str, str]:
    return {message["sesmail_id"]: message["from"] for message in fleet.ses.messages()}


def test_neither_sends_the_other_s_email_and_each_drains_what_its_own_queue_has_of_the_former_names(
    fleet: Fleet,
) -> None:
    of_alpha, of_beta = run(fleet, SEND, "alpha"), run(fleet, SEND, "beta")
    assert of_alpha != of_beta, "an idempotency key is the project's"
    former = Ledger(Scripts(fleet.redis, Keys()), Settings())
    former.accept("formerly", Email("success@simulator.amazonses.com", "Hello", "Hi.", from_email="alpha@example.com"))
    run(fleet, TICKET, "alpha")
    worker_of(fleet, "beta")
    ledgers = {name: Ledger(Scripts(fleet.redis, Keys(before=f"{name}:")), Settings()) for name in ("alpha", "beta")}
    wait_until(lambda: ledgers["beta"].status(of_beta).state is State.SENT, "beta's email is sent")
    wait_until(
        lambda: "1 emails wait under the names {sesmail}:" in fleet.workers[0].said(), "what is nobody's is told"
    )
    marks = fleet.redis.get("beta:{sesmail}:turn:sweep:default")
    for _ in range(4):  # sweeps, of which each might take what is not beta's
        wait_until(
            lambda marks=marks: fleet.redis.get("beta:{sesmail}:turn:sweep:default") not in (None, marks), "a sweep"
        )
        marks = fleet.redis.get("beta:{sesmail}:turn:sweep:default")
    assert [*senders(fleet)] == [of_beta]
    worker_of(fleet, "alpha")
    wait_until(lambda: len(senders(fleet)) == 3, "alpha's worker sends its own")
    assert all("alpha" in senders(fleet)[one] for one in (of_alpha, "formerly"))
    assert ledgers["alpha"].status("formerly").state is State.SENT
