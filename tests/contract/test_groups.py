"""Tickets taken in groups, on a real Redis, beside a channel of kombu's that knows nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state
from kombu import Connection, Consumer, Queue
from redis import Redis

from sesmail.celery.groups import Groups, fits
from sesmail.celery.internals import look_at_what_redis_pops
from sesmail.celery.worker.misfits import is_message, wrapped
from sesmail.embedded import EmbeddedRedis

FIRST, SECOND = "first", "second"


class Worker:
    """A consumer of two queues as Celery's event loop drives it; what it holds is in `held`."""

    def __init__(self, connection: Connection, *, room: int, in_groups: bool = True) -> None:
        self.hub = SimpleNamespace(on_tick=set())
        self.channel: Any = connection.channel()
        self.held: list[Any] = []
        self.broken: set[str] = set()
        queues = [Queue(name, durable=True) for name in (FIRST, SECOND)]
        consumer = Consumer(self.channel, queues, on_message=self._take, accept=["json"])
        consumer.qos(prefetch_count=room)
        if in_groups:
            assert fits(self.channel, self.hub)
            Groups(self.channel, self.hub, lambda _, item: item)
        look_at_what_redis_pops(self.channel, lambda name, item: item if is_message(item) else wrapped(name, item))
        consumer.consume()
        self.cycle: Any = connection.transport.cycle

    def _take(self, message: Any) -> None:
        if self.broken and message.payload in self.broken:
            raise ZeroDivisionError
        self.held.append(message)

    def turn(self, seconds: float = 0.5) -> None:
        """One of the event loop's."""
        for tick in list(self.hub.on_tick):
            tick()
        self.cycle.on_poll_start()
        for fileno, event in self.cycle.poller.poll(seconds if self.channel._in_poll else 0) or ():
            with suppress(Empty):
                self.cycle.handle_event(fileno, event)

    def turns(self, times: int = 6) -> None:
        for _ in range(times):
            self.turn()

    @property
    def bodies(self) -> list[str]:
        return [message.payload for message in self.held]


@pytest.fixture
def connection(redis: Redis, redis_server: EmbeddedRedis) -> Iterator[Connection]:
    options = {"queue_order_strategy": "priority", "visibility_timeout": 1}
    with Connection(redis_server.url, transport_options=options) as connection:
        yield connection
        for channel in connection.transport.channels:  # the server is gone when this process ends
            channel.qos._on_collect.cancel()


@pytest.fixture
def other(redis_server: EmbeddedRedis) -> Iterator[Connection]:
    options = {"queue_order_strategy": "priority", "unacked_restore_throttle": 1, "visibility_timeout": 0}
    with Connection(redis_server.url, transport_options=options) as connection:
        yield connection
        for channel in connection.transport.channels:  # the server is gone when this process ends
            channel.qos._on_collect.cancel()


def publish(connection: Connection, *bodies: str, queue: str = FIRST, priority: int = 0) -> None:
    with connection.Producer(serializer="json") as producer:
        for body in bodies:
            producer.publish(body, routing_key=queue, priority=priority, declare=[Queue(queue)])


LETTERS = list("abcdefgh")


def test_a_worker_takes_as_many_as_it_has_room_for_in_their_order(connection: Connection, redis: Redis) -> None:
    publish(connection, *LETTERS)
    worker = Worker(connection, room=5)
    worker.turns()
    assert worker.bodies == LETTERS[:5]
    assert redis.llen(FIRST) == 3
    assert redis.hlen("unacked") == redis.zcard("unacked_index") == 5


def test_several_are_taken_by_one_script(connection: Connection, redis: Redis) -> None:
    publish(connection, *LETTERS)
    worker = Worker(connection, room=5)
    redis.config_resetstat()
    worker.turns()
    assert redis.info("commandstats")["cmdstat_brpop"]["calls"] == 2


def test_what_is_noted_is_what_kombu_notes(connection: Connection, redis: Redis) -> None:
    publish(connection, "a", "b", "c")
    worker = Worker(connection, room=3)
    worker.turns()
    by_kombu, _, by_us = (json.loads(redis.hget("unacked", message.delivery_tag) or b"") for message in worker.held)
    alike = [{**message, "body": "", "properties": ""} for message, *_ in (by_kombu, by_us)]
    assert alike[0] == alike[1]
    assert by_us[0] == worker.held[2]._raw
    assert by_us[1:] == by_kombu[1:] == ["", FIRST]


def test_who_is_done_makes_room_and_is_struck_off_together_with_others(connection: Connection, redis: Redis) -> None:
    publish(connection, *LETTERS)
    worker = Worker(connection, room=4)
    worker.turns()
    for message in worker.held:
        message.ack()
    worker.turns()
    assert worker.bodies == LETTERS
    assert redis.hlen("unacked") == redis.zcard("unacked_index") == 4
    for message in worker.held[4:]:
        message.ack()
    worker.turns()
    assert not redis.exists("unacked", "unacked_index", FIRST)


def test_the_queues_keep_their_order_and_so_do_the_priorities_within_them(connection: Connection) -> None:
    publish(connection, "2a", "2b", queue=SECOND)
    publish(connection, "1-late", priority=9)
    publish(connection, "1a", "1b")
    worker = Worker(connection, room=5)
    worker.turns()
    assert worker.bodies == ["1a", "1b", "2a", "2b", "1-late"]


def test_what_a_killed_worker_held_is_returned_by_kombus_own(connection: Connection, other: Connection) -> None:
    publish(connection, *LETTERS)
    killed = Worker(connection, room=8)
    killed.turns()
    assert killed.bodies == LETTERS
    stock = Worker(other, room=20, in_groups=False)
    stock.channel.qos.restore_visible(num=100, interval=1)
    stock.turns(2 * len(LETTERS))
    assert sorted(stock.bodies) == LETTERS


def test_a_channel_that_is_closed_puts_back_what_is_not_done_and_nothing_else(
    connection: Connection, redis: Redis
) -> None:
    publish(connection, *LETTERS)
    worker = Worker(connection, room=8)
    worker.turns()
    for message in worker.held[:6]:
        message.ack()
    worker.channel.close()
    assert redis.llen(FIRST) == 2
    assert not redis.exists("unacked", "unacked_index")


def test_in_a_shutdown_nothing_waits_for_a_turn_of_the_loop(
    connection: Connection, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(connection, *LETTERS)
    worker = Worker(connection, room=8)
    worker.turns()
    monkeypatch.setattr(state, "should_stop", 0)
    worker.held[0].ack()
    assert redis.hlen("unacked") == 7


def test_what_is_no_message_stays_for_kombus_own_way(connection: Connection, redis: Redis) -> None:
    publish(connection, "a", "b")
    redis.lpush(FIRST, b'{"delivery_tag": "x"', b'{"properties": {"delivery_tag": 7}}', b"[1]")
    worker = Worker(connection, room=8)
    worker.turn()
    worker.turn()
    worker.cycle.on_poll_start()
    assert worker.bodies == ["a", "b"]
    assert worker.channel._in_poll
    assert redis.hlen("unacked") == 2


def test_behind_one_that_cannot_be_handed_over_the_others_go_back(connection: Connection, redis: Redis) -> None:
    publish(connection, *LETTERS)
    worker = Worker(connection, room=8)
    worker.broken = {"c"}
    worker.turn()
    worker.turn()
    with pytest.raises(ZeroDivisionError):
        worker.turns()
    assert worker.bodies == ["a", "b"]
    assert redis.llen(FIRST) == 5
    assert redis.hlen("unacked") == 3


def test_where_the_user_may_run_no_script_tickets_come_one_by_one(connection: Connection, redis: Redis) -> None:
    publish(connection, *LETTERS)
    worker = Worker(connection, room=8)
    redis.execute_command("ACL", "SETUSER", "default", "-eval", "-evalsha")
    try:
        worker.turns(12)
    finally:
        redis.execute_command("ACL", "SETUSER", "default", "+@all")
    assert worker.bodies == LETTERS


def test_a_server_that_has_forgotten_its_scripts_is_given_this_one_again(connection: Connection, redis: Redis) -> None:
    publish(connection, *LETTERS)
    worker = Worker(connection, room=4)
    worker.turns()
    redis.script_flush()
    for message in worker.held:
        message.ack()
    worker.turns()
    assert worker.bodies == LETTERS


def test_channels_of_other_kinds_are_left_alone(redis_server: EmbeddedRedis) -> None:
    hub = SimpleNamespace(on_tick=set())
    with Connection("memory://") as memory:
        assert not fits(memory.channel(), hub)
    with Connection(redis_server.url, transport_options={"global_keyprefix": "shop"}) as prefixed:
        assert not fits(prefixed.channel(), hub)
    with Connection(redis_server.url) as plain:
        assert not fits(plain.channel(), None)
