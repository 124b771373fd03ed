"""SNS: topics, subscriptions with their handshake, and notifications that are delivered, tried again, and given up.

Everything here runs on the event loop but the deliveries themselves, which block and therefore have threads.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from seslocal import clock
from seslocal.errors import Kind, Refused, invalid
from seslocal.sns.delivery_policy import DeliveryPolicy, aws_managed
from seslocal.sns.endpoints import Endpoint, Failed, Message, endpoint_for
from seslocal.sns.signing import Signer, certificate_url

if TYPE_CHECKING:
    from seslocal.options import Options

HTTP = frozenset({"http", "https"})
DELIVERY_THREADS = 32
KEPT_DEAD_LETTERS = 10_000
LAMBDA_POLICY = DeliveryPolicy(
    retries=2, shortest_seconds=60, longest_seconds=120, retries_at_shortest=1, retries_at_longest=1
)
"""Lambda's own for asynchronous calls: a function that raises is called again after one minute and after two more."""


@dataclass(slots=True, kw_only=True)
class Subscription:
    """Where a topic's notifications go."""

    arn: str
    topic_arn: str
    protocol: str
    address: str
    endpoint: Endpoint
    policy: DeliveryPolicy
    raw: bool = False
    dead_letter_queue: Endpoint | None = None
    dead_letter_name: str | None = None
    """The ARN or name of that queue."""
    token: str | None = None
    """Of the confirmation that is waited for; None once it is there."""
    next_receive_at: float = 0.0
    """When the throttle policy lets the next notification go."""

    @property
    def confirmed(self) -> bool:
        """Whether notifications go there."""
        return self.token is None


@dataclass(slots=True, kw_only=True)
class Topic:
    """A name that messages are published to."""

    arn: str
    signature_version: str = "1"
    subscriptions: dict[str, Subscription] = field(default_factory=dict)


class Sns:
    """The topics of one account in one region."""

    def __init__(self, options: Options, signer: Signer) -> None:
        self._options = options
        self._signer = signer
        self._random = random.Random(options.seed)  # noqa: S311 - chance, not secrecy
        self._threads = ThreadPoolExecutor(DELIVERY_THREADS, "sns-delivery")
        self._deliveries: set[asyncio.Task[None]] = set()
        self.topics: dict[str, Topic] = {}
        self.counts: Counter[str] = Counter()
        self.dead_letters: deque[dict[str, Any]] = deque(maxlen=KEPT_DEAD_LETTERS)

    def create_topic(self, name: str, signature_version: str = "1") -> Topic:
        """A topic, or the one that has this name already."""
        arn = self._options.arn_of_topic(name)
        return self.topics.setdefault(arn, Topic(arn=arn, signature_version=signature_version))

    def topic(self, arn: str) -> Topic:
        """A topic, or SNS's refusal."""
        if arn not in self.topics:
            raise Refused(Kind.NOT_FOUND, "Topic does not exist")
        return self.topics[arn]

    def new_subscription(
        self,
        topic_arn: str,
        protocol: str,
        address: str,
        *,
        raw: bool = False,
        policy: str | None = None,
        dead_letter_queue: str | None = None,
        confirmed: bool = False,
    ) -> Subscription:
        """A subscription that is not kept yet, or SNS's refusal."""
        subscription = Subscription(
            arn=f"{topic_arn}:{self._uuid()}",
            topic_arn=topic_arn,
            protocol=protocol,
            address=address,
            endpoint=endpoint_for(protocol, address, self._options),
            policy=self._policy(protocol, policy),
            raw=raw,
        )
        self.set_dead_letter_queue(subscription, dead_letter_queue)
        if protocol in HTTP and not confirmed:
            subscription.token = f"{self._random.getrandbits(512):0128x}"
        return subscription

    def subscribe(self, topic_arn: str, protocol: str, address: str, **attributes: Any) -> Subscription:
        """Subscribe an endpoint; an HTTP one must first confirm. The same endpoint again is the same subscription."""
        topic = self.topic(topic_arn)
        new = self.new_subscription(topic_arn, protocol, address, **attributes)
        same = (one for one in topic.subscriptions.values() if (one.protocol, one.address) == (protocol, address))
        subscription = topic.subscriptions.setdefault(next(same, new).arn, new)
        if not subscription.confirmed:
            self._start_delivery(subscription, self._confirmation(topic, subscription))
        return subscription

    def confirm(self, topic_arn: str, token: str) -> Subscription:
        """The handshake's second half."""
        for subscription in self.topic(topic_arn).subscriptions.values():
            if subscription.token == token:
                subscription.token = None
                return subscription
        raise invalid("Invalid token")

    def subscription(self, arn: str) -> Subscription:
        """A subscription, or SNS's refusal."""
        topic_arn = arn.rpartition(":")[0]
        found = self.topics[topic_arn].subscriptions.get(arn) if topic_arn in self.topics else None
        if found is None:
            raise Refused(Kind.NOT_FOUND, "Subscription does not exist")
        return found

    def unsubscribe(self, arn: str) -> None:
        """End a subscription."""
        found = self.subscription(arn)
        del self.topics[found.topic_arn].subscriptions[arn]

    def publish(self, topic_arn: str, message: str, subject: str | None = None, copies: int = 1) -> str:
        """Send a message to all confirmed subscriptions, perhaps more than once; returns its MessageId."""
        topic = self.topic(topic_arn)
        envelope = {"Type": "Notification", "MessageId": self._uuid(), "TopicArn": topic_arn}
        if subject is not None:
            envelope["Subject"] = subject
        envelope |= {"Message": message} | self._closing(topic)
        confirmed = [subscription for subscription in topic.subscriptions.values() if subscription.confirmed]
        for subscription in confirmed * copies:
            self.counts["published"] += 1
            self._start_delivery(subscription, envelope)
        return envelope["MessageId"]

    def stop(self) -> None:
        """Begin no more attempts to deliver."""
        for task in self._deliveries:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ended(self) -> None:
        """Returns when the attempts that were under way have ended."""
        await asyncio.to_thread(self._threads.shutdown)

    def report(self) -> dict[str, int]:
        """Notifications published, acknowledged, dead and under way, and attempts that failed."""
        names = ("published", "acknowledged", "failed_attempts", "dead")
        return {name: self.counts[name] for name in names} | {"under_way": len(self._deliveries)}

    def as_json(self) -> list[dict[str, Any]]:
        """Topics with their subscriptions, for people and tests."""
        return [
            {
                "topic_arn": topic.arn,
                "signature_version": topic.signature_version,
                "subscriptions": [
                    {"arn": one.arn, "protocol": one.protocol, "endpoint": one.address, "token": one.token}
                    for one in topic.subscriptions.values()
                ],
            }
            for topic in self.topics.values()
        ]

    def set_dead_letter_queue(self, subscription: Subscription, queue: str | None) -> None:
        """The queue, by ARN or name, for what is given up; None for none."""
        subscription.dead_letter_queue = endpoint_for("sqs", queue, self._options) if queue else None
        subscription.dead_letter_name = queue

    def set_policy(self, subscription: Subscription, policy: str) -> None:
        """A DeliveryPolicy attribute."""
        subscription.policy = self._policy(subscription.protocol, policy)

    def _policy(self, protocol: str, given: str | None) -> DeliveryPolicy:
        if protocol in HTTP:
            return DeliveryPolicy.from_json(given) if given else DeliveryPolicy()
        return LAMBDA_POLICY if protocol == "lambda" else aws_managed()

    def _closing(self, topic: Topic) -> dict[str, str]:
        return {
            "Timestamp": clock.iso(clock.now()),
            "SignatureVersion": topic.signature_version,
            "SigningCertURL": certificate_url(self._options.region),
        }

    def _confirmation(self, topic: Topic, subscription: Subscription) -> dict[str, str]:
        host = self._local_address() if self._options.local_subscribe_url else self._aws_address()
        token = subscription.token or ""
        return {
            "Type": "SubscriptionConfirmation",
            "MessageId": self._uuid(),
            "Token": token,
            "TopicArn": topic.arn,
            "Message": f"You have chosen to subscribe to the topic {topic.arn}.\n"
            "To confirm the subscription, visit the SubscribeURL included in this message.",
            "SubscribeURL": f"{host}/?Action=ConfirmSubscription&TopicArn={topic.arn}&Token={token}",
        } | self._closing(topic)

    def _aws_address(self) -> str:
        return f"https://sns.{self._options.region}.amazonaws.com"

    def _local_address(self) -> str:
        return f"http://{self._options.host}:{self._options.port}"

    def _start_delivery(self, subscription: Subscription, envelope: dict[str, str]) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(subscription, envelope))
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    async def _deliver(self, subscription: Subscription, envelope: dict[str, str]) -> None:
        message = Message(envelope=envelope, subscription_arn=subscription.arn, raw=subscription.raw)
        confirming = envelope["Type"] == "SubscriptionConfirmation"
        failure = await self._try_until_final(subscription, message)
        if failure is None:
            self.counts["confirmations" if confirming else "acknowledged"] += 1
        elif not confirming:
            await self._bury(subscription, message, failure.reason)

    async def _try_until_final(self, subscription: Subscription, message: Message) -> Failed | None:
        failure: Failed | None = None
        for delay in (0.0, *subscription.policy.delays()):
            await self._sleep(delay)
            await self._pace(subscription)
            failure = await self._attempt(subscription, message)
            if failure is None:
                return None
            self.counts["failed_attempts"] += 1
            if failure.final:
                return failure
        return failure

    async def _attempt(self, subscription: Subscription, message: Message) -> Failed | None:
        def sign_and_deliver() -> Failed | None:
            if "Signature" not in message.envelope:
                message.envelope["Signature"] = self._signer.sign(message.envelope)
            return subscription.endpoint.deliver(message)

        return await asyncio.get_running_loop().run_in_executor(self._threads, sign_and_deliver)

    async def _bury(self, subscription: Subscription, message: Message, reason: str) -> None:
        self.counts["dead"] += 1
        self.dead_letters.append({"reason": reason, "subscription": subscription.arn, "body": message.body()})
        if queue := subscription.dead_letter_queue:
            await asyncio.get_running_loop().run_in_executor(self._threads, queue.deliver, message)

    async def _pace(self, subscription: Subscription) -> None:
        if subscription.policy.receives_per_second:
            now = clock.now()
            moment = max(now, subscription.next_receive_at)
            subscription.next_receive_at = moment + 1 / subscription.policy.receives_per_second
            await asyncio.sleep(moment - now)

    async def _sleep(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds / self._options.time_scale)

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
