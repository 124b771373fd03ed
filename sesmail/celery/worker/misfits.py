"""Messages in our queues that are neither ticket nor email: set aside with their bytes, so that no worker ends by them.

Celery logs what it cannot understand, body and all, and drops it, or ends by it and finds it again when it is started
anew. What others sent to a host's own queues is left to Celery, as ever.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import inspect
import json
import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from celery.exceptions import InvalidTaskError

from sesmail.celery.broker import SEND, SEND_LOT
from sesmail.celery.current import client_of
from sesmail.celery.groups import Groups, fits
from sesmail.celery.internals import keep_client_of, look_at_what_redis_pops
from sesmail.celery.options import is_signature
from sesmail.errors import InvalidEmail
from sesmail.sending.outbox import SEND_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

log = logging.getLogger("sesmail")

OURS = "sesmail."
"""What the names of our tasks begin with, and most likely those that are meant for them."""
SHOWN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, InvalidTaskError)
"""What Celery raises over a message that it takes for a task and cannot read."""
LONGEST_LIMIT_SECONDS = 86_400.0
NO_MESSAGE = "application/octet-stream"
"""The content type of what was found where a message should be."""
_NO_PROTOCOL = "its body is not [args, kwargs, embed], as Celery's protocol has it"
FOLLOWS = ("callbacks", "errbacks", "chain", "chord")
"""What of a message's third part names tasks."""
_KINDS = {"args": (list, tuple), "kwargs": (dict,), "embed": (dict, type(None))}


class Misfits:
    """Looks at each message of ours that a worker's consumer gets, before Celery does."""

    def __init__(self, consumer: Any, queues: Collection[str] | None, *, in_groups: bool = False) -> None:
        """`queues` are those whose messages are ours; None: all of them. `in_groups`: see groups.py."""
        self._consumer = consumer
        self._in_groups = in_groups
        self._queues = queues
        self._tasks = consumer.app.tasks
        self._celerys_handler = consumer.create_task_handler
        consumer.create_task_handler = self._create_task_handler
        for name in ("on_decode_error", "on_invalid_task", "on_unknown_message", "on_unknown_task"):
            setattr(consumer, name, self._unless_ours(getattr(consumer, name)))

    # -- what comes -------------------------------------------------------------------------------------------------

    def _create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        """Called with each connection: what is no message at all, kombu ends by before anybody else sees it."""
        channel, hub = self._consumer.task_consumer.channel, self._consumer.hub
        look_at_what_redis_pops(channel, self._mended)
        keep_client_of(channel)
        if self._in_groups and fits(channel, hub):
            Groups(channel, hub, self._mended)
        celerys = self._celerys_handler(*args, **options)

        def handle(message: Any) -> Any:
            if not self._is_ours(message):
                return celerys(message)
            if problem := problem_of(message, self._tasks):
                return self._set_aside(message, problem)
            try:
                return celerys(message)
            except UNREADABLE as error:
                return self._set_aside(message, f"Celery cannot read it ({type(error).__name__})")

        return handle

    def _unless_ours(self, celerys: Callable[..., Any]) -> Callable[..., Any]:
        """One of Celery's ways to log a message and drop it; the message and the error come last."""

        def refuse(*said: Any) -> Any:
            message, error = said[-2:] if isinstance(said[-1], Exception) else (said[-1], None)
            if not self._is_ours(message):
                return celerys(*said)
            return self._set_aside(message, f"it cannot be decoded ({type(error).__name__})" if error else _NO_PROTOCOL)

        return refuse

    def _is_ours(self, message: Any) -> bool:
        """By its queue or by its task. A host's own task is not, whatever queue it was sent through."""
        name = _task_name(message)
        if isinstance(name, str) and name.startswith(OURS):
            return True
        if isinstance(name, str) and name in self._tasks:
            return False
        return self._is_our_queue((message.delivery_info or {}).get("routing_key", ""))

    def _is_our_queue(self, name: str) -> bool:
        return self._queues is None or name in self._queues

    def _mended(self, queue: str, item: bytes) -> bytes:
        """What was popped from a queue; if it is no message, one that carries it."""
        return item if not self._is_our_queue(queue) or is_message(item) else wrapped(queue, item)

    # -- what becomes of it -----------------------------------------------------------------------------------------

    def _set_aside(self, message: Any, problem: str) -> None:
        """Keep it where `sesmail failed` lists it. While the ledger is away, it stays with the broker."""
        if message.acknowledged:
            return
        queue = (message.delivery_info or {}).get("routing_key", "")
        content = bytes(message.body or b"") if not isinstance(message.body, str) else message.body.encode()
        task_id = (message.headers or {}).get("id")
        try:
            ledger = client_of(self._consumer.app).ledger
            kept_as = ledger.set_aside(_send_id(task_id, content), content, f"no ticket and no email: {problem}")
        except Exception as error:  # noqa: BLE001  whatever it is, the worker goes on
            log.warning(
                "A message in the queue %s is neither ticket nor email (%s), and cannot be set aside now (%s). It "
                "stays with the broker, which brings it again.",
                queue,
                problem,
                type(error).__name__,
            )
            return
        message.ack_log_error(log, self._consumer.connection_errors)
        log.error(
            "A message in the queue %s is neither ticket nor email: %s. No email goes out by it. It is set aside with "
            "its bytes as %s, where `sesmail failed` lists it; mend what sends it.",
            queue,
            problem,
            kept_as,
            extra={"action": "set_aside", "send_id": kept_as},
        )
        if isinstance(task_id, str):
            with suppress(Exception):  # who waits for its result is told, where there is somebody who tells
                self._consumer.app.backend.mark_as_failure(task_id, InvalidEmail("message", problem))


def _task_name(message: Any) -> Any:
    """As its headers say it; in Celery's former protocol, its body."""
    headers = message.headers
    return headers.get("task") if isinstance(headers, dict) else None


def problem_of(message: Any, tasks: Mapping[str, Any]) -> str:
    """Why a message is neither ticket nor email; empty where it may be one. Nothing of its content is in it."""
    if message.content_type == NO_MESSAGE:
        return "it is no message of Celery's"
    try:
        payload = message.payload
    except Exception as error:  # noqa: BLE001  whatever a serializer raises
        return f"its body cannot be decoded ({type(error).__name__})"
    read = _read(message, payload)
    if read is None:
        return _NO_PROTOCOL
    name, task_id, parts, headers = read
    if not isinstance(name, str) or name not in tasks:
        shown = f" {name}" if isinstance(name, str) and SHOWN_NAME.fullmatch(name) else ""
        return f"there is no task{shown} here"
    return (
        _problem_of_id(name, task_id)
        or _problem_of_headers(headers)
        or _problem_of_parts(parts)
        or _problem_of_what_follows(parts[2])
        or _problem_of_ticket(name, parts[1])
        or _problem_of_arguments(tasks[name], *parts[:2])
    )


def _problem_of_id(name: str, task_id: Any) -> str:
    """Celery writes it into every line about the task, whatever controls are in it."""
    if not isinstance(task_id, str):
        return "it has no id"
    is_one = SEND_ID.fullmatch(task_id) or not name.startswith(OURS)
    return "" if is_one else "its id is none of a send: 1 to 128 letters, digits, _ and -"


def _problem_of_headers(headers: Mapping[str, Any]) -> str:
    """Of those that Celery believes unseen: it would never end the task, or its whole pool would stop working."""
    shadow = headers.get("shadow")  # which lines about the task have instead of its name
    if not (shadow is None or (isinstance(shadow, str) and shadow.isprintable())):
        return "the name that it is to be shown by (shadow) is none"
    limits = headers.get("timelimit")
    if not (limits is None or (isinstance(limits, list | tuple) and len(limits) == 2 and all(map(_is_limit, limits)))):
        return "its time limits (timelimit) are not two numbers of seconds"
    return ""


def _is_limit(seconds: Any) -> bool:
    """Zero is none, as Celery has it; what is not finite would overflow the pool's clock."""
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return seconds is None or (is_number and 0 <= seconds <= LONGEST_LIMIT_SECONDS)


def _problem_of_arguments(task: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """Those that Python would not call the task with. That of an email takes any, and says itself what is wrong."""
    if task.name == SEND or not task.name.startswith(OURS):
        return ""
    try:
        inspect.signature(task.run).bind(*args, **kwargs)
    except TypeError:
        return "its arguments are none that its task takes"
    return ""


def _read(message: Any, payload: Any) -> tuple[Any, Any, Sequence[Any], Mapping[str, Any]] | None:
    """The task's name, its id, args with kwargs and embed, and what else is said of the task.

    None where it is of neither of Celery's protocols.
    """
    name, task_id = _task_name(message), message.headers.get("id")
    if isinstance(payload, dict) and ("args" in payload or "task" in payload):  # the former one
        parts = payload.get("args", ()), payload.get("kwargs", {}), None
        return name or payload.get("task"), payload.get("id") or task_id, parts, payload
    if isinstance(payload, list | tuple) and len(payload) == len(_KINDS):
        return name, task_id, payload, message.headers
    return None


def _problem_of_parts(parts: Sequence[Any]) -> str:
    for (part, kinds), value in zip(_KINDS.items(), parts, strict=True):
        if not isinstance(value, kinds):
            return f"its {part} are of a wrong kind ({type(value).__name__})"
    return ""


def _problem_of_what_follows(embed: dict[str, Any] | None) -> str:
    """Celery looks at it when the task has ended: an error there leaves the message with the worker for good."""
    for name in FOLLOWS:
        found = (embed or {}).get(name) or []
        signatures = [found] if found and name == "chord" else found
        if not isinstance(signatures, list | tuple) or not all(map(is_signature, signatures)):
            return f"its {name} are no signatures of tasks"
    return ""


def _problem_of_ticket(name: str, kwargs: dict[str, Any]) -> str:
    """A ticket names a send, or several."""
    if name == SEND and "send_id" in kwargs:
        named: Any = [kwargs["send_id"]]
    elif name == SEND_LOT:
        named = kwargs.get("send_ids")
    else:
        return ""
    is_ticket = isinstance(named, list) and all(isinstance(one, str) and SEND_ID.fullmatch(one) for one in named)
    return "" if is_ticket else "it is a ticket that names no send"


def _send_id(task_id: Any, content: bytes) -> str:
    """The id of the message where a send may have it, so that its sender can ask for it; else one of its content."""
    if isinstance(task_id, str) and SEND_ID.fullmatch(task_id):
        return task_id
    return f"aside-{hashlib.sha256(content).hexdigest()[:24]}"


# -- what kombu's Redis transport can read ----------------------------------------------------------------------------


def is_message(item: bytes) -> bool:
    """Whether kombu can make a message of what was popped from a list in Redis."""
    try:
        raw = json.loads(item.decode())
        properties = raw["properties"]
        delivery = properties["delivery_info"]
        names = (properties["delivery_tag"], delivery["exchange"], delivery["routing_key"])
        encoding, body = properties.get("body_encoding"), raw.get("body")
        if body and encoding == "base64":
            binascii.a2b_base64(body)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return False
    return (
        all(isinstance(name, str) for name in names)
        and encoding in (None, "base64")
        and isinstance(body, str | None)
        and isinstance(raw.get("headers"), dict | None)
    )


def wrapped(queue: str, item: bytes) -> bytes:
    """A message of no task, whose body is what was found in the queue."""
    properties = {
        "body_encoding": "base64",
        "delivery_tag": str(uuid4()),
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0,
    }
    envelope = {
        "body": base64.b64encode(item).decode(),
        "content-type": NO_MESSAGE,
        "content-encoding": "binary",
        "headers": {},
        "properties": properties,
    }
    return json.dumps(envelope).encode()
