"""The base of `send_ses_email`: its ways in and out lead through the ledger, and nobody sees its arguments."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.exceptions import Ignore, Retry
from celery.utils import uuid
from celery.worker.request import Request
from kombu.exceptions import OperationalError

from sesmail import runtime
from sesmail.carrier import publishing_quickly
from sesmail.errors import InvalidEmail, LedgerUnavailable, MoveRefused, StaleClaim, UnknownSend
from sesmail.message import Email, Lane
from sesmail.sending.mailer import SendPostponed
from sesmail.state.ledger import Ticket
from sesmail.worker.queues import declared_queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery
    from celery.result import AsyncResult, EagerResult

    from sesmail.state.ledger import Accepted

log = logging.getLogger("sesmail")

SEND_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What an id may look like: it travels to SES as the value of an email tag."""


class PrivateRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A task request whose arguments are shown nowhere: not in logs, events, Flower or `celery inspect`.

    Tickets hold nothing personal, but a producer without sesmail sends the email itself as arguments.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if set(self._kwargs) != {"send_id"} or self._args:
            self._argsrepr = self._request_dict["argsrepr"] = "(...)"
            self._kwargsrepr = self._request_dict["kwargsrepr"] = "{...}"

    def revoked(self) -> bool:
        """Whether the ticket is thrown away. Then the send is cancelled: else it would wait for ever."""
        if not super().revoked():
            return False
        try:
            runtime.current().ledger.cancel(self.id)
        except (UnknownSend, MoveRefused):
            log.info("a revoked send was none, or SES has been asked", extra={"send_id": self.id})
        except LedgerUnavailable:
            log.warning("Redis cannot be reached: a revoked send is cancelled at its next ticket")
        return True

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: ARG002  Celery's signature; the unsafe form shows arguments
        """What `inspect active|reserved|scheduled` show."""
        return dict(super().info(safe=True))


class _WithoutTokenBuckets:
    """A consumer as the task's strategy sees it."""

    disable_rate_limits = True

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


class SendTask(Task):  # type: ignore[misc]  # Celery has no types
    """The base of `send_ses_email`: its ways in and out lead through the ledger."""

    abstract = True
    Request = PrivateRequest

    def start_strategy(self, app: Celery, consumer: Any, **options: Any) -> Any:
        """How a worker takes a ticket: at once. Its `rate_limit` is kept by the throttle, in recipients.

        Celery's own token bucket counts messages, holds them in memory, and with a backlog comes down to about one a
        second, whatever the limit says.
        """
        return super().start_strategy(app, _WithoutTokenBuckets(consumer), **options)

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        countdown: float | None = None,
        eta: datetime | None = None,
        expires: float | datetime | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Accept an email (`args` and `kwargs` are those of `sesmail.Email`, or one is given) and publish its ticket.

        Answers the AsyncResult of the send, or of the earlier one with the same idempotency key. Once it returns, the
        email is sent in the end. `countdown` (seconds), `eta` and `expires` are kept by the ledger.

        Raises `InvalidEmail` when something is wrong with it, `LedgerUnavailable` when Redis cannot be reached; then
        nothing was queued.
        """
        email = email_of(*(args or ()), **(kwargs or {}))
        if self.app.conf.task_always_eager:
            return self._apply_now(email, task_id)
        accepted = self.enqueue(
            email,
            send_id=task_id,
            delay_seconds=countdown if countdown is not None else _seconds_until(eta, self.app) or 0.0,
            expires_in_seconds=_seconds_until(expires, self.app),
            **options,
        )
        return self.AsyncResult(accepted.send_id)

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """In Django: `delay` when the current transaction commits, so that no email tells of what was rolled back."""
        self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(self, args: Any = None, kwargs: Any = None, **options: Any) -> None:
        """In Django: `apply_async` when the current transaction commits; at once where there is none.

        Raises `InvalidEmail` at once, while the transaction can still be rolled back, but `LedgerUnavailable` after it.
        """
        from celery.contrib.django.task import DjangoTask  # noqa: PLC0415  needs Django, as only its users call this

        DjangoTask.apply_async_on_commit(self, (email_of(*(args or ()), **(kwargs or {})),), **options)

    def _apply_now(self, email: Email, task_id: str | None) -> EagerResult:
        """With `task_always_eager` the email goes all its way here and now: into the ledger and to SES."""
        accepted = runtime.current().mailer.accept(checked_id(task_id), email)
        return self.apply(kwargs={"send_id": accepted.send_id}, task_id=accepted.send_id)

    def enqueue(
        self,
        email: Email,
        *,
        send_id: str | None = None,
        delay_seconds: float = 0.0,
        expires_in_seconds: float | None = None,
        **options: Any,
    ) -> Accepted:
        """`apply_async` for an `Email` at hand; answers whether it is a new send. `options` are those of publishing."""
        send_id = checked_id(send_id)
        accepted = runtime.current().mailer.accept(
            send_id, email, delay_seconds=delay_seconds, expires_in_seconds=expires_in_seconds
        )
        if accepted.new and accepted.state == "queued":
            with publishing_quickly(self.app) as quickly:
                self.issue(Ticket(send_id=send_id, lane=email.lane), **{**quickly, **options})
        return accepted

    def enqueue_lot(self, emails: Sequence[Email], **options: Any) -> list[Accepted]:
        """`enqueue` several bulk emails under one ticket: each is a send of its own, but Celery's part is paid once.

        A lot is worked through one after the other, so it should be small against the account's rate: see `lot_size`.
        """
        if len(emails) == 1:
            return [self.enqueue(emails[0], **options)]
        accepted = [runtime.current().mailer.accept(str(uuid()), email, in_a_hurry=False) for email in emails]
        if new := [one.send_id for one in accepted if one.new and one.state == "queued"]:
            options["queue"] = declared_queue(self.app, runtime.current().settings.bulk_queue)
            try:
                self.app.tasks["sesmail.send_lot"].apply_async(
                    (), {"send_ids": new}, kwargsrepr=f"{{{len(new)} sends}}", **options
                )
            except OperationalError:
                log.warning("the broker took no ticket; it is issued again later", extra={"sends": len(new)})
        return accepted

    def issue(self, ticket: Ticket, *, express: bool = False, **options: Any) -> AsyncResult:
        """Publish a ticket. A broker that cannot take it is no failure: the sweeper issues it again."""
        settings = runtime.current().settings
        bulk = ticket.lane is Lane.BULK and not express
        name = settings.bulk_queue if bulk else settings.transactional_queue
        options.setdefault("queue", declared_queue(self.app, name))
        try:
            return super().apply_async((), {"send_id": ticket.send_id}, task_id=ticket.send_id, **options)
        except OperationalError:
            log.warning("the broker took no ticket; it is issued again later", extra={"send_id": ticket.send_id})
            return self.AsyncResult(ticket.send_id)

    def retry(
        self,
        args: Any = None,  # noqa: ARG002  Celery's signature
        kwargs: Any = None,  # noqa: ARG002
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        **_: Any,
    ) -> Retry:
        """Put the send back to wait in the ledger and mark the task RETRY.

        No message with an ETA is published: Celery would keep it in a worker's memory, unacknowledged, past the
        visibility timeout, and deliver it twice; and it would lose it where publishing fails.
        """
        seconds = countdown if countdown is not None else _seconds_until(eta, self.app) or self.default_retry_delay
        backs_off = not isinstance(exc, SendPostponed)
        try:
            runtime.current().mailer.postpone(self.request.claim, seconds, str(exc), backs_off=backs_off)
        except StaleClaim as stale:
            raise Ignore(str(stale)) from None
        waiting = Retry(exc=exc, when=seconds)
        if throw:
            raise waiting
        return waiting


def email_of(*args: Any, **kwargs: Any) -> Email:
    """The email that the task's arguments are. Raises `InvalidEmail`, also for an argument that does not exist."""
    if len(args) == 1 and isinstance(args[0], Email) and not kwargs:
        return args[0]
    try:
        return Email(*args, **kwargs)
    except TypeError as error:  # a keyword that does not exist, or no subject
        raise InvalidEmail("arguments", str(error).replace("Email.__init__()", "an email").replace("'", "")) from None


def checked_id(task_id: str | None) -> str:
    """The id of a send: the one that the caller wants, or a new one. Raises `InvalidEmail`."""
    if task_id is None:
        return str(uuid())
    if not SEND_ID.fullmatch(task_id):
        raise InvalidEmail("task_id", "an id is a tag at SES", "1 to 128 letters, digits, _ and -")
    return task_id


def _seconds_until(when: float | datetime | None, app: Celery) -> float | None:
    """Seconds from now to a time; a number is seconds already, a naive time is in Celery's timezone."""
    if not isinstance(when, datetime):
        return when
    aware = when if when.tzinfo else when.replace(tzinfo=app.timezone)
    return (aware - datetime.now(UTC)).total_seconds()
