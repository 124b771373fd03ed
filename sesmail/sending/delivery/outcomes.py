"""What becomes of a claimed email, and where it is written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sesmail.vocabulary import Postponed

if TYPE_CHECKING:
    from sesmail.errors import OutcomeUnknown, SendRejected
    from sesmail.vocabulary import Claim, State, Status

STOPPED_SECONDS = 60.0
"""How long a send waits before it asks again whether a stopped line is open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """SES took it."""

    message_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown:
    """SES gave no clear answer: it may have it. An event settles it, or the end of the evidence window."""

    reason: str
    bug: OutcomeUnknown | None = None
    """What cut the call off where it was a bug: its traceback, without its words, which may quote the email."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """SES refused it for good, or it could not be composed."""

    error: SendRejected


@dataclass(frozen=True, slots=True)
class Stale:
    """This worker had been given up, and another one has the send. Nothing was done here."""


Outcome: TypeAlias = Sent | Unknown | Postponed | Rejected | Stale


class Moves(Protocol):
    """Where it is written down what becomes of a claimed email: the ledger, or a chunk of a batch."""

    def begin(self, claim: Claim, *, tries: bool = False) -> None:
        """SES is asked now."""

    def sent(self, claim: Claim, message_id: str) -> State:
        """SES took it."""

    def rejected(self, claim: Claim, reason: str, code: str = "") -> State:
        """SES refused it for good."""

    def outcome_unknown(self, claim: Claim, reason: str, code: str = "") -> State:
        """SES may have it."""

    def postpone(
        self,
        claim: Claim,
        delay_seconds: float,
        reason: str,
        *,
        backs_off: bool = False,
        for_room: bool = False,
        for_scope: str = "",
        why: str = "",
    ) -> State:
        """It waits."""

    def status(self, send_id: str) -> Status:
        """What is known of it."""
