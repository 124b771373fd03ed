"""Why is mail not going out? What stands in its way, what should be mended first, first; each with what to do."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sesmail.message import Lane
from sesmail.state.line import ACCOUNT, How

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.sending.brake import Brake, Judgement
    from sesmail.sending.throttle import SendThrottle, Snapshot
    from sesmail.state.ledger import Ledger
    from sesmail.state.line import Closure
    from sesmail.state.waiting import Waiting
    from sesmail.state.workers import Fleet

SILENT_SECONDS = 20.0
"""Workers show signs of life every few seconds; all are gone, or cannot reach Redis, when none has come for so long."""
LONG_SECONDS = 60.0
"""What waits for a worker for longer than this waits for something."""
HOUR_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Obstacle:
    """One thing that stands in the way."""

    id: str
    """A name that stays, such as `no-worker`."""
    what: str
    """What it is, and for how many, in a line."""
    do: str
    """What to do about it."""
    lane: Lane | None = None
    """Where it holds only for this one."""


class Obstacles:
    """Looks for them. Nothing is changed, and SES is not asked."""

    def __init__(self, ledger: Ledger, waiting: Waiting, fleet: Fleet, throttle: SendThrottle, brake: Brake) -> None:
        self._ledger, self.waiting, self._fleet, self._throttle = ledger, waiting, fleet, throttle
        self._brake = brake

    def look(self) -> list[Obstacle]:
        """Those that there are, the weightiest first. Raises `LedgerUnavailable`."""
        counts, now, snapshot = self._ledger.counts(), self.waiting.now(), self._throttle.snapshot()
        silent_seconds = self._fleet.silent_seconds()
        workers_live = silent_seconds is not None and silent_seconds < SILENT_SECONDS
        return [
            *([] if workers_live else [self._no_worker(counts, now, silent_seconds)]),
            *map(_closed, snapshot.closures),
            *(self._not_taken(counts, now, snapshot) if workers_live else []),
            *map(_warned_of, filter(lambda each: each.why, self._brake.judgements())),
            *_quota(counts, snapshot),
            *_limits(counts, snapshot),
            *_rate(counts, snapshot),
            *self._refused(now),
            *_unknown(counts),
        ]

    def _no_worker(self, counts: dict[str, int], now: float, silent_seconds: float | None) -> Obstacle:
        since = "ever" if silent_seconds is None else f"for {duration(silent_seconds)}"
        return Obstacle(
            id="no-worker",
            what=f"No worker has been heard on this ledger {since}; {self._who_waits(counts, now)}.",
            do="Start one: `celery -A sesmail worker`, or your project's with its application. If one runs, its log "
            "says why it takes no email. Or has it another ledger than this one?",
        )

    def _who_waits(self, counts: dict[str, int], now: float) -> str:
        waiting = counts["queued"] + counts["scheduled"]
        oldest = min(filter(None, map(self.waiting.oldest_at, Lane)), default=None)
        for_how_long = f", the oldest for {duration(now - oldest)}" if oldest else ""
        return f"{emails(waiting)} {'waits' if waiting == 1 else 'wait'}{for_how_long}" if waiting else "none waits"

    def _not_taken(self, counts: dict[str, int], now: float, snapshot: Snapshot) -> Iterator[Obstacle]:
        """Workers live, and the line is open, but a lane's tickets stay where they are."""
        for lane in Lane:
            oldest = self.waiting.oldest_at(lane)
            is_closed = any(closure.scope in {ACCOUNT, f"lane:{lane}"} for closure in snapshot.closures)
            is_busy = snapshot.limit < 0 or snapshot.rate_now >= snapshot.limit / 2
            if oldest is None or now - oldest < LONG_SECONDS or is_closed or is_busy:
                continue
            yield Obstacle(
                id="not-taken",
                lane=lane,
                what=f"Workers live, but none takes the tickets of the lane {lane}: {emails(counts[f'queued:{lane}'])} "
                f"wait, the oldest for {duration(now - oldest)}.",
                do=f"Was each worker started with -Q, or -X, and without the queue of {lane}? `celery inspect "
                "active_queues` shows what they consume. Or are they busy with other tasks? Email is best given "
                "a worker of its own.",
            )

    def _refused(self, now: float) -> Iterator[Obstacle]:
        for refused in self.waiting.refusals(now - HOUR_SECONDS)[:3]:
            yield Obstacle(
                id="refused",
                what=f"{emails(refused.emails)} refused in the last hour ({refused.code}): {refused.reason}",
                do="They wait for you. Mend the cause; `sesmail failed --requeue --all` sends them again.",
            )


def _closed(closure: Closure) -> Obstacle:
    since = datetime.fromtimestamp(closure.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
    what = "Everything" if closure.scope == ACCOUNT else f"What goes by {closure.scope.replace(':', ' ')}"
    lane = Lane(closure.scope.removeprefix("lane:")) if closure.scope in {f"lane:{lane}" for lane in Lane} else None
    if closure.how is How.PAUSED:
        return Obstacle(
            id="paused",
            lane=lane,
            what=f"{what} is paused since {since}: {closure.reason}.",
            do=f"An operator did that. `sesmail resume{_option(closure.scope)}` when it may go on.",
        )
    if closure.how is How.BRAKED:
        return Obstacle(
            id="braked",
            lane=Lane.BULK,
            what=f"{what} is stopped by the brake since {since}: {closure.reason}.",
            do="Clean the list: `sesmail suppress` has who bounced. Then `sesmail resume"
            f'{_option(closure.scope)} --why "list cleaned"`; else a trial comes by itself{_trial(closure)}. '
            "Transactional email goes on.",
        )
    return Obstacle(
        id="stopped",
        lane=lane,
        what=f"{what} is stopped since {since}: {closure.reason}",
        do="SES would refuse all of it, or is out of order. Mend what it says. It is tried again by itself and goes on "
        f"when SES takes one; `sesmail resume{_option(closure.scope)}` does not wait for that.",
    )


def _trial(closure: Closure) -> str:
    if closure.next_probe_at is None:
        return ""
    begins = datetime.fromtimestamp(closure.next_probe_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f" at {begins}, with {closure.trial_left} recipients left"


def _warned_of(judgement: Judgement) -> Obstacle:
    return Obstacle(
        id="reputation",
        lane=Lane.BULK,
        what=f"{judgement.scope}: {judgement.why}.",
        do="Nothing is stopped by it yet. `sesmail rates` shows each list and day: write to those who asked for it, "
        "and leave out addresses that you have not written to for long.",
    )


def _option(scope: str) -> str:
    kind, _, name = scope.partition(":")
    if kind == "list":
        site, _, name = name.partition("/")
        return f" --list {shlex.quote(name)} --site {site}"
    return "" if scope == ACCOUNT else f" --{kind} {name}"


def _quota(counts: dict[str, int], snapshot: Snapshot) -> Iterator[Obstacle]:
    for lane, left in snapshot.quota_left.items():
        waiting = counts[f"queued:{lane}"] + counts[f"scheduled:{lane}"]
        if left is not None and left <= 0 and waiting:
            reserve = " A part is kept for transactional email (SESMAIL_QUOTA_RESERVE)." if lane is Lane.BULK else ""
            yield Obstacle(
                id="quota",
                lane=lane,
                what=f"The 24-hour quota leaves nothing for {lane} email: {snapshot.quota_used} of {snapshot.quota} "
                f"recipients are used, {snapshot.quota_used_by_others} of them by others; {emails(waiting)} wait.",
                do=f"They go on by themselves as the 24 hours pass or AWS raises the quota (SES console, account "
                f"dashboard).{reserve}",
            )


def _limits(counts: dict[str, int], snapshot: Snapshot) -> Iterator[Obstacle]:
    waits = counts["queued"] + counts["scheduled"] > 0
    if snapshot.source is None and waits:
        yield Obstacle(
            id="limits",
            what="No worker has asked SES for the account's limits yet: the sandbox's hold, 1 recipient a second.",
            do="A worker asks when it has its first email. Its log says why it cannot: credentials, Region, "
            "`ses:GetAccount`; or set SESMAIL_MAX_SEND_RATE and SESMAIL_MAX_24_HOUR_SEND.",
        )
    elif snapshot.standing not in {"", "healthy"}:
        yield Obstacle(
            id="limits",
            what=f"SES says of the account: {snapshot.standing}.",
            do="In the sandbox only verified addresses are written to: ask AWS for production access. Else the SES "
            "console says what AWS wants mended.",
        )


def _rate(counts: dict[str, int], snapshot: Snapshot) -> Iterator[Obstacle]:
    waiting = counts["queued"] + counts["claimed"]
    if snapshot.source is not None and snapshot.limit > 0 and waiting / snapshot.limit > LONG_SECONDS:
        yield Obstacle(
            id="rate",
            what=f"{emails(waiting)} wait for the rate of {snapshot.limit:.4g} recipients a second: that takes "
            f"{duration(waiting / snapshot.limit)} at least.",
            do="Nothing is wrong. AWS raises the rate on request; transactional email goes first in any case.",
        )


def _unknown(counts: dict[str, int]) -> Iterator[Obstacle]:
    if counts["unknown"]:
        yield Obstacle(
            id="unknown",
            what=f"SES gave no clear answer for {emails(counts['unknown'])}: it may have sent them.",
            do="An event of SES settles them; without one they go out again when the evidence window is over. `sesmail "
            "unknown` lists them, and settles or sends single ones.",
        )


def emails(number: int) -> str:
    """With the word in its form."""
    return f"{number} email{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """For people, in the two largest units."""
    seconds = max(0, round(seconds))
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
