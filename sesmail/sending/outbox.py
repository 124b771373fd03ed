"""Where an email is accepted, and where people ask about it: to take it back, give it another time, send it again."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, cast
from uuid import uuid4

from sesmail.accounts import account_of
from sesmail.errors import InvalidEmail
from sesmail.frames import shows_no_email
from sesmail.message.content import content_digest
from sesmail.state.batches.chunks import RECIPIENT_ID
from sesmail.vocabulary import State, Ticket

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sesmail.message import Email, Lane
    from sesmail.settings import Settings
    from sesmail.vocabulary import Accepted, Caller, Delivery, Envelope, Reached, Status

LARGE_BYTES = 1_000_000
"""Attachments of this size get `redis_timeout_seconds` to reach the ledger's Redis, which may be far away."""

LARGEST_LOT = 50

SEND_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What an id may look like: it travels to SES as the value of an email tag."""


class Broker(Protocol):
    """What carries tickets to the workers. It may lose and repeat them: the ledger knows better."""

    def issue(
        self,
        tickets: Sequence[Ticket],
        *,
        express: bool = False,
        in_a_hurry: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Publish one message that names these sends of one lane; `express` goes ahead of bulk.

        `in_a_hurry` is a caller who must not wait for a broker that hangs; `options` are the caller's for publishing.
        Trouble of the broker is logged, never raised: the sweeper issues the tickets again.
        """

    def send_batches(self, lane: Lane, count: int) -> None:
        """Publish `count` messages, each of which has a worker send a part of the batches of this site in a lane."""

    def is_empty(self, lane: Lane) -> bool:
        """Whether no ticket waits in a lane's queue."""

    def process_events(self, site: str) -> None:
        """Have a worker of a site process the events that have come for it."""


class SealingBroker(Broker, Protocol):
    """A broker whose queues may be lists in the ledger's own Redis."""

    def envelope(self, send_id: str, lane: Lane, options: Mapping[str, Any] | None) -> Envelope | None:
        """The first ticket of a send for the ledger to put into its queue; None where it has to be issued.

        `options` are those of `issue`.
        """


class SendsBook(Protocol):
    """What the outbox asks of a ledger: the one in Redis, or one in memory where nothing is to be sent."""

    def accept(
        self,
        send_id: str,
        email: Email,
        *,
        delay_seconds: float = 0.0,
        expires_in_seconds: float | None = None,
        caller: Caller | None = None,
        content: str = "",
        envelope: Envelope | None = None,
    ) -> Accepted:
        """Write an email down under an id. `content` tells it from another under the same id or key.

        A ticket in its `envelope` may be put into the queue in the same act.
        """

    def cancel(self, send_id: str) -> None:
        """Take back a send before SES is asked."""

    def reschedule(self, send_id: str, when: datetime) -> None:
        """Give a waiting send another time."""

    def requeue(self, send_id: str) -> Ticket:
        """Send again what was not sent."""

    def status(self, send_id: str) -> Status:
        """What is known of one send."""

    def record_evidence(self, send_id: str, message_id: str) -> str:
        """An event of SES names this send: it was taken."""


class Deliveries(Protocol):
    """Who knows how far an email got with each recipient."""

    def deliveries(self, send_id: str) -> Mapping[str, Delivery]:
        """The furthest status by recipient, of those of whom SES has told."""

    def reached(self, send_id: str) -> tuple[Reached, ...]:
        """What SES has told of each recipient, in order."""


class Outbox:
    """Takes responsibility for emails: once `send` returns, the email is sent in the end, whatever crashes."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        ledger: SendsBook,
        progress: Deliveries,
        *,
        patient_ledger: SendsBook | None = None,
    ) -> None:
        """`ledger` answers callers who cannot wait; `patient_ledger` takes what is large and what is not urgent."""
        self._settings = settings
        self._of_account = {name: settings.of_account(name) for name in settings.account_names}
        self._broker = broker
        self._envelope_of = cast("SealingBroker", broker).envelope if hasattr(broker, "envelope") else _no_envelope
        self._ledger = ledger
        self._patient_ledger = patient_ledger or ledger
        self._progress = progress

    # -- in ---------------------------------------------------------------------------------------------------------

    @shows_no_email
    def send(
        self,
        email: Email,
        *,
        send_id: str | None = None,
        delay_seconds: float = 0.0,
        expires_in_seconds: float | None = None,
        options: Mapping[str, Any] | None = None,
        caller: Caller | None = None,
    ) -> Accepted:
        """Accept an email and issue its ticket; `options` are for the broker that publishes it.

        The wishes of a `caller` are kept with the send, for all its tickets and for its end; where no `send_id` is
        given, that has the id of the caller's task.

        Answers the id of its send, or of the earlier one with the same idempotency key.
        Raises `InvalidEmail`, also for a key or id that stands for another email, and `LedgerUnavailable`.
        """
        own_id = _id_for(send_id, caller)
        accepted = self._accept(
            email,
            own_id,
            is_named=bool(send_id),
            delay_seconds=delay_seconds,
            expires_in_seconds=expires_in_seconds,
            caller=caller,
            envelope=self._envelope_of(own_id, email.lane, options),
        )
        if _needs_a_ticket(accepted):
            wishes = caller.wishes if caller else ""
            ticket = Ticket(send_id=accepted.send_id, lane=email.lane, wishes=wishes)
            self._broker.issue([ticket], in_a_hurry=True, options=options)
        return accepted

    @shows_no_email
    def send_lot(
        self,
        emails: Sequence[Email],
        *,
        options: Mapping[str, Any] | None = None,
    ) -> list[Accepted]:
        """`send` several bulk emails under one ticket: each is a send of its own, but Celery's part is paid once.

        A lot is worked through one after the other, so it should be small against the account's rate.
        Raises as `accept`; those before the one that failed are accepted, and have their ticket.
        """
        accepted: list[Accepted] = []
        tickets: list[Ticket] = []
        try:
            for email in emails:
                one = self.accept(email, in_a_hurry=False)
                accepted.append(one)
                if _needs_a_ticket(one):
                    tickets.append(Ticket(send_id=one.send_id, lane=email.lane))
        finally:
            if tickets:
                self._broker.issue(tickets, options=options)
        return accepted

    @shows_no_email
    def accept(
        self,
        email: Email,
        *,
        send_id: str | None = None,
        delay_seconds: float = 0.0,
        expires_in_seconds: float | None = None,
        in_a_hurry: bool = True,
        caller: Caller | None = None,
    ) -> Accepted:
        """Write an email down, completed by the settings. Its ticket is the caller's to issue, or the sweeper's.

        Raises `InvalidEmail` when no sender is named or set, or an account that there is not, its kind
        `IdempotencyConflict` when the id or the key of the email stands for another, and `LedgerUnavailable` when it
        could not be written, or is not known to be: within a second when the caller is `in_a_hurry` and no large
        attachments are on their way.
        """
        return self._accept(
            email,
            _id_for(send_id, caller),
            is_named=bool(send_id),
            delay_seconds=delay_seconds,
            expires_in_seconds=expires_in_seconds,
            in_a_hurry=in_a_hurry,
            caller=caller,
        )

    def _accept(self, email: Email, send_id: str, *, is_named: bool, in_a_hurry: bool = True, **how: Any) -> Accepted:
        if not email.recipient_count:
            raise InvalidEmail("to", "has 0 recipients, cc and bcc included", "1 to 50; a letter goes to send_batch")
        complete = self._redirected(self.completed(email))
        # Of the email as it was given: what settings fill in may change between two tries.
        content = content_digest(email) if is_named or email.idempotency_key else ""
        attached_bytes = sum(len(each.content) for each in complete.attachments)
        ledger = self._ledger if in_a_hurry and attached_bytes < LARGE_BYTES else self._patient_ledger
        return ledger.accept(send_id, complete, content=content, **how)

    def completed(self, email: Email) -> Email:
        """The email with what the settings say of all. Raises `InvalidEmail` where no sender is named or set."""
        account = account_of(self._settings.accounts, email.account, email.sender_domain, email.lane)
        settings = self._of_account[account]
        try:
            complete = email.at_account(account).with_defaults(
                from_email=settings.from_email,
                configuration_set=settings.configuration_set_of(email.lane),
                ses=settings.ses,
            )
        except InvalidEmail as error:  # what is wrong is no part of the email
            raise InvalidEmail(
                error.field, f"{error.problem}; so says {settings.said_as(error.field)}", error.limit
            ) from None
        if complete.from_email is None:
            raise InvalidEmail("from_email", "no sender is named and none is set", "from_email=, or SESMAIL_FROM_EMAIL")
        if settings.text_from_html and complete.html is not None and complete.text is None:
            complete = complete.replace(text="auto")
        return complete

    def _redirected(self, email: Email) -> Email:
        settings = self._settings
        if not settings.redirect_to:
            return email
        return email.redirected(settings.redirect_to, except_domains=settings.redirect_except_domains)

    # -- asked by people --------------------------------------------------------------------------------------------

    def status(self, send_id: str) -> Status:
        """What is known of a send. Raises `UnknownSend`, `LedgerUnavailable`."""
        status, told = self._ledger.status(send_id), self._progress
        return replace(status, deliveries=told.deliveries(send_id), reached=told.reached(send_id))

    def cancel(self, send_id: str) -> None:
        """Take a send back before SES is asked. Raises `MoveRefused`, `UnknownSend`, `LedgerUnavailable`."""
        self._ledger.cancel(send_id)

    def reschedule(self, send_id: str, when: datetime) -> None:
        """Give a waiting send another time; one that has passed means now.

        Raises `InvalidEmail` for a time without a time zone, `MoveRefused`, `UnknownSend`, `LedgerUnavailable`.
        """
        if when.tzinfo is None:
            raise InvalidEmail("when", "has no time zone: give an aware datetime, such as datetime.now(timezone.utc)")
        self._ledger.reschedule(send_id, when)

    def requeue(self, send_id: str) -> None:
        """Send again what was not sent, or is unknown. Raises `MoveRefused`, `UnknownSend`, `LedgerUnavailable`."""
        self._broker.issue([self._ledger.requeue(send_id)], express=True)

    def record_evidence(self, send_id: str, message_id: str) -> str:
        """Tell that SES took a send, and under which message id. Answers as `sesmail.record_evidence`."""
        return self._ledger.record_evidence(send_id, message_id)


def _no_envelope(*_: Any) -> None:
    return None


def _needs_a_ticket(accepted: Accepted) -> bool:
    return accepted.new and accepted.state == State.QUEUED and not accepted.has_ticket


def _id_for(send_id: str | None, caller: Caller | None) -> str:
    """The id that was given, or that of the caller's task. Raises `InvalidEmail`."""
    return checked_id(send_id or (caller.task_id if caller else None))


def checked_id(send_id: Any) -> str:
    """The id of a send: the one that the caller wants, or a new one. Raises `InvalidEmail`."""
    if send_id is None:
        return str(uuid4())
    if not isinstance(send_id, str) or not SEND_ID.fullmatch(send_id):
        raise InvalidEmail("task_id", "an id is a tag at SES", "1 to 128 letters, digits, _ and -")
    if RECIPIENT_ID.fullmatch(send_id):
        raise InvalidEmail("task_id", "is written as those of a batch's recipients are", "an id of another form")
    return send_id
