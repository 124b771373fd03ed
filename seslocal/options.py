"""Every knob of the simulator, with its unit and default."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from seslocal.typed import check_types, is_number

ACCOUNT_ID = "123456789012"
_QUEUE = re.compile(r"(arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d+:)?[A-Za-z0-9_-]{1,80}(\.fifo)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the simulated account and its surroundings behave. `account.Changes` can be changed while it runs."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which it may be asked for, besides addresses and localhost: a container's, for example."""
    region: str = "us-east-1"
    rate: float = 14
    """Recipients per second; GetAccount gives it as MaxSendRate."""
    burst: int = 0
    """Recipients that a short burst may have beyond the rate. AWS does not say how many it allows."""
    quota: int = 50_000
    """Recipients in any 24 hours; -1 is unlimited."""
    sandbox: bool = False
    """A new account: only verified recipients and the mailbox simulator."""
    identities: tuple[str, ...] | None = None
    """Verified senders (addresses or domains); None: everyone may send."""
    credentials: tuple[tuple[str, str], ...] = ()
    """(access key id, secret) pairs; if given, signatures are checked, else they must only be there."""
    calls_per_second: float | None = 1
    """Limit of each action that does not send; None switches it off."""
    latency_seconds: tuple[float, float] = (0.0, 0.0)
    """Each answer takes a time between these two."""
    seed: int | None = None
    """Makes what is left to chance repeat: latencies, faults, the timing of events, ids."""
    kept_bodies: int = 1_000
    """How many of the last emails keep their content."""
    kept_records: int = 200_000
    """How many of the last emails are listed. Counts are kept for all."""
    duplicate_tag: str = "sesmail-id"
    """Two accepted emails with the same value of this tag are duplicates."""

    configuration_sets: tuple[str, ...] = ()
    """Exist from the start, besides the default one."""
    default_configuration_set: str = "simulator"
    """Emails that name none are sent under this one, as under an identity's default configuration set."""
    topic: str = "ses-events"
    """The name of the SNS topic to which all of these publish all events, if one of the next three is given."""
    sns_url: str | None = None
    """An HTTP(S) endpoint that is subscribed to the topic at the start; it must confirm, as with SNS."""
    sns_confirmed: bool = False
    """Skip that confirmation."""
    sqs_queue: str | None = None
    """An SQS queue's name, at `sqs_endpoint_url`, that is subscribed to the topic."""
    sqs_endpoint_url: str | None = None
    lambda_handler: str | None = None
    """`module:function`, called with the event that Lambda would get from the topic."""
    raw_delivery: bool = False
    """The queue gets the event itself, not SNS's envelope around it."""
    signature_version: str = "1"
    """SNS's: "1" is SHA-1, its default; "2" is SHA-256."""
    delivery_policy: str | None = None
    """Of the HTTP subscription, as JSON; None is SNS's default of three retries 20 seconds apart."""
    dead_letter_queue: str | None = None
    """An SQS queue's name for what SNS gives up."""
    time_scale: float = 1.0
    """Delays of events, SNS's retries and its time-out run so many times faster than in life."""
    local_subscribe_url: bool = False
    """SubscribeURL leads to the simulator, not to AWS's host; verifiers rightly refuse it."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.rate <= 0 or self.burst < 0 or self.quota < -1 or self.time_scale <= 0:
            raise ValueError(
                "rate and time_scale must be above 0, burst at least 0, quota at least 0 or -1 for unlimited"
            )
        if not _is_range(self.latency_seconds):
            raise ValueError("latency_seconds must be a shortest and a longest time")
        if self.sqs_queue and not _QUEUE.fullmatch(self.sqs_queue):
            raise ValueError(
                "sqs_queue is the name of a queue, such as ses-events, not its address: sqs_endpoint_url says where"
            )
        if self.sqs_queue and not self.sqs_endpoint_url:
            raise ValueError("no SQS server is named for the queue: sqs_queue needs sqs_endpoint_url")
        if self.signature_version not in {"1", "2"}:
            raise ValueError('signature_version must be "1" or "2"')

    @property
    def topic_arn(self) -> str:
        """The topic of the options above."""
        return self.arn_of_topic(self.topic)

    def arn_of_topic(self, name: str) -> str:
        """A topic's ARN in this account and region."""
        return f"arn:aws:sns:{self.region}:{ACCOUNT_ID}:{name}"

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Options:
        """Options that went through JSON, which knows no tuples."""
        return cls(**{name: _as_tuples(value) for name, value in given.items()})


def _is_range(given: Any) -> bool:
    pair = list(given) if isinstance(given, list | tuple) else []  # may come from JSON
    return len(pair) == 2 and all(is_number(one) for one in pair) and 0 <= pair[0] <= pair[1]


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(one) for one in value) if isinstance(value, list) else value
