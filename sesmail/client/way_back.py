"""SES's way back in: where events are kept, who takes them in, who processes them; and SES's own list."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sesmail.client.kept import KeptInRedis
from sesmail.client.part import part
from sesmail.errors import ConfigurationError
from sesmail.signals import heard_here
from sesmail.state.people.suppression import SoftBouncePolicy
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.events.intake import Intake
    from sesmail.events.processing import EventProcessor
    from sesmail.events.sns import Confirmation, SnsVerifier
    from sesmail.events.stores import EventStore
    from sesmail.sending.brake import Brake
    from sesmail.ses.inspection import Inspection
    from sesmail.ses.suppression import SesSuppressionList
    from sesmail.unsubscribe import UnsubscribeDoor, UnsubscribeLinks


OF_SES = ("sesv2", "ses")


class WayBack(KeptInRedis):
    """The parts that hear what SES tells."""

    @part
    def event_store(self) -> EventStore:
        """Where events are kept. Raises `ConfigurationError` for a store that there is not."""
        from sesmail.events.stores.opening import open_store  # noqa: PLC0415  who only sends pays nothing for it

        return open_store(self.settings, self._scripts_at)

    def _scripts_at(self, url: str) -> Scripts:
        if url == self.settings.redis_url:
            return self.scripts
        return Scripts(self._connect(self.settings.redis_timeout_seconds, self._keys, url), self._keys)

    @part
    def sns_verifier(self) -> SnsVerifier:
        """Tells what may be believed."""
        from sesmail.events.sns import Certificates, SnsVerifier, fetch_certificate  # noqa: PLC0415

        instead = self.settings.sns_certificate_url
        fetch = (lambda _url: fetch_certificate(instead)) if instead else fetch_certificate
        return SnsVerifier(self.settings.topics, Certificates(fetch))

    @part
    def confirmation(self) -> Confirmation:
        """Confirms subscriptions; loads boto3 when there is one to confirm."""
        from sesmail.events.sns import Confirmation  # noqa: PLC0415

        return Confirmation(lambda region: _aws("sns", region))

    @property
    def intake(self) -> Intake:
        """What the doors of a site hand notifications to; they are kept in memory where email is."""
        return self._intake(self.memory.events) if self.is_suppressed else self.real_intake

    @part
    def real_intake(self) -> Intake:
        """What takes notifications into the event store."""
        return self._intake(
            self.event_store, confirm=self.confirmation, announce=self._announce, count_answer=self._count_answer
        )

    def _count_answer(self, status: int) -> None:
        """Doors that store elsewhere, such as Lambda, need no ledger: there, nobody counts."""
        with suppress(ConfigurationError):
            self.meters.count_door_answer(status)

    def _announce(self, site: str) -> None:
        """Have the events of a site processed, and note which functions for them this process has."""
        self.broker.process_events(site)
        if names := heard_here(site):
            self.hearing.note_receivers(site, names)

    def _intake(self, store: EventStore, **following: Any) -> Intake:
        from sesmail.events.intake import Intake  # noqa: PLC0415

        raw_site, verify_queues = self.settings.raw_delivery_site, self.settings.verify_queues
        return Intake(self.sns_verifier, store, raw_site=raw_site, verify_queues=verify_queues, **following)

    @part
    def event_processor(self) -> EventProcessor:
        """Processes the events of this site."""
        return self.event_processor_of(self.settings.site)

    def event_processor_of(self, site: str) -> EventProcessor:
        """Processes the events of a site that shares the ledger and the store with this one."""
        from sesmail.events.processing import EventProcessor  # noqa: PLC0415

        return EventProcessor(
            site,
            self.event_store,
            self.suppression,
            self.reputation,
            record_evidence=self.ledger.record_evidence,
            record_first_word=self.ledger.record_first_word,
            record_unfilled=self.ledger.record_unfilled,
            metadata=self.ledger.metadata,
            share_opt_outs_with=self.settings.share_opt_outs_with,
            soft_bounces=self._soft_bounces(),
            hard_bounce_expiry_seconds=self.settings.hard_bounce_expiry_seconds,
            on_counted=self.brake.look,
        )

    @part
    def brake(self) -> Brake:
        """Stops what bounces or is complained of too often."""
        from sesmail.sending.brake import Brake  # noqa: PLC0415  who only sends has no use for it
        from sesmail.state.line.brake import BrakeBooks  # noqa: PLC0415
        from sesmail.state.line.line import Line  # noqa: PLC0415

        return Brake(self.settings, BrakeBooks(self.scripts), Line(self.scripts), self.turns)

    def _soft_bounces(self) -> SoftBouncePolicy | None:
        settings = self.settings
        return (
            SoftBouncePolicy(
                limit=settings.soft_bounce_limit,
                window_seconds=settings.soft_bounce_window_seconds,
                pause_seconds=settings.soft_bounce_pause_seconds,
            )
            if settings.soft_bounce_limit
            else None
        )

    @part
    def unsubscribe_links(self) -> UnsubscribeLinks:
        """Makes unsubscribe links. Raises `ConfigurationError` where the settings for it are missing."""
        from sesmail.unsubscribe import UnsubscribeLinks  # noqa: PLC0415

        return UnsubscribeLinks(self.settings.unsubscribe_secrets, self.settings.unsubscribe_url or "")

    @property
    def unsubscribe_door(self) -> UnsubscribeDoor:
        """What is behind the links."""
        from sesmail.events.link_opt_out import LinkOptOut  # noqa: PLC0415
        from sesmail.unsubscribe import Dress, UnsubscribeDoor  # noqa: PLC0415

        opt_outs = self.memory.opt_outs if self.is_suppressed else self.suppression
        opt_out = LinkOptOut(opt_outs, self.intake.put, now=lambda: datetime.now(UTC))
        dress = Dress(sender=self.settings.unsubscribe_sender, template=self.settings.unsubscribe_template)
        return UnsubscribeDoor(
            self.unsubscribe_links, opt_out, come_back=opt_out.come_back, has_left=opt_out.has_left, dress=dress
        )

    def ses_suppression(self, account: str = DEFAULT_ACCOUNT) -> SesSuppressionList:
        """SES's own suppression list of an account; loads boto3."""
        from sesmail.ses.suppression import SesSuppressionList  # noqa: PLC0415

        return SesSuppressionList(self._client_of("sesv2", account=account))

    def inspection(self, account: str = DEFAULT_ACCOUNT, *, now: Callable[[], float] = time.time) -> Inspection:
        """Asks SES, SNS and SQS how they are set up; loads boto3."""
        from sesmail.ses.inspection import Inspection  # noqa: PLC0415

        return Inspection(partial(self._client_of, account=account), now=now)

    def _client_of(
        self, service: str, region: str | None = None, *, account: str = DEFAULT_ACCOUNT, **options: Any
    ) -> Any:
        """boto3's client of SES as the settings of an account have it, or of another service."""
        if service not in OF_SES:
            return _aws(service, region, **options)
        from sesmail.ses.roles import Key, session_of  # noqa: PLC0415  half a second: only who talks to AWS pays

        settings = self.settings.of_account(account)
        key = Key.of(settings.access_key_id, settings.secret_access_key, settings.session_token)
        session = session_of(settings.region, settings.profile, key, settings.role_arn)
        return session.client(service, endpoint_url=settings.endpoint_url, **options)  # type: ignore[call-overload]

    def sqs_client(self, queue_url: str) -> Any:
        """boto3's client for the Region of a queue."""
        return _aws("sqs", self.region_of_queue(queue_url))

    def region_of_queue(self, queue_url: str) -> str | None:
        """The Region that a queue's address names; else that of SES."""
        host = (urlsplit(queue_url).hostname or "").split(".")
        return host[1] if host[0] == "sqs" and len(host) > 2 else self.settings.region


def _aws(service: str, region: str | None, **options: Any) -> Any:
    import boto3  # noqa: PLC0415  costs half a second: only who talks to AWS pays

    return boto3.client(service, region_name=region, **options)  # type: ignore[call-overload]  # its name is no literal
