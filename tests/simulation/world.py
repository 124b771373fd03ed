"""One seed: a world is made, suffers for a while, gets its peace, and is judged."""

from __future__ import annotations

import logging
import random
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from greenlet import getcurrent

from sesmail.celery import strangers, tasks
from sesmail.client import kept
from sesmail.message import Lane
from sesmail.sending.batches import queueing
from sesmail.state.scripts import Scripts
from sesmail.state.server import exchange
from sesmail.state.server.address import Address
from tests.simulation import ends
from tests.simulation.bounds import Bounds
from tests.simulation.broker import Broker
from tests.simulation.bugs import Bug
from tests.simulation.faults import Faults, Plan
from tests.simulation.installation import Installation
from tests.simulation.lua import Texts
from tests.simulation.model import HELD, Model
from tests.simulation.network import Network
from tests.simulation.patches import Patches, patched
from tests.simulation.people import ACCOUNT_IS_READ_SECONDS, Sender
from tests.simulation.receivers import Receivers
from tests.simulation.rules import Rules, Violation
from tests.simulation.scheduler import START, Fiber, Process, Scheduler
from tests.simulation.server import Server
from tests.simulation.story import Story
from tests.simulation.virtual import modules
from tests.simulation.wire import SimulatedRedis, Wire
from tests.simulation.worker import Worker

VERSION = 8
"""Of the histories: a seed is the same history for as long as this is the same. Count it up when they change."""
PEACE_AT_MOST_SECONDS = 7200.0
TELLING_AT_MOST_SECONDS = 2400.0
PROBE_SECONDS = 12.0
IDLE_AFTER_SECONDS = 3.0
AT_WORK = HELD | {"queued"}
STOPPED_TRIES_SECONDS = 61.0
"""Longer than a line that SES or the breaker has closed waits between two tries."""
TRAITS = {
    "accounts": 0.3,
    "batches": 0.4,
    "templates": 0.15,
    "bulk calls": 0.4,
    "brake": 0.4,
    "guard": 0.25,
    "former names": 0.1,
}
"""In which part of the seeds an installation sends through two accounts of SES; there are batches; there are some that SES
fills in; SES is asked for several of them by one call; there is enough for the brake to judge; few emails an hour may go
to one address; the first emails were accepted under names without the prefix that the project's keys have since."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is to be simulated."""

    seed: int
    emails: int = 120
    plan: Plan = field(default_factory=Plan)
    bug: Bug | None = None
    """A bug that is planted."""
    traits: frozenset[str] = frozenset()
    """Of those in `TRAITS`, what it has though its seed may not have drawn it."""

    def has(self, trait: str, drawn: float) -> bool:
        """Whether a history has what not every one has; `drawn` is what its seed has drawn for that, from 0 to 1."""
        return drawn < TRAITS[trait] or trait in self.traits


@dataclass(kw_only=True)
class Result:
    """What a history came to."""

    seed: int
    digest: str
    story: Story
    virtual_seconds: float
    steps: int
    commands: int
    emails: int
    faults: Counter[str]
    weights: dict[str, float]
    violations: list[Violation]
    counts: Counter[str]
    rules: Counter[str]
    moves: Counter[str]
    model: Model


QUICK_BRAKE = {
    "brake_minimum_emails": 12,
    "brake_window_seconds": 7200.0,
    "brake_short_window_seconds": 7200.0,
    "brake_trial_after_seconds": 20.0,
    "brake_trial_recipients": 5,
    "brake_trial_seconds": 5.0,
}
WAITING = 0.3
"""The part of the seeds in which acceptance waits for a replica."""
BLOCK = 40
"""How many recipients of a batch are queued by one call: the few that there are here by several, as many are elsewhere."""


class World:
    """Everything that there is in one history."""

    def __init__(self, run: Run, wire: Wire, patches: Patches) -> None:
        self.run = run
        self.rng = random.Random(f"{run.seed} world")
        self.scheduler = Scheduler(self._crashed)
        clock = self._clock
        self.story = Story(clock)
        self.model = Model()
        self.window_seconds = self.rng.choice((10.0, 20.0, 60.0))
        self.max_attempts = self.rng.choice((2, 5))
        self.has_templates = run.has("templates", random.Random(f"{run.seed} templates").random())
        drawn = random.Random(f"{run.seed} has batches").random()
        self.has_batches = self.has_templates or run.has("batches", drawn)
        guard = random.Random(f"{run.seed} guard")
        self.hourly_limit = guard.choice((1, 2, 4)) if run.has("guard", guard.random()) else 0
        several = run.has("bulk calls", random.Random(f"{run.seed} bulk calls").random())
        self.batch_call = "bulk" if several else "single"
        self.waits = random.Random(f"{run.seed} waits").random() < WAITING
        is_braking = run.has("brake", random.Random(f"{run.seed} brake").random())
        self.brake: dict[str, Any] = QUICK_BRAKE if is_braking else {}
        self.rules = Rules(self.scheduler, self.story, self.model, self.window_seconds, self.max_attempts)
        self.rules.hourly_limit = self.hourly_limit
        self.rules.brake_minimum = self.brake.get("brake_minimum_emails", self.rules.brake_minimum)
        self.bounds = Bounds(self.scheduler, self.model, self.rules)
        self.faults = Faults(run.seed, run.plan, clock, self.story.tell)
        self.has_former_names = run.has("former names", random.Random(f"{run.seed} former names").random())
        if self.has_former_names:  # it would not heed the prefix; and what is back there is no loss that the rules know
            self.faults.weights |= {"former_release": 0.0, "redis_forgets": 0.0, "redis_evicts": 0.0}
        if self.has_batches:  # the former release knows none: it would drop the evidence for them
            self.faults.weights["former_release"] = 0.0
        self.texts = Texts(run.bug.in_lua() if run.bug else {})
        self.server = Server(wire, self.texts, self.rules, clock)
        self.rules.redis_now = self.server.now
        self.rules.rate_of = self._rate_of
        self.rules.has_several_accounts = lambda base: any(
            each.base == base and len(each.accounts) > 1 for each in self.installations
        )
        self.model.redis_now_ms = lambda: self.server.now() * 1000
        self.server.refuses_ticket = lambda send_id: self.faults.strikes("ticket_not_put", send_id)
        self.server.on_ticket = self._ticket_put
        self.network = Network(self.scheduler, self.server, self.faults, self.rng, self.rules.disturb)
        self.network.on_forgotten = self._forgotten
        self.network.on_evicted = self._evicted
        self.network.spoil = self._spoil
        self.rules.look = wire.ask
        self.network.on_death = self._died
        self.network.on_redeployment = self._redeployed
        self.counts: Counter[str] = Counter()
        self.bounced: list[tuple[str, str]] = []
        self.not_filled_in: list[tuple[str, str, str]] = []
        """Base, send and message id of those of which a door was told that SES could not fill in their template."""
        self.stored: Counter[tuple[str, str]] = Counter()
        self.has_forgotten = False
        self._looked_at, self._is_idle = 0.0, False
        self.on_their_way = 0
        """Events of SES that have not come to a door yet."""
        self.outside = Process("outside")
        self.web = Process("web")
        self.numbers = iter(range(1, 10_000))
        self.installations: list[Installation] = []
        self._patch(patches)

    def _clock(self) -> float:
        return self.scheduler.now

    def is_idle(self) -> bool:
        """Whether all that waits waits for a time, and has done so for a moment: nothing needs to be looked at now."""
        now = self.scheduler.now
        if now < self.rules.stirred_at + IDLE_AFTER_SECONDS:
            return False
        if now >= self._looked_at + 1.0:
            self._looked_at = now
            self._is_idle = not any(send.state in AT_WORK for send in self.model.sends.values())
        return self._is_idle

    def _patch(self, patches: Patches) -> None:
        patches.replace_everywhere(modules(self.scheduler, random.Random(f"{self.run.seed} product")))
        texts = self.texts
        patches.set(Scripts, "source", lambda scripts, name: texts.source(scripts, name, former=_is_former()))
        if self.run.bug:
            self.run.bug.plant(patches)
        patches.set(kept, "connect", self._connect)
        for module in (tasks, strangers):
            patches.set(module, "client_of", lambda app: app.client)
        patches.set(queueing, "BLOCK", BLOCK)
        patches.set(exchange, "unreadable", lambda argument: argument)  # the rules read what else is hidden

    def _connect(self, _address: Address, *, timeout_seconds: float, **_: Any) -> Any:
        return SimulatedRedis(self.network.client(timeout_seconds))

    # -- a history --------------------------------------------------------------------------------------------------

    def live(self) -> None:
        """From the beginning to the end."""
        storm_seconds = self.rng.choice((90.0, 180.0, 300.0))
        prefixes = ("sesmail", "other") if self.rng.random() < 0.2 else ("sesmail",)
        self.installations = [Installation(self, prefix) for prefix in prefixes]
        self.faults.until = START + storm_seconds
        wanted = [n for n in range(self.run.emails) if n not in self.run.plan.without_emails]
        for place, installation in enumerate(self.installations):
            installation.open(wanted[place :: len(self.installations)], storm_seconds * 0.8)
        for later in range(10, round(storm_seconds) + 1, 10):
            self.scheduler.run(START + later)
            if self._is_seen():
                return
        self._make_peace()
        self._wait_for_the_rest()
        if not self._is_seen():
            self._probe()
            ends.judge(self)

    def _is_seen(self) -> bool:
        """Whether a planted bug has been seen: the rest of the history tells nothing new."""
        return bool(self.run.bug and self.rules.violations)

    def _put_redis_clock_right(self) -> None:
        """Where it is behind. By it, what is held then has been held for longer."""
        behind_seconds = max(0.0, -self.server.skew_seconds)
        self.server.skew_seconds += behind_seconds
        for send in self.model.sends.values():
            send.state_at -= behind_seconds if send.state in HELD else 0.0
        for batch in self.model.batches.values():
            for chunk, (token, fiber, since) in batch.holders.items():
                batch.holders[chunk] = token, fiber, since - behind_seconds

    def _make_peace(self) -> None:
        self.story.tell("PEACE")
        self.bounds.peace()
        self._put_redis_clock_right()
        for installation in self.installations:
            for ses in installation.accounts.values():
                ses.down_until = 0.0
                ses.paused_until, ses.quota, ses.rate = 0.0, 50_000, max(ses.rate, 10)
            self.scheduler.spawn(self.outside, installation.operators[0].open_all, "peace")
            # And once more: a Redis whose power went just before comes back with pauses that have been ended.
            self.scheduler.spawn(self.outside, installation.operators[0].open_all, "peace", 20.0)
            self.bounds.room_appears(installation.base)

    def _wait_for_the_rest(self) -> None:
        end = self.scheduler.now + PEACE_AT_MOST_SECONDS
        while self.scheduler.now < end and not self._is_seen():
            self.scheduler.run(self.scheduler.now + 10.0)
            if self._all_is_done():
                break
        self.counts["peace_seconds"] = round(self.scheduler.now - self.faults.until)
        self._wait_for_what_is_told()

    def _all_is_done(self) -> bool:
        """All is sent, or has failed; and who was frozen has woken up."""
        done = all(each.has_sent() for each in self.installations)
        workers = [worker for each in self.installations for worker in each.workers if not worker.dead]
        awake = all(worker.frozen_until <= self.scheduler.now for worker in workers)
        return done and awake and self.network.is_well() and not self.model.waiting()

    def _wait_for_what_is_told(self) -> None:
        """Events that come late, and receivers that are called again."""
        end = self.scheduler.now + TELLING_AT_MOST_SECONDS
        while self.scheduler.now < end and not self._is_seen() and (self.on_their_way or ends.untold(self)):
            self.scheduler.run(self.scheduler.now + 10.0)

    def _probe(self) -> None:
        """After all that, the next email goes out at once: nothing is worn out, once it is known what SES allows now."""
        if self.faults.counts["ses_quota_changes"] or any(each.ses.first_quota < 50_000 for each in self.installations):
            self.scheduler.run(max(self.scheduler.now, self.faults.until + ACCOUNT_IS_READ_SECONDS))
        if any(each.is_stopped() for each in self.installations):
            # It tried last a moment ago; or one that was frozen has just brought what SES had said long ago.
            self.scheduler.run(self.scheduler.now + STOPPED_TRIES_SECONDS)
        self._end_all_braking()
        self.probes = []
        for place, each in enumerate(self.installations):
            for offset, sender in enumerate(each.senders):
                numbers = [100_000 + 100 * place + 10 * offset + n for n in range(4)]
                self.probes += numbers
                self.scheduler.spawn(self.web, partial(self._send_probes, sender, numbers), "probe")
        self.scheduler.run(self.scheduler.now + PROBE_SECONDS)
        ends.judge_probes(self)
        self.scheduler.run(self.scheduler.now + 60.0)

    def _end_all_braking(self) -> None:
        """What was told late may have closed something."""
        braked = [each for each in self.installations if self.model.braked[each.base]]
        for each in braked:
            self.scheduler.spawn(self.outside, each.operators[0].open_all, "peace")
        if braked:
            self.scheduler.run(self.scheduler.now + 5.0)

    def _send_probes(self, sender: Sender, numbers: list[int]) -> None:
        for number in numbers:
            sender.send(self.run.seed, [number], at_once=True)

    # -- what happens to it -----------------------------------------------------------------------------------------

    def _crashed(self, _fiber: Fiber, error: Exception) -> None:
        self.bug(error)

    def bug(self, error: Exception) -> None:
        """Something was raised that nobody expects."""

        frames = traceback.extract_tb(error.__traceback__)
        where = " ".join(f"{frame.name}:{frame.lineno}" for frame in frames[-5:])
        self.rules.check("nothing_unexpected_is_raised", False, "", f"{type(error).__name__}: {error} at {where}")

    def _installation_of(self, process: Process) -> Installation:
        return next(each for each in self.installations if process in each.workers)

    def _rate_of(self, base: str, account: str) -> float:
        return next(each.accounts[account].rate for each in self.installations if each.base == base)

    def _ticket_put(self, queue: str, send_id: str) -> None:
        _, _, prefix, lane = queue.split(":")
        installation = next(each for each in self.installations if each.prefix == prefix)
        broker = next(iter(installation.doors.values())).broker
        assert isinstance(broker, Broker)
        broker.arrived(lane, send_id)

    def _died(self, process: Process) -> None:
        assert isinstance(process, Worker)
        process.die()
        installation = self._installation_of(process)
        if any(not other.dead and not other.stopping for other in installation.workers):
            self.bounds.worker_died(process)
        installation.replace(process)

    def _redeployed(self, process: Process) -> None:
        assert isinstance(process, Worker)
        if process.stopping:
            return
        process.on_idle = lambda: self._end(process)
        process.stop()
        self.scheduler.spawn(self.outside, lambda: self._end(process), "supervisor", 85.0)
        self._installation_of(process).replace(process)

    def _end(self, process: Worker) -> None:
        if not process.dead:
            self.story.tell("ends", process.name)
            process.die()

    def _forgotten(self, changed: set[str], seconds: float) -> None:
        """Redis has come back without its last moment: what is different now is known to be so."""
        self.story.tell("Redis comes back", f"without its last {seconds} s")
        self.rules.disturb(seconds + 20.0)
        self.has_forgotten = True
        for each in self.installations:
            each.queues.put |= set(Lane)
        lost_before = self.counts["lost_with_redis"]
        ends.forget(self, changed)
        lost = self.counts["lost_with_redis"] - lost_before
        self.rules.check("accepted_survives_where_it_waits", not (self.waits and lost), "", f"{lost} are gone")

    def erased(self, base: str, address: str) -> None:
        """Somebody was erased just now: nothing that waits names her any more."""
        if (base, address) in self.model.gone():
            ends.judge_rows_of_erased(self, base, address)

    def _spoil(self) -> None:
        """Of one that waits, the email is no email any more."""
        waiting = [send for send in self.model.waiting() if send.state in ("queued", "scheduled")]
        rows = [send for send in waiting if self.server.wire.ask(("EXISTS", f"{send.base}send:{send.id}"))[0]]
        if rows:
            send = self.rng.choice(rows)
            send.spoilt = True
            self.story.tell("somebody spoils the row of", send.id)
            self.server.spoil(f"{send.base}send:{send.id}")

    def _evicted(self, name: str) -> None:
        """Redis was full."""
        self.story.tell("Redis evicts", name)
        self.has_forgotten = True
        ends.forget(self, {name})


def simulate(run: Run, wire: Wire) -> Result:
    """Live through one seed."""
    log = logging.getLogger("sesmail")
    level = log.level
    log.setLevel(logging.CRITICAL)
    with patched() as patches:
        world = World(run, wire, patches)
        with Receivers(world):
            try:
                world.live()
            finally:
                world.scheduler.end()
                log.setLevel(level)
    return Result(
        seed=run.seed,
        digest=world.story.digest,
        story=world.story,
        virtual_seconds=world.scheduler.now - START,
        steps=world.scheduler.steps,
        commands=world.server.commands,
        emails=len(world.model.wanted),
        faults=world.faults.counts,
        weights=world.faults.weights,
        violations=world.rules.violations,
        counts=world.counts + world.rules.excused,
        rules=world.rules.used,
        moves=world.rules.moves,
        model=world.model,
    )


def _is_former() -> bool:
    return bool(getattr(getattr(getcurrent(), "process", None), "former_release", False))
