"""First tickets as kombu would push them, for the ledger to push in the act that accepts the email.

Where the ledger's Redis carries the tickets, too, that is one round trip instead of two, and no send is ever without a
ticket. What the tickets of a process have in common is taken from two that Celery and kombu make themselves; where
those differ in more than is known to differ, or anything else is unusual, tickets go Celery's way.
"""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kombu.utils.uuid import uuid

from sesmail import tracing
from sesmail.celery.addresses import redis_of_broker
from sesmail.celery.internals import (
    is_instrumented,
    is_kombu_s_redis,
    is_watched,
    pushed_by_kombu,
    routes_by_name_alone,
    tells_backend_of_calls,
)
from sesmail.celery.wishes import Composed
from sesmail.errors import ConfigurationError
from sesmail.hosts import BROKER
from sesmail.state.server.address import Kind, read_address
from sesmail.vocabulary import Caller, Envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery import Celery

    from sesmail.message import Lane
    from sesmail.settings import Settings

log = logging.getLogger("sesmail")

_TRIED_WITH = ("sesmail-a", "sesmail-another")
"""The ids of two tickets that nobody gets; of several lengths, as some forms of writing tell lengths."""


class Unusual(Exception):
    """Tickets go Celery's way; it says why."""


class Envelopes:
    """Makes them, for one app; one object a process, for all its threads."""

    def __init__(self, app: Celery, settings: Settings, by_celery: Callable[[str, Lane], Composed]) -> None:
        """`by_celery` composes a ticket without options of the caller's."""
        self._app = app
        self._settings = settings
        self._by_celery = by_celery
        self._forms: dict[Lane, _Form | str] = {}

    def composed(self, task_id: str, lane: Lane, *, named: bool) -> Composed | None:
        """A ticket in its envelope, not composed by Celery; None where it has to be. `named` ids are the caller's."""
        form = self._watched() or self._form(lane)
        if not isinstance(form, _Form):
            return None
        return form.composed(task_id, self._app.thread_oid, named=named)

    def why_not(self, lane: Lane) -> str:
        """Why tickets go Celery's way; empty where they go with the email."""
        form = self._watched() or self._form(lane)
        return form if isinstance(form, str) else ""

    def _watched(self) -> str:
        """Why each ticket is its own by now, and none may be the form of others: a trace in it would be everybody's."""
        if is_watched(self._app) or tracing.current():
            return "each carries what is going on, or somebody is told of it"
        if is_instrumented(self._app):  # at any time: Sentry may start after the first emails
            return "somebody has wrapped how Celery publishes, to trace it"
        return ""

    def _form(self, lane: Lane) -> _Form | str:
        found = self._forms.get(lane)
        if found is None:
            found = self._forms[lane] = self._made(lane)
            log.debug("tickets go %s", f"Celery's way: {found}" if isinstance(found, str) else "with their emails")
        return found

    def _made(self, lane: Lane) -> _Form | str:
        try:
            self._check()
            one, another = (self._by_celery(task_id, lane) for task_id in _TRIED_WITH)
            return _form_of(one, another, dict(self._app.conf.broker_transport_options or {}), self._app.thread_oid)
        except Unusual as reason:
            return str(reason)
        except Exception as error:  # noqa: BLE001  Celery's way is open, whatever it is
            return f"they cannot be made in advance ({type(error).__name__})"

    def _check(self) -> None:
        app = self._app
        if self._settings.first_ticket == "celery":
            raise Unusual("so says SESMAIL_FIRST_TICKET")
        connection = app.connection_for_write()
        if not is_kombu_s_redis(connection) or len(connection.alt) > 1:
            raise Unusual("the broker is not a single Redis by kombu's own transport")
        if (app.conf.broker_transport_options or {}).get("global_keyprefix") or self._settings.global_key_prefix:
            raise Unusual("there is a global_keyprefix")
        if not self._is_of_ledger():
            raise Unusual("the broker is not the server and database of the ledger, by the same name")
        if not routes_by_name_alone(app):
            raise Unusual("a function routes tasks")
        if tells_backend_of_calls(app):
            raise Unusual("the result backend is told of each call")

    def _is_of_ledger(self) -> bool:
        conf = self._app.conf
        named = conf.broker_write_url or conf.broker_url
        broker = redis_of_broker(named, conf.broker_use_ssl, conf.broker_transport_options)
        try:
            ledgers = read_address(self._settings.redis_url, master_name=self._settings.redis_master_name)
            return ledgers.kind is Kind.ONE and str(ledgers) == str(read_address(broker or "", said_as=BROKER))
        except ConfigurationError:
            return False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """What all tickets of a lane have in common."""

    queue: str
    message: str
    """As `%` fills it in."""
    body: str
    one: Composed
    """A ticket by Celery, with another's name."""

    def composed(self, task_id: str, reply_to: str, *, named: bool) -> Composed:
        caller = self.one.caller
        return Composed(
            task_id=task_id,
            messages=[],
            caller=Caller(
                task_id=task_id,
                wishes=caller.wishes,
                waits=caller.waits,
                waits_for_others=caller.waits_for_others and named,
            ),
            producer=None,
            is_ignored=self.one.is_ignored,
            envelope=Envelope(queue=self.queue, message=self.filled_in(task_id, reply_to, uuid())),
        )

    def filled_in(self, task_id: str, reply_to: str, delivery_tag: str) -> str:
        body = b64encode((self.body % {"id": task_id}).encode()).decode()
        return self.message % {"id": task_id, "body": body, "reply_to": reply_to, "tag": delivery_tag}


def _form_of(one: Composed, another: Composed, transport_options: Mapping[str, Any], reply_to: str) -> _Form:
    """Raises `Unusual` where the two have not all in common that is not to be filled in."""
    queue, text = _pushed(one, transport_options)
    other_queue, other_text = _pushed(another, transport_options)
    form = _Form(
        queue=queue,
        message=_with_blanks(
            text, {_read(text)["body"]: "body", one.task_id: "id", reply_to: "reply_to", _tag_of(text): "tag"}
        ),
        body=_with_blanks(b64decode(_read(text)["body"]).decode(), {one.task_id: "id"}),
        one=one,
    )
    is_so = form.filled_in(another.task_id, reply_to, _tag_of(other_text)) == other_text and queue == other_queue
    if not is_so or one.caller.wishes != another.caller.wishes:
        raise Unusual("two tickets differ in more than their ids")
    return form


def _pushed(composed: Composed, transport_options: Mapping[str, Any]) -> tuple[str, str]:
    if len(composed.messages) != 1:
        raise Unusual("events tell of each task (task_send_sent_event)")
    ((body, how),) = composed.messages
    for queue in how["declare"]:
        if queue.queue_arguments or queue.expires or queue.message_ttl or queue.auto_delete:
            raise Unusual("the queue has arguments of its own")
    return pushed_by_kombu(transport_options, body, how)


def _with_blanks(text: str, blanks: Mapping[str, str]) -> str:
    text = text.replace("%", "%%")
    for what, name in blanks.items():
        text = text.replace(what, f"%({name})s")
    return text


def _read(text: str) -> dict[str, Any]:
    return dict(json.loads(text))


def _tag_of(text: str) -> str:
    return str(_read(text)["properties"]["delivery_tag"])
