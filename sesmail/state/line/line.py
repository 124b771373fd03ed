"""The line: what of the sending is closed, since when, and why. One place that everybody asks.

A scope is one of

    account                   everything
    lane:bulk                 a lane
    configuration-set:NAME    whatever goes out under it
    identity:DOMAIN           whatever comes from that sender
    tenant:NAME               whatever is sent for that tenant of SES's
    template:NAME             whatever SES makes of that template of its own
    contact-list:NAME         whatever SES manages the subscriptions of by that list of its own
    global-endpoint:ID        whatever goes through that global endpoint
    site:SITE                 the bulk email of a site
    list:SITE/LIST            the bulk email to a list of a site
    account:NAME              the bulk email through an SES account, where there are several

and is closed in one of three ways: *paused* by an operator, until an operator says otherwise; *stopped*, because SES
would refuse all of it, until a single send that is let through now and then is accepted; or *braked*, because too many
addresses bounced or complained (`brake.py`), until a trial goes well. What `breaker.py` closes, because SES is out of
order, is stopped, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from sesmail.state.scripts import Scripts

ACCOUNT = "account"


class How(StrEnum):
    """Who closed a scope, and so who opens it again."""

    PAUSED = "paused"  #: by an operator; opens when an operator resumes it
    STOPPED = "stopped"  #: by SES, which refuses or is out of order; opens by itself when it takes one again
    BRAKED = "braked"  #: by the brake: too many bounces or complaints; opens when a trial goes well, or by an operator


@dataclass(frozen=True, kw_only=True, slots=True)
class Closure:
    """One closed scope. Times are epoch seconds by Redis' clock."""

    scope: str
    how: How
    reason: str
    since: float
    next_probe_at: float | None
    """When one send may try whether SES accepts it again, or the brake's trial begins; None: an operator decides."""
    trial_left: int | None = None
    """How many recipients the brake's trial has left; None where it is no brake that has closed it."""
    judged_at: float | None = None
    """When that trial is judged, at the earliest."""


class Line:
    """Closes and opens scopes, for the whole fleet. Methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._key = scripts.keys.of_account("line")

    def pause(self, scope: str, reason: str) -> bool:
        """Close a scope until `resume`; nothing passes, not even a probe. False when it was paused already."""
        return bool(self._scripts.run("line", How.PAUSED, scope, reason, 0))

    def stop(self, scope: str, reason: str, *, probe_every_seconds: float = 60.0) -> bool:
        """Close a scope that SES refuses. Every so often one send is let through; when SES takes it, the scope opens.

        False when it was stopped already: the first reason stands, and whoever gets True is the one to tell people.
        """
        return bool(self._scripts.run("line", How.STOPPED, scope, reason, round(probe_every_seconds * 1000)))

    def resume(self, scope: str) -> bool:
        """Open a scope, whoever closed it. False when it was open. (`Brake.open` also has it judged anew.)"""
        with reachable(self._scripts.redis):
            return bool(self._scripts.redis.hdel(self._key, *(f"{how}:{scope}" for how in How)))

    def closures(self) -> tuple[Closure, ...]:
        """Everything that is closed, the longest closed first; empty when all is open."""
        with reachable(self._scripts.redis):
            entries = cast("dict[bytes, bytes]", self._scripts.redis.hgetall(self._key))
        closures = filter(None, map(_closure, entries.keys(), entries.values()))
        return tuple(sorted(closures, key=lambda closure: closure.since))


def list_scope(site: str, list_name: str) -> str:
    """The scope of the bulk email to a list of a site."""
    return f"list:{site}/{list_name}"


def site_scope(site: str) -> str:
    """The scope of the bulk email of a site."""
    return f"site:{site}"


def account_scope(name: str) -> str:
    """The scope of the bulk email through one of several SES accounts."""
    return f"account:{name}"


_ENTRY = re.compile(r"(\d+) (\d+) (\d+) ([^\n]*)(?:\nbrake \d+ (\d+))?")
"""As `line.lua` and `brake.lua` write it."""


def _closure(field: bytes, entry: bytes) -> Closure | None:
    """None for a way to close that a newer release has. What is closed in words that we do not know, is closed."""
    how, _, scope = field.decode().partition(":")
    known = _ENTRY.match(entry.decode())
    if how not in {*How}:
        return None
    if known is None:
        return Closure(scope=scope, how=How(how), reason="closed by a newer release", since=0.0, next_probe_at=None)
    next_probe_ms, left, since_ms, reason, judged_ms = known.groups()
    is_braked = How(how) is How.BRAKED
    return Closure(
        scope=scope,
        how=How(how),
        reason=reason,
        since=int(since_ms) / 1000,
        next_probe_at=None if How(how) is How.PAUSED else int(next_probe_ms) / 1000,
        trial_left=int(left) if is_braked else None,
        judged_at=int(judged_ms) / 1000 if is_braked and judged_ms else None,
    )
