"""What every worker does beside sending: it sweeps, looks for events, asks for the account's limits."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sesmail import runtime
from sesmail.errors import EventStoreUnavailable, LedgerUnavailable
from sesmail.settings import rate_limit
from sesmail.worker.queues import EVENTS_QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.settings import Settings

log = logging.getLogger("sesmail")


class Upkeep(threading.Thread):
    """Something that every worker does beside sending, again and again: a thread each, so that none holds up others."""

    def __init__(self, what: str, once: Callable[[], object]) -> None:
        super().__init__(name=f"sesmail-{what}", daemon=True)
        self._what = what
        self._once = once
        self._interval_seconds = runtime.current().settings.sweep_interval_seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until stopped."""
        while not self._stopped.is_set():
            try:
                self._once()
            except (LedgerUnavailable, EventStoreUnavailable):
                log.warning("Redis cannot be reached: no %s", self._what)
            except Exception:
                log.exception("a %s failed; it is tried again", self._what)
            self._stopped.wait(self._interval_seconds)

    def stop(self) -> None:
        """Not again."""
        self._stopped.set()


class Monitor:
    """Sweeps, and finds events that wait: every worker is one, so that nobody can forget it."""

    def __init__(
        self,
        sweep: Callable[[], Any],
        process_soon: Callable[[str], None] | None,
        own_rate: Callable[[], float | None],
        worker_name: str,
    ) -> None:
        """`process_soon` has the events of a site processed; None where this worker does not take that on."""
        self._sweep = sweep
        self._process_soon = process_soon
        self._own_rate = own_rate
        self._worker_name = worker_name

    def tell_rate(self) -> None:
        """Let the worker's other processes know its rate limit, which `celery control rate_limit` may have changed."""
        runtime.current().worker_rates.tell(self._worker_name, self._own_rate())

    def once(self) -> None:
        """Look once, where it is this worker's turn: one of the fleet does it in each interval."""
        parts = runtime.current()
        parts.lease.owner()  # also an idle worker's signs of life tell that Redis can be reached
        self.tell_rate()
        if parts.turns.take("sweep", parts.settings.sweep_interval_seconds * 0.9):
            self._sweep()
        if self._process_soon and parts.turns.take("look-for-events", parts.settings.events_interval_seconds * 0.9):
            self._look_for_events(self._process_soon)

    @staticmethod
    def _look_for_events(process_soon: Callable[[str], None]) -> None:
        """Events that another site's doors, or Lambda, have stored were announced to nobody here."""
        parts = runtime.current()
        site = parts.settings.site
        # Other stores are not asked in this thread, which must not be held up.
        if parts.settings.event_store or parts.events.store.counts(site).unprocessed:
            process_soon(site)


def upkeep_of(instance: Any) -> list[Upkeep]:
    """The threads of a worker that is being set up."""
    from sesmail.tasks import process_soon, send_ses_email, sweeper  # noqa: PLC0415  the tasks load this module when a worker starts

    def own_rate() -> float | None:
        return rate_limit(send_ses_email.rate_limit or runtime.current().settings.worker_rate_limit)

    takes_events = EVENTS_QUEUE in instance.app.amqp.queues.consume_from
    if takes_events:
        warn_of_topics_elsewhere(runtime.current().settings)
    monitor = Monitor(lambda: sweeper().sweep(), process_soon if takes_events else None, own_rate, instance.hostname)
    with suppress(LedgerUnavailable):
        monitor.tell_rate()
    return [Upkeep("sweep", monitor.once), Upkeep("check of the limits", _check_limits)]


def warn_of_topics_elsewhere(settings: Settings) -> None:
    """Topics for other sites alone mean most likely that SESMAIL_SITE was forgotten: nobody processes their events."""
    sites = sorted(set(settings.topics.values()))
    if sites and settings.site not in sites:
        log.warning(
            "SESMAIL_TOPICS give their events to %s, but this worker processes those of the site %s: they wait until a "
            "worker has their site as SESMAIL_SITE.",
            ", ".join(sites),
            settings.site,
        )


def _check_limits() -> None:
    runtime.current().account_watch.refresh_if_due()
