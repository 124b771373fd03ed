"""All that stands between a claimed email and asking SES: its slot, its line, and the note that SES is asked now."""

from __future__ import annotations

import logging
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING

from sesmail.errors import ConfigurationError, LedgerUnavailable, SendPostponed, SesError, SesUnavailable, StaleClaim
from sesmail.message import LIST_TAG, Lane
from sesmail.sending.crowd import CROWDED, Crowd
from sesmail.sending.delivery.outcomes import STOPPED_SECONDS
from sesmail.sending.shares import Shares
from sesmail.sending.throttle import Granted, Share, SlotLease
from sesmail.state.line.breaker import Probed
from sesmail.state.line.line import account_scope, list_scope, site_scope
from sesmail.vocabulary import Cause, Claim, Postponed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.sending.accounts import SesAccount, SesAccounts
    from sesmail.sending.delivery.outcomes import Moves
    from sesmail.sending.patience import Patience
    from sesmail.ses.transport import SesTransport
    from sesmail.settings import Settings
    from sesmail.state.fleet.workers import WorkerRates
    from sesmail.state.ledger.ledger import Ledger

log = logging.getLogger("sesmail")

SIMULATOR_DOMAIN = "@simulator.amazonses.com"
"""Emails to AWS's mailbox simulator count to the rate, not to the 24-hour quota.

https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html
"""

TRIED_AGAIN_SECONDS = 1.0
"""How long a send waits that would have tried a closed line; then the sweeper decides who does."""

SHUTDOWN = Postponed(seconds=0.0, cause=Cause.SHUTDOWN, reason="this worker is shutting down")


class Turn:
    """The steps before SES is asked. Each answers what holds the email up, if anything, for others to write down.

    Methods raise `StaleClaim` where the email is another worker's by now.
    """

    def __init__(
        self, settings: Settings, ledger: Ledger, rates: WorkerRates, accounts: SesAccounts, patience: Patience
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._moves: Moves = ledger
        self._rates = rates
        self._accounts = accounts
        self._patience = patience
        self._shares = Shares(settings)
        self._slots: SlotLease | None = None
        self.crowd: Crowd | None = None

    def over(self, moves: Moves, slots: SlotLease) -> Turn:
        """The same for one thread, whose moves are noted elsewhere than in the ledger, and which leases its slots."""
        other = copy(self)
        other._moves, other._slots = moves, slots  # noqa: SLF001  its own kind
        return other

    def account_of(self, claim: Claim) -> SesAccount:
        """The one that SES is asked through."""
        return self._accounts[claim.through]

    @staticmethod
    def prepare(transport: SesTransport) -> Postponed | None:
        """A worker whose installation cannot ask SES at all gives the send back, for one that can."""
        try:
            transport.prepare()
        except ConfigurationError as error:
            log.error("no email is sent by this worker: %s", error)  # noqa: TRY400  it is no bug of ours
            return Postponed(seconds=STOPPED_SECONDS, cause=Cause.CONFIGURATION, reason=str(error))
        return None

    def wait_for_slot(self, claim: Claim, worker: str | None) -> Granted | Postponed:
        """Its share of the rate and the quota, as soon as that is free; a worker's warm shutdown ends the wait."""
        try:
            self._patience.unless_stopped(self.account_of(claim).watch.make_sure)
            crowd = self._crowd_of(claim)
            if crowd is None:
                return self._patience.unless_stopped(lambda: self._acquire(claim, worker))
            limit = self.account_of(claim).throttle.snapshot
            if not crowd.enter(claim.account, claim.lane, lambda: self._patience.unless_stopped(limit).limit):
                return CROWDED
            try:
                return self._patience.unless_stopped(lambda: self._acquire(claim, worker))
            finally:
                crowd.leave(claim.account, claim.lane)
        except LedgerUnavailable:
            return SHUTDOWN

    def _crowd_of(self, claim: Claim) -> Crowd | None:
        """Where it waits in the ledger if its account is slow; a chunk of a batch holds its thread for a moment."""
        return self.crowd if claim.through == claim.account and self._moves is self._ledger else None

    def _acquire(self, claim: Claim, worker: str | None) -> Granted | Postponed:
        email = claim.email
        scopes = [f"{kind}:{name}" for kind, name in email.named.items()]
        if claim.lane is Lane.BULK:  # the brake holds up nothing else
            scopes += [site_scope(claim.site), list_scope(claim.site, email.tags.get(LIST_TAG, ""))]
            scopes += [account_scope(claim.account)]
        return self.account_of(claim).throttle.acquire(
            email.recipient_count,
            claim.lane,
            express=claim.express,
            quota_recipients=sum(not to.lower().endswith(SIMULATOR_DOMAIN) for to in email.recipients),
            shares=self._shares_of(claim, worker),
            scopes=scopes,
            begins=self._ledger.beginning(claim) if self._moves is self._ledger else None,
            patience_seconds=self._settings.patience_seconds,
            lease=self._slots,
        )

    def _shares_of(self, claim: Claim, worker: str | None) -> list[Share]:
        """What this email keeps to besides the account's rate."""
        rates = {
            f"worker:{worker}": self._rates.of(worker) if worker else None,
            f"run:{claim.run}": claim.run_rate,
        }
        own = [Share(scope=scope, rate=rate) for scope, rate in rates.items() if rate is not None]
        return [*own, *self._shares.of(claim.email)]

    def try_account(self, account: SesAccount, slot: Granted, transport: SesTransport) -> Postponed | None:
        """Before an email tries a line that the breaker has closed, `GetAccount` does: it makes no email uncertain.

        Any answer will do, a refusal, too. Where none has ever come (emulators may not know it), silence says nothing.
        """
        try:
            reason = self._why_account_is_silent(account, slot, transport)
            if reason is None:
                return None
            self._patience.unless_stopped(lambda: account.throttle.unused(slot))
            self._patience.unless_stopped(lambda: account.throttle.breaker.unclear(reason, probed=Probed.ACCOUNT))
        except LedgerUnavailable:
            return SHUTDOWN
        return Postponed(seconds=TRIED_AGAIN_SECONDS, cause=Cause.STOPPED, reason=reason)

    def _why_account_is_silent(self, account: SesAccount, slot: Granted, transport: SesTransport) -> str | None:
        if not slot.asks_account_first or self._patience.unless_stopped(account.throttle.snapshot).source != "ses":
            return None
        try:
            transport.account()
        except SesError as error:
            return None if error.is_answer or not isinstance(error, SesUnavailable) else str(error)
        return None

    def begin(self, claim: Claim, slot: Granted) -> Postponed | None:
        """From here on, SES may have it. A slot that waited for Redis is old by then, so that is not waited for."""
        if slot.has_begun:
            return None
        tries = {"tries": True} if slot.probes else {}
        return self.begin_by(self.account_of(claim), slot, lambda: self._moves.begin(claim, **tries))

    def begin_by(self, account: SesAccount, slot: Granted, begin: Callable[[], None]) -> Postponed | None:
        """Note by `begin` that SES is asked; where that is not to be, the slot is given back."""
        throttle = account.throttle
        try:
            begin()
        except SendPostponed as closed:
            self._patience.unless_stopped(lambda: throttle.unused(slot))
            return Postponed(seconds=closed.seconds, cause=Cause.STOPPED, reason=closed.reason)
        except StaleClaim:
            self._patience.unless_stopped(lambda: throttle.unused(slot))
            raise
        except LedgerUnavailable:
            reason = "Redis could not be reached, or its write not made safe, just before SES was to be asked"
            return Postponed(seconds=0.0, cause=Cause.UNREACHABLE, reason=reason)
        with suppress(LedgerUnavailable):
            throttle.asks(slot)
        return None
