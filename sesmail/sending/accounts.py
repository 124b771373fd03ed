"""An account of SES as a worker has it: a way to SES, a throttle with line and breaker, and a watch over its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sesmail.sending.account import AccountWatch
    from sesmail.sending.throttle import SendThrottle
    from sesmail.ses.transport import SesTransport
    from sesmail.settings import Settings
    from sesmail.state.fleet.workers import Turns


@dataclass(frozen=True, kw_only=True, slots=True)
class SesAccount:
    """One of the accounts that a site sends through."""

    name: str
    settings: Settings
    """With what is different for this account in place of what is said for all."""
    throttle: SendThrottle
    watch: AccountWatch
    turns: Turns
    """Whose turn it is to ask for its limits."""
    transport: Callable[[], SesTransport]
    """Makes the way to SES when it is first needed: who only claims does not load boto3."""
    fallback: str | None = None
    """The account that transactional email goes through while this one takes none."""


SesAccounts: TypeAlias = "Mapping[str, SesAccount]"
"""All of them by name, `default` first."""
