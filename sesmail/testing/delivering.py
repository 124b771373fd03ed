"""Works off what is queued in memory as a worker would: by the product's own `Delivery`, with an SES made of words."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sesmail.message import Lane
from sesmail.sending.accounts import SesAccount
from sesmail.sending.delivery.delivery import Delivery
from sesmail.sending.delivery.outcomes import Unknown
from sesmail.sending.memory_ledger import ENDED, MemoryLedger
from sesmail.sending.throttle import Granted
from sesmail.ses.request import Composed, compose
from sesmail.signals import email_failed, email_sent, tell
from sesmail.vocabulary import Claim, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.errors import SesError
    from sesmail.sending.memory import Kept, Memory
    from sesmail.testing.sends import Wanted

QUOTA_SECONDS = 600.0
"""When a worker that was told of a used-up quota lets one send try again: as the throttle in Redis does."""


@dataclass(slots=True)
class Answer:
    """What SES says instead of yes, to the next emails that are wanted."""

    error: SesError
    wanted: Wanted
    times: int


class MemorySes:
    """Says yes to every email, but for the answers that a test has laid ready. A transport, as `Delivery` knows it."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def prepare(self) -> None:
        """Nothing to prepare."""

    compose = staticmethod(compose)

    def send_composed(self, composed: Composed) -> str:
        """A message id, or the first answer that is for this email, raised."""
        for answer in self.answers:
            if answer.times > 0 and answer.wanted.fits(composed.email):
                answer.times -= 1
                raise answer.error
        return new_message_id()


def new_message_id() -> str:
    """A message id as SES makes them: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html"""
    return f"0100{round(time.time() * 1000):012x}-{uuid4()}-000000"


class _Open:
    """A line that nobody closes: each email is asked about by itself."""

    def stop(self, *_: Any, **__: Any) -> bool:
        return False

    unclear = stop


class _Alone:
    """What surrounds a worker that has the account to itself: every slot is free, and nobody else is there."""

    line = breaker = _Open()

    def owner(self) -> str:
        return "testing"

    def make_sure(self) -> None:
        """The account's limits are no matter."""

    def of(self, _worker: str) -> None:
        """No rate of its own."""

    def acquire(self, recipients: int, _lane: Lane, *, quota_recipients: int, **_: Any) -> Granted:
        return Granted(slot=0, recipients=recipients, quota_recipients=quota_recipients)

    def accepted(self, granted: Granted) -> None:
        """Nothing was probed."""

    refused = unused = asks = accepted

    def quota_exhausted(self, _granted: Granted) -> float:
        return QUOTA_SECONDS


def deliver(memory: Memory, ses: MemorySes) -> list[Kept]:
    """Ask SES about each email whose time has come, once; those that were asked about or ended. Transactional first.

    Raises `LedgerUnavailable` during an outage: then no worker can take an email.
    """
    memory.outage.check()
    queued = _queued(memory)
    for kept in queued:
        _work(memory, kept, ses)
    return queued


def _queued(memory: Memory) -> list[Kept]:
    for kept in [*memory.sends.values()]:
        MemoryLedger(memory, kept.settings).queue_due(kept.status.lane)
    queued = [kept for kept in memory.sends.values() if kept.status.state is State.QUEUED]
    return sorted(queued, key=lambda kept: kept.status.lane is Lane.BULK and not kept.express)


def _work(memory: Memory, kept: Kept, ses: MemorySes) -> None:
    surroundings: Any = _Alone()
    ledger: Any = MemoryLedger(memory, kept.settings)
    transport: Any = ses
    accounts = {
        name: SesAccount(
            name=name,
            settings=kept.settings.of_account(name),
            throttle=surroundings,
            watch=surroundings,
            turns=surroundings,
            transport=lambda: transport,
        )
        for name in kept.settings.account_names
    }
    delivery = Delivery(kept.settings, ledger, surroundings, surroundings, accounts)
    claim = delivery.claim(kept.status.send_id)
    if isinstance(claim, Claim):
        outcome = delivery.work(claim, "testing")
        if isinstance(outcome, Unknown) and outcome.bug:
            raise outcome.bug


def tell_what_ended(memory: Memory, on_failure: Callable[[Exception], object]) -> None:
    """Tell the receivers of `email_sent` and `email_failed` of each send that has ended, as a worker within seconds.

    `on_failure` is given what they raise.
    """
    while memory.untold:
        send_id = next(iter(memory.untold))
        del memory.untold[send_id]
        kept = memory.sends[send_id]
        if kept.status.state in ENDED:  # else it was sent again meanwhile
            signal = email_sent if kept.status.state is State.SENT else email_failed
            site, metadata = kept.settings.site, kept.email.metadata
            tell(signal, site, on_failure=on_failure, status=kept.status, metadata=metadata)
