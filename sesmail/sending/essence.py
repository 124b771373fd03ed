"""How things stand, in three lines: what `sesmail status`, `sesmail top` and a page show of the sending."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sesmail.state.line.line import ACCOUNT
from sesmail.vocabulary import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sesmail.message import Lane
    from sesmail.sending.throttle import Snapshot
    from sesmail.vocabulary import BatchStatus

COLUMNS = 80
"""Of a terminal as it is opened."""


class Level(StrEnum):
    """How much it matters."""

    ERROR = "error"  #: mail does not go out, or is lost
    WARNING = "warning"  #: somebody should see to it
    INFO = "info"  #: it is so, and may be meant so


@dataclass(frozen=True, kw_only=True, slots=True)
class Obstacle:
    """One thing that stands in the way."""

    id: str
    """A name that stays, such as `no-worker`."""
    level: Level
    what: str
    """What it is, and for how many, in a line."""
    do: str
    """What to do about it."""
    lane: Lane | None = None
    """Where it holds only for this one."""
    account: str | None = None
    """The SES account that it is of, where it is of one."""
    scope: str | None = None
    """What of the line is closed, where that is what it is."""
    batches: tuple[str, ...] = ()
    """The batches that it is of, where it is of some alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneNow:
    """What waits in a lane by now."""

    queued: int
    """How many wait for a worker."""
    scheduled: int
    """How many wait for a time, for room in the quota, or for an open line."""
    oldest_seconds: float | None
    """How long ago the one was accepted that has had a ticket for longest; None where none waits for a worker."""
    next_seconds: float | None
    """When the first of those scheduled is due, from now; None where none is."""
    in_batches: int = 0
    """How many recipients of batches wait, which have no row of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Essence:
    """How things stand: all that is told of the sending where there is little room."""

    at: float
    """Epoch seconds, by Redis' clock."""
    workers: int
    """Worker processes that are alive: those that have sent, or sweep."""
    silent_seconds: float | None
    """Since any worker was heard; None if none ever was."""
    lanes: Mapping[Lane, LaneNow]
    counts: Mapping[str, int]
    """Sends by state, as the ledger counts them."""
    throttle: Snapshot
    """Rate, quota, account and line of the account `default`."""
    batches: tuple[BatchStatus, ...] = ()
    """Those that have not ended, the latest first."""
    other_throttles: Mapping[str, Snapshot] = field(default_factory=dict)
    """The same of the other accounts, by their names."""
    obstacles: tuple[Obstacle, ...] = ()
    """What is in the way, the weightiest first."""

    @property
    def throttles(self) -> dict[str, Snapshot]:
        """Those of all accounts, by their names."""
        return {DEFAULT_ACCOUNT: self.throttle, **self.other_throttles}

    @property
    def states(self) -> dict[str, int]:
        """The states that hold something; those by lane left out."""
        return {name: count for name, count in self.counts.items() if count and ":" not in name}

    @property
    def in_batches(self) -> int:
        """How many recipients of batches wait, in all lanes."""
        return sum(lane.in_batches for lane in self.lanes.values())

    @property
    def figures_age_seconds(self) -> float | None:
        """How old what SES said of the account is; None where it has said nothing yet."""
        return None if self.throttle.read_at is None else max(0.0, self.at - self.throttle.read_at)

    @property
    def is_well(self) -> bool:
        """Whether nobody needs to see to anything."""
        return all(each.level == "info" for each in self.obstacles)

    def lines(self) -> tuple[str, str, str]:
        """For people: workers and who waits; rate, quota and account; the line, and what is in the way."""
        return _fit(self._who()), _fit(self._how_fast()), _fit(self._line())

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "workers": self.workers,
            "silent_seconds": self.silent_seconds,
            "oldest_seconds": {str(lane): of.oldest_seconds for lane, of in self.lanes.items()},
            "queued": {str(lane): of.queued for lane, of in self.lanes.items()},
            "in_batches": {str(lane): of.in_batches for lane, of in self.lanes.items()},
            "scheduled": {str(lane): of.scheduled for lane, of in self.lanes.items()},
            "next_seconds": {str(lane): of.next_seconds for lane, of in self.lanes.items()},
            **_of_account(self.throttle),
            "figures_age_seconds": self.figures_age_seconds,
            "accounts": {name: _of_account(each) for name, each in self.throttles.items()},
            "obstacles": [{"id": each.id, "level": str(each.level), "what": each.what} for each in self.obstacles],
            "well": self.is_well,
            "lines": self.lines(),
        }

    def _who(self) -> str:
        workers = f"{self.workers} worker{'' if self.workers == 1 else 's'}"
        if not self.workers:
            workers = "NO WORKER" + ("" if self.silent_seconds is None else f" for {duration(self.silent_seconds)}")
        waits = [
            f"{lane} {duration(now.oldest_seconds)} ({now.queued})"
            for lane, now in self.lanes.items()
            if now.oldest_seconds is not None
        ]
        waiting = f"oldest waiting: {', '.join(waits)}" if waits else "none waits for a worker"
        if self.in_batches:
            waiting = f"{waiting}; {self.in_batches:,} in batches" if waits else f"{self.in_batches:,} wait in batches"
        return f"{workers}; {waiting}"

    def _how_fast(self) -> str:
        now = self.throttle
        rate = f"{now.rate_now}/s of {a_second(now.limit)}"
        quota = f"{now.quota_used:,} of {'any number' if now.quota < 0 else f'{now.quota:,}'} in 24 hours"
        account = now.standing or ("not asked yet" if now.source is None else "not known")
        return f"{rate}; {quota}; account {account}"

    def _line(self) -> str:
        closed = [
            f"{'' if name == DEFAULT_ACCOUNT else f'{name}: '}"
            f"{'everything' if closure.scope == ACCOUNT else closure.scope} {closure.how.upper()}: {closure.reason}"
            for name, throttle in self.throttles.items()
            for closure in throttle.closures
        ]
        said = {"paused", "stopped"}
        others = list(dict.fromkeys(each.id for each in self.obstacles if each.level != "info" and each.id not in said))
        in_the_way = f"in the way: {', '.join(others)} (sesmail why)" if others else ""
        return "; ".join(filter(None, [*closed, "" if closed else "line open", in_the_way]))


def _of_account(now: Snapshot) -> dict[str, Any]:
    return {
        "rate_now": now.rate_now,
        "limit": round(now.limit, 2),
        "quota_used": now.quota_used,
        "quota": now.quota,
        "account": now.standing or "not known",
        "closed": [f"{closure.scope}: {closure.how}, {closure.reason}" for closure in now.closures],
    }


def _fit(line: str) -> str:
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…"


def emails(number: int) -> str:
    """With the word in its form."""
    return f"{number} email{'' if number == 1 else 's'}"


def a_second(limit: float) -> str:
    """A rate for people; `any` where there is no limit."""
    return "any" if limit < 0 else f"{limit:,.{0 if limit >= 100 else 1 if limit >= 10 else 2}f}/s"


def duration(seconds: float) -> str:
    """For people, in the two largest units."""
    seconds = max(0, round(seconds))
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
