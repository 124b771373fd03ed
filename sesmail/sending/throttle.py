"""When may the next email go? One answer for the whole fleet, from one script call, in recipients and by Redis' clock.

`SendThrottle.acquire` reserves a slot, a moment in time, and sleeps until it is there. Slots are paced over the second
and never more than the account's rate lie in any one second. A slot whose holder dies simply passes.
"""

from __future__ import annotations

import math
import os
import secrets
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sesmail.errors import StaleClaim
from sesmail.message import Lane
from sesmail.sending.turnstile import Turnstile
from sesmail.state.ledger.ledger import Beginning
from sesmail.state.line.breaker import Breaker
from sesmail.state.line.line import ACCOUNT, Line
from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import Cause, Postponed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sesmail.state.line.line import Closure
    from sesmail.state.scripts import Scripts

HORIZON_SECONDS = {Lane.TRANSACTIONAL: 2.0, Lane.BULK: 0.25}
"""How far ahead a lane may reserve. A transactional email waits no longer than bulk's horizon and its own lane."""
LATE_SECONDS = 0.05
"""Whoever wakes this long after the slot asks for a new one: late sends come in bursts, and those are throttled."""
NOTICED_SECONDS = 0.005
"""Whoever asks SES this long after the slot tells the fleet: a third of the least margin, which is 15 ms a second."""
SOON_SECONDS = 0.01
"""A wait that is not worth doing anything else first."""
LONGEST_NAP_SECONDS = 1.0
"""Who waits for a turn asks again at least this often, so that all learn soon that the line was closed."""

NOTHING_BEGINS = Beginning("", "", 0, "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A part of the account's rate that some sends keep to: a worker's own limit, a configuration set's, a site's."""

    scope: str
    """A name for who shares it, such as `worker:mail@host`; the same name everywhere is one share for the fleet."""
    rate: float
    """Recipients a second, more than 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Granted:
    """Ask SES now. Hand it back to `refused`, `quota_exhausted`, `unused` or `accepted`, whichever is true."""

    slot: int
    recipients: int
    quota_recipients: int
    probes: tuple[str, ...] = ()
    """What is closed and tried with this send; `accepted` opens it."""
    has_begun: bool = False
    """The claim that was to begin with it has."""
    due: float = math.inf
    """The slot by this process's own clock."""
    asks_account_first: bool = False
    """The breaker has closed the line: before this send tries it, `GetAccount` is to have an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The throttle by now, for `sesmail quota` and `sesmail top`. Counts are of recipients, times epoch seconds."""

    rate: float
    """Recipients a second that SES allows; -1 is no limit."""
    share: float
    """The part of that rate which is given out here; the rest is left to others."""
    given_rate: float
    """Recipients a second that this share comes to; -1 is no limit."""
    limit: float
    """Recipients a second that are given out by now: the rate less the margin."""
    margin: float
    """Head-room, as a fraction: slots of one second are spread over 1 + margin seconds."""
    rate_now: int
    """Recipients whose slots lay in the last second."""
    granted: int
    """Recipients that were given slots since the beginning."""
    refused: int
    """Recipients that SES throttled since the beginning."""
    refused_at: float | None
    quota: int
    """Recipients in 24 hours that SES allows; -1 is no limit."""
    quota_used: int
    """What counts by now: what was sent from here and what others sent."""
    quota_used_by_others: int
    quota_reserve: float
    """The part of the quota that bulk leaves to transactional email."""
    quota_left: dict[Lane, int | None]
    """What each lane may still send; None is no limit."""
    quota_probe_at: float | None
    """SES said that the quota is used up; when one send may try again. None when it did not say so."""
    waiting: dict[Lane, int]
    """Worker processes of which a send waits for its turn, by lane."""
    standing: str
    """What else SES says of the account: `healthy`, or all of `sandbox`, `probation`, `shut down`, `sending paused`."""
    source: str | None
    """Who told the limits: `ses` or `settings`; None when nobody did yet, and the sandbox's limits hold."""
    read_at: float | None
    """When the limits were told."""
    closures: tuple[Closure, ...]
    """What of the line is closed, and why."""


class SendThrottle:
    """The fleet's one throttle; one object a process, for all its threads.

    All methods raise `LedgerUnavailable` when Redis cannot be reached.
    """

    def __init__(
        self,
        scripts: Scripts,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """`clock` and `sleep` are for tests; the time that counts is Redis'."""
        self.line = Line(scripts)
        self.breaker = Breaker(scripts)
        self._scripts = scripts
        self._run = scripts.run
        self._clock = clock
        self._stopping = threading.Event()
        self._sleep = sleep or self._stopping.wait
        self._name = secrets.token_hex(4)
        self._turnstiles: dict[tuple[str, ...], Turnstile] = {}
        self._pools: dict[object, _Pool] = {}
        self._lock = threading.Lock()

    # -- before SES is asked ----------------------------------------------------------------------------------------

    def acquire(
        self,
        recipients: int,
        lane: Lane,
        *,
        express: bool = False,
        quota_recipients: int | None = None,
        shares: Sequence[Share] = (),
        scopes: Sequence[str] = (),
        patience_seconds: float = 10.0,
        begins: Beginning | None = None,
        lease: SlotLease | None = None,
    ) -> Granted | Postponed:
        """Sleep until these recipients may go, and return right before SES is to be asked.

        `express` lets bulk wait with the transactional ones; what is left of the quota and open is still bulk's.
        `quota_recipients` are those that count to the 24-hour quota: all but the mailbox simulator's addresses.
        `shares` are kept to besides the account's rate; the tightest wins. `scopes` must be open in the line, besides
        the account and the lane: `configuration-set:NAME`, `identity:DOMAIN`; for bulk `site:SITE`, `list:SITE/LIST`.
        Within a lane it is first come, first served; a send that gets no turn within `patience_seconds` is postponed.
        `lease` is of the thread that asks, where it sends many.

        `begins` is noted as being asked about where its slot is due at once: see `Granted.has_begun`. Raises
        `StaleClaim` where it was given to another worker.
        """
        lease = lease or SlotLease()
        request = _Request(
            recipients=recipients,
            quota_recipients=recipients if quota_recipients is None else quota_recipients,
            lane=lane,
            turns=Lane.TRANSACTIONAL if express else lane,
            shares=tuple(shares),
            scopes=(ACCOUNT, f"lane:{lane}", *scopes),
            patience_seconds=patience_seconds,
            deadline=self._clock() + patience_seconds,
            begins=begins,
            lease=lease,
        )
        lease.ask(self, request.kind, self._clock())
        while not self._stopping.is_set():
            granted = lease.take() or self._reserve_in_turn(request)
            if isinstance(granted, Postponed):
                return granted
            if self._arrive(granted.due, lease):
                lease.granted_at = self._clock()
                return granted
            missed = lease.rest() if lease.together else lease.missed(self._clock() - LATE_SECONDS)
            self.unused(sum_of([granted, *missed]))
        return _SHUTDOWN

    def pool_of(self, kind: object, member: SlotLease) -> _Pool:
        """Where the threads of this process that send emails of a kind have their slots."""
        with self._lock:
            pool = self._pools.setdefault(kind, _Pool())
            pool.members.append(member)
            return pool

    def leave_pool(self, kind: object, member: SlotLease) -> list[Granted]:
        """It sends no more; the slots that are left over where it was the last."""
        with self._lock:
            pool = self._pools[kind]
            pool.members.remove(member)
            if pool.members:
                return []
            del self._pools[kind]
        return pool.rest()

    def stop(self) -> None:
        """Let go: whoever waits in this process is postponed at once, and whoever comes later."""
        self._stopping.set()
        for turnstile in list(self._turnstiles.values()):
            turnstile.call_off()

    def asks(self, granted: Granted) -> None:
        """SES is asked now. Where that is late (a slow Redis, a busy host), the slots a second later leave it room."""
        if self._clock() - granted.due > NOTICED_SECONDS:
            self._run("throttle_late", granted.slot)

    # -- when SES has answered --------------------------------------------------------------------------------------

    def accepted(self, granted: Granted) -> bool:
        """SES took it. If it was a probe, what it probed is open again, and this was what has opened it: True."""
        return bool(granted.probes) and bool(self._run("throttle_accepted", *granted.probes))

    def refused(self, granted: Granted) -> None:
        """SES said "Maximum sending rate exceeded": the whole fleet slows down from its next slots on."""
        self._run("throttle_refused", granted.slot, granted.recipients, granted.quota_recipients)

    def quota_exhausted(self, granted: Granted) -> float:
        """SES said "Daily message quota exceeded": nobody asks again, but for one send every ten minutes.

        Answers the seconds until it is worth coming back. It ends when such a send is `accepted`, when `update_account`
        tells of room, or as our own sends leave the 24 hours.
        """
        return float(self._run("throttle_quota", granted.quota_recipients)) / 1000

    def unused(self, granted: Granted) -> None:
        """SES was not asked, or refused for another reason: the recipients do not count to the 24-hour quota."""
        if granted.quota_recipients:
            self._run("throttle_unused", granted.quota_recipients)

    # -- the account ------------------------------------------------------------------------------------------------

    def update_account(
        self,
        *,
        rate: float,
        quota_24h: float,
        sent_24h: float | None,
        share: float = 1.0,
        bulk_reserve: float = 0.1,
        source: str = "ses",
        standing: str = "",
    ) -> None:
        """Take over the account's limits, for the whole fleet and from the next slot on; -1 is no limit.

        `rate` is in recipients a second, of which the part `share` is given out; `quota_24h` is in recipients.
        `sent_24h` is what SES counted, by whomever it was sent; None where SES cannot be asked. Bulk leaves the part
        `bulk_reserve` of the quota to transactional email.
        """
        sent = "" if sent_24h is None else sent_24h
        self._run("throttle_account", rate, quota_24h, sent, bulk_reserve, source, standing, share)

    def anything_waits(self) -> bool:
        """Whether emails wait for room in the quota, or worker processes for their turn at the rate."""
        names = [
            self._scripts.keys.of_account(*of, lane) for of in (("for_room",), ("throttle", "waiting")) for lane in Lane
        ]
        with reachable():
            return bool(self._scripts.redis.exists(*names))

    def snapshot(self) -> Snapshot:
        """How the throttle stands by now."""
        answer = self._run("throttle_snapshot")
        told = {name.decode(): value.decode() for name, value in zip(answer[::2], answer[1::2], strict=True)}
        return _snapshot(told, self.line.closures())

    # -- inside -----------------------------------------------------------------------------------------------------

    def _reserve_in_turn(self, request: _Request) -> Granted | Postponed:
        turnstile, lease = self._turnstile(request), request.lease
        patience_seconds = request.deadline - self._clock()
        if not turnstile.enter(patience_seconds, soon_seconds=SOON_SECONDS, meanwhile=lease.before_waiting):
            return _SHUTDOWN if self._stopping.is_set() else request.out_of_patience()
        try:
            return lease.take() or self._reserve(request, f"{os.getpid()}-{self._name}-{turnstile.name}")
        finally:
            turnstile.leave()

    def _turnstile(self, request: _Request) -> Turnstile:
        """One for each lane and set of shares: none waits behind what it has nothing to do with."""
        key = (request.turns, *(share.scope for share in request.shares))
        return self._turnstiles.get(key) or self._turnstiles.setdefault(key, Turnstile("/".join(key)))

    def _reserve(self, request: _Request, asker: str) -> Granted | Postponed:
        """Ask Redis as often as Redis says; only one thread at a time does that for each turnstile."""
        while not self._stopping.is_set():
            kind, *details = self._run("throttle_reserve", *request.arguments(asker))
            if kind in (b"granted", b"begun"):
                return self._reserved(request, *details, has_begun=kind == b"begun")
            if kind == b"stale":
                raise StaleClaim
            if kind == b"postponed":
                return _postponed(*details)
            wait_seconds = details[0] / 1e6
            if self._clock() + wait_seconds > request.deadline:
                return request.out_of_patience()
            request.lease.before_waiting()
            self._sleep(min(wait_seconds, LONGEST_NAP_SECONDS))
        return _SHUTDOWN

    def _reserved(self, request: _Request, *details: int | bytes, has_begun: bool) -> Granted:
        """The first of the slots that Redis gave; the others are left with the lease."""
        times = [each for each in details if isinstance(each, int)]
        probes = [each for each in details if isinstance(each, bytes)]
        now = self._clock()
        first = Granted(
            slot=times[1],
            due=now + times[0] / 1e6,
            recipients=request.recipients,
            quota_recipients=request.quota_recipients,
            probes=tuple(probe.decode() for probe in probes if probe != b"account"),
            has_begun=has_begun,
            asks_account_first=b"account" in probes,
        )
        further = replace(first, has_begun=False)
        request.lease.put(
            replace(further, slot=slot, due=now + wait_us / 1e6)
            for wait_us, slot in zip(times[2::2], times[3::2], strict=True)
        )
        return first

    def _arrive(self, due: float, lease: SlotLease) -> bool:
        """Sleep until the slot. False if it was missed: called off, or woken far too late."""
        if due - self._clock() > SOON_SECONDS:
            lease.before_waiting()
        wait_seconds = due - self._clock()
        if wait_seconds > 0:
            self._sleep(wait_seconds)
        return not self._stopping.is_set() and self._clock() - due < LATE_SECONDS


def _nothing() -> None: ...


def sum_of(slots: Sequence[Granted]) -> Granted:
    """Several of one moment as one."""
    if len(slots) == 1:
        return slots[0]
    recipients, counted = sum(slot.recipients for slot in slots), sum(slot.quota_recipients for slot in slots)
    return replace(slots[0], recipients=recipients, quota_recipients=counted)


class _Pool:
    """Slots that threads of this process have leased for emails of one kind, the next due first."""

    def __init__(self) -> None:
        self.slots: deque[Granted] = deque()
        self.members: list[SlotLease] = []

    def rest(self) -> list[Granted]:
        """What is left of them; it is taken out."""
        left = []
        while granted := self.take():
            left.append(granted)
        return left

    def take(self) -> Granted | None:
        """The next; also while other threads take theirs."""
        with suppress(IndexError):
            return self.slots.popleft()
        return None


@dataclass(kw_only=True, eq=False)
class SlotLease:
    """The slots of a thread that sends one email after the other: taken several in one call, used each at its moment.

    Threads of a process that send emails of one kind have theirs in common: the next slot is for who is ready first.
    The rate is as exact as by one at a time. A slot that is not used passes, as one does whose holder has died: at most
    a horizon of them.
    """

    wanted: int = 1
    """How many emails its thread has in hand."""
    together: bool = False
    """Whether they are to be used at one moment, by one call."""
    before_waiting: Callable[[], object] = _nothing
    """What is to be done before its thread waits for longer than a moment."""
    busy_seconds: float = 0.0
    """How long its thread is busy with each, as was seen; 0 is not known."""
    granted_at: float | None = None
    _pool: _Pool = field(default_factory=_Pool)
    _throttle: SendThrottle | None = None
    _kind: object = None

    def ask(self, throttle: SendThrottle, kind: object, now: float) -> None:
        """Its thread asks for a slot of this kind; it sees how long the email before kept it busy."""
        if self.granted_at is not None:
            seconds = now - self.granted_at
            self.busy_seconds = 0.8 * self.busy_seconds + 0.2 * seconds if self.busy_seconds else seconds
            self.granted_at = None
        if (throttle, kind) != (self._throttle, self._kind):
            self.give_back()
            self._throttle, self._kind = throttle, kind
            self._pool = _Pool() if self.together else throttle.pool_of(kind, self)

    @property
    def slots(self) -> int:
        """How many are leased of those that nobody else in this process would use."""
        return 0 if len(self._pool.members) > 1 else len(self._pool.slots)

    def needs(self) -> tuple[int, float]:
        """How many slots are of use, and how long those who share them are busy with each, in seconds."""
        members = [*self._pool.members] or [self]
        if not self.busy_seconds:
            return 1, 0.0
        return sum(member.wanted for member in members), self.busy_seconds / len(members)

    def put(self, slots: Iterable[Granted]) -> None:
        """Leased, for later."""
        self._pool.slots.extend(slots)

    def take(self) -> Granted | None:
        """The next of them."""
        return self._pool.take()

    def missed(self, before: float) -> list[Granted]:
        """Those that were due before this moment; they are taken out."""
        found: list[Granted] = []
        while (granted := self._pool.take()) and granted.due < before:
            found.append(granted)
        if granted:
            self._pool.slots.appendleft(granted)
        return found

    def rest(self) -> list[Granted]:
        """What is left of those for one moment, of which the first was granted."""
        return self._pool.rest()

    def give_back(self) -> None:
        """No more is to be sent: what is left counts no longer to the 24-hour quota. Raises `LedgerUnavailable`."""
        throttle, kind = self._throttle, self._kind
        self._throttle = self._kind = None
        if throttle is None:
            return
        left = self._pool.rest() if self not in self._pool.members else throttle.leave_pool(kind, self)
        self._pool = _Pool()
        if left:
            throttle.unused(sum_of(left))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    recipients: int
    quota_recipients: int
    lane: Lane
    turns: Lane
    """The lane among whose sends it waits for its turn."""
    shares: tuple[Share, ...]
    scopes: tuple[str, ...]
    patience_seconds: float
    deadline: float
    begins: Beginning | None
    lease: SlotLease

    @property
    def kind(self) -> object:
        """Requests of one kind may use each other's slots."""
        together = self.lease.together
        return self.recipients, self.quota_recipients, self.lane, self.turns, self.shares, self.scopes, together

    def arguments(self, asker: str) -> tuple[str | float, ...]:
        """As `throttle_reserve.lua` lists them."""
        horizon_us = round(HORIZON_SECONDS[self.turns] * 1e6)
        shares = (part for share in self.shares for part in (share.scope, share.rate))
        head = (self.recipients, self.quota_recipients, self.lane.value, self.turns.value, horizon_us, asker)
        if self.lease.together:
            wanted, busy = self.lease.wanted, "together"
        else:
            wanted, busy_seconds = self.lease.needs()
            busy = str(round(busy_seconds * 1e6))
        return (*head, wanted, busy, *(self.begins or NOTHING_BEGINS), len(self.shares), *shares, *self.scopes)

    def out_of_patience(self) -> Postponed:
        return Postponed(
            seconds=self.patience_seconds,
            cause=Cause.RATE,
            reason="more email is waiting than may be sent by now",
        )


_SHUTDOWN = Postponed(seconds=0.0, cause=Cause.SHUTDOWN, reason="this worker is shutting down")


def _postponed(wait_ms: int, cause: bytes, reason: bytes, scope: bytes = b"") -> Postponed:
    return Postponed(seconds=wait_ms / 1000, cause=Cause(cause.decode()), reason=reason.decode(), scope=scope.decode())


def _snapshot(told: dict[str, str], closures: tuple[Closure, ...]) -> Snapshot:
    def number(name: str) -> float:
        return float(told[name] or 0)

    def moment(name: str) -> float | None:
        return number(name) / 1e6 or None

    rate, quota, used = number("rate"), int(number("quota")), int(number("sent") + number("foreign"))
    reserve, margin = number("reserve"), number("margin")
    usable = {Lane.TRANSACTIONAL: quota, Lane.BULK: int(quota * (1 - reserve))}
    share = number("share") or 1.0
    return Snapshot(
        rate=rate if rate < 0 else rate / share,
        share=share,
        given_rate=rate,
        limit=rate if rate < 0 else rate / (1 + margin),
        margin=margin,
        rate_now=int(number("rate_now")),
        granted=int(number("total")),
        refused=int(number("refused")),
        refused_at=moment("refused_at"),
        quota=quota,
        quota_used=used,
        quota_used_by_others=int(number("foreign")),
        quota_reserve=reserve,
        quota_left={lane: None if quota < 0 else max(0, limit - used) for lane, limit in usable.items()},
        quota_probe_at=moment("quota_probe_at"),
        waiting={lane: int(number(f"waiting:{lane}")) for lane in Lane},
        source=told["source"] or None,
        standing=told["standing"],
        read_at=moment("read_at"),
        closures=closures,
    )
