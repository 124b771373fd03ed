"""The client itself: an email's way out, and what a worker does."""

from __future__ import annotations

import asyncio
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from sesmail.client.base import NoBroker
from sesmail.client.part import part
from sesmail.client.way_back import WayBack
from sesmail.errors import ConfigurationError
from sesmail.frames import shows_no_email, shows_no_email_later
from sesmail.state.fleet.meters import Meters
from sesmail.state.fleet.workers import Turns
from sesmail.vocabulary import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sesmail.message import Email
    from sesmail.sending.account import AccountWatch
    from sesmail.sending.accounts import SesAccount, SesAccounts
    from sesmail.sending.batches.batch import Batch
    from sesmail.sending.batches.composing import Composer
    from sesmail.sending.batches.in_memory import MemoryOffice
    from sesmail.sending.batches.office import BatchOffice
    from sesmail.sending.batches.queueing import Recipient
    from sesmail.sending.batches.sending import ChunkWorker, Letters, Recovery
    from sesmail.sending.batches.telling import BatchTeller
    from sesmail.sending.delivery.delivery import Delivery
    from sesmail.sending.essence import Essence
    from sesmail.sending.letters.letter import Letter
    from sesmail.sending.obstacles import Obstacles
    from sesmail.sending.outbox import Outbox
    from sesmail.sending.sweeper import Sweeper
    from sesmail.sending.telling import Teller
    from sesmail.sending.throttle import SendThrottle
    from sesmail.sending.waits import Waits
    from sesmail.ses.transport import SesTransport
    from sesmail.settings import Settings
    from sesmail.state.ledger.answering import Callers
    from sesmail.state.ledger.former_names import FormerNames
    from sesmail.vocabulary import Accepted, Erased


class Client(WayBack):
    """Everything that one application needs to send, and to hear back.

    Cheap to make: nothing is connected to, and neither boto3 nor SQL loaded, before it is used. Not to be taken into
    another process by `fork`: make one there.
    """

    # -- an email's way out -----------------------------------------------------------------------------------------

    @shows_no_email
    def send(self, email: Email, *, send_id: str | None = None) -> Accepted:
        """Accept an email: once this returns, it is sent in the end. Raises `InvalidEmail`, `LedgerUnavailable`."""
        return self.outbox.send(email, send_id=send_id)

    @shows_no_email_later
    async def asend(self, email: Email, *, send_id: str | None = None) -> Accepted:
        """`send` for async code: the loop goes on while Redis is asked, in a thread."""
        return await asyncio.to_thread(self.send, email, send_id=send_id)

    def send_batch(
        self, letter: Letter | Email | str, recipients: Iterable[Recipient], *, key: str, **terms: Any
    ) -> Batch:
        """Queue a letter to many, as `sesmail.send_batch` says it."""
        return self.batch_office.send(letter, recipients, key=key, **terms)

    async def asend_batch(
        self, letter: Letter | Email | str, recipients: Iterable[Recipient], *, key: str, **terms: Any
    ) -> Batch:
        """`send_batch` for async code: the list is read in a thread."""
        return await asyncio.to_thread(self.send_batch, letter, recipients, key=key, **terms)

    @shows_no_email
    def erase(self, address: str, *, why: str = "", dry_run: bool = False) -> Erased:
        """Remove what is kept of a person; see `sesmail.erase`."""
        from sesmail.client.erasing import erase  # noqa: PLC0415  done seldom

        return erase(self, address, why=why, dry_run=dry_run)

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

    @property
    def batch_office(self) -> BatchOffice | MemoryOffice:
        """Where batches are accepted: on their way to SES, or kept in memory where none should reach people."""
        if not self.is_suppressed:
            return self.real_batch_office
        from sesmail.sending.batches.in_memory import MemoryOffice  # noqa: PLC0415  for tests

        return MemoryOffice(self.outbox, self.composer)

    @part
    def real_batch_office(self) -> BatchOffice:
        """The office over Redis."""
        from sesmail.sending.batches.office import BatchOffice  # noqa: PLC0415  few send batches

        return BatchOffice(self.batches, self.broker, self.composer)

    @property
    def composer(self) -> Composer:
        """Reads letters to many."""
        from sesmail.sending.batches.composing import Composer  # noqa: PLC0415  few send batches

        return Composer(
            self.settings, self.outbox, lambda name: self.account(name).transport(), lambda: self.unsubscribe_links
        )

    # -- a worker's parts ---------------------------------------------------------------------------------------------

    @part
    def delivery(self) -> Delivery:
        """What a worker does with a ticket."""
        from sesmail.sending.delivery.delivery import Delivery  # noqa: PLC0415  who only accepts has no use for it

        return Delivery(self.settings, self.ledger, self.lease, self.worker_rates, self.accounts)

    @part
    def chunk_worker(self) -> ChunkWorker:
        """What a worker does with a ticket for batches."""
        from sesmail.sending.batches.sending import ChunkWorker  # noqa: PLC0415  who only accepts has no use for it

        together = self.settings.batch_call == "bulk"
        return ChunkWorker(self.batches, self.ledger, self.delivery, self.lease, self._letters, together=together)

    @part
    def _letters(self) -> Letters:
        from sesmail.sending.batches.sending import Letters  # noqa: PLC0415

        return Letters(self.batches, self.settings, lambda: self.unsubscribe_links)

    @part
    def batch_teller(self) -> BatchTeller:
        """Tells this site's own functions which batches have ended."""
        from sesmail.sending.batches.telling import BatchTeller  # noqa: PLC0415

        return BatchTeller(self.settings.site, self.batches)

    @part
    def recovery(self) -> Recovery:
        """What a sweep does for batches."""
        from sesmail.sending.batches.sending import Recovery  # noqa: PLC0415

        return Recovery(self.batches, self.ledger, self._letters, lambda: self.real_batch_office)

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
            fallbacks={name: each.fallback for name, each in self.accounts.items() if each.fallback},
            other_lines={name: each.throttle.line for name, each in self.accounts.items() if name != DEFAULT_ACCOUNT},
            ticket_grace_seconds=grace_seconds,
            recovery=self.recovery,
        )

    @part
    def teller(self) -> Teller:
        """Tells this site's own functions how its sends have ended."""
        from sesmail.sending.telling import Teller  # noqa: PLC0415
        from sesmail.state.ledger.endings import Endings  # noqa: PLC0415

        return Teller(self.settings.site, Endings(self.scripts))

    @part
    def callers(self) -> Callers:
        """Those who wait for the end of sends."""
        from sesmail.state.ledger.answering import Callers  # noqa: PLC0415

        return Callers(self.scripts)

    @part
    def accounts(self) -> SesAccounts:
        """The accounts of SES that this site sends through, `default` first."""
        return {name: self._account(name) for name in self.settings.account_names}

    def account(self, name: str) -> SesAccount:
        """One of them. Raises `ConfigurationError` for a name that none has."""
        if name not in self.accounts:
            known = ", ".join(self.accounts)
            raise ConfigurationError(
                f"There is no SES account {name!r} in SESMAIL_ACCOUNTS, so nothing was done. There are: {known}."
            )
        return self.accounts[name]

    def _account(self, name: str) -> SesAccount:
        from sesmail.sending.account import AccountWatch  # noqa: PLC0415
        from sesmail.sending.accounts import SesAccount  # noqa: PLC0415
        from sesmail.sending.throttle import SendThrottle  # noqa: PLC0415

        settings, said = self.settings.of_account(name), self.settings.accounts.get(name)
        fallback = said.fallback if said else None
        if name == DEFAULT_ACCOUNT:
            return SesAccount(
                name=name,
                settings=settings,
                throttle=self.throttle,
                watch=self.account_watch,
                turns=self.turns,
                transport=lambda: self.transport,
                fallback=fallback,
            )
        scripts = self.scripts.of_account(name)
        throttle, turns = SendThrottle(scripts), Turns(scripts.redis, scripts.keys)
        made = cache(lambda: _transport(settings))
        watch = AccountWatch(settings, throttle, turns, made)
        return SesAccount(
            name=name,
            settings=settings,
            throttle=throttle,
            watch=watch,
            turns=turns,
            transport=made,
            fallback=fallback,
        )

    @part
    def throttle(self) -> SendThrottle:
        """The fleet's one limiter for the account `default`."""
        from sesmail.sending.throttle import SendThrottle  # noqa: PLC0415

        return SendThrottle(self.scripts)

    @part
    def account_watch(self) -> AccountWatch:
        """Keeps the throttle's limits those of the account."""
        from sesmail.sending.account import AccountWatch  # noqa: PLC0415

        return AccountWatch(
            self.settings.of_account(DEFAULT_ACCOUNT), self.throttle, self.turns, lambda: self.transport
        )

    @part
    def transport(self) -> SesTransport:
        """SES; loads boto3."""
        return _transport(self.settings.of_account(DEFAULT_ACCOUNT))

    @part
    def former_names(self) -> FormerNames | None:
        """What to do about what stands there."""
        if self.former_scripts is None:
            return None
        from sesmail.sending.sweeper import Sweeper  # noqa: PLC0415
        from sesmail.state.ledger.answering import Callers  # noqa: PLC0415
        from sesmail.state.ledger.former_names import FormerNames, LedgerOfTwoNames  # noqa: PLC0415

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
    def obstacles(self) -> Obstacles:
        """What stands in the mail's way."""
        from sesmail.sending.obstacles import Obstacles  # noqa: PLC0415  who only sends has no use for it
        from sesmail.state.ledger.waiting import Waiting  # noqa: PLC0415

        return Obstacles(
            self.settings,
            self.ledger,
            self.batches,
            Waiting(self.scripts),
            self.fleet,
            self.accounts,
            self.hearing,
            self.redis_health,
            self.brake,
        )

    def essence(self) -> Essence:
        """How things stand by now: workers, who waits, rate, quota, account, line, and what is in the way.

        Cheap enough for a page that looks every second; SES is not asked. Raises `LedgerUnavailable`.
        """
        return self.obstacles.essence()

    def waits(self) -> Waits:
        """Why sends and batches wait, as things stand by now. Raises `LedgerUnavailable`."""
        from sesmail.sending.waits import Waits  # noqa: PLC0415  as above

        return Waits(self.essence(), self.settings, self.batches, self.scripts)


def _transport(settings: Settings) -> SesTransport:
    """The way to the account of SES that these settings are of."""
    from sesmail.ses.roles import Key  # noqa: PLC0415  boto3 costs half a second: only who sends pays
    from sesmail.ses.transport import SesTransport  # noqa: PLC0415

    return SesTransport(
        region=settings.region,
        endpoint_url=settings.endpoint_url,
        profile=settings.profile,
        key=Key.of(settings.access_key_id, settings.secret_access_key, settings.session_token),
        role_arn=settings.role_arn,
        connect_timeout_seconds=settings.ses_connect_timeout_seconds,
        read_timeout_seconds=settings.ses_read_timeout_seconds,
        max_connections=64,
        call=settings.ses_call,
    )
