"""The base of `send_ses_email`: its ways in and out lead through the ledger, and nobody sees its arguments."""

from __future__ import annotations

import asyncio
import inspect
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, overload

from celery import Task
from celery.canvas import maybe_signature
from celery.exceptions import Retry
from celery.worker.request import Request

from sesmail.celery.current import client_of
from sesmail.celery.internals import WithoutTokenBuckets, hide_arguments, holds_a_ticket_alone
from sesmail.celery.options import checked_options, moment_until, seconds_until
from sesmail.errors import ConfigurationError, InvalidEmail, LedgerUnavailable, MoveRefused, UnknownSend
from sesmail.frames import shows_no_email, shows_no_email_later
from sesmail.message import Email
from sesmail.message.from_message import is_message
from sesmail.message.hints import FEWEST_OF_SEND_MAIL, checked_arguments
from sesmail.sending.outbox import checked_id
from sesmail.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from celery import Celery
    from celery.canvas import Signature
    from celery.result import AsyncResult, EagerResult

    from sesmail.client import Client
    from sesmail.state.ledger.answering import Answer

    class SendResult(AsyncResult):  # type: ignore[misc]  # Celery has no types
        """Celery's AsyncResult. Its id is that of the send."""

        id: str


log = logging.getLogger("sesmail")

_EMAIL = inspect.signature(Email)

P = ParamSpec("P")
Rest = ParamSpec("Rest")


class PrivateRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A task request whose arguments are shown nowhere: not in logs, events, Flower or `celery inspect`.

    Tickets hold nothing personal, but a producer without sesmail sends the email itself as arguments.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not holds_a_ticket_alone(self):
            hide_arguments(self)

    def revoked(self) -> bool:
        """Whether the ticket is thrown away. Then the send is cancelled: else it would wait for ever."""
        if not super().revoked():
            return False
        try:
            _cancel_revoked(client_of(self.app), self.id)
        except (LedgerUnavailable, ConfigurationError):
            log.warning("the ledger cannot be asked: a revoked send is cancelled at its next ticket")
        return True

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: ARG002  Celery's signature; the unsafe form shows arguments
        """What `inspect active|reserved|scheduled` show."""
        return dict(super().info(safe=True))


def _cancel_revoked(client: Client, send_id: str) -> None:
    """Celery itself ends the task, as revoked."""
    try:
        client.ledger.cancel(send_id)
    except (UnknownSend, MoveRefused):
        log.info("a revoked send was none, or SES has been asked", extra={"send_id": send_id})
    if answer := client.callers.take(send_id, send_id):
        client.callers.answered(answer)


class UnpacedTask(Task):  # type: ignore[misc]  # Celery has no types
    """A task that a host's `task_default_rate_limit` does not pace: that is meant for the host's own tasks."""

    abstract = True
    from_config = tuple(pair for pair in Task.from_config if pair[0] != "rate_limit")


class SendTask(UnpacedTask):
    """The base of `send_ses_email`: its ways in and out lead through the ledger."""

    abstract = True
    Request = PrivateRequest

    @property
    def client(self) -> Client:
        """The client of this task's app. Raises `ConfigurationError` when a setting is wrong."""
        return client_of(self.app)

    def start_strategy(self, app: Celery, consumer: Any, **options: Any) -> Any:
        """How a worker takes a ticket: at once. Its `rate_limit` is kept by the throttle, in recipients.

        Celery's own token bucket counts messages, holds them in memory, and with a backlog comes down to about one a
        second, whatever the limit says.
        """
        return super().start_strategy(app, WithoutTokenBuckets(consumer), **options)

    @shows_no_email
    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """Accept an email; the arguments are those of `sesmail.Email`, or one is given. See `apply_async`."""
        return self.apply_async(args, kwargs)

    @shows_no_email
    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        countdown: float | timedelta | None = None,
        eta: datetime | str | None = None,
        expires: float | timedelta | datetime | str | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Accept an email (`args` and `kwargs` are those of `sesmail.Email`, or one is given) and publish its ticket.

        Answers the AsyncResult of the send, or of the earlier one with the same idempotency key. Once it returns, the
        email is sent in the end. All options but `queue` and `producer` are kept with it:

            task_id        The id of the send: 1 to 128 letters, digits, _ and -. The same id again answers the first
                           send and makes none; with another email it is refused. Without it, a new one.
            countdown      Seconds until it goes out, at the earliest. Where the email has `send_at`, the later one
                           counts.
            eta            The same as a time. A naive one is in Celery's timezone.
            expires        Seconds, or a time, after which it is worth nothing any more. `expires_at` of the email goes
                           before it.
            link           What Celery calls once it is sent, however long that takes. With the same idempotency key
                           twice, what either call gave.
            link_error     What Celery calls when it ends otherwise: refused, cancelled, expired, suppressed, abandoned.
            queue          Another queue for the first ticket.
            priority       Of its tickets, where the broker has priorities.
            headers        Of its tickets; those of the email are an argument of `Email`.
            producer       What publishes the first ticket, instead of one that gives up within a second.
            ignore_result  Whether Celery's result backend is told nothing of it; the ledger knows in any case.

        Raises `InvalidEmail` when something is wrong with it, its kind `IdempotencyConflict` when its idempotency key,
        or `task_id`, stands for another email, and `ConfigurationError` when a setting is wrong; then nothing was
        queued. Raises `LedgerUnavailable` when Redis cannot be reached: with an idempotency key, or the same `task_id`,
        calling again sends no second one.
        """
        with _told_of_its_group(options.get("group_index")):
            email = email_of(*(args or ()), **(kwargs or {}))
        delay_seconds = seconds_until("countdown", countdown, self.app) or moment_until("eta", eta, self.app) or 0.0
        expires_in_seconds = seconds_until("expires", expires, self.app)
        options = checked_options(options)
        how: Any = {"delay_seconds": delay_seconds, "expires_in_seconds": expires_in_seconds}
        client = self.client
        if client.is_suppressed:
            return self.AsyncResult(client.outbox.send(email, send_id=task_id, options=options, **how).send_id)
        if self.app.conf.task_always_eager:
            return self._apply_now(email, task_id, options)
        broker: Any = client.broker
        composed = broker.compose(checked_id(task_id), email.lane, {"task_id": task_id, **options})
        how |= {"options": {"composed": composed}, "caller": composed.caller}
        accepted = client.real_outbox.send(email, send_id=task_id, **how)
        if not (accepted.new and accepted.state == State.QUEUED):
            broker.expect_result(composed)
        result = self.AsyncResult(accepted.send_id)
        result.ignored = composed.is_ignored
        return result

    @shows_no_email_later
    async def adelay(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """`delay` for async code: the loop goes on while Redis is asked, in a thread."""
        return await asyncio.to_thread(self.delay, *args, **kwargs)

    @shows_no_email
    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """In Django: `delay` when the current transaction commits, so that no email tells of what was rolled back."""
        self.apply_async_on_commit(args, kwargs)

    @shows_no_email
    def apply_async_on_commit(self, args: Any = None, kwargs: Any = None, **options: Any) -> None:
        """In Django: `apply_async` when the current transaction commits; at once where there is none.

        Raises `InvalidEmail` at once, while the transaction can still be rolled back, but `LedgerUnavailable` after it.
        """
        from celery.contrib.django.task import DjangoTask  # noqa: PLC0415  needs Django, as only its users call this

        DjangoTask.apply_async_on_commit(self, (email_of(*(args or ()), **(kwargs or {})),), **options)

    def _apply_now(self, email: Email, task_id: str | None, options: Mapping[str, Any]) -> EagerResult:
        """With `task_always_eager` the email goes all its way here and now: into the ledger and to SES."""
        accepted = self.client.outbox.accept(email, send_id=task_id)
        return self.apply(kwargs={"send_id": accepted.send_id}, task_id=accepted.send_id, **options)

    def go_on(self, value: Any, wishes: Mapping[str, Any]) -> None:
        """Publish what follows a success, as Celery's tracer would: `link`, and the next step of a chain.

        The tracer would take a broker that is away for a failure of the task. Raises what publishing does.
        """
        request = self.request
        related = {"parent_id": request.id, "root_id": request.root_id or request.id}
        if self.app.conf.task_inherit_parent_priority:
            related["priority"] = request.delivery_info.get("priority")
        for signature in wishes.get("link") or ():
            maybe_signature(signature, app=self.app).apply_async((value,), **related)
        if chain := wishes.get("chain"):
            maybe_signature(chain[-1], app=self.app).apply_async((value,), chain=chain[:-1], **related)

    def after_return(self, *_: Any) -> None:
        """The task has ended, and Celery has told whoever waits for it: note that the caller is answered.

        Where this is not reached, the caller is answered once more.
        """
        answer: Answer | None = vars(self.request).get("answer")
        if answer:
            callers = self.client.callers
            self.client.delivery.patience.unless_stopped(lambda: callers.answered(answer))

    def retry(
        self,
        args: Any = None,  # noqa: ARG002  Celery's signature
        kwargs: Any = None,  # noqa: ARG002
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | str | None = None,
        countdown: float | timedelta | None = None,
        **_: Any,
    ) -> Retry:
        """Mark the task RETRY. That the send waits, and until when, is in the ledger already.

        Called as a function, it raises `exc` instead; workers send the email when it is due.

        No message with an ETA is published: Celery would keep it in a worker's memory, unacknowledged, past the
        visibility timeout, and deliver it twice; and it would lose it where publishing fails.
        """
        if self.request.called_directly and exc is not None:
            raise exc
        waiting = Retry(exc=exc, when=getattr(self.request, "waits_seconds", countdown or eta))
        if throw:
            raise waiting
        return waiting


@contextmanager
def _told_of_its_group(index: int | None) -> Iterator[None]:
    """Celery calls the members of a group one after the other: those before one that is wrong are queued."""
    try:
        yield
    except InvalidEmail as error:
        if index:
            said = f"Of its group, the {index} before it {'is' if index == 1 else 'are'} queued; nothing else is."
            error.args = (str(error).replace("Nothing was queued.", said),)
        raise


def email_of(*args: Any, **kwargs: Any) -> Email:
    """The email that the task's arguments are. Raises `InvalidEmail`, also for an argument that does not exist."""
    if len(args) == 1 and isinstance(args[0], Email) and not kwargs:
        return args[0]
    if len(args) == 1 and not kwargs and is_message(args[0]):
        return Email.from_message(args[0])
    if len(args) > FEWEST_OF_SEND_MAIL - 1:
        checked_arguments(_EMAIL, args, kwargs)
    try:
        return Email(*args, **kwargs)
    except TypeError:
        checked_arguments(_EMAIL, args, kwargs)  # in better words than Python's; they cost as much as the email itself
        raise


class SendSesEmail(Protocol[P, Rest]):
    """`send_ses_email` as a type checker sees it: its calls take what `Email` takes, and nothing else.

        delay                  Accept an email, given as `Email` or as its arguments.
        adelay                 `delay` for async code, to be awaited: the loop goes on while Redis is asked.
        delay_on_commit        In Django: `delay` when the transaction commits, so that no email tells of what was
                               rolled back.
        apply_async            `delay` with options, below; the email's arguments as a tuple and a dictionary.
        apply_async_on_commit  In Django: `apply_async` when the transaction commits.
        si                     A signature that takes nothing of the task before it: for `chain` and `link`.
        s                      A signature; in a `chain`, `to` may be left to the task before it.
        signature              A signature with Celery's options.
        AsyncResult            Celery's result of a send, by its id.

    Whatever else a Celery task has is there, but not known to a type checker.
    """

    name: str
    app: Any
    rate_limit: str | None

    @overload
    def delay(self, email: Email, /) -> SendResult: ...
    @overload
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> SendResult: ...
    @overload
    async def adelay(self, email: Email, /) -> SendResult: ...
    @overload
    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> SendResult: ...
    @overload
    def delay_on_commit(self, email: Email, /) -> None: ...
    @overload
    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def apply_async(
        self,
        args: tuple[Any, ...] | list[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        countdown: float | timedelta | None = None,
        eta: datetime | str | None = None,
        expires: float | timedelta | datetime | str | None = None,
        *,
        link: Signature | Sequence[Signature] | None = None,
        link_error: Signature | Sequence[Signature] | None = None,
        queue: Any = None,
        priority: int | None = None,
        headers: Mapping[str, Any] | None = None,
        producer: Any = None,
        ignore_result: bool = False,
    ) -> SendResult:
        """See `SendTask.apply_async`."""

    def apply_async_on_commit(
        self, args: tuple[Any, ...] | list[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """See `SendTask.apply_async_on_commit`."""

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature:
        """A signature that takes nothing of the task before it."""

    @overload
    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature: ...
    @overload
    def s(self, *args: Rest.args, **kwargs: Rest.kwargs) -> Signature: ...
    def signature(
        self, args: tuple[Any, ...] | list[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Signature:
        """A signature, with Celery's options."""

    def AsyncResult(self, task_id: str) -> SendResult:  # noqa: N802  Celery's name
        """The result of a send."""


def called_like(
    _email: Callable[P, Email], _without_to: Callable[Concatenate[Any, Rest], Email]
) -> Callable[[Any], SendSesEmail[P, Rest]]:
    """For type checkers: the decorated task takes the arguments of this constructor, given twice."""
    return lambda task: task
