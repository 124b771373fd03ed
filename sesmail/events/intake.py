"""Takes notifications in, whatever door they come through: verify, store, and only then say yes.

What a door answers decides whether AWS delivers again. SNS takes 2xx as done and 4xx as final, and tries again after
anything else; a queue tries again what was not deleted. So 2xx only after the durable write, 4xx only for what must
never be tried again, and 503 for every trouble of ours, foreseen or not.
https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sesmail.errors import ConfigurationError, EventNotStored, NotificationRefused
from sesmail.events import ANNOUNCE_EVERY_SECONDS, place_of
from sesmail.events.sns import Envelope, MessageType, parse_json_object
from sesmail.events.stores import StoredEvent
from sesmail.frames import shows_no_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sesmail.events.sns import Confirmation, SnsVerifier, Topic
    from sesmail.events.stores import EventStore

log = logging.getLogger(__name__)

_SET_UP_TEXT = "Successfully validated SNS topic"


class Headers(Protocol):
    """The headers of a request, as Django, Flask and ASGI have them."""

    def get(self, name: str, /) -> str | None:
        """The value of a header by its name in lower case, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an HTTP door answers."""

    status: int
    text: str


STORED = Answer(status=200, text="stored")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A believed notification, ready to be stored."""

    event: StoredEvent
    envelope: Envelope | None = field(default=None, repr=False)
    """None for those that came raw through a queue."""
    topic: Topic | None = None

    @property
    def is_about_the_subscription(self) -> bool:
        """Whether there is something to do for it at once, after it is stored."""
        return self.envelope is not None and self.envelope.type is not MessageType.NOTIFICATION


class Intake:
    """The one way in. Safe to use from several threads."""

    def __init__(
        self,
        verifier: SnsVerifier,
        store: EventStore,
        *,
        confirm: Confirmation | None = None,
        announce: Callable[[str], None] | None = None,
        count_answer: Callable[[int], object] | None = None,
        raw_site: str | None = None,
        verify_queues: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Build it from its parts.

        `confirm` confirms subscriptions; without it an operator has to. `announce` is told the site when events of it
        have come, at most once a second, so that they can be processed at once. `count_answer` is told the status of
        each answer to a post. Queues whose subscription delivers raw
        have no topic: what they hold belongs to `raw_site`, and is refused without one. `verify_queues` may be switched
        off where a certificate cannot be fetched, such as in a private network: then the queue's own policy, or
        Lambda's permission to be invoked, is all that tells who wrote. `clock` gives epoch seconds.
        """
        self.verifier = verifier
        self._store = store
        self._confirm = confirm
        self._announce = announce
        self._count_answer = count_answer
        self._announced_at: dict[str, float] = {}
        self._raw_site = raw_site
        self._verify_queues = verify_queues
        self._clock = clock

    # -- HTTP -------------------------------------------------------------------------------------------------------

    @shows_no_email
    def answer(self, body: bytes, headers: Headers) -> Answer:
        """Take one HTTP post in. Never raises."""
        try:
            notification = self.read(body, headers)
            self.keep([notification])
            self.follow_up(notification)
        except Exception as error:  # noqa: BLE001  whatever it is, SNS must be told to come again
            return self.counted(answer_to(error))
        return self.counted(STORED)

    def counted(self, answer: Answer) -> Answer:
        """The same answer to a post, once it is counted for those who watch."""
        if self._count_answer:
            self._count_answer(answer.status)
        return answer

    @shows_no_email
    def read(self, body: bytes, headers: Headers) -> Notification:
        """Believe one HTTP post, or raise `NotificationRefused` or `EventNotStored`. May fetch a certificate."""
        return self.believe(self.open(body, headers))

    @staticmethod
    def open(body: bytes, headers: Headers) -> Envelope:
        """The envelope in one HTTP post; nothing is checked but its form."""
        if headers.get("x-amz-sns-rawdelivery") == "true":
            raise NotificationRefused(
                "Raw message delivery has no signature, so nobody knows who sent it. Turn it off for the subscription.",
                status=400,
            )
        return Envelope.parse(body)

    def believe(self, envelope: Envelope) -> Notification:
        """Verify an envelope. Raises `NotificationRefused`, or `EventNotStored` when that cannot be told now."""
        return self._notification(envelope, self.verifier.verify(envelope))

    # -- queues -----------------------------------------------------------------------------------------------------

    @shows_no_email
    def take(self, bodies: Mapping[str, str | Mapping[str, Any]]) -> set[str]:
        """Take messages of a queue in, in one write. Answers the ids of those that must stay in it. Never raises.

        `bodies` maps the queue's own ids to the text of messages, or to the `Sns` part of Lambda's records.
        """
        failed, notifications = set(), {}
        for id_, body in bodies.items():
            try:
                notifications[id_] = self._read_queued(body)
            except Exception as error:  # noqa: BLE001  one that cannot be read must not hold up the others
                answer_to(error)
                failed.add(id_)
        return failed | self._keep_queued(notifications)

    def _keep_queued(self, notifications: Mapping[str, Notification]) -> set[str]:
        try:
            self.keep(list(notifications.values()))
        except Exception as error:  # noqa: BLE001  nothing is acknowledged unsaved
            answer_to(error)
            return set(notifications)
        return {id_ for id_, notification in notifications.items() if not self._followed_up(notification)}

    def _followed_up(self, notification: Notification) -> bool:
        try:
            self.follow_up(notification)
        except EventNotStored as error:
            answer_to(error)
            return False
        return True

    def _read_queued(self, body: str | Mapping[str, Any]) -> Notification:
        if not isinstance(body, str):
            return self._queued(Envelope.from_fields(body))
        if body.startswith(_SET_UP_TEXT):
            return self._raw(body)
        fields = parse_json_object(body)
        return self._queued(Envelope.from_fields(fields)) if "TopicArn" in fields else self._raw(body)

    def _queued(self, envelope: Envelope) -> Notification:
        topic_of = self.verifier.verify if self._verify_queues else self.verifier.topic
        return self._notification(envelope, topic_of(envelope))

    def _raw(self, body: str) -> Notification:
        """SNS's id is lost in raw delivery; one made from the text still finds what comes twice."""
        if self._raw_site is None:
            raise NotificationRefused(
                "This came by raw message delivery, which says neither topic nor id. Turn it off for the subscription, "
                "or say to which site the queue belongs.",
                status=400,
            )
        event_id = f"raw-{hashlib.sha256(body.encode()).hexdigest()}"
        return Notification(event=self._event(event_id, self._raw_site, body))

    # -- both -------------------------------------------------------------------------------------------------------

    def _notification(self, envelope: Envelope, topic: Topic) -> Notification:
        # Of a confirmation, all is kept: its token confirms by hand what could not be confirmed here.
        text = envelope.message if envelope.type is MessageType.NOTIFICATION else envelope.as_json()
        event = self._event(envelope.message_id, topic.site, text, topic.arn)
        return Notification(event=event, envelope=envelope, topic=topic)

    def _event(self, event_id: str, site: str, message: str, topic_arn: str = "") -> StoredEvent:
        return StoredEvent(
            event_id=event_id,
            source=site,
            message=message.replace("\0", "\ufffd"),  # PostgreSQL's text cannot hold NUL, nor can JSON
            topic_arn=topic_arn,
            received_at=self._clock(),
        )

    @shows_no_email
    def keep(self, notifications: Sequence[Notification]) -> None:
        """Store them in one durable write, then say that they have come. Raises `EventNotStored`."""
        self.put([notification.event for notification in notifications])

    @shows_no_email
    def put(self, events: Sequence[StoredEvent]) -> None:
        """As `keep`, for events that did not come through a door."""
        self._store.put(events)
        if self._announce:
            self._announce_sites({event.source for event in events}, self._announce)

    def _announce_sites(self, sites: Iterable[str], announce: Callable[[str], None]) -> None:
        for site in sites:
            if time.monotonic() >= self._announced_at.get(site, -1.0) + ANNOUNCE_EVERY_SECONDS:
                self._announced_at[site] = time.monotonic()
                # In a thread: a broker that hangs must not hold up the answer, which SNS waits 15 s for.
                threading.Thread(target=_announce_safely, args=(announce, site), daemon=True).start()

    def follow_up(self, notification: Notification) -> None:
        """Do what a message about the subscription itself asks for.

        Raises `EventNotStored` when SNS should ask again.
        """
        envelope, topic = notification.envelope, notification.topic
        if envelope is None or topic is None or envelope.type is MessageType.NOTIFICATION:
            return
        where = {"topic": topic.arn, "event_id": envelope.message_id}
        if envelope.type is MessageType.UNSUBSCRIPTION:
            # Never subscribed again by ourselves: somebody may have meant it.
            log.critical(
                "Unsubscribed from %s: no events come.", topic.arn, extra={"action": "sns_unsubscribed", **where}
            )
        else:
            self._subscribe(topic, envelope)

    def _subscribe(self, topic: Topic, envelope: Envelope) -> None:
        try:
            if self._confirm:
                return self._confirm(topic, envelope.token)
        except EventNotStored:
            _log_that_it_waits(topic, envelope)
            raise
        return _log_that_it_waits(topic, envelope)


def _log_that_it_waits(topic: Topic, envelope: Envelope) -> None:
    log.error(
        "A subscription to %s waits to be confirmed. Unless SNS asks again with more luck, run `sesmail confirm %s` "
        "within 2 days, where there are credentials of AWS.",
        topic.arn,
        envelope.message_id,
        extra={"action": "sns_subscription_waits", "topic": topic.arn, "event_id": envelope.message_id},
    )


def _announce_safely(announce: Callable[[str], None], site: str) -> None:
    try:
        announce(site)
    except Exception as error:  # noqa: BLE001  they are stored; whoever processes on a schedule finds them
        log.warning("Processing could not be started at once (%s).", type(error).__name__)


def confirm_later(event_id: str, store: EventStore, verifier: SnsVerifier, confirm: Confirmation) -> None:
    """Confirm a subscription that came where it could not be confirmed, from what was stored of it.

    Raises `LookupError` when there is none under this id, and `EventNotStored` when it fails.
    """
    event = store.get(event_id)
    if event is None or MessageType.SUBSCRIPTION not in event.message:
        raise LookupError("No subscription was stored under this id: nothing was confirmed.")
    confirm(verifier.topics[event.topic_arn], json.loads(event.message)["Token"])


def answer_to(error: Exception) -> Answer:
    """The answer to what went wrong, which is logged: without the error's text where that is not our own."""
    if isinstance(error, NotificationRefused):
        log.warning("A notification was refused: %s", error, extra={"action": "event_refused", "status": error.status})
        return Answer(status=error.status, text=str(error))
    if isinstance(error, EventNotStored | ConfigurationError):
        log.error("Not stored: %s", " ".join(str(error).split()), extra={"action": "event_not_stored"})
        return Answer(status=503, text="not stored: try again")
    log.error("Not stored: %s", place_of(error), extra={"action": "event_not_stored"})
    return Answer(status=503, text="not stored: try again")
