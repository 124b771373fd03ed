"""What all parts of a client have: its settings and its broker, and whether anybody is to be reached."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from sesmail import settings as settings_module
from sesmail.client.part import part
from sesmail.errors import ConfigurationError
from sesmail.hosts import flask_is_testing, runs_django_tests
from sesmail.sending.memory import MOST_SENDS, Memory, switched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from sesmail.message import Lane
    from sesmail.sending.outbox import Broker
    from sesmail.settings import Settings
    from sesmail.state.server.masters import Finder
    from sesmail.vocabulary import Ticket


log = logging.getLogger("sesmail")


class NoBroker:
    """For programs that issue no tickets: those of what they accept are issued by the workers' sweeps."""

    def issue(self, tickets: Sequence[Ticket], **how: Any) -> None:
        """Nothing: a sweep does."""

    def send_batches(self, lane: Lane, count: int) -> None:
        """Nothing: a sweep does."""

    def is_empty(self, lane: Lane) -> bool:  # noqa: ARG002  the protocol's
        """Not known, so that no ticket counts as lost."""
        return False

    def process_events(self, site: str) -> None:
        """Nothing: the workers look by themselves."""


class Base:
    """A client without its parts."""

    def __init__(self, settings: Settings | None = None, broker: Broker | None = None) -> None:
        """`settings` are the environment's (and Django's) unless given. Raises `ConfigurationError` for wrong ones.

        Without a `broker`, tickets are issued by the sweeps of workers that have one, some seconds later.
        """
        self.settings = settings or settings_module.load()
        self.broker: Broker = broker or NoBroker()
        self.pid = os.getpid()
        self.lock = threading.RLock()
        self._connections: list[Redis] = []
        self._finders: dict[str, Finder] = {}

    @property
    def is_suppressed(self) -> bool:
        """Whether emails are kept in memory: by a test, by `SESMAIL_SUPPRESS_SEND`, or in tests of Django and Flask."""
        return bool(self.why_suppressed)

    @property
    def why_suppressed(self) -> str:
        """Who has emails kept in memory; empty where they are sent."""
        if (by_test := switched()) is not None:
            return "a test's outbox" if by_test.memory else ""
        if self.settings.suppress_send is not None:
            return "SESMAIL_SUPPRESS_SEND" if self.settings.suppress_send else ""
        if runs_django_tests():
            return "Django's test environment"
        return "TESTING of the Flask application" if flask_is_testing() else ""

    def check_not_suppressed(self) -> None:
        """For programs that are there to send. Raises `ConfigurationError` where nothing is to be sent."""
        if why := self.why_suppressed:
            raise ConfigurationError(
                f"Email is suppressed here, by {why}, so this program would send none. Nothing was queued or sent. "
                "Set SESMAIL_SUPPRESS_SEND=0, or remove what says otherwise, to send."
            )

    @property
    def memory(self) -> Memory:
        """What is kept while nothing is sent: the current test's, else this client's own."""
        by_test = switched()
        return by_test.memory if by_test and by_test.memory else self._own_memory

    @part
    def _own_memory(self) -> Memory:
        log.info(
            "Email and events are kept in memory, and nothing is sent to anybody: so says %s. SESMAIL_SUPPRESS_SEND=0 "
            "sends.",
            self.why_suppressed,
        )
        return Memory(most_sends=MOST_SENDS)

    def close(self) -> None:
        """Stop its threads and close its connections. What is asked of it afterwards is made anew."""
        made = vars(self)
        if lease := made.pop("lease", None):
            lease.stop()
        if delivery := made.pop("delivery", None):
            delivery.stop()
        with self.lock:
            while self._connections:
                self._connections.pop().close()
            for name in [name for name in made if isinstance(getattr(type(self), name, None), part)]:
                made.pop(name, None)
