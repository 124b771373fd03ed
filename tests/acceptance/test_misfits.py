"""What is pushed into our queues that is neither ticket nor email: set aside with its bytes, told without them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection

from sesmail.embedded import EmbeddedRedis
from sesmail.simulator import Simulator
from sesmail.vocabulary import State
from tests.acceptance.fleet import ROOT, Fleet, Worker, wait_until
from tests.services import absent

SECRET = "zyzzyva"
QUEUE = "sesmail.transactional"
SEND = "sesmail.send_ses_email"
EMAIL = {"to": f"{SECRET}@example.org", "subject": SECRET, "text": SECRET}
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"


def envelope(body: object = None, *, raw: bytes | str | None = None, task: object = SEND, **changes: Any) -> bytes:
    """A message as kombu writes it to Redis, with a body that may be anything."""
    content = json.dumps(body).encode() if raw is None else raw
    return json.dumps(
        {
            "body": b64encode(content).decode() if isinstance(content, bytes) else content,
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"task": task, "id": "x", "lang": "py"},
            "properties": {
                "body_encoding": "base64",
                "delivery_tag": "tag",
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
            },
            **changes,
        }
    ).encode()


EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
GROUP = {"task": "celery.group", "subtask_type": "group", "args": [], "kwargs": {"to": SECRET}, "options": {}}
ODD_CALL = {"task": "hosts.task", "args": 5, "kwargs": SECRET, "options": {}, "subtask_type": None, "immutable": True}
HEADERS = {"task": SEND, "id": "x"}
MISFITS: dict[str, bytes] = {
    "no embed": envelope([[], EMAIL]),
    "a string": envelope(SECRET),
    "a mapping": envelope(EMAIL),
    "null": envelope(None),
    "no base64": envelope(raw="A"),
    "no body": envelope(body=None, raw=b""),
    "broken JSON": envelope(raw=b'[[], {"to": "' + SECRET.encode()),
    "bytes as a body": envelope(raw=b"\xff\x00" + SECRET.encode()),
    "args no list": envelope([SECRET, EMAIL, EMBED]),
    "kwargs no mapping": envelope([[], [SECRET], EMBED]),
    "embed no mapping": envelope([[], EMAIL, SECRET]),
    "errbacks no list": envelope([[], EMAIL, {**EMBED, "errbacks": True}]),
    "callbacks no signatures": envelope([[], EMAIL, {**EMBED, "callbacks": [{"to": SECRET}]}]),
    "a group without tasks": envelope([[], EMAIL, {**EMBED, "chord": GROUP}]),
    "a misspelt task": envelope([[], EMAIL, EMBED], task="sesmail.send_email"),
    "a task of another name": envelope([[], EMAIL, EMBED], task=f"{SECRET}@example.org"),
    "a task that is a list": envelope([[], EMAIL, EMBED], task=[SECRET]),
    "pickled": envelope(raw=b"\x80\x04K\x01.", **{"content-type": "application/x-python-serialize"}),
    "an unknown serializer": envelope([[], EMAIL, EMBED], **{"content-type": SECRET}),
    "no compression": envelope([[], EMAIL, EMBED], headers={**HEADERS, "compression": SECRET}),
    "no id": envelope([[], EMAIL, EMBED], headers={"task": SEND}),
    "a wrong time": envelope([[], EMAIL, EMBED], headers={**HEADERS, "eta": SECRET}),
    "a wrong limit": envelope([[], EMAIL, EMBED], headers={**HEADERS, "timelimit": SECRET}),
    "three limits": envelope([[], EMAIL, EMBED], headers={**HEADERS, "timelimit": [1, 2, 3]}),
    "limits that are texts": envelope([[], EMAIL, EMBED], headers={**HEADERS, "timelimit": ["1", "2"]}),
    "a shadow that is no name": envelope([[], EMAIL, EMBED], headers={**HEADERS, "shadow": {"to": SECRET}}),
    "a shadow that is a line": envelope([[], EMAIL, EMBED], headers={**HEADERS, "shadow": "x\n\x1b[31mCRITICAL"}),
    "an id that is a line": envelope([[], EMAIL, EMBED], headers={**HEADERS, "id": "x\n\x1b[31mCRITICAL"}),
    "another task's arguments": envelope([[], {"to": SECRET}, EMBED], task="sesmail.send_batches"),
    "a sweep of something": envelope([[SECRET], {}, EMBED], task="sesmail.sweep"),
    "callbacks that take nothing so": envelope([[], EMAIL, {**EMBED, "callbacks": [ODD_CALL]}]),
    "no headers": envelope([[], EMAIL, EMBED], headers=None),
    "headers that are a list": envelope([[], EMAIL, EMBED], headers=[SECRET]),
    "a ticket of nothing": envelope([[], {"send_id": [SECRET]}, EMBED]),
    "a ticket of many that is none": envelope([[], {"send_ids": SECRET}, EMBED], task="sesmail.send_lot"),
    "the former protocol": envelope({"task": SEND, "id": "x", "args": 5, "kwargs": EMAIL}, headers={}),
    "a limit of the former protocol": envelope(
        {"task": SEND, "id": "x", "args": [], "kwargs": EMAIL, "timelimit": 5}, headers={}
    ),
    "no properties": envelope([[], EMAIL, EMBED], properties={}),
    "garbage": b"\xff\xfe\x00" + SECRET.encode(),
    "not JSON": b"hello " + SECRET.encode(),
    "JSON, no message": json.dumps(EMAIL).encode(),
    "a JSON list": b'["' + SECRET.encode() + b'", 1, 2]',
    "nothing": b"",
}
HOST = """
from celery import Celery
app = Celery("host", include=["sesmail.tasks"])
app.conf.update(task_default_queue="hosts.own")
@app.task(name="hosts.task")
def task(text):
    print("HOST DID", text, flush=True)
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("misfits")
    (folder / "proj.py").write_text(HOST)
    ses = Simulator(rate=500, quota=-1, calls_per_second=None)
    with ses, EmbeddedRedis(folder / "redis") as redis, Fleet(folder, redis, ses) as fleet:
        yield fleet


@pytest.fixture(params=["threads", "prefork"])
def pushed(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Fleet]:
    """A worker that has met every misfit, a good email behind them."""
    fleet.redis.flushdb()
    for misfit in MISFITS.values():
        fleet.redis.lpush(QUEUE, misfit)
    fleet.send("good")
    fleet.worker(pool=request.param).wait_until_ready()
    fleet.wait_for(["good"], seconds=25)
    yield fleet
    fleet.workers[-1].end()


def set_aside(fleet: Fleet) -> dict[str, bytes]:
    """What is kept of each, by its id."""
    ids = fleet.ledger.ids(State.ABANDONED, limit=1000)
    return {one: fleet.redis.hget(f"{{sesmail}}:send:{one}", "email") or b"" for one in ids}


def test_every_misfit_is_set_aside_with_its_bytes_and_the_worker_goes_on(pushed: Fleet) -> None:
    worker = pushed.workers[-1]
    assert worker.said().count("It is set aside with") == len(MISFITS)
    assert len(set_aside(pushed)) > len(MISFITS) / 2, "those of the same bytes are kept once"
    kept = [*set_aside(pushed).values()]
    bodies = [b"A", b'[[], {"to": "' + SECRET.encode(), b"\xff\x00" + SECRET.encode(), MISFITS["garbage"], b"null"]
    assert [body for body in bodies if not any(body in one for one in kept)] == []
    assert {pushed.ledger.status(one).code for one in set_aside(pushed)} == {"broken"}
    assert worker.process.poll() is None
    assert worker.starts == 1
    wait_until(lambda: pushed.redis.hlen("sesmail.unacked") == 0, "all are acknowledged")
    assert pushed.redis.llen(QUEUE) == 0
    assert "Traceback" not in worker.said()
    assert SECRET not in worker.said()
    assert "\x1b[31m" not in worker.said()


def test_a_host_s_own_tasks_and_what_is_wrong_with_them_stay_celery_s(fleet: Fleet) -> None:
    fleet.redis.flushdb()
    environment = fleet.environment | {"CELERY_BROKER_URL": fleet.server.url, "PYTHONPATH": f"{ROOT}:{fleet.folder}"}
    worker = Worker("host", fleet.folder, ["--pool", "threads", "-c", "2"], environment, app="proj")
    fleet.workers.append(worker)
    fleet.celery.send_task("hosts.task", args=["one"], queue="hosts.own")
    fleet.celery.send_task("hosts.task", args=["two"], queue=QUEUE)
    fleet.celery.send_task("hosts.misspelt", args=["three"], queue="hosts.own")
    fleet.celery.send_task("sesmail.misspelt", kwargs=EMAIL, queue="hosts.own", task_id="four")
    fleet.redis.lpush(QUEUE, MISFITS["no embed"])
    fleet.send("good")
    worker.wait_until_ready()
    fleet.wait_for(["good"])
    wait_until(lambda: {"four", "x"} <= {*set_aside(fleet)}, "both misfits are set aside")
    wait_until(lambda: worker.said().count("HOST DID") == 2, "the host's tasks run")
    assert "Received unregistered task of type 'hosts.misspelt'" in worker.said()
    assert SECRET not in worker.said()
    fleet.workers[-1].end()


def test_what_cannot_be_set_aside_while_the_ledger_is_away_stays_with_the_broker(fleet: Fleet, tmp_path: Path) -> None:
    fleet.redis.flushdb()
    with EmbeddedRedis(tmp_path / "broker") as broker:
        celery = Celery("producer", broker=broker.url, set_as_current=False)
        worker = fleet.worker(CELERY_BROKER_URL=broker.url)
        worker.wait_until_ready()
        fleet.server.kill()
        celery.send_task("sesmail.misspelt", kwargs=EMAIL, queue=QUEUE, task_id="five")
        wait_until(lambda: "It stays with the broker" in worker.said(), "it is told", seconds=30)
        fleet.server.start()
        assert worker.process.poll() is None
        assert SECRET not in worker.said()
        fleet.workers[-1].end()
        celery.close()
        fleet.worker(CELERY_BROKER_URL=broker.url)
        with broker_client(broker) as redis:
            redis.zadd("sesmail.unacked_index", dict.fromkeys(redis.hkeys("sesmail.unacked"), 0))  # its time is over
        wait_until(lambda: "five" in set_aside(fleet), "it is set aside later", seconds=30)
        fleet.workers[-1].end()


def broker_client(broker: EmbeddedRedis) -> Any:
    from redis import Redis

    return Redis.from_url(broker.url)


def test_misfits_on_rabbitmq_are_set_aside_too(fleet: Fleet) -> None:
    try:
        with Connection(RABBITMQ, connect_timeout=1) as connection:
            connection.connect()
    except OSError:
        absent("no RabbitMQ on 127.0.0.1:5672")
    fleet.redis.flushdb()
    prefix = {"SESMAIL_KEY_PREFIX": "misfits", "CELERY_BROKER_URL": RABBITMQ}
    worker = fleet.worker(**prefix).wait_until_ready()
    with Connection(RABBITMQ) as connection, connection.Producer() as producer:
        for number, content in enumerate((b"hello", b"null", b"\xff\xfe", b'[[], {"to": "zyzzyva"}]')):
            headers = {"task": SEND, "id": f"rabbit-{number}"}
            how = {"content_type": "application/json", "content_encoding": "utf-8", "headers": headers}
            producer.publish(content, routing_key="misfits.transactional", **how)
    pattern = "{misfits}:send:rabbit-*"
    wait_until(lambda: len(fleet.redis.keys(pattern)) == 4, "all are set aside")
    assert worker.process.poll() is None
    assert SECRET not in worker.said()
    fleet.workers[-1].end()
