"""Configuration sets: named settings that an email is sent under, with the destinations of its events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

EVENT_TYPES = (
    "SEND",
    "REJECT",
    "BOUNCE",
    "COMPLAINT",
    "DELIVERY",
    "OPEN",
    "CLICK",
    "RENDERING_FAILURE",
    "DELIVERY_DELAY",
    "SUBSCRIPTION",
)

LONGEST_DELIVERY_SECONDS = 50_400
"""SES tries for fourteen hours: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_DeliveryOptions.html"""


@dataclass(slots=True, kw_only=True)
class EventDestination:
    """Where events of some types go. Only SNS topics are served; the other kinds are kept and answered, no more."""

    name: str
    enabled: bool = False
    event_types: tuple[str, ...] = ()
    topic_arn: str | None = None
    others: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As the API shows it."""
        sns = {"SnsDestination": {"TopicArn": self.topic_arn}} if self.topic_arn else {}
        known = {"Name": self.name, "Enabled": self.enabled, "MatchingEventTypes": list(self.event_types)}
        return known | sns | self.others


@dataclass(slots=True, kw_only=True)
class ConfigurationSet:
    """One configuration set."""

    name: str
    sending_enabled: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    event_destinations: dict[str, EventDestination] = field(default_factory=dict)

    @property
    def max_delivery_seconds(self) -> int | None:
        """How long SES tries to deliver; None: as long as it ever does."""
        seconds: int | None = self.options.get("DeliveryOptions", {}).get("MaxDeliverySeconds")
        return seconds

    def publishes(self) -> bool:
        """Whether anybody gets its events."""
        return any(one.enabled and one.topic_arn for one in self.event_destinations.values())

    def topics_for(self, event_type: str) -> list[str]:
        """The topics that get events of a type, spelt as the API spells it."""
        return [
            destination.topic_arn
            for destination in self.event_destinations.values()
            if destination.enabled and destination.topic_arn and event_type in destination.event_types
        ]
