"""One application's client: each part made once, whoever asks first; nothing shared with another's."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from redis import Redis

from sesmail import Client, Email, LedgerUnavailable, Settings
from sesmail.client import part
from sesmail.embedded import EmbeddedRedis

THREADS = 16
PARTS = [name for name, kind in vars(Client).items() if isinstance(kind, part)]


@pytest.mark.parametrize("name", [name for name in PARTS if not name.startswith("unsubscribe")])
def test_sixteen_threads_that_ask_for_a_part_at_once_get_the_same_one(
    redis: Redis, redis_server: EmbeddedRedis, name: str
) -> None:
    """`functools.cached_property` has no lock from Python 3.12 on: each would have made its own."""
    client = Client(Settings(redis_url=redis_server.url, region="us-east-1"))
    together = Barrier(THREADS)

    def ask(_: int) -> object:
        together.wait()
        return getattr(client, name)

    with ThreadPoolExecutor(THREADS) as threads:
        assert len({id(found) for found in threads.map(ask, range(THREADS))}) == 1
    client.close()


def test_a_part_is_made_by_one_thread_while_the_others_wait() -> None:
    made = []

    class Slow(Client):
        @part
        def thing(self) -> object:
            time.sleep(0.02)
            made.append(object())
            return made[-1]

    client = Slow(Settings())
    with ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(lambda _: client.thing, range(THREADS)))
    assert (len(made), {*map(id, found)}) == (1, {id(made[0])})


def test_two_clients_of_a_process_share_nothing(redis: Redis, redis_server: EmbeddedRedis) -> None:
    alpha, beta = (
        Client(Settings(redis_url=redis_server.url, key_prefix=prefix, from_email=f"{prefix}@example.com"))
        for prefix in ("alpha", "beta")
    )
    send_id = alpha.send(Email("ann@example.org", "s", "t")).send_id
    assert (alpha.ledger.counts()["queued"], beta.ledger.counts()["queued"]) == (1, 0)
    claim = alpha.ledger.claim(send_id, "worker")
    assert claim.email.from_email == "alpha@example.com"
    alpha.close()
    beta.close()


def test_asend_lets_the_loop_go_on_while_redis_is_asked(redis_server: EmbeddedRedis) -> None:
    """Nobody answers at this address, so it takes a while to find out."""
    client = Client(Settings(redis_url="redis://127.0.0.1:1/0", from_email="shop@example.com"))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    async def both() -> None:
        ticking = asyncio.create_task(tick())
        with pytest.raises(LedgerUnavailable):
            await client.asend(Email("ann@example.org", "s", "t"))
        ticking.cancel()

    asyncio.run(both())
    assert ticks > 5
    client.close()
