"""All accounts share the threads of a worker: who waits for a slow one waits in the ledger, with its place kept."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from redis import Redis

from sesmail import Client, Settings
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email, Lane
from sesmail.sending.crowd import CROWDED
from sesmail.simulator import Simulator
from sesmail.vocabulary import Claim, State, Ticket
from tests.acceptance.fleet import wait_until

THREADS = 4
SLOW, FAST = 40, 60
SWEPT = 6
"""So many of an account at 1/s may be on their way: see sweep_room.lua."""


class Tickets:
    """A broker of one queue in this process, and a worker of some threads on it."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()
        self.ended = threading.Event()

    def issue(self, tickets: Sequence[Ticket], *, express: bool = False, **_: Any) -> None:
        for ticket in tickets:
            (self.waiting.appendleft if express else self.waiting.append)(ticket.send_id)

    def is_empty(self, _lane: Lane) -> bool:
        return not self.waiting

    def work(self, client: Client) -> None:
        while not self.ended.is_set():
            try:
                send_id = self.waiting.popleft()
            except IndexError:
                self.ended.wait(0.01)
                continue
            claim = client.delivery.claim(send_id)
            if isinstance(claim, Claim):
                client.delivery.work(claim, None)

    def sweep(self, client: Client) -> None:
        while not self.ended.wait(0.5):
            client.sweeper.sweep()


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, Simulator]]:
    with Simulator(rate=50) as fast, Simulator(rate=1) as slow:
        yield {"default": fast, "slow": slow}


@pytest.fixture
def tickets() -> Iterator[Tickets]:
    made = Tickets()
    yield made
    made.ended.set()


@pytest.fixture
def client(
    redis: Redis, redis_server: EmbeddedRedis, places: dict[str, Simulator], tickets: Tickets
) -> Iterator[Client]:
    for place in places.values():
        place.reset()
    settings = Settings(
        redis_url=redis_server.url,
        endpoint_url=places["default"].url,
        region="us-east-1",
        from_email="shop@example.com",
        suppress_send=False,
        accounts={"slow": {"endpoint_url": places["slow"].url}},
    )
    made = Client(settings, tickets)  # type: ignore[arg-type]  # all of a broker that is called here
    for account in made.accounts.values():
        account.watch.make_sure()
    made.delivery.spare_threads("worker")
    yield made
    made.delivery.stop()
    made.close()


def an_email(account: str | None = None, lane: Lane = Lane.TRANSACTIONAL) -> Email:
    return Email("success@simulator.amazonses.com", "s", "t", account=account, lane=lane)


def sent(client: Client, ids: Sequence[str]) -> list[str]:
    return [send_id for send_id in ids if client.ledger.status(send_id).state is State.SENT]


@pytest.mark.parametrize("lane", [*Lane])
def test_a_long_line_of_a_slow_account_holds_up_no_other_account_of_the_worker(
    client: Client, tickets: Tickets, lane: Lane
) -> None:
    slow, fast = [f"slow-{n:02}" for n in range(SLOW)], [f"fast-{n:02}" for n in range(FAST)]
    for send_id in slow:
        client.send(an_email("slow", lane), send_id=send_id)
    for send_id in fast:
        client.send(an_email(lane=lane), send_id=send_id)
    threads = [threading.Thread(target=tickets.work, args=[client], daemon=True) for _ in range(THREADS)]
    threads.append(threading.Thread(target=tickets.sweep, args=[client], daemon=True))
    for thread in threads:
        thread.start()
    wait_until(lambda: len(sent(client, fast)) == FAST, "all of the fast account are sent", 90)
    assert len(sent(client, slow)) < SLOW, "the fast ones stood behind all of the slow ones"
    wait_until(lambda: len(sent(client, slow)) >= 3, "some of the slow account are sent", 60)
    tickets.ended.set()
    client.delivery.stop()
    for thread in threads:
        thread.join()
    gone = sent(client, slow)
    assert max(gone) < f"slow-{len(gone) + 2 * SWEPT + THREADS:02}", "each has kept its place, about"


def claimed(client: Client, send_id: str) -> Claim:
    claim = client.delivery.claim(send_id)
    assert isinstance(claim, Claim)
    return claim


def test_what_waits_for_a_slow_account_is_sent_in_the_order_of_acceptance(
    client: Client, places: dict[str, Simulator], tickets: Tickets
) -> None:
    places["slow"].change(rate=20)
    throttle = client.accounts["slow"].throttle
    throttle.update_account(rate=20, quota_24h=-1, sent_24h=0)
    ids = [f"{n}" for n in range(6)]
    for send_id in ids:
        client.send(an_email("slow"), send_id=send_id)
    for send_id in reversed(ids):
        client.ledger.postpone(claimed(client, send_id), 600, "it waits", for_room=True)
    client.delivery._crowd.one_waits_at("slow", Lane.TRANSACTIONAL)  # type: ignore[union-attr]
    wait_until(lambda: len(sent(client, ids)) == len(ids), "all are sent, though no ticket brings them", 60)
    assert [message["sesmail_id"] for message in places["slow"].messages()] == ids


def test_who_finds_the_threads_of_a_slow_account_full_goes_back_and_is_sent_from_there(client: Client) -> None:
    client.send(an_email("slow"), send_id="a")
    client.delivery._crowd._inside["slow", Lane.TRANSACTIONAL] = 1000  # type: ignore[union-attr]
    assert client.delivery.work(claimed(client, "a"), None) is CROWDED
    wait_until(lambda: sent(client, ["a"]), "it is sent, though no ticket brings it", 60)


def test_sweeps_let_come_no_more_than_an_account_s_rate_carries(client: Client, tickets: Tickets) -> None:
    ids = [f"{n:02}" for n in range(12)]
    for send_id in ids:
        client.send(an_email("slow"), send_id=send_id)
        client.ledger.postpone(claimed(client, send_id), 600, "it waits", for_room=True)
    tickets.waiting.clear()
    client.sweeper.sweep()
    assert [*tickets.waiting] == ids[:SWEPT]
    client.sweeper.sweep()
    assert [*tickets.waiting] == ids[:SWEPT], "what is on its way takes up room"


def test_one_account_alone_keeps_its_threads(redis: Redis, redis_server: EmbeddedRedis, tickets: Tickets) -> None:
    settings = Settings(redis_url=redis_server.url, from_email="shop@example.com", suppress_send=False)
    client = Client(settings, tickets)  # type: ignore[arg-type]
    client.delivery.spare_threads("worker")
    assert client.delivery._crowd is None
    client.close()
