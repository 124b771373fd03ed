"""Where transactional email goes while its own account of SES takes none: to the account that settings name for that.

What SES may have had already does not move, as it would be sent twice; bulk waits, as it does while an operator's pause
lasts. Each email looks at its own account first, so that all come back by themselves.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sesmail.errors import LedgerRefuses, LedgerUnavailable
from sesmail.message import Lane
from sesmail.vocabulary import Cause

if TYPE_CHECKING:
    from sesmail.message import Email
    from sesmail.sending.accounts import SesAccounts
    from sesmail.settings import Settings
    from sesmail.vocabulary import Claim

log = logging.getLogger("sesmail")

FALLS_BACK = frozenset({Cause.STOPPED, Cause.QUOTA})
"""What is not waited for where there is a fall-back."""
TAKES_NONE = FALLS_BACK | {Cause.PAUSED}
TURN, TURN_SECONDS = "falls-back", 3600.0
"""Whose turn it is to say so, and for how long nobody else does."""


class FallBack:
    """Decides it, email by email, and says loudly when it begins and ends; one object a process."""

    def __init__(self, accounts: SesAccounts) -> None:
        self._accounts = accounts
        self._fallen_back: set[str] = set()

    def instead(self, claim: Claim, cause: Cause) -> Claim | None:
        """The claim as it goes through the fall-back; None where it is to wait for its own account."""
        own = self._accounts[claim.account]
        may_move = claim.lane is Lane.TRANSACTIONAL and claim.attempts == 0 and claim.through == own.name
        if own.fallback is None or not may_move or cause not in FALLS_BACK:
            return None
        other = self._accounts[own.fallback]
        return replace(claim, through=other.name, email=carried_over(claim.email, own.settings, other.settings))

    def tell(self, claim: Claim, reason: str) -> None:
        """SES was asked: tell of the first for the whole fleet that went another way than those before."""
        own = self._accounts[claim.account]
        if claim.lane is not Lane.TRANSACTIONAL or (claim.through == own.name) == (own.name not in self._fallen_back):
            return
        extra = {"account": own.name, "fallback": own.fallback}
        with suppress(LedgerUnavailable, LedgerRefuses):
            if claim.through != own.name:
                self._fallen_back.add(own.name)
                if own.turns.take(TURN, TURN_SECONDS):
                    said = "transactional email of the account %s goes through %s until its own takes it again: %s"
                    log.error(said, own.name, own.fallback, reason, extra={"action": "falls_back", **extra})
                return
            self._fallen_back.discard(own.name)
            if own.turns.free(TURN):
                said = "transactional email of the account %s goes through its own again"
                log.warning(said, own.name, extra={"action": "comes_back", **extra})


def carried_over(email: Email, own: Settings, other: Settings) -> Email:
    """An email of one account as another sends it: what its own account's settings have put in is the other's.

    Its sender stays: the other account must have that identity, too.
    """
    is_own_set = email.configuration_set == own.configuration_set_of(email.lane)
    said = {name: value for name, value in email.ses.items() if own.ses.get(name) != value}
    return email.sent_with(
        configuration_set=other.configuration_set_of(email.lane) if is_own_set else email.configuration_set,
        ses={**other.ses, **said},
    )
