"""A host's time limits are for its own tasks: email neither starves under them nor goes out twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sesmail.embedded import EmbeddedRedis
from sesmail.simulator import Simulator
from tests.acceptance.fleet import Fleet, wait_until

HOST = """\
broker_url = "{url}"
task_soft_time_limit = 1
task_time_limit = 2
worker_pool = "prefork"
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


def test_email_that_waits_for_its_turn_or_for_ses_outlives_the_limits_of_a_host(tmp_path, redis):
    (tmp_path / "celeryconfig.py").write_text(HOST.format(url=redis.url))
    with Simulator(rate=1, calls_per_second=None) as ses, Fleet(tmp_path, redis, ses) as fleet:
        ses.faults(script=["slow"])  # answered after two seconds: later than the host's limit
        command = "from sesmail import send_ses_email; print(send_ses_email.delay('ann@example.org', 's', 't').id)"
        ran = subprocess.run(
            [sys.executable, "-c", command],
            env=fleet.environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        names = [ran.stdout.strip(), *(fleet.send(f"id-{number}") for number in range(5))]
        worker = fleet.worker(pool="prefork", concurrency=4).wait_until_ready()
        fleet.wait_for(names, seconds=60)
        assert set(fleet.copies().values()) == {1}
        assert {fleet.ledger.status(name).attempts for name in names} == {1}
        assert "TimeLimitExceeded" not in worker.said()


def test_a_limit_that_strikes_before_ses_is_asked_gives_the_email_back_at_once(tmp_path, redis):
    (tmp_path / "celeryconfig.py").write_text(HOST.format(url=redis.url))
    with Simulator(rate=0.2, calls_per_second=None) as ses, Fleet(tmp_path, redis, ses) as fleet:
        worker = fleet.worker(pool="prefork", concurrency=2).wait_until_ready()
        fleet.send("first")
        fleet.wait_for(["first"])
        fleet.accept("struck")
        fleet.celery.send_task(
            "sesmail.send_ses_email",
            kwargs={"send_id": "struck"},
            task_id="struck",
            queue="sesmail.transactional",
            soft_time_limit=1,
        )
        wait_until(lambda: "SoftTimeLimitExceeded" in (fleet.ledger.status("struck").reason or ""), "given back", 20)
        assert fleet.ledger.status("struck").attempts == 0
        fleet.wait_for(["struck"], seconds=40)
        assert "SoftTimeLimitExceeded" in worker.said()
        assert set(fleet.copies().values()) == {1}
