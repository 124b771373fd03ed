"""Builds all the parts from the settings, once per process; each part only when it is first used."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from sesmail import settings as settings_module
from sesmail.sending.account import AccountWatch
from sesmail.sending.mailer import Mailer
from sesmail.state.keys import Keys
from sesmail.state.ledger import Ledger
from sesmail.state.meters import Meters
from sesmail.state.reputation import Reputation
from sesmail.state.scripts import Scripts
from sesmail.state.suppression import SuppressionList
from sesmail.state.throttle import SendThrottle
from sesmail.state.workers import Turns, WorkerLease, WorkerRates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sesmail.events.parts import EventParts
    from sesmail.sending.ses import SesTransport
    from sesmail.settings import Settings

CONNECT_TIMEOUT_SECONDS = 0.3
"""With one retry, an unreachable Redis is reported within a second."""


def _greet(connection: Any) -> None:
    """What redis-py does once connected, bounded as connecting is: a server that takes the call may yet say nothing."""
    connection._sock.settimeout(CONNECT_TIMEOUT_SECONDS)  # noqa: SLF001  it has no other way
    connection.on_connect_check_health(check_health=False)  # the check would connect anew, and so on
    connection._sock.settimeout(connection.socket_timeout)  # noqa: SLF001


class Runtime:
    """The parts of one process. Producers use the ledger alone, so neither boto3 nor SES is touched by them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pid = os.getpid()

    @cached_property
    def redis(self) -> Redis:
        """The client of the ledger's Redis."""
        return self._client(self.settings.redis_url)

    def _client(self, url: str, timeout_seconds: float | None = None) -> Redis:
        """A client whose answers are bytes and whose timeouts are bounded."""
        keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}  # refused for Unix sockets
        return Redis.from_url(
            url,
            socket_timeout=timeout_seconds or self.settings.redis_timeout_seconds,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            health_check_interval=15,
            retry=Retry(ConstantBackoff(0.05), 1),
            client_name="sesmail",
            redis_connect_func=_greet,
            **keepalive,
        )

    @cached_property
    def scripts(self) -> Scripts:
        """Runs the Lua scripts."""
        return Scripts(self.redis, Keys(self.settings.key_prefix))

    def scripts_at(self, url: str) -> Scripts:
        """Runs the scripts on another Redis, or on the ledger's own."""
        if url == self.settings.redis_url:
            return self.scripts
        return Scripts(self._client(url), Keys(self.settings.key_prefix))

    @cached_property
    def ledger(self) -> Ledger:
        """Every send."""
        return Ledger(self.scripts, self.settings)

    @cached_property
    def quick_ledger(self) -> Ledger:
        """The same ledger for callers of `.delay()`: a page must not hang with a Redis that does."""
        client = self._client(self.settings.redis_url, self.settings.accept_timeout_seconds)
        return Ledger(Scripts(client, self.scripts.keys), self.settings)

    @cached_property
    def suppression(self) -> SuppressionList:
        """The opt-outs."""
        return SuppressionList(self.scripts)

    @cached_property
    def reputation(self) -> Reputation:
        """What became of the emails."""
        return Reputation(self.scripts)

    @cached_property
    def throttle(self) -> SendThrottle:
        """The fleet's one limiter."""
        return SendThrottle(self.scripts)

    @cached_property
    def lease(self) -> WorkerLease:
        """This process's sign of life."""
        return WorkerLease(self.ledger, self.settings.lease_seconds)

    @cached_property
    def transport(self) -> SesTransport:
        """SES through boto3; loads it."""
        from sesmail.sending.ses import SesTransport  # noqa: PLC0415  boto3 costs half a second: only who sends pays

        return SesTransport(
            region=self.settings.region,
            endpoint_url=self.settings.endpoint_url,
            connect_timeout_seconds=self.settings.ses_connect_timeout_seconds,
            read_timeout_seconds=self.settings.ses_read_timeout_seconds,
            max_connections=64,
        )

    @cached_property
    def mailer(self) -> Mailer:
        """Accepts and delivers."""
        return Mailer(
            self.settings,
            self.ledger,
            self.quick_ledger,
            self.throttle,
            self.lease,
            self.account_watch,
            self.worker_rates,
            lambda: self.transport,
        )

    @cached_property
    def meters(self) -> Meters:
        """Totals for those who watch."""
        return Meters(self.redis, self.scripts.keys)

    @cached_property
    def turns(self) -> Turns:
        """What one worker of the fleet does for all."""
        return Turns(self.redis, self.scripts.keys)

    @cached_property
    def worker_rates(self) -> WorkerRates:
        """What each worker may send a second."""
        return WorkerRates(self.redis, self.scripts.keys)

    @cached_property
    def account_watch(self) -> AccountWatch:
        """Keeps the throttle's limits those of the account."""
        return AccountWatch(self.settings, self.throttle, self.turns, lambda: self.transport)

    @cached_property
    def events(self) -> EventParts:
        """What takes events of SES in and acts on them."""
        from sesmail.events.parts import EventParts  # noqa: PLC0415  who only sends pays nothing for it

        parts = (self.ledger, self.suppression, self.reputation)
        return EventParts(self.settings, *parts, scripts_at=self.scripts_at, announce=announce_events)


_lock = threading.Lock()
_current: Runtime | None = None
_said: dict[str, Any] = {}
_sources: list[Callable[[], Mapping[str, Any]]] = []
_listeners: list[Callable[[str], None]] = []


def configure(**application: Any) -> None:
    """What the application says (names as in `Settings`); the next use of a part builds everything anew."""
    global _current  # noqa: PLW0603  one runtime a process is the point
    with _lock:
        _said.update(application)
        _current = None


def add_source(source: Callable[[], Mapping[str, Any]]) -> None:
    """Register where more of the application's settings come from, such as Celery's configuration."""
    _sources.append(source)


def on_events(listener: Callable[[str], None]) -> None:
    """Register who is told a site, at most once a second, when events of it have been stored in this process."""
    _listeners.append(listener)


def announce_events(site: str) -> None:
    """Tell that events of a site have been stored."""
    for listener in _listeners:
        listener(site)


def current() -> Runtime:
    """The runtime of this process; after a fork a new one, with connections of its own.

    Raises `ConfigurationError` when a setting is wrong.
    """
    global _current  # noqa: PLW0603  one runtime a process is the point
    runtime = _current
    if runtime is None or runtime.pid != os.getpid():
        with _lock:
            if _current is None or _current.pid != os.getpid():
                _current = Runtime(settings_module.load(dict(_all_said())))
            runtime = _current
    return runtime


def _all_said() -> Iterator[tuple[str, Any]]:
    for source in _sources:
        yield from source().items()
    yield from _said.items()
