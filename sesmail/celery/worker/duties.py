"""What every worker does beside sending: it sweeps, looks for events, asks for the account's limits."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from sesmail.errors import ConfigurationError, EventStoreUnavailable, LedgerUnavailable, in_a_line
from sesmail.frames import forget_variables
from sesmail.signals import heard_here

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sesmail.client import Client
    from sesmail.settings import Settings

log = logging.getLogger("sesmail")

TELL_EVERY_SECONDS = 1.0
LIMITS_EVERY_SECONDS = 1.0
"""How often it is looked whether the account is to be read; most looks are a single SET."""
LOOK_AT_REDIS_EVERY_SECONDS = 20.0
HEARING_EVERY_SECONDS = 600.0
BRAKE_EVERY_SECONDS = 10.0
"""How soon a trial that went well is over; what is bad is seen when SES tells of it."""
SAY_SILENCE_EVERY_SECONDS = 86_400.0


class RepeatingThread(threading.Thread):
    """Something that a worker does again and again: a thread each, so that none holds up others."""

    def __init__(self, what: str, once: Callable[[], object], interval_seconds: float) -> None:
        super().__init__(name=f"sesmail-{what}", daemon=True)
        self._what = what
        self._once = once
        self._interval_seconds = interval_seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until stopped."""
        while not self._stopped.is_set():
            try:
                self._once()
            except (LedgerUnavailable, EventStoreUnavailable) as error:
                log.warning("no %s: %s", self._what, in_a_line(error))
            except ConfigurationError as error:
                log.error("no %s: %s", self._what, in_a_line(error))  # noqa: TRY400  it is no bug of ours
            except Exception as error:
                forget_variables(error)
                log.exception("a %s failed; it is tried again", self._what)
            self._stopped.wait(self._interval_seconds)

    def stop(self) -> None:
        """Not again."""
        self._stopped.set()


class Duties:
    """What one of the fleet does for all, each in its turn: every worker takes part, so that nobody can forget it."""

    def __init__(
        self,
        client: Client,
        worker_name: str,
        *,
        own_rate: Callable[[], float | None],
        takes_events: bool,
        takes: Collection[str] = (),
    ) -> None:
        """`own_rate` is this worker's own limit by now, in recipients a second; it `takes` from these queues."""
        self._client = client
        self._worker_name = worker_name
        self._own_rate = own_rate
        self._takes_events = takes_events
        self._receivers_looked_at = -HEARING_EVERY_SECONDS
        self._said_missing: set[str] = set()
        self._takes = takes

    def threads(self) -> list[RepeatingThread]:
        """What repeats them, to be started; this worker's rate is told at once, before it sends anything."""
        if self._takes_events:
            warn_of_topics_elsewhere(self._client.settings)
        warn_of_no_configuration_set(self._client.settings)
        with suppress(LedgerUnavailable):
            self._tell_rate()
        interval_seconds = self._client.settings.sweep_interval_seconds
        former, every_seconds = self._client.former_names, LOOK_AT_REDIS_EVERY_SECONDS
        return [
            *([RepeatingThread("look at former names", former.look, every_seconds)] if former else []),
            RepeatingThread("sweep", self.once, interval_seconds),
            *(
                RepeatingThread(
                    "check of the limits", each.watch.refresh_if_due, min(interval_seconds, LIMITS_EVERY_SECONDS)
                )
                for each in self._client.accounts.values()  # a thread each: one that is out of reach holds up no other
            ),
            RepeatingThread("look for ended sends", self._look_for_endings, TELL_EVERY_SECONDS),
            RepeatingThread("look at Redis itself", self._client.redis_health.look, LOOK_AT_REDIS_EVERY_SECONDS),
        ]

    def once(self) -> None:
        """Look once, where it is this worker's turn: one of the fleet does it in each interval."""
        client, settings = self._client, self._client.settings
        client.lease.owner()  # also an idle worker's signs of life tell that Redis can be reached
        self._tell_rate()
        # One of each site: batches are swept by their own site's workers, who might never get a turn that all shared.
        if client.turns.take(f"sweep:{settings.site}", settings.sweep_interval_seconds * 0.9):
            client.sweeper.sweep()
        turn = f"look-for-events:{settings.site}"
        if self._takes_events and client.turns.take(turn, settings.events_interval_seconds * 0.9):
            self._look_for_events()

        if client.turns.take("brake", BRAKE_EVERY_SECONDS):
            client.brake.look()
        if client.turns.take(f"check-hearing:{settings.site}", HEARING_EVERY_SECONDS):
            self._warn_where_nothing_is_heard()
        if self._takes_events and time.monotonic() >= self._receivers_looked_at + HEARING_EVERY_SECONDS:
            self._receivers_looked_at = time.monotonic()
            self._warn_of_receivers_elsewhere()

    def _warn_of_receivers_elsewhere(self) -> None:
        """Functions that a door's process has and this worker has not are never called: once for each."""
        site = self._client.settings.site
        missing = self._client.hearing.receivers(site) - heard_here(site) - self._said_missing
        if missing:
            self._said_missing |= missing
            log.warning(
                "A door of the site %s has functions for %s that this worker has not imported, so nobody calls them: "
                "events are processed here. Import them in AppConfig.ready() or by Celery's `include`.",
                site,
                ", ".join(sorted(missing)),
                extra={"action": "receivers_elsewhere"},
            )

    def _warn_where_nothing_is_heard(self) -> None:
        """Once a day: where SES tells nothing, nobody hears of a bounce or a complaint."""
        client, site = self._client, self._client.settings.site
        silence = client.hearing.silence(site)
        if silence and client.turns.take(f"say-silence:{site}", SAY_SILENCE_EVERY_SECONDS):
            log.warning(
                "%d emails or more of the site %s were sent in the last %.1f hours, and SES has told nothing of "
                "them%s: bounces, complaints and unsubscribes go unheard. Is SESMAIL_CONFIGURATION_SET set, does it "
                "publish to an SNS topic of SESMAIL_TOPICS, and does a door (`sesmail poll-sqs`, a web door) run?",
                silence.sent,
                site,
                silence.seconds / 3600,
                "" if silence.ever_heard else ", nor ever anything",
                extra={"action": "events_unheard", "sent": silence.sent},
            )

    def _tell_rate(self) -> None:
        """Let the worker's other processes know its rate limit, which `celery control rate_limit` may have changed."""
        self._client.worker_rates.tell(self._worker_name, self._own_rate())
        self._client.fleet.takes_from(self._takes, self._worker_name)

    def _look_for_events(self) -> None:
        """Events that another site's doors, or Lambda, have stored were announced to nobody here."""
        site = self._client.settings.site
        # Other stores are not asked in this thread, which must not be held up.
        if self._client.settings.event_store or self._client.event_store.counts(site).unprocessed:
            self._client.broker.process_events(site)

    def _look_for_endings(self) -> None:
        """Receivers are told in a task, as those of events are: there, Django's connections are looked after."""
        site = self._client.settings.site
        client = self._client
        waits = self._takes_events and (client.teller.listen() or client.batch_teller.has_something_to_tell())
        if waits and self._client.turns.take(f"tell-of-ends:{site}", TELL_EVERY_SECONDS):
            self._client.broker.process_events(site)


def warn_of_no_configuration_set(settings: Settings) -> None:
    """SES publishes events for a configuration set alone; who has topics wants them."""
    from sesmail.doctor.configuration import said_of_no_configuration_set  # noqa: PLC0415  it loads botocore

    if settings.topics and (said := said_of_no_configuration_set(settings)):
        log.warning("%s", said, extra={"action": "no_configuration_set"})


def warn_of_topics_elsewhere(settings: Settings) -> None:
    """Topics for other sites alone mean most likely that SESMAIL_SITE was forgotten: nobody processes their events."""
    from sesmail.doctor.configuration import said_of_topics_elsewhere  # noqa: PLC0415  it loads botocore

    if said := said_of_topics_elsewhere(settings):
        log.warning("%s", said, extra={"action": "topics_elsewhere"})
