"""The queues of the broker: their names, what a worker consumes, where a ticket goes.

Names follow the key prefix, so that two installations on one broker do not take each other's tickets. Until release
0.1 all installations had the same names; those are consumed as well, so that nothing stays behind in them.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sesmail.message import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from celery import Celery

    from sesmail.settings import Settings

log = logging.getLogger("sesmail")

STAND_ALONE = "sesmail"
"""The name of the stand-alone app."""

FORMER_EVENTS_QUEUE = "sesmail.events"
FORMER_TICKET_QUEUES = ("sesmail.transactional", "sesmail.bulk")
FORMER_SWEEP_QUEUE = "sesmail.sweep"


def lanes(settings: Settings) -> list[str]:
    """The queues of the two lanes' tickets, transactional first."""
    return [settings.queue_of(lane) for lane in Lane]


def routed(app: Celery, task: str) -> str | None:
    """The queue that the application's own `task_routes` name for a task of ours: it goes before ours."""
    route = app.amqp.router.lookup_route(task, (), {}, {}, None) or {}
    queue = route.get("queue") if isinstance(route, dict) else route
    name: str | None = getattr(queue, "name", queue)
    return name


def define_ours(app: Celery, settings: Settings) -> None:
    """Let `-Q` name our queues also where an application forbids to make up missing ones."""
    for name in (*lanes(settings), settings.batches_queue, settings.events_queue):
        declared_queue(app, name)


def former_queues(settings: Settings, *, stand_alone: bool) -> list[str]:
    """Queues in which an earlier release put what is this installation's, where they are not today's as well."""
    own = {*lanes(settings), settings.sweep_queue}
    sweeps = (FORMER_SWEEP_QUEUE,) if stand_alone else ()
    return [name for name in (*sweeps, FORMER_EVENTS_QUEUE, *FORMER_TICKET_QUEUES) if name not in own]


def queues_of_ours(settings: Settings) -> set[str]:
    """Every queue in which what is for email may stand, by today's names and by former ones."""
    own = {*lanes(settings), settings.batches_queue, settings.sweep_queue, settings.events_queue}
    return own | set(former_queues(settings, stand_alone=True))


def consume_lanes(instance: Any, options: Mapping[str, Any], settings: Settings, *, stand_alone: bool) -> None:
    """Consume the lanes' queues, transactional first, unless `-Q` or `-X` say otherwise."""
    queues, tickets = instance.app.amqp.queues, lanes(settings)
    if not options.get("queues"):
        own = [*queues.consume_from]
        # Events before the lanes: a full one would hold them up for hours.
        # Few tickets of batches are out at a time: before bulk, so that they do not wait behind all of it.
        transactional, bulk = tickets
        ours = [
            settings.events_queue,
            transactional,
            settings.batches_queue,
            bulk,
            *former_queues(settings, stand_alone=stand_alone),
        ]
        wanted = [settings.sweep_queue, *ours, *own] if stand_alone else [*own, *ours]
        queues.select([declared_queue(instance.app, name).name for name in wanted])
        queues.deselect(options.get("exclude_queues"))
    elif tickets[1] in queues.consume_from:  # whoever named the lane before there were batches means both
        queues.select_add(declared_queue(instance.app, settings.batches_queue))
        queues.deselect(options.get("exclude_queues"))
    missing = [name for name in tickets if name not in queues.consume_from]
    if len(missing) == len(tickets):
        log.warning(
            "this worker takes no email: it consumes neither %s. See that another one does, or add them to its -Q.",
            " nor ".join(missing),
        )
    elif missing:
        log.warning("this worker consumes one lane but not %s; see that another one does", missing[0])


def delete_queues(app: Celery, names: Iterable[str]) -> None:
    """Delete these queues with what is in them, where the broker can be reached. For tests."""
    with app.connection_for_write() as connection, suppress(*connection.connection_errors):
        for name in names:
            queue = declared_queue(app, name).bind(connection.default_channel)
            queue.declare()  # kombu's Redis transport deletes what this connection has declared
            queue.delete()


def declared_queue(app: Celery, name: str) -> Any:
    """The `kombu.Queue` of this name: as the application defines it, else as its producers make up missing ones.

    Both sides must say the same of it, or RabbitMQ refuses the second; and an application may have forbidden to make
    up missing queues.
    """
    queues = app.amqp.queues
    return queues[name] if name in queues else queues.add(queues.new_missing(name))
