"""Real workers are killed, frozen and cut off at every step; what counts is what SES got: each email, and which twice."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from celery import Celery
from kombu import Connection

from sesmail import Letter
from sesmail.celery.current import client_of
from sesmail.embedded import EmbeddedRedis
from sesmail.simulator import Simulator
from sesmail.state.fleet.meters import Meters
from sesmail.state.keys import Keys
from sesmail.vocabulary import State
from tests.acceptance.crash_points import CHUNK_STEPS, CHUNK_STEPS_OF_BULK_CALLS, STEPS
from tests.acceptance.fleet import Fleet, Worker, wait_until
from tests.acceptance.proxy import Proxy
from tests.services import absent

LEASE_SECONDS = 2.0
QUICK = {
    "SESMAIL_LEASE_SECONDS": str(LEASE_SECONDS),
    "SESMAIL_SWEEP_INTERVAL_SECONDS": "0.5",
    "SESMAIL_EVIDENCE_WINDOW_SECONDS": "4",
    "SESMAIL_SES_CONNECT_TIMEOUT_SECONDS": "1",
    "SESMAIL_SES_READ_TIMEOUT_SECONDS": "4",
    "SESMAIL_PATIENCE_SECONDS": "4",
    "SESMAIL_TICKET_GRACE_SECONDS": "1.5",
}

STATE_LEFT_BEHIND = {
    "before_claim": "queued",
    "after_claim": "claimed",
    "after_reserve": "claimed",
    "after_begin": "sending",
    "after_begin_with_slot": "sending",
    "after_yes": "sending",
    "before_ack": "sent",
}
SENT_TWICE = {"after_yes"}
"""SES had it, nobody could know, and no event told: the one step at which a crash may cost a second copy."""


@pytest.fixture(scope="module")
def ses() -> Iterator[Simulator]:
    with Simulator(rate=1000, quota=-1, calls_per_second=None) as simulator:
        yield simulator


@pytest.fixture
def fleet(tmp_path: Path, ses: Simulator) -> Iterator[Fleet]:
    ses.faults()
    with EmbeddedRedis(tmp_path / "redis") as redis, Fleet(tmp_path, redis, ses, **QUICK) as fleet:
        yield fleet


# -- killed between every two steps --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Outcome:
    left_behind: str
    in_the_end: State | None
    copies: int


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory, ses: Simulator) -> Iterator[dict[tuple[str, str], Outcome]]:
    """Workers struck down at every step, all at once; then one that lives goes on.

    With threads the worker is the process that sends, so each step takes one; of a prefork worker only a child dies.
    Their leases are long enough for a busy machine: who is given up before its step comes is not struck.
    """
    folder = tmp_path_factory.mktemp("crashes")
    settings = QUICK | {"SESMAIL_LEASE_SECONDS": "6", "STRIKE": "KILL self"}
    with EmbeddedRedis(folder / "redis") as redis, Fleet(folder, redis, ses, **settings) as fleet:
        fleet.worker("-Q", "prefork", pool="prefork", concurrency=len(STEPS))
        for step in STEPS:
            fleet.worker("-Q", f"threads-{step}")
        for worker in fleet.workers:
            worker.wait_until_ready()
        for step in STEPS:
            fleet.send(f"{step}-threads", queue=f"threads-{step}")
            fleet.send(f"{step}-prefork", queue="prefork")
        struck = [f"{step}-{pool}" for step in STEPS for pool in ("threads", "prefork")]
        wait_until(lambda: all((folder / send_id).exists() for send_id in struck), "all are struck")
        fleet.worker()
        fleet.wait_for(struck)
        copies = fleet.copies()
        yield {
            (step, pool): Outcome(
                left_behind=(folder / f"{step}-{pool}").read_text(),
                in_the_end=fleet.state(f"{step}-{pool}"),
                copies=copies[f"{step}-{pool}"],
            )
            for step in STEPS
            for pool in ("threads", "prefork")
        }


@pytest.mark.parametrize("pool", ["threads", "prefork"])
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_killed_at_any_step_loses_nothing_and_sends_once_what_ses_was_not_given(
    crashes: dict[tuple[str, str], Outcome], step: str, pool: str
) -> None:
    assert crashes[step, pool] == Outcome(
        left_behind=STATE_LEFT_BEHIND[step], in_the_end=State.SENT, copies=2 if step in SENT_TWICE else 1
    )


READERS = 3
CHUNK_COPIES = {"first_taken": [2, 1, 1], "second_taken": [1, 2, 1], "several_taken": [2, 2, 2]}
"""What SES had been asked for last, nobody could know of, and no event told: by single calls one, else those of a call."""


@pytest.fixture(scope="module")
def chunk_crashes(tmp_path_factory: pytest.TempPathFactory, ses: Simulator) -> Iterator[dict[str, dict[str, object]]]:
    """A batch for each step of a chunk, whose worker is killed there; another child of its pool goes on."""
    folder = tmp_path_factory.mktemp("chunks")
    settings = QUICK | {"SESMAIL_LEASE_SECONDS": "6", "STRIKE": "KILL self"}
    calls = {"single": CHUNK_STEPS, "bulk": CHUNK_STEPS_OF_BULK_CALLS}
    letter = Letter(subject="Hello", text="Hi.", from_email="shop@example.com")
    readers = [f"success+{n}@simulator.amazonses.com" for n in range(READERS)]
    with EmbeddedRedis(folder / "redis") as redis, Fleet(folder, redis, ses, **settings) as fleet, ExitStack() as apps:
        batches = {}
        for call, steps in calls.items():
            app = apps.enter_context(Celery(f"of {call}", broker=redis.url, set_as_current=False))
            app.conf.update(sesmail_site=call, sesmail_region="us-east-1")
            client = apps.enter_context(closing(client_of(app)))
            for step in steps:
                batches[step] = client.send_batch(letter, readers, key=step, list=step, without_unsubscribe=True)
            fleet.worker(pool="prefork", concurrency=4, SESMAIL_SITE=call, SESMAIL_BATCH_CALL=call)
        wait_until(lambda: all((folder / step).exists() for step in batches), "all are struck")
        wait_until(lambda: all(each.status().finished_at for each in batches.values()), "all batches end")
        copies = fleet.copies()
        yield {
            step: {
                "counts": batch.status().counts,
                "copies": [copies[f"{batch.id}-{number}"] for number in range(READERS)],
            }
            for step, batch in batches.items()
        }


@pytest.mark.parametrize("step", [*CHUNK_STEPS, *CHUNK_STEPS_OF_BULK_CALLS])
def test_a_worker_killed_between_any_two_steps_of_a_chunk_sends_everybody_once_but_whom_ses_was_being_asked_for(
    chunk_crashes: dict[str, dict[str, object]], step: str
) -> None:
    assert chunk_crashes[step] == {"counts": {"sent": READERS}, "copies": CHUNK_COPIES.get(step, [1] * READERS)}


def test_with_the_default_settings_a_dead_workers_email_is_out_within_15_seconds(
    tmp_path: Path, ses: Simulator
) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis, Fleet(tmp_path, redis, ses) as fleet:
        fleet.worker().wait_until_ready()
        doomed = fleet.worker("-Q", "doomed", pool="prefork", STRIKE="KILL parent").wait_until_ready()
        fleet.send("after_claim-default", queue="doomed")
        doomed.process.wait()
        fleet.wait_for(["after_claim-default"], seconds=15)
        assert fleet.copies()["after_claim-default"] == 1


def test_an_ses_that_hangs_does_not_keep_a_lone_worker_from_sweeping(fleet: Fleet, ses: Simulator) -> None:
    """The worker asks for the account's limits, and gets no answer for a minute."""
    meters = Meters(fleet.redis, Keys())
    with Proxy(urlsplit(ses.url).port or 0) as hanging:
        hanging.stall()
        fleet.worker(
            SESMAIL_ENDPOINT_URL=f"http://127.0.0.1:{hanging.port}", SESMAIL_SES_READ_TIMEOUT_SECONDS="60"
        ).wait_until_ready()
        for number in (1, 2):
            fleet.ledger.claim(fleet.accept(f"hanging-{number}"), "dead")
            wait_until(
                lambda number=number: meters.swept().get("requeued_from_dead_workers", 0) >= number,
                "the dead worker's claim is given back",
                seconds=30,
            )
        assert fleet.throttle.snapshot().source is None, "SES did answer"


# -- frozen and woken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["after_claim", "after_yes"])
def test_what_a_worker_does_late_that_was_frozen_past_its_lease_does_no_harm(fleet: Fleet, step: str) -> None:
    """Late `begin`s are refused. A late yes still counts: it comes in time to keep the second copy back."""
    fleet.environment["SESMAIL_EVIDENCE_WINDOW_SECONDS"] = "60"
    fleet.worker().wait_until_ready()
    frozen = fleet.worker("-Q", "frozen", STRIKE="STOP self").wait_until_ready()
    send_id = fleet.send(f"{step}-frozen-{fleet.server.port}", queue="frozen")
    wait_until(frozen.is_frozen, "it is frozen")
    fleet.wait_for([send_id], State.SENT if step == "after_claim" else State.UNKNOWN)
    frozen.signal(signal.SIGCONT)
    fleet.wait_for([send_id])
    wait_until(lambda: "'state': 'stale'" in frozen.said(), "its late move is refused")
    assert fleet.copies()[send_id] == 1


# -- stopped in order ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pool", "by"), [("threads", "signal"), ("prefork", "signal"), ("threads", "control")])
def test_a_warm_shutdown_gives_back_at_once_what_it_has_not_begun_and_another_worker_sends_it(
    fleet: Fleet, pool: str, by: str
) -> None:
    first = fleet.worker(pool=pool, SESMAIL_PATIENCE_SECONDS="600").wait_until_ready()
    wait_until(lambda: fleet.throttle.snapshot().source, "the account's limits are known")
    fleet.throttle.update_account(rate=0.01, quota_24h=-1, sent_24h=None)
    sends = [fleet.send(f"warm-{pool}-{by}-{n}") for n in range(8)]
    wait_until(lambda: fleet.ledger.counts()["claimed"] >= 2, "some wait for their turn")
    if by == "signal":
        first.signal(signal.SIGTERM)
    else:
        fleet.celery.control.shutdown(destination=[f"{first.name}@test"])
    assert first.exit_code() == 0
    counts = fleet.ledger.counts()
    assert (counts["claimed"], counts["sending"], counts["unknown"]) == (0, 0, 0)
    fleet.redis.delete(*fleet.redis.keys("{sesmail}:throttle*"))  # the next slot lies 100 seconds ahead
    fleet.throttle.update_account(rate=1000, quota_24h=-1, sent_24h=None)
    fleet.worker()
    fleet.wait_for(sends)
    assert [fleet.copies()[send_id] for send_id in sends] == [1] * len(sends)


# -- Redis goes and comes back -------------------------------------------------------------------------------------------


def supervised(worker: Worker) -> bool:
    """What `Restart=always` does: Celery may end itself when Redis goes away at a bad moment."""
    if worker.process.poll() is not None:
        worker.start()
    return True


def test_redis_killed_while_emails_are_claimed_sent_and_settled_costs_nothing(fleet: Fleet, ses: Simulator) -> None:
    """The yes of SES to calls that outlasted Redis is written down when it is back."""
    worker = fleet.worker(concurrency=4).wait_until_ready()
    fleet.throttle.update_account(rate=20, quota_24h=-1, sent_24h=None)
    ses.faults(rules=[{"fault": "slow", "seconds": 0.5}])
    sends = [fleet.send(f"outage-{n}") for n in range(20)]
    wait_until(lambda: fleet.ledger.counts()["sending"] >= 2, "some are being sent")
    fleet.server.kill()
    before = sum(send_id in fleet.copies() for send_id in sends)
    wait_until(lambda: "waiting for it" in worker.said(), "workers notice")
    fleet.server.start()
    wait_until(lambda: supervised(worker) and all(fleet.state(one) is State.SENT for one in sends), "all are sent")
    assert before < len(sends), "the test came too late"
    assert [fleet.copies()[send_id] for send_id in sends] == [1] * len(sends)


def test_a_worker_that_is_restarted_while_redis_is_away_goes_on_when_it_is_back(fleet: Fleet) -> None:
    worker = fleet.worker().wait_until_ready()
    sends = [fleet.accept(f"restarted-{n}") for n in range(5)]
    fleet.server.kill()
    worker.kill()
    worker.start()
    wait_until(lambda: "Cannot connect" in worker.said(), "it finds no Redis")
    fleet.server.start()
    fleet.wait_for(sends)
    assert worker.process.poll() is None
    assert [fleet.copies()[send_id] for send_id in sends] == [1] * len(sends)


# -- tickets ---------------------------------------------------------------------------------------------------------------


def test_a_flushed_broker_costs_no_email(fleet: Fleet) -> None:
    sends = [fleet.send(f"flushed-{n}", **({"lane": "bulk"} if n % 2 else {})) for n in range(40)]
    assert fleet.redis.delete("sesmail.transactional", "sesmail.bulk")
    fleet.worker()
    fleet.wait_for(sends)
    assert [fleet.copies()[send_id] for send_id in sends] == [1] * len(sends)


def test_tickets_lost_between_broker_and_worker_are_issued_again(fleet: Fleet) -> None:
    """kombu pops a message before it records it: a connection cut at that reply takes the message with it."""
    with Proxy(fleet.server.port) as proxy:
        worker = fleet.worker(CELERY_BROKER_URL=f"redis://127.0.0.1:{proxy.port}/0").wait_until_ready()
        proxy.cut_at_reply(b"sesmail.send_ses_email", times=3)
        sends = [fleet.send(f"cut-{n}") for n in range(12)]
        wait_until(lambda: supervised(worker) and all(fleet.state(one) is State.SENT for one in sends), "all are sent")
        assert proxy.cuts == 3
    assert [fleet.copies()[send_id] for send_id in sends] == [1] * len(sends)


def test_a_ticket_delivered_many_times_sends_one_email(fleet: Fleet) -> None:
    sends = [fleet.accept(f"many-{n}") for n in range(5)]
    for _ in range(6):
        for send_id in sends:
            fleet.ticket(send_id)
    for _ in range(2):
        fleet.worker()
    fleet.wait_for(sends)
    wait_until(lambda: fleet.redis.llen("sesmail.transactional") == 0, "all tickets are taken")
    assert [fleet.copies()[send_id] for send_id in sends] == [1] * len(sends)


def test_what_cannot_be_understood_is_set_aside_with_its_bytes_and_not_tried_again(fleet: Fleet) -> None:
    for_nobody = {"recipient": "nobody@example.org", "subject": "There is no such field"}
    fleet.celery.send_task("sesmail.send_ses_email", kwargs=for_nobody, task_id="b0", queue="sesmail.bulk")
    fleet.accept("b1")
    fleet.redis.hset("{sesmail}:send:b1", "email", "{not JSON")
    fleet.ticket("b1")
    fleet.send("good-after-broken")
    fleet.worker()
    fleet.wait_for(["b0", "b1"], State.ABANDONED)
    fleet.wait_for(["good-after-broken"])
    assert [fleet.ledger.status(one).code for one in ("b0", "b1")] == ["broken", "broken"]
    assert b"There is no such field" in (fleet.redis.hget("{sesmail}:send:b0", "email") or b"")
    assert "nobody@example.org" not in fleet.workers[0].said()
    assert sum(map(fleet.redis.llen, ("sesmail.transactional", "sesmail.bulk"))) == 0


# -- revoked -----------------------------------------------------------------------------------------------------------------


def test_revoking_a_task_cancels_its_send_and_an_operator_can_still_have_it_sent(fleet: Fleet) -> None:
    fleet.worker().wait_until_ready()
    fleet.throttle.line.pause("account", "a test")
    send_id = fleet.send("revoked-1")
    ask_one = {"destination": ["worker0@test"], "reply": True, "timeout": 20}
    assert fleet.celery.control.revoke(send_id, **ask_one) == [{"worker0@test": {"ok": f"{send_id} cancelled"}}]
    assert fleet.state(send_id) is State.CANCELLED
    fleet.throttle.line.resume("account")
    assert fleet.ledger.requeue(send_id)
    fleet.ticket(send_id)
    fleet.wait_for([send_id])
    assert "not cancelled" in str(fleet.celery.control.revoke(send_id, **ask_one))


# -- clocks ------------------------------------------------------------------------------------------------------------------


SKEWED_CLOCK = """
import time
real = time.time
time.time = lambda: real() + {seconds}
"""


def test_workers_whose_clocks_are_a_minute_off_do_no_harm(fleet: Fleet) -> None:
    """Only Redis' clock counts. Python runs `sitecustomize` before all else, so all of Celery has the wrong time."""

    def with_clock(seconds: int, *arguments: str, **environment: str) -> Worker:
        folder = fleet.folder / f"clock{seconds}"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SKEWED_CLOCK.format(seconds=seconds))
        return fleet.worker(*arguments, PYTHONPATH=f"{folder}:{fleet.environment['PYTHONPATH']}", **environment)

    with_clock(-60).wait_until_ready()
    doomed = with_clock(+60, "-Q", "doomed", STRIKE="KILL self").wait_until_ready()
    sends = [fleet.send(f"skewed-{n}") for n in range(10)] + [fleet.send("after_claim-skewed", queue="doomed")]
    doomed.process.wait()
    fleet.wait_for(sends)
    assert [fleet.copies()[send_id] for send_id in sends] == [1] * len(sends)


# -- another broker ----------------------------------------------------------------------------------------------------------

RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"


@pytest.fixture
def rabbitmq() -> Iterator[Connection]:
    connection = Connection(RABBITMQ, connect_timeout=1)
    try:
        connection.connect()
    except connection.connection_errors:
        absent("there is no RabbitMQ with the usual guest account on 127.0.0.1:5672")
    with connection:
        yield connection


@pytest.fixture
def lanes(rabbitmq: Connection) -> Iterator[list[str]]:
    """Queues of our own, gone afterwards."""
    names = [f"sesmail-test-{uuid4().hex}" for _ in range(2)]
    yield names
    with rabbitmq.channel() as channel:
        for name in names:
            channel.queue_delete(name)


def test_with_rabbitmq_as_broker_lost_tickets_and_a_redis_that_is_away_cost_nothing_either(
    fleet: Fleet, lanes: list[str]
) -> None:
    names = {"SESMAIL_TRANSACTIONAL_QUEUE": lanes[0], "SESMAIL_BULK_QUEUE": lanes[1]}
    worker = fleet.worker("-Q", ",".join(lanes), CELERY_BROKER_URL=RABBITMQ, **names).wait_until_ready()
    sends = [fleet.accept(f"rabbit-{n}", lane="bulk") for n in range(10)]
    fleet.wait_for(sends)
    fleet.server.kill()
    email = {"to": "success@simulator.amazonses.com", "subject": "By name", "text": "Hi."}
    with Celery(broker=RABBITMQ, set_as_current=False) as celery:
        celery.send_task("sesmail.send_ses_email", kwargs=email, task_id="by-name", queue=lanes[0])
    wait_until(lambda: "waiting for it" in worker.said(), "the worker has the email and nowhere to write it down")
    fleet.server.start()
    fleet.wait_for(["by-name"])
    assert [fleet.copies()[send_id] for send_id in (*sends, "by-name")] == [1] * 11
