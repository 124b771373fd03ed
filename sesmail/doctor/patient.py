"""What is examined: an application's client and its broker; each thing is asked once, and nothing is changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sesmail.errors import SesError
from sesmail.message.addresses import bare_address
from sesmail.ses.inspection import Denied, NotThere
from sesmail.vocabulary import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sesmail.client import Client
    from sesmail.sending.essence import Essence, Obstacle
    from sesmail.settings import Settings


class CannotLook(Exception):
    """What a check looks at cannot be seen; in words. That is told, too, but is no finding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerSetup:
    """What an application's Celery says of its broker and its tasks."""

    place: str = ""
    """Where the broker is, without user and password."""
    is_redis: bool = False
    unreachable: Callable[[], str] = str
    """Why it cannot be reached, in words; empty where it can."""
    visibility_timeout_seconds: float | None = None
    """None for brokers that have none."""
    is_eager: bool = False
    """Whether tasks run in the process that calls them."""
    misspelt: Sequence[tuple[str, str]] = ()
    """Names of settings that Celery does not know, each with the one that is most likely meant."""


class Patient:
    """A set-up, looked at with care. What cannot be asked raises `CannotLook` in words, or the error of its room."""

    def __init__(
        self,
        client: Client,
        broker: BrokerSetup | None = None,
        *,
        now: Callable[[], float] = time.time,
        flower_url: str = "http://127.0.0.1:5555",
        account: str = DEFAULT_ACCOUNT,
    ) -> None:
        """`account` is the one of SES's that is looked at."""
        self.client, self.broker, self.now, self.flower_url = client, broker or BrokerSetup(), now, flower_url
        self.account_name = account

    def with_account(self, account: str) -> Patient:
        """The same set-up, where another account of SES's is looked at."""
        return Patient(self.client, self.broker, now=self.now, flower_url=self.flower_url, account=account)

    @property
    def settings(self) -> Settings:
        """Its settings, as they are for the account that is looked at."""
        return self.client.settings.of_account(self.account_name)

    # -- Redis --------------------------------------------------------------------------------------------------------

    def info(self, section: str) -> Mapping[str, Any]:
        """What Redis says of itself; empty where its user may not ask. Raises `LedgerUnavailable`."""
        if section not in self._infos:
            self._infos[section] = self.client.redis_health.info(section)
        return self._infos[section]

    @cached_property
    def _infos(self) -> dict[str, Mapping[str, Any]]:
        return {}

    @cached_property
    def essence(self) -> Essence:
        """How things stand. Raises `LedgerUnavailable`."""
        return self.client.essence()

    def in_the_way(self, *ids: str) -> list[Obstacle]:
        """Those of what is in the mail's way that have these ids, as `sesmail why` tells them."""
        return [each for each in self.essence.obstacles if each.id in ids]

    # -- AWS ----------------------------------------------------------------------------------------------------------

    @cached_property
    def aws(self) -> Any:
        """Asks SES, SNS and SQS."""
        return self.client.inspection(self.account_name, now=self.now)

    def ses(self, call: str, **arguments: Any) -> dict[str, Any]:
        """An answer of SES. Raises `NotThere`, and `CannotLook` where there is no answer."""
        return self.ask("sesv2", call, **arguments)

    def ask(self, service: str, call: str, *, region: str | None = None, **arguments: Any) -> dict[str, Any]:
        """An answer of AWS. Raises `NotThere`, and `CannotLook` where there is no answer."""
        try:
            answer: dict[str, Any] = self.aws.ask(service, call, region=region, **arguments)
        except Denied as error:
            raise CannotLook(str(error)) from None
        except SesError as error:
            raise CannotLook(f"AWS did not say ({error.code})") from None
        return answer

    @cached_property
    def account(self) -> dict[str, Any]:
        """What SES says of the account. Raises `CannotLook`."""
        return self.ses("get_account")

    @cached_property
    def identity(self) -> tuple[str, dict[str, Any]]:
        """The identity that the sender goes by, the address or else its domain, and what SES says of it.

        Raises `NotThere`, and `CannotLook`, also where no sender is set.
        """
        if not self.settings.from_email:
            raise CannotLook("no SESMAIL_FROM_EMAIL is set, so it is not known who sends")
        address = bare_address(self.settings.from_email).lower()
        parts = address.rpartition("@")[2].split(".")
        domains = [".".join(parts[first:]) for first in range(max(1, len(parts) - 1))]
        for name in (address, *domains):
            try:
                return name, self.ses("get_email_identity", EmailIdentity=name)
            except NotThere:
                continue
        raise NotThere(address)

    @property
    def configuration_sets(self) -> tuple[str, ...]:
        """The configuration sets that are named, one for all or one a lane. Raises `CannotLook` where none is."""
        if not self.settings.configuration_sets:
            raise CannotLook("no configuration set is named")
        return self.settings.configuration_sets

    def configuration_set(self, name: str) -> dict[str, Any]:
        """What SES says of one. Raises `NotThere` and `CannotLook`."""
        return self.ses("get_configuration_set", ConfigurationSetName=name)

    def event_destinations(self, name: str) -> list[dict[str, Any]]:
        """Where the events of one go. Raises as `configuration_set`."""
        answer = self.ses("get_configuration_set_event_destinations", ConfigurationSetName=name)
        return list(answer.get("EventDestinations", ()))

    def subscriptions(self, topic: str) -> list[dict[str, Any]]:
        """Those to a topic. Raises `NotThere` and `CannotLook`."""
        answer = self.ask("sns", "list_subscriptions_by_topic", region=region_of(topic), TopicArn=topic)
        return list(answer.get("Subscriptions", ()))

    def subscription(self, arn: str) -> dict[str, str]:
        """The attributes of one. Raises `NotThere` and `CannotLook`."""
        answer = self.ask("sns", "get_subscription_attributes", region=region_of(arn), SubscriptionArn=arn)
        return dict(answer.get("Attributes", {}))

    def queue(self, url: str) -> dict[str, str]:
        """The attributes of a queue. Raises `NotThere` and `CannotLook`."""
        region = self.client.region_of_queue(url)
        answer = self.ask("sqs", "get_queue_attributes", region=region, QueueUrl=url, AttributeNames=["All"])
        return dict(answer.get("Attributes", {}))


def region_of(arn: str) -> str:
    """The Region that an ARN names."""
    return arn.split(":")[3] if arn.count(":") >= 5 else ""
