"""The rate, seen from SES: a worker's own limit, the lanes, and the line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sesmail.embedded import EmbeddedRedis
from sesmail.simulator import Simulator
from tests.acceptance.fleet import Fleet, wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def redis(folder: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(folder / "redis") as server:
        yield server


def most_in_any_second(times: list[tuple[float, int]]) -> int:
    """Recipients in the fullest rolling second."""
    return max(sum(n for at, n in times if begin <= at < begin + 1) for begin, _ in times)


def accepted(ses: Simulator, first: int = 0) -> list[tuple[float, int]]:
    return [(message["time"], message["recipient_count"]) for message in ses.messages(after=first)]


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_keeps_to_its_own_limit_in_recipients_and_follows_celery_control(folder, redis, pool):
    with Simulator(rate=200) as ses, Fleet(folder, redis, ses, SESMAIL_WORKER_RATE_LIMIT="20/s") as fleet:
        worker = fleet.worker(pool=pool, SESMAIL_SWEEP_INTERVAL_SECONDS="0.3").wait_until_ready()
        for n in range(200):
            fleet.accept(f"id-{n}", cc=[] if n % 2 else "success+b@simulator.amazonses.com")
            fleet.ticket(f"id-{n}")
        wait_until(lambda: ses.report()["accepted"]["recipients"] >= 90, "ninety at twenty a second")
        slow = accepted(ses)
        seconds = slow[-1][0] - slow[0][0] + 1  # on its way the first may have been that much slower than the last
        assert sum(recipients for _, recipients in slow) <= 20 * seconds + 2 * 2  # the first and the last message
        fleet.celery.control.rate_limit("sesmail.send_ses_email", "100/s", destination=[f"{worker.name}@test"])
        wait_until(lambda: most_in_any_second(accepted(ses)) > 50, "faster, without a restart")


def test_a_password_reset_overtakes_a_bulk_run_within_two_seconds(folder, redis):
    with Simulator(rate=14) as ses, Fleet(folder, redis, ses) as fleet:
        for n in range(300):
            fleet.send(f"bulk-{n}", queue="sesmail.bulk", lane="bulk")
        fleet.worker(concurrency=16).wait_until_ready()
        wait_until(lambda: ses.report()["accepted"]["calls"] > 20, "bulk is under way")
        fleet.send("reset")
        accepted_at = fleet.ledger.status("reset").accepted_at
        fleet.wait_for(["reset"], seconds=20)
        times = {message["sesmail_id"]: message["time"] for message in ses.messages()}
        overtaken_by = [one for one, at in times.items() if accepted_at < at < times["reset"]]
        assert len(overtaken_by) < 2 * 14, "two seconds at the account's rate"


def sesmail(fleet: Fleet, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("sesmail")), *arguments]
    done = subprocess.run(
        command, env=fleet.environment, cwd=fleet.folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_what_waits_for_tomorrows_quota_goes_out_when_it_grows_and_at_once_where_an_operator_says_so(folder, redis):
    email = {"to": "ann@example.org", "lane": "bulk"}
    with Simulator(rate=100, quota=10, calls_per_second=None) as ses, Fleet(folder, redis, ses) as fleet:
        fleet.worker().wait_until_ready()
        names = [fleet.send(f"id-{n}", queue="sesmail.bulk", **email) for n in range(20)]
        wait_until(lambda: fleet.ledger.waiting_for_room() == 11, "nine are sent, a tenth is for transactional email")
        assert {fleet.ledger.status(name).attempts for name in names if fleet.state(name) == "scheduled"} == {0}
        ses.change(quota=15)
        assert '"waiting_for_quota": ' in sesmail(fleet, "quota", "--json")
        wait_until(lambda: fleet.ledger.counts()["sent"] == 13, "as many as there is room for", 60)
        ses.change(quota=1000)
        said = sesmail(fleet, "resume")
        assert "account: was open" in said
        assert "waiting for the 24-hour quota or the rate go on" in said
        fleet.wait_for(names, seconds=60)
        assert set(fleet.copies().values()) == {1}


def test_a_paused_lane_waits_without_losing_an_attempt_while_the_other_goes_on(folder, redis):
    with Simulator(rate=100) as ses, Fleet(folder, redis, ses) as fleet:
        assert "paused" in sesmail(fleet, "pause", "--lane", "bulk", "--reason", "a typo in the letter")
        fleet.worker().wait_until_ready()
        fleet.send("letter", queue="sesmail.bulk", lane="bulk")
        fleet.send("receipt")
        fleet.wait_for(["receipt"])
        wait_until(lambda: fleet.state("letter") == "scheduled", "the letter waits")
        assert "a typo in the letter" in sesmail(fleet, "status")
        (shown,) = map(json.loads, sesmail(fleet, "top", "--times", "1", "--json").split("\n", 1)[:1])
        assert shown["scheduled"] == 1
        assert "a typo in the letter" in shown["closed"][0]
        assert fleet.ledger.status("letter").attempts == 0
        assert "open again" in sesmail(fleet, "resume", "--lane", "bulk")
        fleet.wait_for(["letter"])
