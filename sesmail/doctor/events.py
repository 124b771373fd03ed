"""The way of SES's events: topics, subscriptions, queues, and what is stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sesmail.doctor.patient import CannotLook, region_of
from sesmail.doctor.table import Level, Said, Section
from sesmail.errors import EventStoreUnavailable, in_a_line
from sesmail.ses.inspection import NotThere

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.doctor.patient import Patient

PENDING = "PendingConfirmation"
MANY_EVENTS = 1000
SHORT_VISIBILITY_SECONDS = 20


_of_events = Section("Events", docs="events-setup.md")


@_of_events("topic-missing", Level.ERROR, "Mend SESMAIL_TOPICS, or make the topic: deploy/ses-events.yaml.")
def topic_missing(of: Patient) -> Iterator[str]:
    """A topic of SESMAIL_TOPICS is not there: no event comes from it."""
    for topic in of.settings.topics:
        try:
            of.subscriptions(topic)
        except NotThere:
            yield f"There is no topic {topic}: no event comes from it."


@_of_events("topic-region", Level.WARNING, "Give the configuration set a topic of the Region that SES is asked in.")
def topic_region(of: Patient) -> Iterator[str]:
    """A topic lies in another Region than SES is asked in: SES publishes to topics of its own Region alone."""
    region = of.settings.region
    for topic in of.settings.topics:
        if region and region_of(topic) not in {"", region}:
            yield f"SES is asked in {region}, but the topic {topic} is in {region_of(topic)}: SES publishes none there."


def _subscriptions(of: Patient) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for topic in of.settings.topics:
        try:
            yield topic, of.subscriptions(topic)
        except NotThere:
            continue


@_of_events("topic-unheard", Level.ERROR, "Subscribe a queue, or your door's address, to the topic.")
def topic_unheard(of: Patient) -> Iterator[str]:
    """Nobody is subscribed to a topic: SES tells, and nobody listens."""
    for topic, found in _subscriptions(of):
        if not found:
            yield f"Nobody is subscribed to the topic {topic}: SES tells, and nobody hears."


@_of_events(
    "subscription-pending",
    Level.ERROR,
    "Have the door running, then request the confirmation again in the SNS console; or `sesmail confirm`.",
)
def subscription_pending(of: Patient) -> Iterator[str]:
    """A subscription was never confirmed: the door was away, or does not believe the topic. Nothing comes by it."""
    for topic, found in _subscriptions(of):
        waiting = sum(each.get("SubscriptionArn") == PENDING for each in found)
        if waiting:
            yield f"{waiting} of {len(found)} subscriptions to {topic} were never confirmed: nothing comes by them."


def _who(subscription: dict[str, Any]) -> str:
    return f"{subscription.get('Protocol')} to {subscription.get('TopicArn')}"


def _attributes(of: Patient) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """The confirmed subscriptions, each with its attributes."""
    for _, found in _subscriptions(of):
        for each in found:
            if each.get("SubscriptionArn") != PENDING:
                yield each, of.subscription(each["SubscriptionArn"])


@_of_events(
    "subscription-raw",
    Level.ERROR,
    "Switch raw message delivery off at the subscription.",
    "events-setup.md#what-is-believed",
)
def subscription_raw(of: Patient) -> Iterator[str]:
    """A subscription delivers raw messages, which have no signature: our doors refuse them."""
    for each, said in _attributes(of):
        takes_raw = each.get("Protocol") == "sqs" and of.settings.raw_delivery_site
        if said.get("RawMessageDelivery") == "true" and not takes_raw:
            yield f"The subscription of {_who(each)} delivers raw messages: they are refused."


@_of_events(
    "subscription-no-dead-letters",
    Level.WARNING,
    "Give the subscription a redrive policy with an SQS queue; `sesmail drain-dlq` takes in what ends there.",
)
def subscription_no_dead_letters(of: Patient) -> Iterator[str]:
    """A subscription by HTTP has no dead-letter queue: what SNS gives up while the door is away is lost."""
    for each, said in _attributes(of):
        if str(each.get("Protocol")).startswith("http") and not said.get("RedrivePolicy"):
            yield f"The subscription of {_who(each)} has no dead-letter queue: what SNS gives up is lost."


# -- Queues -----------------------------------------------------------------------------------------------------------


@_of_events("queue-missing", Level.ERROR, "Mend SESMAIL_SQS_QUEUE_URLS, or make the queue.")
def queue_missing(of: Patient) -> Iterator[str]:
    """A queue that is to be polled is not there: no event comes from it."""
    for url in of.settings.sqs_queue_urls:
        try:
            of.queue(url)
        except NotThere:
            yield f"There is no queue {url}: no event comes from it."


def _queues(of: Patient) -> Iterator[tuple[str, dict[str, str]]]:
    for url in of.settings.sqs_queue_urls:
        try:
            yield url, of.queue(url)
        except NotThere:
            continue


@_of_events("queue-unsubscribed", Level.ERROR, "Subscribe the queue to the topic, and let the topic send to it.")
def queue_unsubscribed(of: Patient) -> Iterator[str]:
    """A queue that is polled is subscribed to none of the topics: it stays empty."""
    topics = dict(_subscriptions(of))
    heard = {each.get("Endpoint") for found in topics.values() for each in found}
    for url, said in _queues(of):
        if topics and said.get("QueueArn") not in heard:
            yield f"The queue {url} is subscribed to none of SESMAIL_TOPICS: it stays empty."


@_of_events("queue-no-dead-letters", Level.WARNING, "Give it a redrive policy, with a maxReceiveCount of 10 or more.")
def queue_no_dead_letters(of: Patient) -> Iterator[str]:
    """A queue has no dead-letter queue: what cannot be stored comes again for days, and then is gone."""
    for url, said in _queues(of):
        if not said.get("RedrivePolicy"):
            yield f"The queue {url} has no dead-letter queue: what cannot be stored comes again for days, then is gone."


@_of_events("dead-letters", Level.WARNING, "See why they failed in the door's log, then `sesmail drain-dlq URL`.")
def dead_letters(of: Patient) -> Iterator[str]:
    """Events lie in the dead-letter queue of a queue: they were not stored, and nobody acts on them."""
    for url, said in _queues(of):
        target = json.loads(said.get("RedrivePolicy") or "{}").get("deadLetterTargetArn", "")
        name = target.rpartition(":")[2]
        if not name:
            continue
        try:
            waiting = int(of.queue(f"{url.rpartition('/')[0]}/{name}").get("ApproximateNumberOfMessages", 0))
        except NotThere:
            yield f"The queue {url} names the dead-letter queue {name}, which is not there."
            continue
        if waiting:
            yield f"The dead-letter queue {name} holds about {waiting}: nobody acts on those events."


@_of_events("queue-visibility", Level.WARNING, "Set its visibility timeout to 30 seconds or more.")
def queue_visibility(of: Patient) -> Iterator[str]:
    """A queue gives a message out again before a batch of ten is stored: each event is taken in several times."""
    for url, said in _queues(of):
        seconds = int(said.get("VisibilityTimeout", 30))
        if seconds < SHORT_VISIBILITY_SECONDS:
            yield f"The queue {url} gives messages out again after {seconds} s: events are taken in several times."


# -- What is stored ---------------------------------------------------------------------------------------------------


@_of_events("store-unreachable", Level.ERROR, "Start it, or mend SESMAIL_EVENT_STORE.", "events-operate.md")
def store_unreachable(of: Patient) -> str | None:
    """The store of events is away, or not made: doors answer 503, and nothing is acknowledged until it is back."""
    try:
        of.client.event_store.counts(of.settings.site)
    except EventStoreUnavailable as error:
        return in_a_line(error)
    return None


@_of_events("events-set-aside", Level.WARNING, "`sesmail events` says why; `--replay` does them.", "events-operate.md")
def events_set_aside(of: Patient) -> Iterator[Said]:
    """Events were set aside after failures, or wait in numbers: nothing follows from them."""
    try:
        counts = of.client.event_store.counts(of.settings.site)
    except EventStoreUnavailable as error:
        raise CannotLook(in_a_line(error)) from None
    if counts.set_aside:
        yield Said(what=f"Of the events, {counts.set_aside} were set aside after failures: nothing follows from them.")
    if counts.unprocessed >= MANY_EVENTS:
        yield Said(
            what=f"{counts.unprocessed} events wait to be processed: who bounced is written to meanwhile.",
            do="Does a worker take the queue of events of this site? `sesmail process-events` does it by hand.",
        )


@_of_events("events-unheard", Level.WARNING, "See the other findings. Does a door run: `sesmail poll-sqs`, a web door?")
def events_unheard(of: Patient) -> Iterator[Said]:
    """A hundred emails or more were sent, and SES has told nothing of them for an hour."""
    yield from (Said(what=each.what) for each in of.in_the_way("unheard"))
