"""A Redis of three servers behind one name: what was "killed and restarted" for one is a failover here."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from kombu.exceptions import OperationalError

from benchmarks._sides import OurSide, Outcome
from sesmail import Client, Settings
from sesmail.errors import LedgerUnavailable
from sesmail.message import Email
from tests.acceptance.proxy import Proxy
from tests.redis_servers import Server

if TYPE_CHECKING:
    from pathlib import Path

    from sesmail.simulator import Simulator


class FailingOver:
    """What `bench chaos` needs of a Redis; killed, another takes over, and the dead one comes back as its replica."""

    def __init__(self, folder: Path) -> None:
        self._servers = [Server(folder / f"server{number}") for number in range(3)]
        self._ending = ExitStack()
        self.failovers = 0

    def __enter__(self) -> Self:
        for server in self._servers:
            self._ending.enter_context(server)
        self._master = self._servers[0]
        for server in self._servers[1:]:
            server.follow(self._master)
        self._name = self._ending.enter_context(Proxy(self._master.port))
        return self

    def __exit__(self, *exception: object) -> None:
        self._ending.close()

    @property
    def port(self) -> int:
        return self._name.port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def kill(self) -> None:
        """The host of the master is gone."""
        self._master.kill()

    def start(self) -> None:
        """Who has most takes over, as Sentinels choose."""
        dead, others = self._master, [server for server in self._servers if server is not self._master]
        others.sort(key=lambda server: server.client.info("replication")["slave_repl_offset"])
        self._master = others.pop()
        self._master.stop_following()
        self._name.lead_to(self._master.port)
        for server in others:
            server.follow(self._master)
        dead.will_follow(self._master)
        dead.start()
        self.failovers += 1


class ReplicatedSide(OurSide):
    """sesmail on it, with acceptance that waits for a replica."""

    name = "replicated"

    def __init__(self, folder: Path, redis: FailingOver, ses: Simulator, proxy: Proxy, **environment: str) -> None:
        waits = {"SESMAIL_ACCEPT_WAITS_FOR": "replica"}
        super().__init__(folder, redis, ses, proxy, **waits, **environment)
        self._redis = redis
        self._client = Client(Settings(redis_url=redis.url, accept_waits_for="replica"))

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._client.close()

    def outcome(self) -> Outcome:
        outcome = super().outcome()
        outcome.failovers = self._redis.failovers
        return outcome

    def accept(self, send_id: str, lane: str) -> bool:
        """As `OurSide`, by a client that waits."""
        email = Email("success@simulator.amazonses.com", "Hello", "Hi.", from_email="shop@example.com", lane=lane)
        try:
            self._client.send(email, send_id=send_id)
        except LedgerUnavailable:
            return False
        with suppress(OperationalError):  # the sweeper issues it, as after `.delay()`
            self.fleet.ticket(send_id, f"sesmail.{lane}")
        return True
