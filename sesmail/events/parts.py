"""Builds what takes events in and acts on them from the settings; each part only when it is first used."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from sesmail.errors import ConfigurationError
from sesmail.events.intake import Intake
from sesmail.events.link_opt_out import LinkOptOut
from sesmail.events.processing import EventProcessor
from sesmail.events.sns import Certificates, Confirmation, SnsVerifier, fetch_certificate
from sesmail.unsubscribe import UnsubscribeDoor, UnsubscribeLinks

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.events.stores import EventStore
    from sesmail.settings import Settings
    from sesmail.state.ledger import Ledger
    from sesmail.state.reputation import Reputation
    from sesmail.state.scripts import Scripts
    from sesmail.state.suppression import SuppressionList


class EventParts:
    """The parts that have to do with events. Nothing is connected to, and neither boto3 nor SQL loaded, before use."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        suppression: SuppressionList,
        reputation: Reputation,
        *,
        scripts_at: Callable[[str], Scripts],
        announce: Callable[[str], None],
    ) -> None:
        """`scripts_at` runs scripts on the Redis at a URL; `announce` is told a site when events of it have come."""
        self._settings = settings
        self._ledger = ledger
        self._suppression = suppression
        self._reputation = reputation
        self._scripts_at = scripts_at
        self._announce = announce

    @cached_property
    def store(self) -> EventStore:
        """Where events are kept. Raises `ConfigurationError` for a store that there is not."""
        url = self._settings.event_store or self._settings.redis_url
        match urlsplit(url).scheme.partition("+")[0]:
            case "redis" | "rediss" | "unix":
                return self._redis_store(url)
            case "sqlite" | "postgresql":
                return _sql_store(url)
            case "dynamodb":
                return self._dynamodb_store(url)
        raise ConfigurationError(
            "Events cannot be kept at the SESMAIL_EVENT_STORE that is set: it begins with none of redis, sqlite, "
            "postgresql and dynamodb. None are accepted until it is mended; AWS tries again."
        )

    def _redis_store(self, url: str) -> EventStore:
        from sesmail.events.stores.redis import RedisEventStore  # noqa: PLC0415  who has another store needs none of it

        return RedisEventStore(
            self._scripts_at(url),
            most_events=self._settings.max_stored_events,
            retention_seconds=self._settings.event_retention_seconds,
        )

    def _dynamodb_store(self, url: str) -> EventStore:
        from sesmail.events.stores.dynamodb import WRITE_CONFIG, DynamoDbEventStore  # noqa: PLC0415  loads boto3

        place = urlsplit(url)
        options = dict(parse_qsl(place.query))
        client = _aws("dynamodb", options.get("region"), config=WRITE_CONFIG, endpoint_url=options.get("endpoint_url"))
        retention_seconds = self._settings.event_retention_seconds
        return DynamoDbEventStore(client, place.netloc, retention_seconds=retention_seconds)

    @cached_property
    def verifier(self) -> SnsVerifier:
        """Tells what may be believed."""
        instead = self._settings.sns_certificate_url
        fetch = (lambda _url: fetch_certificate(instead)) if instead else fetch_certificate
        return SnsVerifier(self._settings.topics, Certificates(fetch))

    @cached_property
    def confirm(self) -> Confirmation:
        """Confirms subscriptions; loads boto3 when there is one to confirm."""
        return Confirmation(lambda region: _aws("sns", region))

    @cached_property
    def intake(self) -> Intake:
        """What the doors hand notifications to."""
        return Intake(
            self.verifier,
            self.store,
            confirm=self.confirm,
            announce=self._announce,
            raw_site=self._settings.raw_delivery_site,
            verify_queues=self._settings.verify_queues,
        )

    @cached_property
    def processor(self) -> EventProcessor:
        """Processes the events of this site."""
        return EventProcessor(
            self._settings.site,
            self.store,
            self._suppression,
            self._reputation,
            record_evidence=self._ledger.record_evidence,
            metadata=self._ledger.metadata,
        )

    @cached_property
    def unsubscribe_links(self) -> UnsubscribeLinks:
        """Makes unsubscribe links. Raises `ConfigurationError` where the settings for it are missing."""
        return UnsubscribeLinks(self._settings.unsubscribe_secrets, self._settings.unsubscribe_url or "")

    @cached_property
    def unsubscribe_door(self) -> UnsubscribeDoor:
        """What is behind the links."""
        opt_out = LinkOptOut(self._suppression, self.intake.put, now=lambda: datetime.now(UTC))
        return UnsubscribeDoor(self.unsubscribe_links, opt_out)

    def queue_client(self, queue_url: str) -> Any:
        """boto3's client for the Region of a queue."""
        host = (urlsplit(queue_url).hostname or "").split(".")
        region = host[1] if host[0] == "sqs" and len(host) > 2 else self._settings.region
        return _aws("sqs", region)


def _sql_store(url: str) -> EventStore:
    from sesmail.events.stores.sql import SqlEventStore  # noqa: PLC0415  needs the extra `sql`

    store = SqlEventStore(url)
    store.create_table()
    return store


def _aws(service: str, region: str | None, **options: Any) -> Any:
    import boto3  # noqa: PLC0415  costs half a second: only who talks to AWS pays

    return boto3.client(service, region_name=region, **options)  # type: ignore[call-overload]  # its name is no literal
