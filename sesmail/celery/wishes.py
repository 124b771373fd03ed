"""What a caller wants with an email besides its being sent: Celery's callbacks, chain, chord, headers, result.

They are written down with the send (JSON with a version), so that every ticket that is issued again is as good
as the first, and so that they are heeded at its end, whoever brings that about. A continuation has its task id from the
start: where one must be published twice, what takes it can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery import Task
from kombu.utils import json
from kombu.utils.uuid import uuid

from sesmail import tracing
from sesmail.celery.internals import HEADERS_OF_CELERY, MessageTaker
from sesmail.celery.queues import STAND_ALONE, routed
from sesmail.errors import InvalidEmail
from sesmail.vocabulary import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celery import Celery

    from sesmail.vocabulary import Envelope

VERSION = 1
MOST_BYTES = 1_000_000
"""More than that is no message for a broker: SQS takes a mebibyte."""

CONTINUATIONS = {"link": "callbacks", "link_error": "errbacks", "chain": "chain", "chord": "chord"}
"""What follows a task, as `apply_async` names it, and as a message does."""
CALLBACKS = ("callbacks", "errbacks")
FAMILY = {"group_id": "group", "group_index": "group_index", "root_id": "root_id", "parent_id": "parent_id"}
"""Of what it is a part, by the names in options and in a message's headers."""
HOSTS_QUEUE = "celery"
"""Celery's own default, for tasks of a host whose configuration a stand-alone worker does not know."""
NO_BACKEND = ("", "disabled", "disabled://")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Composed:
    """A ticket as Celery would publish it, for a broker to publish once the email is accepted."""

    task_id: str
    messages: list[tuple[Any, dict[str, Any]]]
    """The ticket, and the event that tells of it where such are wanted: each a body with kombu's options."""
    caller: Caller
    producer: Any
    """The caller's own, or None."""
    is_ignored: bool
    """Whether nobody wants to know the result."""
    envelope: Envelope | None = None
    """The ticket for the ledger to put into its queue; `messages` are not made then."""


def compose(app: Celery, task: Any, task_id: str, options: Mapping[str, Any], connection: Any) -> Composed:
    """Let Celery, and whoever instruments it, make a ticket of the caller's options, without publishing it.

    `connection` is any that leads to the broker; it is not connected. Raises `InvalidEmail` for continuations that
    cannot be kept.
    """
    wanted = dict(options)
    named = wanted.pop("task_id", None) is not None
    producer = wanted.pop("producer", None) or wanted.pop("publisher", None)
    if own := wanted.pop("connection", None):
        producer = app.amqp.Producer(own, auto_declare=False)
    is_ignored = wanted.pop("ignore_result", None)
    is_ignored = bool(task.ignore_result if is_ignored is None else is_ignored)
    taker = MessageTaker(connection)
    # Where results are not ignored, Celery would talk to their backend now; that is done when the ticket is published.
    Task.apply_async(
        task, (), {"send_id": task_id}, task_id=task_id, producer=taker, **{**wanted, "ignore_result": True}
    )
    body, how = taker.messages[0]
    tracing.put_into(how["headers"])
    how["headers"]["ignore_result"] = is_ignored
    for field in CALLBACKS:
        body[2][field] = _identified(body[2][field])
    wishes = _wishes(app, body[2], how, is_ignored, keeps_reply="reply_to" in options)
    return Composed(
        task_id=task_id,
        messages=taker.messages,
        caller=_caller(app, task_id, wishes, is_ignored=is_ignored, named=named),
        producer=producer,
        is_ignored=is_ignored,
    )


def is_rpc(app: Celery) -> bool:
    """Whether results come to a queue of the caller's, and to nobody else."""
    return str(app.conf.result_backend or "").startswith("rpc")


def caller_of_request(app: Celery, request: Any) -> Caller:
    """The caller of a task that came with the email as its arguments, from a client without sesmail."""
    wishes = {
        **{name: getattr(request, field) for name, field in CONTINUATIONS.items()},
        "link": _identified(request.callbacks),
        "link_error": _identified(request.errbacks),
        **{name: getattr(request, field) for name, field in FAMILY.items()},
        "headers": _plain(request.headers or {}),
        "reply_to": request.reply_to,
        "priority": (request.delivery_info or {}).get("priority"),
        "ignore_result": bool(request.ignore_result),
    }
    return _caller(app, request.id, _given(wishes, request.id), is_ignored=bool(request.ignore_result), named=True)


def read(text: str) -> dict[str, Any] | None:
    """The wishes again, without their version; None for what a newer release wrote."""
    wishes = dict(json.loads(text)) if text else {"v": VERSION}  # type: ignore[no-untyped-call]
    return wishes if wishes.pop("v") == VERSION else None


def options_of(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """As options of Celery's `apply_async`, but for the headers and `ignore_result`."""
    rest = {name: value for name, value in wishes.items() if name not in ("headers", "ignore_result", "stamps")}
    return {**rest, **wishes.get("stamps", {})}


def to_their_queues(app: Celery, wishes: dict[str, Any]) -> dict[str, Any]:
    """The wishes; in a stand-alone worker, tasks of a host's among what follows go to a queue of the host's.

    The default queue of that worker is ours: there they would be misfits. Others go where the application's own
    `task_routes`, or the signature, say.
    """
    if app.main != STAND_ALONE:
        return wishes
    given = [wishes.get(name) or [] for name in CONTINUATIONS]
    signatures = (one for each in given for one in ([each] if isinstance(each, dict) else each))
    for task in (task for signature in signatures for task in _tasks_in(signature)):
        if task["task"] not in app.tasks and not routed(app, task["task"]):
            task["options"].setdefault("queue", HOSTS_QUEUE)
    return wishes


def put_into(request: Any, wishes: Mapping[str, Any], *, is_failure: bool) -> None:
    """Have Celery end a task for this caller, whatever ticket it came by: errbacks, chord, group, result.

    What follows a success is not among it: see `SendTask.go_on`. The rest of a chain is told of a failure only.
    """
    vars(request).update(
        {field: wishes.get(name) for name, field in FAMILY.items()},
        callbacks=None,
        chain=wishes.get("chain") if is_failure else None,
        errbacks=wishes.get("link_error"),
        chord=wishes.get("chord"),
        reply_to=wishes.get("reply_to") or getattr(request, "reply_to", None),
        correlation_id=request.id,
        ignore_result=bool(wishes.get("ignore_result")),
    )


def quieten(request: Any) -> None:
    """End a task so that nothing follows and no result is written: another ticket, or a later one, ends it."""
    nothing = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
    vars(request).update(nothing, ignore_result=True)


# -- what is written --------------------------------------------------------------------------------------------------


def _wishes(
    app: Celery, embedded: Mapping[str, Any], how: Mapping[str, Any], is_ignored: bool, *, keeps_reply: bool
) -> dict[str, Any]:
    headers = how["headers"]
    replies = keeps_reply or is_rpc(app)
    wishes = {
        **{name: embedded.get(field) for name, field in CONTINUATIONS.items()},
        **{name: headers.get(field) for name, field in FAMILY.items()},
        **{name: headers.get(name) for name in ("shadow", "replaced_task_nesting", "stamped_headers", "stamps")},
        "headers": _plain({name: value for name, value in headers.items() if name not in HEADERS_OF_CELERY}),
        "reply_to": how.get("reply_to") if replies and not is_ignored else None,
        "priority": how.get("priority"),
        "ignore_result": is_ignored,
    }
    return _given(wishes, headers["id"])


def _given(wishes: Mapping[str, Any], task_id: str) -> dict[str, Any]:
    """Those that say something: Celery makes a task its own root, and a priority of 0 is one."""
    nothing: tuple[Any, ...] = (None, "", [], {})
    return {
        name: value
        for name, value in wishes.items()
        if value not in nothing and (name, value) not in (("root_id", task_id), ("replaced_task_nesting", 0))
    }


def _caller(app: Celery, task_id: str, wishes: dict[str, Any], *, is_ignored: bool, named: bool) -> Caller:
    goes_on = any(wishes.get(name) for name in CONTINUATIONS)
    asks = not is_ignored and (app.conf.result_backend or "") not in NO_BACKEND
    rest = {name: value for name, value in wishes.items() if name != "ignore_result"}
    return Caller(
        task_id=task_id,
        wishes=_written(wishes) if rest or asks else "",
        waits=asks or goes_on,
        waits_for_others=goes_on or (asks and named),
    )


def _written(wishes: Mapping[str, Any]) -> str:
    text = _json({"v": VERSION, **wishes})
    if len(text) > MOST_BYTES:
        raise InvalidEmail("link", f"what follows the email takes {len(text)} bytes", f"{MOST_BYTES} bytes")
    return text


def _json(value: Any) -> str:
    try:
        return str(json.dumps(value, separators=(",", ":")))  # type: ignore[no-untyped-call]
    except (TypeError, ValueError) as error:
        problem = f"what follows the email cannot be written as JSON ({type(error).__name__})"
        raise InvalidEmail("link", problem, "arguments that JSON can hold") from None


def _plain(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Those that JSON can hold; an instrument's others go with the first ticket alone."""
    return {name: value for name, value in headers.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)  # type: ignore[no-untyped-call]
    except (TypeError, ValueError):
        return False
    return True


# -- fixed task ids ---------------------------------------------------------------------------------------------------


def _identified(signatures: Any) -> Any:
    """Callbacks with a task id each, where they have none, also those within a group or chain; as JSON has them.

    The steps of a chain and the body of a chord have theirs from Celery. The caller's own signatures stay as they are.
    """
    if not signatures:
        return signatures
    own = json.loads(_json(signatures))  # type: ignore[no-untyped-call]
    for signature in own:
        for each in _tasks_in(signature):
            each["options"].setdefault("task_id", uuid())
    return own


def _tasks_in(signature: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(signature, dict) or not isinstance(signature.get("options"), dict):
        return
    if not signature.get("subtask_type"):
        yield signature
        return
    kwargs = signature.get("kwargs") or {}
    for one in (*(kwargs.get("tasks") or ()), *(kwargs.get("header") or ()), kwargs.get("body")):
        yield from _tasks_in(one)
