"""What one application keeps in Redis: each of a client's parts is a structure of the ledger's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sesmail.client.base import Base
from sesmail.client.part import part
from sesmail.state.durable import DurableScripts
from sesmail.state.fleet.audit import Audit
from sesmail.state.fleet.hearing import Hearing
from sesmail.state.fleet.meters import Meters
from sesmail.state.fleet.workers import Fleet, Turns, WorkerLease, WorkerRates
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.people.reputation import Reputation
from sesmail.state.people.suppression import SuppressionList
from sesmail.state.scripts import Scripts
from sesmail.state.server.address import read_address
from sesmail.state.server.connection import connect

if TYPE_CHECKING:
    from redis import Redis

    from sesmail.state.batches.batches import Batches
    from sesmail.state.batches.recipients import Recipients
    from sesmail.state.ledger.search import Search
    from sesmail.state.server.health import RedisHealth


class KeptInRedis(Base):
    """The parts over the ledger's Redis."""

    @part
    def scripts(self) -> Scripts:
        """Runs the Lua scripts on the ledger's Redis."""
        return self._scripts(self.settings.redis_timeout_seconds)

    @property
    def _keys(self) -> Keys:
        return Keys(self.settings.key_prefix, self.settings.global_key_prefix)

    def _scripts(self, timeout_seconds: float) -> Scripts:
        keys, waits_for = self._keys, self.settings.accept_waits_for
        if waits_for is None:
            return Scripts(self._connect(timeout_seconds, keys), keys)
        wait_seconds = self.settings.accept_wait_seconds
        patient = self._connect(timeout_seconds + wait_seconds, keys)
        return DurableScripts(self._connect(timeout_seconds, keys), keys, patient, waits_for, wait_seconds)

    def check_durability(self) -> None:
        """Whether what `SESMAIL_ACCEPT_WAITS_FOR` asks for can be had from this Redis.

        Raises `ConfigurationError`, and `LedgerUnavailable` when it cannot be known now.
        """
        if isinstance(scripts := self.scripts, DurableScripts):
            scripts.check()

    def _connect(self, timeout_seconds: float, keys: Keys, url: str | None = None) -> Redis:
        settings = self.settings
        said_as = settings.said_as("event_store" if url else "redis_url")
        address = read_address(url or settings.redis_url, master_name=settings.redis_master_name, said_as=said_as)
        if settings.redis_credentials and not url:
            address = replace(address, credentials=settings.redis_credentials)
        connection = connect(
            address,
            timeout_seconds=timeout_seconds,
            connect_timeout_seconds=settings.redis_connect_timeout_seconds,
            key=keys.base,
            finders=self._finders,
        )
        self._connections.append(connection)
        return connection

    @part
    def ledger(self) -> Ledger:
        """Every send."""
        return self._ledger(self.scripts)

    def _ledger(self, scripts: Scripts) -> Ledger:
        if self.former_scripts is None:
            return Ledger(scripts, self.settings)
        from sesmail.state.ledger.former_names import LedgerOfTwoNames  # noqa: PLC0415  few have former names

        return LedgerOfTwoNames(scripts, Scripts(scripts.redis, self.former_scripts.keys), self.settings)

    @part
    def former_scripts(self) -> Scripts | None:
        """The same where a project's keys stood before Celery's `global_keyprefix` counted; None without one."""
        if not self.settings.global_key_prefix:
            return None
        return Scripts(self.scripts.redis, Keys(self.settings.key_prefix))

    @part
    def search(self) -> Search:
        """Sends, as people look for them."""
        from sesmail.state.ledger.search import Search  # noqa: PLC0415  who only sends has no use for it

        return Search(self.scripts)

    @part
    def recipients(self) -> Recipients:
        """Recipients of batches, as people look for them."""
        from sesmail.state.batches.recipients import Recipients  # noqa: PLC0415  who only sends has no use for it

        return Recipients(self.scripts)

    @part
    def suppression(self) -> SuppressionList:
        """The opt-outs."""
        return SuppressionList(self.scripts)

    @part
    def reputation(self) -> Reputation:
        """What became of the emails."""
        settings = self.settings
        by_account = len(settings.account_names) > 1
        return Reputation(self.scripts, settings.brake_windows_seconds, by_account=by_account)

    @part
    def audit(self) -> Audit:
        """What operators did."""
        return Audit(self.scripts)

    @part
    def batches(self) -> Batches:
        """Letters to many, in Redis."""
        from sesmail.state.batches.batches import Batches  # noqa: PLC0415  few ask

        return Batches(self.scripts, self.settings)

    @part
    def hearing(self) -> Hearing:
        """Whether SES tells anything of what this site sends."""
        return Hearing(self.scripts)

    @part
    def lease(self) -> WorkerLease:
        """This process's sign of life."""
        return WorkerLease(self.ledger, self.settings.lease_seconds)

    @part
    def meters(self) -> Meters:
        """Totals for those who watch."""
        return Meters(self.scripts.redis, self.scripts.keys)

    @part
    def redis_health(self) -> RedisHealth:
        """Whether the ledger's Redis keeps what it is given."""
        from sesmail.state.server.health import RedisHealth  # noqa: PLC0415  workers and commands ask

        return RedisHealth(self.scripts.redis, self.scripts.keys, may_forget=self.settings.redis_may_forget)

    @part
    def turns(self) -> Turns:
        """What one worker of the fleet does for all."""
        return Turns(self.scripts.redis, self.scripts.keys)

    @part
    def fleet(self) -> Fleet:
        """Whether workers are there."""
        return Fleet(self.scripts.redis, self.scripts.keys)

    @part
    def worker_rates(self) -> WorkerRates:
        """What each worker may send a second."""
        return WorkerRates(self.scripts.redis, self.scripts.keys)
