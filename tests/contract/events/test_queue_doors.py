"""The SQS door against a local AWS: what is stored is deleted, what is not stays, and what is stuck can be drained."""

from __future__ import annotations

import json
import threading
from queue import SimpleQueue
from uuid import uuid4

import pytest
from botocore.exceptions import EndpointConnectionError

from sesmail.cli import intake as command
from sesmail.doors.sqs import Polled, SqsPoller
from sesmail.errors import EventStoreUnavailable, QueueUnavailable
from sesmail.events.intake import Intake
from sesmail.events.sns import Certificates, SnsVerifier
from tests.signing import TOPIC, Signer

SIGNER = Signer()


class Flaky:
    """A store in front of another that can be made to fail."""

    def __init__(self, store) -> None:
        self.store, self.fails = store, False

    def put(self, events) -> int:
        if self.fails:
            raise EventStoreUnavailable
        return self.store.put(events)


@pytest.fixture
def flaky(sqlite_store):
    return Flaky(sqlite_store)


@pytest.fixture
def intake(flaky):
    return Intake(SnsVerifier({TOPIC: "alpha"}, Certificates(SIGNER.fetch)), flaky)


@pytest.fixture
def sqs(aws):
    client = aws("sqs")
    yield client
    client.close()


@pytest.fixture
def queue(sqs):
    return sqs.create_queue(QueueName=f"events-{uuid4().hex}", Attributes={"VisibilityTimeout": "1000"})["QueueUrl"]


def send(sqs, queue, *bodies: str) -> None:
    for body in bodies:
        sqs.send_message(QueueUrl=queue, MessageBody=body)


def left_in(sqs, queue) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(attributes[name]) for name in names)


def notification() -> str:
    return json.dumps(SIGNER.notification("hello"))


def test_what_is_stored_is_deleted_from_the_queue(sqs, queue, intake, sqlite_store) -> None:
    send(sqs, queue, *(notification() for _ in range(3)))
    assert SqsPoller(sqs, queue, intake).poll(wait_seconds=0) == Polled(received=3, stored=3)
    assert left_in(sqs, queue) == 0
    assert sqlite_store.counts("alpha").unprocessed == 3


def test_what_is_refused_stays_in_the_queue_and_does_not_hold_up_the_others(sqs, queue, intake, sqlite_store) -> None:
    forged = json.dumps({**SIGNER.notification("hello"), "Message": "x"})
    send(sqs, queue, notification(), forged, notification())
    assert SqsPoller(sqs, queue, intake).poll(wait_seconds=0) == Polled(received=3, stored=2)
    assert left_in(sqs, queue) == 1
    assert sqlite_store.counts("alpha").unprocessed == 2


def test_nothing_is_deleted_while_the_store_is_away_and_all_is_stored_when_it_is_back(
    sqs, queue, intake, flaky, sqlite_store
) -> None:
    poller = SqsPoller(sqs, queue, intake)
    send(sqs, queue, *(notification() for _ in range(5)))
    flaky.fails = True
    assert poller.poll(wait_seconds=0) == Polled(received=5, stored=0)
    assert left_in(sqs, queue) == 5
    flaky.fails = False
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "0"})
    send(sqs, queue, notification())
    assert poller.poll(wait_seconds=0).stored == 1


def test_a_dead_letter_queue_is_drained_to_its_end_and_what_cannot_be_stored_stays(
    sqs, queue, intake, sqlite_store
) -> None:
    send(sqs, queue, *(notification() for _ in range(13)), "{not json")
    drained = SqsPoller(sqs, queue, intake).drain()
    assert (drained.stored, left_in(sqs, queue)) == (13, 1)
    assert sqlite_store.counts("alpha").unprocessed == 13


def test_messages_that_are_refused_do_not_hide_those_behind_them_from_draining(
    sqs, queue, intake, sqlite_store
) -> None:
    send(sqs, queue, *(["{not json"] * 21), *(notification() for _ in range(5)))
    assert SqsPoller(sqs, queue, intake).drain() == Polled(received=26, stored=5)
    assert left_in(sqs, queue) == 21


def test_a_queue_that_is_not_there_is_named_without_a_traceback(sqs, intake, caplog) -> None:
    url = "http://127.0.0.1/123456789012/missing"
    poller = SqsPoller(sqs, url, intake)
    with pytest.raises(QueueUnavailable, match=f"{url}.*QueueDoesNotExist"):
        poller.drain()
    poller.run(Told(waits=1))
    assert url in caplog.text
    assert "Traceback" not in caplog.text


class Told:
    """An event that is never set, remembers how long it was waited for, and ends the run after some waits."""

    def __init__(self, waits: int) -> None:
        self.waits, self.pauses = waits, []

    def wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return len(self.pauses) > self.waits


class Unreachable:
    def receive_message(self, **_):
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1")


def test_a_queue_that_cannot_be_reached_is_asked_less_and_less_often(intake) -> None:
    told = Told(waits=9)
    SqsPoller(Unreachable(), "queue", intake).run(told)
    assert told.pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


class Slow:
    """A store that takes its time: until it is let go."""

    def __init__(self, store) -> None:
        self.store, self.asked, self.let_go = store, threading.Event(), threading.Event()

    def put(self, events) -> int:
        self.asked.set()
        assert self.let_go.wait(30)
        return self.store.put(events)


def test_what_was_received_is_stored_and_deleted_before_the_poller_has_finished(sqs, queue, sqlite_store) -> None:
    slow = Slow(sqlite_store)
    poller = SqsPoller(sqs, queue, Intake(SnsVerifier({TOPIC: "alpha"}, Certificates(SIGNER.fetch)), slow))
    send(sqs, queue, notification())
    polling, finishing = threading.Thread(target=poller.poll), threading.Thread(target=poller.finish)
    polling.start()
    assert slow.asked.wait(30)
    finishing.start()
    assert left_in(sqs, queue) == 1
    assert finishing.is_alive()
    slow.let_go.set()
    finishing.join(30)
    assert (left_in(sqs, queue), sqlite_store.counts("alpha").unprocessed) == (0, 1)
    polling.join(30)


class Telling:
    """A client that tells when it has received."""

    def __init__(self, client) -> None:
        self.client, self.received = client, threading.Event()

    def receive_message(self, **request):
        answer = self.client.receive_message(**request)
        self.received.set()
        return answer


def test_what_comes_after_the_poller_has_finished_is_left_for_sqs_to_deliver_again(
    sqs, queue, intake, sqlite_store
) -> None:
    telling = Telling(sqs)
    poller = SqsPoller(telling, queue, intake)
    poller.finish()
    send(sqs, queue, notification())
    threading.Thread(target=poller.poll, daemon=True).start()
    assert telling.received.wait(30)
    assert left_in(sqs, queue) == 1
    assert sqlite_store.counts("alpha").unprocessed == 0


def test_a_poller_is_well_only_after_a_look_that_sqs_answered_and_the_store_took(
    sqs, queue, intake, flaky, monkeypatch
) -> None:
    poller, flaky.fails = SqsPoller(sqs, queue, intake), True
    send(sqs, queue, notification())
    assert (poller.is_well(), poller._poll_safely(), poller.is_well()) == (False, False, False)
    flaky.fails = False
    send(sqs, queue, notification())
    assert (poller._poll_safely(), poller.is_well()) == (True, True)
    monkeypatch.setattr("sesmail.doors.sqs.WELL_FOR_SECONDS", 0)
    assert not poller.is_well(), "that was too long ago"


@pytest.mark.parametrize("well", [True, False])
def test_the_command_tells_a_health_check_whether_every_queue_is_looked_into(tmp_path, monkeypatch, well) -> None:
    monkeypatch.setattr(command, "ALIVE_EVERY_SECONDS", 0.01)
    told, alive = SimpleQueue(), tmp_path / "alive"

    class Asked:
        def is_well(self) -> bool:
            told.put(None)
            return well

    healthy = type("Healthy", (), {"is_well": lambda _: True})()
    assert command._wait(told, [healthy, Asked()], alive) is None
    assert alive.exists() == well


def test_the_poller_stops_when_it_is_told(sqs, queue, intake) -> None:
    stop = threading.Event()
    stop.set()
    SqsPoller(sqs, queue, intake).run(stop)
