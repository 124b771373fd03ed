"""One application's sesmail: every part, built from its settings when it is first used.

    client = Client(Settings(redis_url="redis://127.0.0.1:6379/3", from_email="shop@example.com"), broker)
    client.send(Email("ann@example.org", "Your receipt", "Thank you."))

A process may hold any number of clients; nothing is shared by them. Celery apps have one each: see
`sesmail.current_client()`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload
from urllib.parse import urlsplit

from sesmail import settings as settings_module
from sesmail.errors import ConfigurationError
from sesmail.frames import shows_no_email, shows_no_email_later
from sesmail.hosts import flask_is_testing, runs_django_tests
from sesmail.sending.memory import MOST_SENDS, Memory, switched
from sesmail.signals import heard_here
from sesmail.state.address import read_address
from sesmail.state.audit import Audit
from sesmail.state.connection import connect
from sesmail.state.durable import DurableScripts
from sesmail.state.hearing import Hearing
from sesmail.state.keys import Keys
from sesmail.state.ledger import Ledger
from sesmail.state.meters import Meters
from sesmail.state.reputation import Reputation
from sesmail.state.scripts import Scripts
from sesmail.state.suppression import SoftBouncePolicy, SuppressionList
from sesmail.state.workers import Fleet, Turns, WorkerLease, WorkerRates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

    from sesmail.events.intake import Intake
    from sesmail.events.processing import EventProcessor
    from sesmail.events.sns import Confirmation, SnsVerifier
    from sesmail.events.stores import EventStore
    from sesmail.message import Email, Lane
    from sesmail.sending.account import AccountWatch
    from sesmail.sending.delivery import Delivery
    from sesmail.sending.obstacles import Obstacles
    from sesmail.sending.outbox import Broker, Outbox
    from sesmail.sending.sweeper import Sweeper
    from sesmail.sending.telling import Teller
    from sesmail.sending.throttle import SendThrottle
    from sesmail.ses.suppression import SesSuppressionList
    from sesmail.ses.transport import SesTransport
    from sesmail.settings import Settings
    from sesmail.state.answering import Callers
    from sesmail.state.former_names import FormerNames
    from sesmail.state.health import RedisHealth
    from sesmail.state.masters import Finder
    from sesmail.state.search import Search
    from sesmail.unsubscribe import UnsubscribeDoor, UnsubscribeLinks
    from sesmail.vocabulary import Accepted, Ticket

log = logging.getLogger("sesmail")

Part = TypeVar("Part")


class part(Generic[Part]):  # noqa: N801  used like property
    """A part of a client: made once, under the client's lock, and kept. `functools.cached_property` has no lock.

    https://docs.python.org/3/library/functools.html#functools.cached_property
    """

    def __init__(self, make: Callable[[Any], Part]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Client, owner: type) -> Part: ...
    def __get__(self, client: Client | None, owner: type) -> Self | Part:
        if client is None:
            return self
        made: dict[str, Any] = vars(client)
        with client.lock:
            if self._name not in made:
                made[self._name] = self._make(client)  # found there from now on, before this descriptor
        kept: Part = made[self._name]
        return kept


class NoBroker:
    """For programs that issue no tickets: those of what they accept are issued by the workers' sweeps."""

    def issue(self, tickets: Sequence[Ticket], **how: Any) -> None:
        """Nothing: a sweep does."""

    def is_empty(self, lane: Lane) -> bool:  # noqa: ARG002  the protocol's
        """Not known, so that no ticket counts as lost."""
        return False

    def process_events(self, site: str) -> None:
        """Nothing: the workers look by themselves."""


class Client:
    """Everything that one application needs to send, and to hear back.

    Cheap to make: nothing is connected to, and neither boto3 nor SQL loaded, before it is used. Not to be taken into
    another process by `fork`: make one there.
    """

    def __init__(self, settings: Settings | None = None, broker: Broker | None = None) -> None:
        """`settings` are the environment's (and Django's) unless given. Raises `ConfigurationError` for wrong ones.

        Without a `broker`, tickets are issued by the sweeps of workers that have one, some seconds later.
        """
        self.settings = settings or settings_module.load()
        self.broker: Broker = broker or NoBroker()
        self.pid = os.getpid()
        self.lock = threading.RLock()
        self._connections: list[Redis] = []
        self._finders: dict[str, Finder] = {}

    # -- an email's way out -----------------------------------------------------------------------------------------

    @shows_no_email
    def send(self, email: Email, *, send_id: str | None = None) -> Accepted:
        """Accept an email: once this returns, it is sent in the end. Raises `InvalidEmail`, `LedgerUnavailable`."""
        return self.outbox.send(email, send_id=send_id)

    @shows_no_email_later
    async def asend(self, email: Email, *, send_id: str | None = None) -> Accepted:
        """`send` for async code: the loop goes on while Redis is asked, in a thread."""
        return await asyncio.to_thread(self.send, email, send_id=send_id)

    @property
    def outbox(self) -> Outbox:
        """Where emails are accepted: on their way to SES, or kept in memory where none should reach people."""
        if not self.is_suppressed:
            return self.real_outbox
        from sesmail.sending.memory_ledger import MemoryLedger  # noqa: PLC0415  for tests
        from sesmail.sending.outbox import Outbox  # noqa: PLC0415

        kept = self.memory
        return Outbox(self.settings, kept.broker, MemoryLedger(kept, self.settings), kept.reputation)

    @part
    def real_outbox(self) -> Outbox:
        """The outbox over Redis."""
        from sesmail.sending.outbox import Outbox  # noqa: PLC0415

        quick = self._ledger(self._scripts(self.settings.accept_timeout_seconds))
        return Outbox(self.settings, self.broker, quick, self.reputation, patient_ledger=self.ledger)

    # -- where none should reach people -------------------------------------------------------------------------------

    @property
    def is_suppressed(self) -> bool:
        """Whether emails are kept in memory: by a test, by `SESMAIL_SUPPRESS_SEND`, or in tests of Django and Flask."""
        return bool(self.why_suppressed)

    @property
    def why_suppressed(self) -> str:
        """Who has emails kept in memory; empty where they are sent."""
        if (by_test := switched()) is not None:
            return "a test's outbox" if by_test.memory else ""
        if self.settings.suppress_send is not None:
            return "SESMAIL_SUPPRESS_SEND" if self.settings.suppress_send else ""
        if runs_django_tests():
            return "Django's test environment"
        return "TESTING of the Flask application" if flask_is_testing() else ""

    def check_not_suppressed(self) -> None:
        """For programs that are there to send. Raises `ConfigurationError` where nothing is to be sent."""
        if why := self.why_suppressed:
            raise ConfigurationError(
                f"Email is suppressed here, by {why}, so this program would send none. Nothing was queued or sent. "
                "Set SESMAIL_SUPPRESS_SEND=0, or remove what says otherwise, to send."
            )

    @property
    def memory(self) -> Memory:
        """What is kept while nothing is sent: the current test's, else this client's own."""
        by_test = switched()
        return by_test.memory if by_test and by_test.memory else self._own_memory

    @part
    def _own_memory(self) -> Memory:
        log.info(
            "Email and events are kept in memory, and nothing is sent to anybody: so says %s. SESMAIL_SUPPRESS_SEND=0 "
            "sends.",
            self.why_suppressed,
        )
        return Memory(most_sends=MOST_SENDS)

    # -- a worker's parts ---------------------------------------------------------------------------------------------

    @part
    def delivery(self) -> Delivery:
        """What a worker does with a ticket."""
        from sesmail.sending.delivery import Delivery  # noqa: PLC0415  who only accepts has no use for it

        return Delivery(
            self.settings,
            self.ledger,
            self.throttle,
            self.lease,
            self.account_watch,
            self.worker_rates,
            lambda: self.transport,
        )

    @part
    def sweeper(self) -> Sweeper:
        """Finds what fell between."""
        from sesmail.sending.sweeper import Sweeper  # noqa: PLC0415

        grace_seconds = self.settings.ticket_grace_seconds
        return Sweeper(
            self.ledger,
            self.throttle.line,
            self.meters,
            self.callers,
            self.broker,
            ticket_grace_seconds=grace_seconds,
        )

    @part
    def teller(self) -> Teller:
        """Tells this site's own functions how its sends have ended."""
        from sesmail.sending.telling import Teller  # noqa: PLC0415
        from sesmail.state.endings import Endings  # noqa: PLC0415

        return Teller(self.settings.site, Endings(self.scripts))

    @part
    def callers(self) -> Callers:
        """Those who wait for the end of sends."""
        from sesmail.state.answering import Callers  # noqa: PLC0415

        return Callers(self.scripts)

    @part
    def throttle(self) -> SendThrottle:
        """The fleet's one limiter."""
        from sesmail.sending.throttle import SendThrottle  # noqa: PLC0415

        return SendThrottle(self.scripts)

    @part
    def account_watch(self) -> AccountWatch:
        """Keeps the throttle's limits those of the account."""
        from sesmail.sending.account import AccountWatch  # noqa: PLC0415

        return AccountWatch(self.settings, self.throttle, self.turns, lambda: self.transport)

    @part
    def transport(self) -> SesTransport:
        """SES; loads boto3."""
        from sesmail.ses.transport import Key, SesTransport  # noqa: PLC0415  boto3 costs half a second: only who sends pays

        return SesTransport(
            region=self.settings.region,
            endpoint_url=self.settings.endpoint_url,
            profile=self.settings.profile,
            key=Key.of(self.settings.access_key_id, self.settings.secret_access_key, self.settings.session_token),
            connect_timeout_seconds=self.settings.ses_connect_timeout_seconds,
            read_timeout_seconds=self.settings.ses_read_timeout_seconds,
            max_connections=64,
            call=self.settings.ses_call,
        )

    # -- what is kept in Redis ----------------------------------------------------------------------------------------

    @part
    def scripts(self) -> Scripts:
        """Runs the Lua scripts on the ledger's Redis."""
        return self._scripts(self.settings.redis_timeout_seconds)

    @property
    def _keys(self) -> Keys:
        return Keys(self.settings.key_prefix, self.settings.global_key_prefix)

    def _scripts(self, timeout_seconds: float) -> Scripts:
        keys, waits_for = self._keys, self.settings.accept_waits_for
        if waits_for is None:
            return Scripts(self._connect(timeout_seconds, keys), keys)
        wait_seconds = self.settings.accept_wait_seconds
        patient = self._connect(timeout_seconds + wait_seconds, keys)
        return DurableScripts(self._connect(timeout_seconds, keys), keys, patient, waits_for, wait_seconds)

    def check_durability(self) -> None:
        """Whether what `SESMAIL_ACCEPT_WAITS_FOR` asks for can be had from this Redis.

        Raises `ConfigurationError`, and `LedgerUnavailable` when it cannot be known now.
        """
        if isinstance(scripts := self.scripts, DurableScripts):
            scripts.check()

    def _connect(self, timeout_seconds: float, keys: Keys, url: str | None = None) -> Redis:
        settings = self.settings
        address = read_address(url or settings.redis_url, master_name=settings.redis_master_name)
        if settings.redis_credentials and not url:
            address = replace(address, credentials=settings.redis_credentials)
        connection = connect(
            address,
            timeout_seconds=timeout_seconds,
            connect_timeout_seconds=settings.redis_connect_timeout_seconds,
            key=keys.base,
            finders=self._finders,
        )
        self._connections.append(connection)
        return connection

    @part
    def ledger(self) -> Ledger:
        """Every send."""
        return self._ledger(self.scripts)

    def _ledger(self, scripts: Scripts) -> Ledger:
        if self.former_scripts is None:
            return Ledger(scripts, self.settings)
        from sesmail.state.former_names import LedgerOfTwoNames  # noqa: PLC0415  few have former names

        return LedgerOfTwoNames(scripts, Scripts(scripts.redis, self.former_scripts.keys), self.settings)

    @part
    def former_scripts(self) -> Scripts | None:
        """The same where a project's keys stood before Celery's `global_keyprefix` counted; None without one."""
        if not self.settings.global_key_prefix:
            return None
        return Scripts(self.scripts.redis, Keys(self.settings.key_prefix))

    @part
    def former_names(self) -> FormerNames | None:
        """What to do about what stands there."""
        if self.former_scripts is None:
            return None
        from sesmail.sending.sweeper import Sweeper  # noqa: PLC0415
        from sesmail.state.answering import Callers  # noqa: PLC0415
        from sesmail.state.former_names import FormerNames, LedgerOfTwoNames  # noqa: PLC0415

        ledger, line = self.ledger, self.throttle.line
        assert isinstance(ledger, LedgerOfTwoNames)
        parts = line, Meters(self.scripts.redis, self.former_scripts.keys), Callers(self.former_scripts)
        grace_seconds = self.settings.ticket_grace_seconds
        sweeper = Sweeper(ledger.former, *parts, NoBroker(), ticket_grace_seconds=grace_seconds)
        events = self._take_over_events
        return FormerNames(self.scripts, self.former_scripts, ledger, sweep=sweeper.sweep, take_over_events=events)

    def _take_over_events(self) -> None:
        """Those of this site that wait under the former names, where the ledger's Redis is their store."""
        scripts, site = self.former_scripts, self.settings.site
        if self.settings.event_store or scripts is None:
            return
        from sesmail.events.stores.opening import open_store  # noqa: PLC0415

        former = open_store(self.settings, lambda _url: scripts)
        while waiting := former.gather(site, limit=200, lease_seconds=60.0, now=time.time()):
            self.event_store.put(waiting)
            former.mark_processed(waiting, now=time.time())

    @part
    def search(self) -> Search:
        """Sends, as people look for them."""
        from sesmail.state.search import Search  # noqa: PLC0415  who only sends has no use for it

        return Search(self.scripts)

    @part
    def suppression(self) -> SuppressionList:
        """The opt-outs."""
        return SuppressionList(self.scripts)

    @part
    def reputation(self) -> Reputation:
        """What became of the emails."""
        return Reputation(self.scripts)

    @part
    def audit(self) -> Audit:
        """What operators did."""
        return Audit(self.scripts)

    @part
    def hearing(self) -> Hearing:
        """Whether SES tells anything of what this site sends."""
        return Hearing(self.scripts)

    @part
    def lease(self) -> WorkerLease:
        """This process's sign of life."""
        return WorkerLease(self.ledger, self.settings.lease_seconds)

    @part
    def meters(self) -> Meters:
        """Totals for those who watch."""
        return Meters(self.scripts.redis, self.scripts.keys)

    @part
    def redis_health(self) -> RedisHealth:
        """Whether the ledger's Redis keeps what it is given."""
        from sesmail.state.health import RedisHealth  # noqa: PLC0415  workers and commands ask

        return RedisHealth(self.scripts.redis, self.scripts.keys, may_forget=self.settings.redis_may_forget)

    @part
    def turns(self) -> Turns:
        """What one worker of the fleet does for all."""
        return Turns(self.scripts.redis, self.scripts.keys)

    @part
    def fleet(self) -> Fleet:
        """Whether workers are there."""
        return Fleet(self.scripts.redis, self.scripts.keys)

    @part
    def obstacles(self) -> Obstacles:
        """What stands in the mail's way."""
        from sesmail.sending.obstacles import Obstacles  # noqa: PLC0415  who only sends has no use for it
        from sesmail.state.waiting import Waiting  # noqa: PLC0415

        return Obstacles(self.ledger, Waiting(self.scripts), self.fleet, self.throttle)

    @part
    def worker_rates(self) -> WorkerRates:
        """What each worker may send a second."""
        return WorkerRates(self.scripts.redis, self.scripts.keys)

    # -- SES's way back in --------------------------------------------------------------------------------------------

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
        return self._intake(self.event_store, confirm=self.confirmation, announce=self._announce)

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
            metadata=self.ledger.metadata,
            share_opt_outs_with=self.settings.share_opt_outs_with,
            soft_bounces=self._soft_bounces(),
            hard_bounce_expiry_seconds=self.settings.hard_bounce_expiry_seconds,
        )

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
        from sesmail.unsubscribe import UnsubscribeDoor  # noqa: PLC0415

        opt_outs = self.memory.opt_outs if self.is_suppressed else self.suppression
        opt_out = LinkOptOut(opt_outs, self.intake.put, now=lambda: datetime.now(UTC))
        return UnsubscribeDoor(self.unsubscribe_links, opt_out)

    @part
    def ses_suppression(self) -> SesSuppressionList:
        """SES's own suppression list of the account; loads boto3."""
        import boto3  # noqa: PLC0415  costs half a second: only who talks to AWS pays

        from sesmail.ses.suppression import SesSuppressionList  # noqa: PLC0415
        from sesmail.ses.transport import Key  # noqa: PLC0415

        settings = self.settings
        key = Key.of(settings.access_key_id, settings.secret_access_key, settings.session_token)
        session = boto3.Session(
            profile_name=settings.profile, region_name=settings.region, **(key.as_boto3_says() if key else {})
        )
        return SesSuppressionList(session.client("sesv2", endpoint_url=settings.endpoint_url))

    def sqs_client(self, queue_url: str) -> Any:
        """boto3's client for the Region of a queue."""
        host = (urlsplit(queue_url).hostname or "").split(".")
        region = host[1] if host[0] == "sqs" and len(host) > 2 else self.settings.region
        return _aws("sqs", region)

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop its threads and close its connections. What is asked of it afterwards is made anew."""
        made = vars(self)
        if lease := made.pop("lease", None):
            lease.stop()
        if delivery := made.pop("delivery", None):
            delivery.stop()
        with self.lock:
            while self._connections:
                self._connections.pop().close()
            for name in [name for name, kind in vars(Client).items() if isinstance(kind, part)]:
                made.pop(name, None)


def _aws(service: str, region: str | None, **options: Any) -> Any:
    import boto3  # noqa: PLC0415  costs half a second: only who talks to AWS pays

    return boto3.client(service, region_name=region, **options)  # type: ignore[call-overload]  # its name is no literal
