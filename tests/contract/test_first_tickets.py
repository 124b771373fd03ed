"""First tickets that the ledger puts into their queue: as kombu would have, in the act that accepts the email, or not."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, Task, _state, signals
from redis import Redis

from sesmail import Email, send_ses_email, tracing
from sesmail.celery.current import client_of, close_clients
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Lane
from sesmail.sending.outbox import Outbox
from sesmail.vocabulary import Envelope, State

EMAIL = Email("ann@example.org", "Hello", "Hi.", from_email="shop@example.com")
QUEUE = "sesmail.transactional"

NewApp = Callable[..., Celery]


@pytest.fixture
def new_app(redis_server: EmbeddedRedis, redis: Redis) -> Iterator[NewApp]:
    made: list[Celery] = []
    before = _state._tls.current_app

    def new(**conf: Any) -> Celery:
        app = Celery(f"app{len(made)}", broker=redis_server.url, set_as_current=False)
        if conf.get("result_backend") == "the same Redis":
            conf["result_backend"] = redis_server.url
        app.conf.update({"sesmail_from_email": "shop@example.com", **conf})
        app.set_current()
        made.append(app)
        return app

    yield new
    close_clients()
    _state._tls.current_app = before
    for app in made:
        app.close()


def without_tag(message: bytes | str) -> str:
    text = message.decode() if isinstance(message, bytes) else message
    tag = json.loads(text)["properties"]["delivery_tag"]
    assert len(tag) == len(str(uuid4()))
    return text.replace(tag, "TAG")


def pushed(redis: Redis) -> list[tuple[str, str]]:
    """All tickets in Redis, by their queues."""
    lists = [name for name in redis.keys("*") if redis.type(name) == b"list" and b"{sesmail}" not in name]
    return [(name.decode(), without_tag(message)) for name in lists for message in redis.lrange(name, 0, -1)]


# -- byte for byte --------------------------------------------------------------------------------------------------------

USUAL = {
    "as it comes": {},
    "with results": {"result_backend": "the same Redis"},
    "no results": {"task_ignore_result": True},
    "another queue": {"sesmail_transactional_queue": "mail"},
    "routed": {"task_routes": {"sesmail.*": {"queue": "mail", "priority": 4}}},
    "with priorities": {"task_default_priority": 7},
    "steps of priority": {
        "task_default_priority": 7,
        "broker_transport_options": {"priority_steps": [0, 5], "sep": ":"},
    },
    "transient": {"task_default_delivery_mode": "transient"},
    "percent": {"task_routes": {"sesmail.*": {"queue": "100%s"}}},
    "another's serializer": {"task_serializer": "pickle", "accept_content": ["pickle", "json"]},
}


@pytest.mark.parametrize("conf", USUAL.values(), ids=USUAL)
@pytest.mark.parametrize("send_id", ["a", "0190c2a4-5a0e-7cc3-98c4-dc0c0c07398f", "x" * 128])
def test_a_ticket_is_byte_for_byte_what_kombu_would_have_written_but_for_its_delivery_tag(
    conf: dict[str, Any], send_id: str, new_app: NewApp, redis: Redis
) -> None:
    app = new_app(**conf)
    assert client_of(app).outbox.send(EMAIL, send_id=send_id).has_ticket
    ours = pushed(redis)
    redis.flushdb()
    broker = client_of(app).broker
    by_celery = broker._by_celery(send_id, Lane.TRANSACTIONAL, {})
    broker._publish_composed(by_celery)
    assert pushed(redis) == ours
    assert len(ours) == 1


def test_the_task_s_own_delay_publishes_as_much(new_app: NewApp, redis: Redis) -> None:
    app = new_app()
    sent = send_ses_email.delay("ann@example.org", "Hello", "Hi.")
    ((queue, message),) = pushed(redis)
    assert queue == QUEUE
    read = json.loads(message)
    assert read["headers"]["id"] == read["headers"]["root_id"] == read["properties"]["correlation_id"] == sent.id
    with app.connection_for_read() as connection, connection.SimpleQueue(QUEUE) as tickets:
        ticket = tickets.get(timeout=5)
        ticket.ack()
        assert ticket.payload[1] == {"send_id": sent.id}
        assert not ticket.errors
    assert client_of(app).ledger.status(sent.id).state is State.QUEUED


def test_what_waits_and_what_was_accepted_before_gets_no_ticket(new_app: NewApp, redis: Redis) -> None:
    outbox = client_of(new_app()).outbox
    outbox.send(EMAIL, send_id="later", delay_seconds=60)
    assert pushed(redis) == []
    assert [outbox.send(EMAIL.replace(idempotency_key="one")).new for _ in range(2)] == [True, False]
    assert len(pushed(redis)) == 1


# -- refused ----------------------------------------------------------------------------------------------------------------


def test_a_redis_that_takes_no_ticket_with_an_email_keeps_the_email_and_celery_publishes_from_then_on(
    new_app: NewApp, redis: Redis, redis_server: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    redis.execute_command("ACL", "SETUSER", "ledger", "on", ">secret", "+@all", "~{sesmail}:*")
    url = redis_server.url.replace("redis://", "redis://ledger:secret@")
    app = new_app(sesmail_redis_url=url)
    try:
        for number in range(3):
            client_of(app).outbox.send(EMAIL, send_id=f"send-{number}")
    finally:
        redis.execute_command("ACL", "DELUSER", "ledger")
    assert [json.loads(message)["headers"]["id"] for _, message in pushed(redis)] == ["send-2", "send-1", "send-0"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "from now on Celery publishes them" in warnings[0]
    assert "secret" not in warnings[0]


def test_a_ticket_that_redis_refuses_at_the_last_moment_costs_no_email(
    new_app: NewApp, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """It was tried, and went well; then somebody put another thing there."""
    client = client_of(new_app())
    client.outbox.send(EMAIL, send_id="first")
    redis.delete(QUEUE)
    redis.set(QUEUE, "no list")
    accepted = client.outbox.send(EMAIL, send_id="second")
    assert (accepted.new, accepted.state, accepted.has_ticket) == (True, State.QUEUED, False)
    assert client.ledger.status("second").state is State.QUEUED
    assert "WRONGTYPE" in caplog.text
    redis.delete(QUEUE)
    client.outbox.send(EMAIL, send_id="third")
    assert [json.loads(message)["headers"]["id"] for _, message in pushed(redis)] == ["third"]


def test_a_ticket_is_put_once_however_often_the_call_is_repeated(new_app: NewApp, redis: Redis) -> None:
    ledger = client_of(new_app()).ledger
    envelope = Envelope(queue="q", message="any text")
    answers = [ledger.accept("one", EMAIL, envelope=envelope) for _ in range(2)]
    assert [(answer.new, answer.has_ticket) for answer in answers] == [(True, True), (False, False)]
    assert redis.llen("q") == 1


KILLED = """
import os, signal
from sesmail import send_ses_email
from sesmail.state.ledger import ledger
ledger.accepted = lambda _answer: os.kill(os.getpid(), signal.SIGKILL)
send_ses_email.delay("ann@example.org", "Hello", "Hi.")
"""


def test_a_program_that_is_killed_right_after_its_email_is_accepted_leaves_its_ticket(
    redis: Redis, redis_server: EmbeddedRedis
) -> None:
    environment = os.environ | {"SESMAIL_REDIS_URL": redis_server.url, "SESMAIL_FROM_EMAIL": "shop@example.com"}
    assert subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False).returncode == -signal.SIGKILL
    ((queue, message),) = pushed(redis)
    assert queue == QUEUE
    assert redis.exists("{sesmail}:send:" + json.loads(message)["headers"]["id"])


def test_trying_a_queue_changes_nothing_in_it(scripts: Any, redis: Redis) -> None:
    redis.rpush("q", "a", "b")
    assert scripts.run("try_queue", "q") == scripts.run("try_queue", "nowhere") == b""
    assert redis.lrange("q", 0, -1) == [b"a", b"b"]
    assert redis.keys("*") == [b"q"]


# -- Celery's way -----------------------------------------------------------------------------------------------------------

UNUSUAL = {
    "by setting": {"sesmail_first_ticket": "celery"},
    "another database": {"sesmail_redis_url": "redis://127.0.0.1:1/7"},
    "a global_keyprefix": {"broker_transport_options": {"global_keyprefix": "shop:"}},
    "events of sending": {"task_send_sent_event": True},
    "results by rpc": {"result_backend": "rpc://"},
    "a function that routes": {"task_routes": (lambda name, *_, **__: None,)},
    "in the clear": {"broker_transport_options": {"body_encoding": "utf-8"}},
    "compressed": {"task_compression": "gzip"},
    "another broker": {"broker_url": "memory://", "sesmail_redis_url": "redis://127.0.0.1:1/0"},
    "several brokers": {"broker_url": "redis://127.0.0.1:1/0;redis://127.0.0.1:2/0"},
    "priorities of the queue": {"task_queue_max_priority": 10},
}


@pytest.mark.parametrize("conf", UNUSUAL.values(), ids=UNUSUAL)
def test_where_anything_is_unusual_celery_publishes(conf: dict[str, Any], new_app: NewApp) -> None:
    broker = client_of(new_app(**conf)).broker
    assert broker.envelope("a", Lane.TRANSACTIONAL, None) is None
    assert broker.envelopes.why_not(Lane.TRANSACTIONAL)


def test_whoever_hears_of_published_tasks_hears_of_emails_too_also_from_later_on(new_app: NewApp, redis: Redis) -> None:
    broker, heard = client_of(new_app()).broker, []
    assert broker.envelope("a", Lane.TRANSACTIONAL, None)

    def hears(headers: dict[str, Any], **_: Any) -> None:
        heard.append(headers["id"])

    for moment in (signals.before_task_publish, signals.after_task_publish):
        moment.connect(hears)
        try:
            sent = send_ses_email.delay("ann@example.org", "Hello", "Hi.")
        finally:
            moment.disconnect(hears)
        assert heard.pop() == sent.id
    assert heard == []
    assert len(pushed(redis)) == 2


def test_what_traces_celery_by_wrapping_its_functions_is_noticed(
    new_app: NewApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Task.apply_async

    @wraps(before)
    def traced(*args: Any, **kwargs: Any) -> Any:
        return before(*args, **kwargs)

    envelopes = client_of(new_app()).broker.envelopes
    assert not envelopes.why_not(Lane.BULK)
    monkeypatch.setattr(Task, "apply_async", traced)
    assert "wrapped" in envelopes.why_not(Lane.BULK), "also after the first tickets of a process"


@pytest.mark.parametrize(
    "options",
    [{"priority": 3}, {"headers": {"a": 1}}, {"queue": "mail"}, {"ignore_result": False}, {"link": []}],
    ids=str,
)
def test_a_caller_s_options_are_celery_s_to_heed(options: dict[str, Any], new_app: NewApp) -> None:
    app = new_app()
    assert client_of(app).broker.compose("a", Lane.TRANSACTIONAL, {"task_id": "a"}).envelope
    assert client_of(app).broker.compose("a", Lane.TRANSACTIONAL, options).envelope is None


def test_a_ticket_carries_the_trace_that_goes_on_and_no_other_does(
    new_app: NewApp, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "", ""]
    outbox = client_of(new_app()).outbox
    for number, trace in enumerate(going_on):
        monkeypatch.setattr(tracing, "current", lambda trace=trace: trace)
        options = {"composed": outbox._broker.compose(f"a{number}", Lane.TRANSACTIONAL, {})}
        outbox.send(EMAIL, send_id=f"a{number}", options=options)
    carried = [json.loads(message)["headers"].get("traceparent", "") for _, message in pushed(redis)]
    assert carried == going_on[::-1]


def test_what_a_task_sends_is_marked_as_its_own(new_app: NewApp) -> None:
    app = new_app(task_store_eager_result=False)
    client = client_of(app)

    def order() -> bool:
        return client.broker.envelope("a", Lane.TRANSACTIONAL, None) is None

    assert app.task(name="shop.order")(order).apply().get()


def test_a_broker_that_knows_no_envelopes_issues_its_tickets(new_app: NewApp) -> None:
    class Plain:
        issued: list[str] = []  # noqa: RUF012

        def issue(self, tickets: Any, **_: Any) -> None:
            self.issued += [ticket.send_id for ticket in tickets]

    client = client_of(new_app())
    broker: Any = Plain()
    Outbox(client.settings, broker, client.ledger, client.reputation).send(EMAIL, send_id="a")
    assert broker.issued == ["a"]
