"""SES on a bad day: it answers 500, or nobody reaches it, and is well again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sesmail.embedded import EmbeddedRedis
from sesmail.simulator import Simulator
from sesmail.vocabulary import State
from tests.acceptance.fleet import Fleet, wait_until

A_HANDFUL = 10
"""Three in a row, those on their way meanwhile, and the single ones that tried whether SES is well again."""
TRANSACTIONAL = [f"reset-{number}" for number in range(20)]
BULK = [f"letter-{number}" for number in range(300)]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


def states(fleet: Fleet, send_ids: list[str]) -> Counter[State | None]:
    return Counter(map(fleet.state, send_ids))


def send_all(fleet: Fleet) -> None:
    for send_id in BULK:
        fleet.send(send_id, queue="sesmail.bulk", lane="bulk")
    for send_id in TRANSACTIONAL:
        fleet.send(send_id)


def test_seconds_of_500s_make_a_handful_unknown_and_then_all_that_waits_goes_out(tmp_path, redis):
    quick = {"SESMAIL_TRANSACTIONAL_EVIDENCE_WINDOW_SECONDS": "3", "SESMAIL_SWEEP_INTERVAL_SECONDS": "0.5"}
    with Simulator(rate=100, calls_per_second=None) as ses, Fleet(tmp_path, redis, ses, **quick) as fleet:
        ses.faults(rules=[{"fault": "internal_error"}])
        send_all(fleet)
        for _ in range(2):
            fleet.worker(concurrency=8)
        for worker in fleet.workers:
            worker.wait_until_ready()
        began = time.monotonic()
        wait_until(fleet.throttle.line.closures, "the breaker closes the line")
        wait_until(lambda: time.monotonic() > began + 6, "some single ones have tried it")
        found = states(fleet, BULK + TRANSACTIONAL)
        assert found[State.UNKNOWN] <= A_HANDFUL, found
        assert found[State.UNKNOWN] + found[State.SCHEDULED] + found[State.QUEUED] >= 320 - 1, found
        ses.faults()
        fleet.wait_for(TRANSACTIONAL, seconds=60)
        ends = {State.SENT, State.UNKNOWN}
        wait_until(lambda: states(fleet, BULK).keys() <= ends, "the letters go on; half an hour is their window", 60)
        assert states(fleet, BULK)[State.SENT] >= 300 - A_HANDFUL
        assert set(fleet.copies().values()) == {1}
        assert fleet.throttle.line.closures() == ()
        assert max(fleet.ledger.status(send_id).attempts for send_id in BULK) == 1
        tell = [worker for worker in fleet.workers if "nothing is sent until it is well again" in worker.said()]
        assert len(tell) == 1, "one tells of it, whoever has a ticket held up meanwhile"


def test_while_nobody_reaches_ses_no_email_uses_an_attempt_and_all_go_on_in_order(tmp_path, redis):
    with Simulator(rate=100, calls_per_second=None) as ses:
        port = urlsplit(ses.url).port
        with Fleet(tmp_path, redis, ses, SESMAIL_SWEEP_INTERVAL_SECONDS="0.5") as fleet:
            fleet.worker(concurrency=4).wait_until_ready()
            fleet.send("first")
            fleet.wait_for(["first"])
            ses.stop()
            send_ids = [fleet.send(f"waits-{number}", queue="sesmail.bulk", lane="bulk") for number in range(60)]
            wait_until(fleet.throttle.line.closures, "the breaker closes the line")
            wait_until(lambda: states(fleet, send_ids)[State.SCHEDULED] == 60, "they wait")
            assert {fleet.ledger.status(send_id).attempts for send_id in send_ids} == {0}
            with Simulator(rate=100, calls_per_second=None, port=port) as back:
                fleet.wait_for(send_ids, seconds=60)
                order = [int(message["sesmail_id"].removeprefix("waits-")) for message in back.messages()]
        displaced = [place for place, number in enumerate(order) if abs(place - number) > 15]
        assert len(displaced) < 10, f"those that had tried come later, the others in their order: {order}"
