"""The queues of the broker that a worker consumes: the lanes, SES's events, sweeps."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sesmail import runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

log = logging.getLogger("sesmail")

SWEEP_QUEUE = "sesmail.sweep"
EVENTS_QUEUE = "sesmail.events"


def consume_lanes(instance: Any, options: Mapping[str, Any], *, stand_alone: bool) -> None:
    """Consume the lanes' queues, transactional first, unless `-Q` or `-X` say otherwise."""
    queues, tickets = instance.app.amqp.queues, lanes()
    if not options.get("queues"):
        own = [*queues.consume_from]
        lanes_and_events = [EVENTS_QUEUE, *tickets]  # before the lanes: a full one would hold them up for hours
        wanted = [SWEEP_QUEUE, *lanes_and_events, *own] if stand_alone else [*own, *lanes_and_events]
        queues.select([declared_queue(instance.app, name).name for name in wanted])
        queues.deselect(options.get("exclude_queues"))
    missing = [name for name in tickets if name not in queues.consume_from]
    if len(missing) == 1:
        log.warning("this worker consumes one lane but not %s; see that another one does", missing[0])


def lanes() -> list[str]:
    """The queues of the two lanes' tickets, transactional first."""
    settings = runtime.current().settings
    return [settings.transactional_queue, settings.bulk_queue]


def declared_queue(app: Celery, name: str) -> Any:
    """The `kombu.Queue` of this name: as the application defines it, else as its producers make up missing ones.

    Both sides must say the same of it, or RabbitMQ refuses the second; and an application may have forbidden to make
    up missing queues.
    """
    queues = app.amqp.queues
    return queues[name] if name in queues else queues.add(queues.new_missing(name))
