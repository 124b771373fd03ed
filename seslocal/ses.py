"""The simulated SES: an account, the SNS beside it, and the publisher that tells it what becomes of email."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seslocal.account.account import Account
from seslocal.account.configuration_sets import EVENT_TYPES, ConfigurationSet, EventDestination
from seslocal.events.publisher import ANSWER_AFTER_EVENTS_SECONDS, Publisher
from seslocal.sns.signing import Signer
from seslocal.sns.topics import Sns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seslocal.account.mailbox import Record
    from seslocal.message.submission import Submission
    from seslocal.options import Options


class Ses:
    """All that one set of options brings about; `reset` makes it anew."""

    account: Account
    sns: Sns
    publisher: Publisher

    def __init__(self, options: Options) -> None:
        self.options = options
        self.signer = Signer()
        self._begin()

    async def reset(self) -> None:
        """Forget everything, as if just started; nothing from before comes after."""
        await self.publisher.close()
        self._begin()
        self.set_up()

    def _begin(self) -> None:
        self.account = Account(self.options)
        self.sns = Sns(self.options, self.signer)
        self.publisher = Publisher(self.account, self.sns)

    def set_up(self) -> None:
        """Make the configuration sets, the topic and the subscriptions of the options. Needs a running event loop."""
        options = self.options
        for name in (options.default_configuration_set, *options.configuration_sets):
            self.account.configuration_sets[name] = ConfigurationSet(name=name)
        if not (options.sns_url or options.sqs_queue or options.lambda_handler):
            return
        arn = self.sns.create_topic(options.topic, options.signature_version).arn
        everything = EventDestination(name="simulator", enabled=True, event_types=EVENT_TYPES, topic_arn=arn)
        for configuration_set in self.account.configuration_sets.values():
            configuration_set.event_destinations[everything.name] = everything
        for wanted in self._subscriptions():
            self.sns.subscribe(topic_arn=arn, **wanted)

    def check_subscriptions(self) -> None:
        """Raise Refused if one of those of the options cannot be made; no event loop is needed."""
        for wanted in self._subscriptions():
            self.sns.new_subscription(self.options.topic_arn, **wanted)

    def send(self, submission: Submission) -> Record:
        """Accept an email and let its events follow, or raise `Refused`."""
        record = self.account.accept(submission)
        self.publisher.accepted(record, submission)
        return record

    def latency(self) -> float:
        """How many seconds the next answer takes."""
        waiting = ANSWER_AFTER_EVENTS_SECONDS if self.publisher.faults.before_response else 0.0
        return waiting + self.account.random.uniform(*self.account.latency_seconds)

    def report(self) -> dict[str, Any]:
        """The account's limits and all that was counted."""
        return self.account.report() | {"notifications": self.publisher.report()}

    def _subscriptions(self) -> Iterator[dict[str, Any]]:
        options = self.options
        if options.sns_url:
            yield {
                "protocol": options.sns_url.partition(":")[0],
                "address": options.sns_url,
                "raw": options.raw_delivery,
                "policy": options.delivery_policy,
                "dead_letter_queue": options.dead_letter_queue,
                "confirmed": options.sns_confirmed,
            }
        if options.sqs_queue:
            yield {"protocol": "sqs", "address": options.sqs_queue, "raw": options.raw_delivery}
        if options.lambda_handler:
            yield {"protocol": "lambda", "address": options.lambda_handler}
