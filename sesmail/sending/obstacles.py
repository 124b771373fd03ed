"""Why is mail not going out? What stands in its way, what should be mended first, first; each with what to do."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sesmail.message import Lane
from sesmail.sending.essence import Essence, LaneNow, Level, Obstacle, duration, emails
from sesmail.state.ledger.waiting import SAMPLE
from sesmail.state.line.line import ACCOUNT, How
from sesmail.vocabulary import DEFAULT_ACCOUNT, BatchState, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sesmail.sending.accounts import SesAccounts
    from sesmail.sending.brake import Brake, Judgement
    from sesmail.settings import Settings
    from sesmail.state.batches.batches import Batches
    from sesmail.state.fleet.hearing import Hearing
    from sesmail.state.fleet.workers import Fleet
    from sesmail.state.ledger.ledger import Ledger
    from sesmail.state.ledger.waiting import Waiting
    from sesmail.state.line.line import Closure
    from sesmail.state.server.health import Health, RedisHealth
    from sesmail.vocabulary import BatchStatus

SILENT_SECONDS = 20.0
"""Workers show signs of life every few seconds; all are gone, or cannot reach Redis, when none has come for so long."""
LONG_SECONDS = 60.0
"""What waits for a worker for longer than this waits for something."""
HOUR_SECONDS = 3600.0
SLOW_SECONDS = 0.05
"""A Redis that takes longer to answer holds the workers up: each email asks it several times."""
FULL = 0.9


class Obstacles:
    """Looks for them. Nothing is changed, and SES is not asked."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        batches: Batches,
        waiting: Waiting,
        fleet: Fleet,
        accounts: SesAccounts,
        hearing: Hearing,
        health: RedisHealth,
        brake: Brake,
    ) -> None:
        self._settings, self._hearing, self._health, self._brake = settings, hearing, health, brake
        self._ledger, self._batches, self.waiting, self._fleet = ledger, batches, waiting, fleet
        self._accounts = accounts

    def look(self) -> list[Obstacle]:
        """Those that there are, the weightiest first. Raises `LedgerUnavailable`."""
        return self._among(self._read())

    def essence(self) -> Essence:
        """How things stand, with what is in the way. Raises `LedgerUnavailable`."""
        seen = self._read()
        return replace(seen, obstacles=tuple(self._among(seen)))

    def _read(self) -> Essence:
        counts, now = self._ledger.counts(), self.waiting.now()
        batches = self._batches.under_way()
        throttles = {name: account.throttle.snapshot() for name, account in self._accounts.items()}
        lanes = {
            lane: LaneNow(
                queued=counts[f"queued:{lane}"],
                scheduled=counts[f"scheduled:{lane}"],
                in_batches=sum(_queued_in(each) for each in batches if each.lane == lane),
                oldest_seconds=_since(self.waiting.oldest_at(lane), now),
                next_seconds=_since(now, self.waiting.next_at(lane)),
            )
            for lane in Lane
        }
        return Essence(
            at=now,
            workers=self._fleet.alive(),
            silent_seconds=self._fleet.silent_seconds(),
            lanes=lanes,
            counts=counts,
            batches=tuple(batches),
            throttle=throttles.pop(DEFAULT_ACCOUNT),
            other_throttles=throttles,
        )

    def _among(self, seen: Essence) -> list[Obstacle]:
        """What is in the way of what is seen."""
        workers_live = seen.silent_seconds is not None and seen.silent_seconds < SILENT_SECONDS
        accounts = self._of_accounts(seen) if seen.other_throttles else {}
        return [
            *_full(self._health.read()),
            *([] if workers_live else [_no_worker(seen)]),
            *_of_each(seen, accounts, lambda of: map(_closed, of.throttle.closures)),
            *map(_warned_of, filter(lambda each: each.why, self._brake.judgements())),
            *(self._not_taken(seen) if workers_live else []),
            *_of_each(seen, accounts, _quota),
            *_of_each(seen, accounts, _limits),
            *_slow(self._health.answers_in_seconds()),
            *self._refused(seen.at),
            *self._unheard(),
            *steered(seen),
            *_of_each(seen, accounts, _rate),
            *_unknown(seen.counts),
        ]

    def _of_accounts(self, seen: Essence) -> dict[str, Essence]:
        """What is seen, as it is of each account alone."""
        waiting = {
            f"{state}:{lane}": self.waiting.by_account(state, lane)
            for state in (State.QUEUED, State.SCHEDULED)
            for lane in Lane
        }
        waiting["claimed"] = self.waiting.by_account(State.CLAIMED)
        return {
            name: _alone(replace(seen, throttle=throttle), name, {which: of[name] for which, of in waiting.items()})
            for name, throttle in seen.throttles.items()
        }

    def _not_taken(self, seen: Essence) -> Iterator[Obstacle]:
        """Workers live, and the line is open, but tickets stay where they are."""
        queues = {lane: self._settings.queue_of(lane) for lane in Lane}
        unattended = self._fleet.unattended([*queues.values()], SILENT_SECONDS)
        # Those of an early release do not say what they take: where none says anything, it shows by the time alone.
        nobody_takes = unattended if len(unattended) < len(set(queues.values())) else []
        throttles = seen.throttles.values()
        closed = {closure.scope for throttle in throttles for closure in throttle.closures}
        is_busy = any(throttle.limit < 0 or throttle.rate_now >= throttle.limit / 2 for throttle in throttles)
        for lane, now in seen.lanes.items():
            if closed & {ACCOUNT, f"lane:{lane}"}:
                continue
            if now.oldest_seconds is not None and (
                queues[lane] in nobody_takes or (now.oldest_seconds >= LONG_SECONDS and not is_busy)
            ):
                yield _ticket_not_taken(lane, now)
            still = [each for each in seen.batches if each.lane == lane and _stands_still(each, seen.at)]
            if still and not is_busy and not _goes_on(seen, lane):
                yield _batches_not_taken(lane, still, self._settings.batches_queue)

    def _refused(self, now: float) -> Iterator[Obstacle]:
        for refused in self.waiting.refusals(now - HOUR_SECONDS)[:3]:
            yield Obstacle(
                id="refused",
                level=Level.WARNING,
                what=f"{emails(refused.emails)} refused in the last hour ({refused.code}): {refused.reason}",
                do="They wait for you. Mend the cause; `sesmail failed --requeue --all` sends them again.",
            )

    def _unheard(self) -> Iterator[Obstacle]:
        site = self._settings.site
        if silence := self._hearing.silence(site):
            ever = "" if silence.ever_heard else ", nor ever"
            yield Obstacle(
                id="unheard",
                level=Level.WARNING,
                what=f"SES tells nothing: {silence.sent} emails or more of the site {site} were sent in the last "
                f"{duration(silence.seconds)}, and no event of them came{ever}.",
                do="Email goes out, but bounces, complaints and unsubscribes go unheard. Does the configuration set "
                "publish to a topic of SESMAIL_TOPICS, and does a door run? docs/events-setup.md has the set-up.",
            )


def _of_each(
    seen: Essence, accounts: Mapping[str, Essence], found_in: Callable[[Essence], Iterable[Obstacle]]
) -> Iterator[Obstacle]:
    """What is in the way of each account, with its name where there are several."""
    if not accounts:
        yield from found_in(seen)
    for name, of_account in accounts.items():
        for each in found_in(of_account):
            option = each.do.replace("`sesmail resume", f"`sesmail resume --account {name}")
            yield replace(each, account=name, what=f"Account {name}: {each.what}", do=option)


def _alone(seen: Essence, account: str, counts: Mapping[str, int]) -> Essence:
    """What is seen, with what waits for this account alone."""
    batches = tuple(each for each in seen.batches if each.account == account)
    lanes = {
        lane: replace(
            now,
            queued=counts[f"queued:{lane}"],
            scheduled=counts[f"scheduled:{lane}"],
            in_batches=sum(_queued_in(each) for each in batches if each.lane == lane),
        )
        for lane, now in seen.lanes.items()
    }
    sums = {str(state): sum(counts[f"{state}:{lane}"] for lane in Lane) for state in (State.QUEUED, State.SCHEDULED)}
    return replace(seen, lanes=lanes, counts={**seen.counts, **counts, **sums}, batches=batches)


def _since(earlier: float | None, later: float | None) -> float | None:
    return None if earlier is None or later is None else max(0.0, later - earlier)


def _wait(number: int, of_account: Essence | None = None) -> str:
    """How many emails do: of one account among several, beyond some, as a sample tells."""
    is_sampled = of_account is not None and of_account.other_throttles and number > SAMPLE
    return f"{'about ' if is_sampled else ''}{emails(number)} {'waits' if number == 1 else 'wait'}"


def _full(health: Health) -> Iterator[Obstacle]:
    if health.most_bytes and health.used_bytes is not None and health.used_bytes >= FULL * health.most_bytes:
        yield Obstacle(
            id="redis-full",
            level=Level.ERROR,
            what=f"Redis is full: {health.used_bytes / 1e6:.0f} of {health.most_bytes / 1e6:.0f} MB are used, so new "
            "email is refused, or what is kept is thrown away.",
            do="Raise `maxmemory`, or see what fills it: `sesmail status` says how much is kept of sent email, and "
            "SESMAIL_SENT_RETENTION_SECONDS for how long.",
        )


def _slow(seconds: float) -> Iterator[Obstacle]:
    if seconds >= SLOW_SECONDS:
        yield Obstacle(
            id="redis-slow",
            level=Level.WARNING,
            what=f"Redis took {seconds * 1000:.0f} ms to answer: each email asks it several times.",
            do="See SLOWLOG and its host's load, or run the workers nearer to it: under 5 ms is usual.",
        )


def _no_worker(seen: Essence) -> Obstacle:
    since = "ever" if seen.silent_seconds is None else f"for {duration(seen.silent_seconds)}"
    waiting = seen.counts["queued"] + seen.counts["scheduled"] + seen.in_batches
    oldest = max((lane.oldest_seconds for lane in seen.lanes.values() if lane.oldest_seconds is not None), default=None)
    for_how_long = "" if oldest is None else f", the oldest for {duration(oldest)}"
    who = f"{_wait(waiting)}{for_how_long}" if waiting else "none waits"
    return Obstacle(
        id="no-worker",
        level=Level.ERROR,
        what=f"No worker has been heard on this ledger {since}; {who}.",
        do="Start one: `celery -A sesmail worker`, or your project's with its application. If one runs, its log "
        "says why it takes no email. Or has it another ledger than this one?",
    )


def _ticket_not_taken(lane: Lane, now: LaneNow) -> Obstacle:
    assert now.oldest_seconds is not None
    return Obstacle(
        id="not-taken",
        level=Level.ERROR,
        lane=lane,
        what=f"Workers live, but none takes the tickets of the lane {lane}: {_wait(now.queued)}, "
        f"the oldest for {duration(now.oldest_seconds)}.",
        do=f"Was each worker started with -Q, or -X, and without the queue of {lane}? `celery inspect "
        "active_queues` shows what they consume. Or are they busy with other tasks? Email is best given "
        "a worker of its own.",
    )


def _batches_not_taken(lane: Lane, still: list[BatchStatus], queue: str) -> Obstacle:
    waiting = sum(map(_queued_in, still))
    return Obstacle(
        id="batch-not-taken",
        level=Level.ERROR,
        lane=lane,
        batches=_ids(still),
        what=f"Workers live, but none goes on with {_these(still)}: {_wait(waiting)} there.",
        do=f"Does a worker of the batch's site take from its queue ({queue} here)? One that was started with -Q needs "
        "it beside the lane's; one of a release before batches does not know them.",
    )


def _queued_in(batch: BatchStatus) -> int:
    return batch.counts.get(State.QUEUED, 0)


def _ids(batches: list[BatchStatus]) -> tuple[str, ...]:
    return tuple(each.batch_id for each in batches)


def _these(batches: list[BatchStatus]) -> str:
    one, *others = (each.batch_id for each in batches)
    return f"the batch {one}" if not others else f"the batch {one} and {len(others)} more"


def _stands_still(batch: BatchStatus, now: float) -> bool:
    """Whether there is something to do in it, which nobody has done for long."""
    is_to_go = batch.state is BatchState.RUNNING and _queued_in(batch) > 0
    return is_to_go and now - max(batch.changed_at, batch.waits_until) >= LONG_SECONDS


def _goes_on(seen: Essence, lane: Lane) -> bool:
    """Whether another batch of the lane has moved lately: they take turns."""
    return any(each.lane == lane and seen.at - each.changed_at < LONG_SECONDS for each in seen.batches)


def steered(seen: Essence) -> Iterator[Obstacle]:
    """Batches that an operator has paused, and those whose list was not read to its end."""
    if paused := [each for each in seen.batches if each.state is BatchState.PAUSED and _queued_in(each)]:
        yield Obstacle(
            id="batch-paused",
            level=Level.INFO,
            lane=paused[0].lane,
            batches=_ids(paused),
            what=f"{_these(paused).capitalize()} is paused: {emails(sum(map(_queued_in, paused)))} of it wait.",
            do=f"An operator did that. `sesmail batch {paused[0].batch_id} --resume` when it may go on.",
        )
    being_read = [each for each in seen.batches if each.state is BatchState.QUEUEING]
    if left := [each for each in being_read if seen.at - each.accepted_at >= LONG_SECONDS]:
        yield Obstacle(
            id="batch-unread",
            level=Level.INFO,
            lane=left[0].lane,
            batches=_ids(left),
            what=f"The list of {_these(left)} has been read for {duration(seen.at - left[0].accepted_at)}, and not to "
            "its end: nothing of it goes out before.",
            do="A long list takes that long. Where it was interrupted, give the same list and key again: it goes on.",
        )


def _closed(closure: Closure) -> Obstacle:
    since = datetime.fromtimestamp(closure.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
    what = "Everything" if closure.scope == ACCOUNT else f"What goes by {closure.scope.replace(':', ' ')}"
    what = f"Bulk of the {closure.scope.replace(':', ' ')}" if closure.scope.startswith("account:") else what
    lane = Lane(closure.scope.removeprefix("lane:")) if closure.scope in {f"lane:{lane}" for lane in Lane} else None
    if closure.how is How.PAUSED:
        return Obstacle(
            id="paused",
            scope=closure.scope,
            level=Level.WARNING,
            lane=lane,
            what=f"{what} is paused since {since}: {closure.reason}.",
            do=f"An operator did that. `sesmail resume{_option(closure.scope)}` when it may go on.",
        )
    if closure.how is How.BRAKED:
        return Obstacle(
            id="braked",
            scope=closure.scope,
            level=Level.ERROR,
            lane=Lane.BULK,
            what=f"{what} is stopped by the brake since {since}: {closure.reason}.",
            do="Clean the list: `sesmail suppress` has who bounced. Then `sesmail resume"
            f'{_option(closure.scope)} --why "list cleaned"`; else a trial comes by itself{_trial(closure)}. '
            "Transactional email goes on.",
        )
    return Obstacle(
        id="stopped",
        scope=closure.scope,
        level=Level.ERROR,
        lane=lane,
        what=f"{what} is stopped since {since}: {closure.reason.rstrip('.')}.",
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
        level=Level.WARNING,
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


def _quota(seen: Essence) -> Iterator[Obstacle]:
    snapshot = seen.throttle
    for lane, left in snapshot.quota_left.items():
        now = seen.lanes[lane]
        waiting = now.queued + now.scheduled + now.in_batches
        if left is not None and left <= 0 and waiting:
            reserve = " A part is kept for transactional email (SESMAIL_QUOTA_RESERVE)." if lane is Lane.BULK else ""
            yield Obstacle(
                id="quota",
                level=Level.WARNING,
                lane=lane,
                what=f"The 24-hour quota leaves nothing for {lane} email: {snapshot.quota_used} of {snapshot.quota} "
                f"recipients are used, {snapshot.quota_used_by_others} of them by others; {_wait(waiting, seen)}.",
                do=f"They go on by themselves as the 24 hours pass or AWS raises the quota (SES console, account "
                f"dashboard).{reserve}",
            )


def _limits(seen: Essence) -> Iterator[Obstacle]:
    counts, snapshot = seen.counts, seen.throttle
    waits = counts["queued"] + counts["scheduled"] + seen.in_batches > 0
    if snapshot.source is None and waits:
        yield Obstacle(
            id="limits",
            level=Level.WARNING,
            what="SES has told no worker the account's limits yet: the sandbox's hold, 1 recipient a second.",
            do="A worker asks before its first email. If one has, its log says why SES did not tell: credentials, "
            "Region, network, `ses:GetAccount`. Or set SESMAIL_MAX_SEND_RATE and SESMAIL_MAX_24_HOUR_SEND.",
        )
    elif snapshot.standing not in {"", "healthy"}:
        yield Obstacle(
            id="limits",
            level=_level_of(seen.throttle.standing),
            what=f"SES says of the account: {snapshot.standing}.",
            do="In the sandbox only verified addresses are written to: ask AWS for production access. Else the SES "
            "console says what AWS wants mended.",
        )


def _level_of(standing: str) -> Level:
    if any(word in standing for word in ("shut down", "paused")):
        return Level.ERROR
    return Level.INFO if standing == "sandbox" else Level.WARNING


def _rate(seen: Essence) -> Iterator[Obstacle]:
    counts, snapshot = seen.counts, seen.throttle
    waiting = counts["queued"] + counts["claimed"] + seen.in_batches
    if snapshot.source is not None and snapshot.limit > 0 and waiting / snapshot.limit > LONG_SECONDS:
        yield Obstacle(
            id="rate",
            level=Level.INFO,
            what=f"{_wait(waiting, seen)} for the rate of {snapshot.limit:.4g} recipients a second: that takes "
            f"{duration(waiting / snapshot.limit)} at least.",
            do="Nothing is wrong. AWS raises the rate on request; transactional email goes first in any case.",
        )


def _unknown(counts: Mapping[str, int]) -> Iterator[Obstacle]:
    if counts["unknown"]:
        yield Obstacle(
            id="unknown",
            level=Level.INFO,
            what=f"SES gave no clear answer for {emails(counts['unknown'])}: it may have sent them.",
            do="An event of SES settles them; without one they go out again when the evidence window is over. `sesmail "
            "unknown` lists them, and settles or sends single ones.",
        )
