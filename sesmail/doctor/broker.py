"""Celery's broker, and the workers that take tickets from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.doctor.table import Level, Said, Section
from sesmail.message import Lane
from sesmail.sending.essence import emails
from sesmail.state.server.connection import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.doctor.patient import Patient

SILENT_SECONDS = 120.0
LONG_VISIBILITY_SECONDS = 4 * 3600.0


_of_broker = Section("The broker", docs="reliability.md")


@_of_broker("broker-unreachable", Level.ERROR, "Start it, or mend `broker_url` (CELERY_BROKER_URL).")
def broker_unreachable(of: Patient) -> str | None:
    """The broker is away: email is accepted, but its tickets reach no worker until it is back."""
    why = of.broker.unreachable()
    return f"The broker {of.broker.place} cannot be reached ({why}): tickets wait in the ledger." if why else None


@_of_broker("broker-eager", Level.ERROR, "Unset `task_always_eager` where mail is real.", "testing.md")
def broker_eager(of: Patient) -> str | None:
    """Tasks run in the process that calls them, as tests want it: each `.delay()` asks SES itself, and waits."""
    if not of.broker.is_eager:
        return None
    return "task_always_eager is on: each .delay() asks SES itself, in the request that called it."


@_of_broker(
    "broker-apart",
    Level.INFO,
    "Leave SESMAIL_REDIS_URL out to have both in the broker; where it is meant, let it be.",
    "deployment.md",
)
def broker_apart(of: Patient) -> str | None:
    """Ledger and broker are two Redis: two stores to keep and to back up. Often a slip, sometimes meant."""
    return said_of_two_stores(of)


def said_of_two_stores(of: Patient) -> str | None:
    """In words; None where they are one, or the broker is no Redis."""
    ledger = shown(of.settings.redis_url, master_name=of.settings.redis_master_name)
    if not of.broker.is_redis or of.broker.place == ledger:
        return None
    return f"The ledger is {ledger}, but the broker is {of.broker.place}: two stores to keep and to back up."


@_of_broker(
    "broker-visibility-short",
    Level.WARNING,
    'Set `broker_transport_options = {"visibility_timeout": 300}`, or more.',
)
def broker_visibility_short(of: Patient) -> str | None:
    """The broker gives tickets to a second worker while the first still holds them: work in vain."""
    seconds, holding = of.broker.visibility_timeout_seconds, of.settings.holding_seconds
    if seconds is None or seconds >= holding:
        return None
    return f"visibility_timeout is {seconds:.0f} s, but a worker may hold a ticket for {holding:.0f}: it comes twice."


@_of_broker(
    "broker-visibility-long",
    Level.INFO,
    'Set `broker_transport_options = {"visibility_timeout": 300}`, unless your own tasks take longer.',
)
def broker_visibility_long(of: Patient) -> str | None:
    """What a dead worker held stays in the broker for hours. Email does not wait for it; your own tasks do."""
    seconds = of.broker.visibility_timeout_seconds
    if seconds is None or seconds <= LONG_VISIBILITY_SECONDS:
        return None
    return f"visibility_timeout is {seconds / 3600:.0f} h: what a dead worker held stays in the broker for as long."


_of_workers = Section("Workers", docs="plain-python.md")


@_of_workers(
    "no-worker",
    Level.ERROR,
    "Start one: `celery -A sesmail worker`, or your project's. If one runs, its log says why it takes no email; or has "
    "it another ledger?",
)
def no_worker(of: Patient) -> Iterator[Said]:
    """No worker process has been heard on this ledger: whatever is accepted waits."""
    yield from map(Said.by, of.in_the_way("no-worker"))


@_of_workers(
    "queue-unattended",
    Level.WARNING,
    "Add the queue to a worker's -Q, or start one without -Q.",
)
def queue_unattended(of: Patient) -> Iterator[Said]:
    """A worker lives, but none takes the tickets of a lane: started with -Q, or -X, and without its queue."""
    if not of.essence.workers:
        return
    of_lane = {lane: of.settings.queue_of(lane) for lane in Lane}
    for name in of.client.fleet.unattended(list(dict.fromkeys(of_lane.values())), SILENT_SECONDS):
        waiting = sum(of.essence.lanes[lane].queued for lane in Lane if of_lane[lane] == name)
        said = f"Workers live, but none takes tickets from the queue {name}; {emails(waiting) if waiting else 'none'} "
        yield Said(
            what=f"{said}{'waits' if waiting in {0, 1} else 'wait'} there.", level=Level.ERROR if waiting else None
        )


@_of_workers("line-closed", Level.WARNING, "`sesmail why` says what each is for, and what to do.", "throttle.md")
def line_closed(of: Patient) -> Iterator[Said]:
    """Sending is paused by an operator, or stopped because SES would refuse all of it."""
    yield from map(Said.by, of.in_the_way("paused", "stopped"))
