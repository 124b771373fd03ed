"""The simulated account: whether it takes an email, and what it keeps."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from sesmail.simulator import clock
from sesmail.simulator.configuration_sets import EVENT_TYPES, ConfigurationSet, EventDestination, existing
from sesmail.simulator.errors import Kind, Refused
from sesmail.simulator.faults import Faults
from sesmail.simulator.identities import Identities, not_verified
from sesmail.simulator.limits import CallRate, DailyQuota, SendRate
from sesmail.simulator.mailbox import Mailbox
from sesmail.simulator.outcomes import SIMULATOR_DOMAIN
from sesmail.simulator.publisher import ANSWER_AFTER_EVENTS_SECONDS, Publisher
from sesmail.simulator.signing import Signer
from sesmail.simulator.sns import Sns
from sesmail.simulator.suppression import SuppressionList
from sesmail.simulator.typed import check_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.simulator.mailbox import Record
    from sesmail.simulator.options import Options
    from sesmail.simulator.submission import Submission
    from sesmail.simulator.templates import Template

Value = TypeVar("Value")

ENFORCEMENT_STATUSES = ("HEALTHY", "PROBATION", "SHUTDOWN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What can be changed while it runs; None leaves it as it is."""

    rate: float | None = None
    burst: int | None = None
    quota: int | None = None
    sent_last_24_hours: int | None = None
    sending_enabled: bool | None = None
    enforcement_status: str | None = None
    """SHUTDOWN is an account paused by AWS."""
    production_access: bool | None = None
    latency_seconds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if self.enforcement_status not in (None, *ENFORCEMENT_STATUSES):
            raise ValueError(f"enforcement_status must be one of {', '.join(ENFORCEMENT_STATUSES)}")
        if (self.sent_last_24_hours or 0) < 0:
            raise ValueError("sent_last_24_hours must be at least 0")


class Ses:
    """One account in one region. Not thread-safe: everything happens on the server's event loop."""

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
        options = self.options
        self.random = random.Random(options.seed)  # noqa: S311 - chance, not secrecy
        self.mailbox = Mailbox(options)
        self.identities = Identities(options.identities)
        self.configuration_sets: dict[str, ConfigurationSet] = {}
        self.templates: dict[str, Template] = {}
        self.suppression = SuppressionList()
        self.sns = Sns(options, self.signer)
        self.publisher = Publisher(self, self.sns)
        self.faults = Faults(options.seed)
        self.rate = SendRate(options.rate, options.burst)
        self.quota = DailyQuota(options.quota)
        self.calls = CallRate(options.calls_per_second)
        self.sending_enabled = True
        self.enforcement_status = "HEALTHY"
        self.production_access = not options.sandbox
        self.latency_seconds = options.latency_seconds

    def set_up(self) -> None:
        """Make the configuration sets, the topic and the subscriptions of the options. Needs a running event loop."""
        options = self.options
        for name in (options.default_configuration_set, *options.configuration_sets):
            self.configuration_sets[name] = ConfigurationSet(name=name)
        if not (options.sns_url or options.sqs_queue or options.lambda_handler):
            return
        arn = self.sns.create_topic(options.topic, options.signature_version).arn
        everything = EventDestination(name="simulator", enabled=True, event_types=EVENT_TYPES, topic_arn=arn)
        for configuration_set in self.configuration_sets.values():
            configuration_set.event_destinations[everything.name] = everything
        for wanted in self._subscriptions():
            self.sns.subscribe(topic_arn=arn, **wanted)

    def check_subscriptions(self) -> None:
        """Raise Refused if one of those of the options cannot be made; no event loop is needed."""
        for wanted in self._subscriptions():
            self.sns.new_subscription(self.options.topic_arn, **wanted)

    def send(self, submission: Submission) -> Record:
        """Accept an email, or raise `Refused`."""
        now = clock.now()
        self._check_account()
        submission = self._under_its_configuration_set(submission)
        self._check_identities(submission)
        self._check_limits(submission, now)
        return self._accept(submission, now)

    def count_refusal(self, refused: Refused) -> None:
        """Count a call, or an entry of a bulk call, that was refused."""
        self.mailbox.refuse(refused.kind, clock.now())

    def admit_call(self, action: str) -> None:
        """Count a call of an action that does not send."""
        if not self.calls.admit(action, clock.now()):
            raise Refused(Kind.API_RATE)

    def latency(self) -> float:
        """How many seconds the next answer takes."""
        waiting = ANSWER_AFTER_EVENTS_SECONDS if self.publisher.faults.before_response else 0.0
        return waiting + self.random.uniform(*self.latency_seconds)

    def new_message_id(self) -> str:
        """In SES's form: the time in milliseconds, then chance."""
        letters = f"{self.random.getrandbits(128):032x}"
        middle = f"{letters[:8]}-{letters[8:12]}-{letters[12:16]}-{letters[16:20]}-{letters[20:]}"
        return f"0100{int(clock.now() * 1000):012x}-{middle}-000000"

    def send_quota(self) -> dict[str, float]:
        """The limits in the words of both APIs."""
        sent = float(self.quota.sent(clock.now()))
        return {"Max24HourSend": float(self.quota.limit), "MaxSendRate": float(self.rate.rate), "SentLast24Hours": sent}

    def change(self, changes: Changes) -> None:
        """Change limits and switches while it runs."""
        wanted = replace(  # refuses what makes no sense
            self.options,
            rate=_or_else(changes.rate, self.rate.rate),
            burst=_or_else(changes.burst, self.rate.burst),
            quota=_or_else(changes.quota, self.quota.limit),
            latency_seconds=_or_else(changes.latency_seconds, self.latency_seconds),
        )
        self.rate = self.rate.changed_to(wanted.rate, wanted.burst)
        self.quota.limit = wanted.quota
        self.latency_seconds = wanted.latency_seconds
        if changes.sent_last_24_hours is not None:
            self.quota.reset(changes.sent_last_24_hours, clock.now())
        self.sending_enabled = _or_else(changes.sending_enabled, self.sending_enabled)
        self.enforcement_status = _or_else(changes.enforcement_status, self.enforcement_status)
        self.production_access = _or_else(changes.production_access, self.production_access)

    def report(self) -> dict[str, Any]:
        """The account's limits and all that was counted."""
        limits = {"rate": self.rate.rate, "burst": self.rate.burst, "quota": self.quota.limit}
        used = {"sent_last_24_hours": self.quota.sent(clock.now())}
        trouble = {"faults": dict(self.faults.injected), "notifications": self.publisher.report()}
        return limits | used | self.mailbox.report() | trouble

    def _check_account(self) -> None:
        if self.enforcement_status == "SHUTDOWN":
            raise Refused(Kind.PAUSED_BY_AWS)
        if not self.sending_enabled:
            raise Refused(Kind.PAUSED)

    def _under_its_configuration_set(self, submission: Submission) -> Submission:
        name = submission.configuration_set or self.options.default_configuration_set
        if not existing(self, name).sending_enabled:
            raise Refused(Kind.CONFIGURATION_SET_PAUSED)
        return submission if submission.configuration_set else replace(submission, configuration_set=name)

    def _check_identities(self, submission: Submission) -> None:
        failed = [] if self.identities.may_send(submission.sender) else [submission.source]
        if not self.production_access:
            failed += [address for address in submission.recipients if not self._may_receive_in_sandbox(address)]
        if failed:
            raise not_verified(failed, self.options.region)

    def _may_receive_in_sandbox(self, address: str) -> bool:
        return address.lower().endswith(SIMULATOR_DOMAIN) or self.identities.verified(address)

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

    def _check_limits(self, submission: Submission, now: float) -> None:
        if counted_in_quota(submission) and not self.quota.allows(now):
            raise Refused(Kind.DAILY_QUOTA)
        if not self.rate.allows(now):
            raise Refused(Kind.RATE)

    def _accept(self, submission: Submission, now: float) -> Record:
        self.rate.charge(len(submission.recipients), now)
        if counted := counted_in_quota(submission):
            self.quota.charge(counted, now)
        record = self.mailbox.accept(submission, self.new_message_id(), now)
        self.publisher.accepted(record, submission)
        return record


def counted_in_quota(submission: Submission) -> int:
    """Recipients that use up the daily quota: the mailbox simulator's addresses do not."""
    return sum(not recipient.lower().endswith(SIMULATOR_DOMAIN) for recipient in submission.recipients)


def _or_else(given: Value | None, otherwise: Value) -> Value:
    return otherwise if given is None else given
