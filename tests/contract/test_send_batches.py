"""The task of batches, as a worker runs it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

import sesmail.tasks  # noqa: F401  the app finds them
from sesmail import Client, Letter
from sesmail.celery.current import client_of
from sesmail.celery.worker.progress import BatchesAsTasks
from sesmail.celery.worker.revoke import revoke
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Lane


@pytest.fixture
def app(redis: object, redis_server: EmbeddedRedis) -> Iterator[Celery]:
    made = Celery("batches", broker=redis_server.url, set_as_current=False)
    made.conf.update(sesmail_site="shop", sesmail_region="us-east-1")
    yield made
    client_of(made).close()


def test_a_ticket_of_another_site_is_left_to_its_own_workers_and_one_without_a_batch_does_nothing(app: Celery) -> None:
    task = app.tasks["sesmail.send_batches"]
    assert task.apply(kwargs={"site": "another", "lane": "bulk"}).get() == {}
    assert task.apply(kwargs={"site": "shop", "lane": "bulk"}).get() == {}


def test_tickets_of_batches_go_into_a_queue_of_their_site(app: Celery) -> None:
    client = client_of(app)
    letter = Letter(subject="Hello", text="Hi.", from_email="shop@example.com")
    client.send_batch(letter, ["ann@example.org"], key="k", without_unsubscribe=True)
    assert client.scripts.redis.llen("sesmail.batches.shop") == 1
    assert not client.scripts.redis.exists("sesmail.bulk")


# -- in Flower ----------------------------------------------------------------------------------------------------------


class Consumer:
    """A worker's, whose events Flower gets."""

    def __init__(self, groups: set[str]) -> None:
        from flower.events import EventsState

        self.state = EventsState()
        self.event_dispatcher = self
        self.enabled, self.groups = True, groups
        self.events: list[str] = []

    def send(self, kind: str, **fields: Any) -> None:
        self.events.append(kind)
        said = {"hostname": "w@host", "timestamp": 1.0, "local_received": 1.0, "clock": len(self.events), **fields}
        self.state.event({"type": kind, **said})


def looks_again(client: Client, consumer: Consumer) -> Any:
    """Flower's task of the only batch, after a look of the worker whose turn it is."""
    client.turns.free(f"show-batches:{client.settings.site}")
    BatchesAsTasks(client, consumer).look()
    return consumer.state.tasks.get(client.batches.latest()[0])


def test_flower_shows_a_batch_as_one_task_with_its_progress_and_its_end_once(app: Celery) -> None:
    client, consumer = client_of(app), Consumer({"task", "worker"})
    letter = Letter(subject="Hello", text="Hi.", from_email="shop@example.com")
    batch = client.send_batch(letter, ["ann@example.org", "bob@example.org"], key="k", without_unsubscribe=True)
    task = looks_again(client, consumer)
    assert (task.name, task.state, task.uuid) == ("sesmail.batch", "PROGRESS", batch.id)
    assert task.result == "0 of 2 (0 %): 2 queued"
    assert task.started == client.batches.status(batch.id).accepted_at
    assert "example.org" not in str(task.as_dict())
    batch.pause()
    assert looks_again(client, consumer).state == "PAUSED"
    batch.resume()
    assert looks_again(client, consumer).state == "PROGRESS"
    held = client.batches.claim(Lane.BULK, "w", "t")
    assert held
    client.batches.begin(held, {0: "ann@example.org"}, tries=False)
    client.batches.begin(held, {1: "bob@example.org"}, tries=False, taken=[0])
    client.batches.settle(held, [1], "sent")
    client.batches.finish()
    task = looks_again(client, consumer)
    assert (task.state, task.result) == ("SUCCESS", "2 of 2 (100 %): 2 sent")
    assert task.runtime == client.batches.status(batch.id).finished_at - task.started
    count = len(consumer.events)
    looks_again(client, consumer)
    assert len(consumer.events) == count


def test_nothing_is_told_where_nobody_listens_nor_out_of_turn(app: Celery) -> None:
    client = client_of(app)
    letter = Letter(subject="Hello", text="Hi.", from_email="shop@example.com")
    batch = client.send_batch(letter, ["ann@example.org"], key="k", without_unsubscribe=True)
    deaf, listening = Consumer({"worker"}), Consumer(set())
    looks_again(client, deaf)
    BatchesAsTasks(client, listening).look()
    BatchesAsTasks(client, listening).look()
    assert (deaf.events, listening.events) == ([], ["task-progress"])
    batch.cancel()
    client.batches.finish()
    assert looks_again(client, listening).state == "CANCELLED"


def test_flower_s_button_and_celery_s_revoke_take_a_batch_back_and_that_is_in_the_trail(app: Celery) -> None:
    client, consumer = client_of(app), Consumer(set())
    letter = Letter(subject="Hello", text="Hi.", from_email="shop@example.com")
    batch = client.send_batch(letter, ["ann@example.org"], key="k", without_unsubscribe=True)
    state = SimpleNamespace(app=app, consumer=consumer)
    assert revoke(state, batch.id) == {"ok": f"{batch.id} cancelled"}
    assert batch.status().state == "cancelled"
    assert [(each.what, each.about) for each in client.audit.read(1)] == [("cancel batch", batch.id)]
    assert consumer.events == []
