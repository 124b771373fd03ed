"""One seed: a world is made, suffers for a while, gets its peace, and is judged."""

from __future__ import annotations

import logging
import random
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sesmail import Client, Settings, client, signals
from sesmail.celery import strangers, tasks
from sesmail.state.scripts import Scripts
from tests.simulation import ends
from tests.simulation.bounds import Bounds
from tests.simulation.broker import Broker, Queues
from tests.simulation.bugs import Bug
from tests.simulation.faults import Faults, Plan
from tests.simulation.lua import Texts
from tests.simulation.model import Model, Send
from tests.simulation.network import Network
from tests.simulation.patches import Patches, patched
from tests.simulation.people import Operator, Sender, Sns
from tests.simulation.rules import Rules, Violation
from tests.simulation.scheduler import START, Fiber, Process, Scheduler
from tests.simulation.server import Server
from tests.simulation.ses import Ses, Taken, Transport
from tests.simulation.story import Story
from tests.simulation.virtual import modules
from tests.simulation.wire import SimulatedRedis, Wire
from tests.simulation.worker import Worker

VERSION = 1
"""Of the histories: a seed is the same history for as long as this is the same. Count it up when they change."""
PEACE_AT_MOST_SECONDS = 7200.0
TELLING_AT_MOST_SECONDS = 2400.0
PROBE_SECONDS = 12.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is to be simulated."""

    seed: int
    emails: int = 120
    plan: Plan = field(default_factory=Plan)
    bug: Bug | None = None
    """A bug that is planted."""


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


class World:
    """Everything that there is in one history."""

    def __init__(self, run: Run, wire: Wire, patches: Patches) -> None:
        self.run = run
        self.rng = random.Random(f"{run.seed} world")
        self.scheduler = Scheduler(self._crashed)
        clock = self._clock
        self.story = Story(clock)
        self.model = Model()
        self.window_seconds = self.rng.choice((20.0, 60.0, 120.0))
        self.max_attempts = self.rng.choice((2, 5))
        self.rules = Rules(self.scheduler, self.story, self.model, self.window_seconds, self.max_attempts)
        self.bounds = Bounds(self.scheduler, self.model, self.rules)
        self.faults = Faults(run.seed, run.plan, clock, self.story.tell)
        self.texts = Texts(run.bug.in_lua() if run.bug else {})
        self.server = Server(wire, self.texts, self.rules, clock)
        self.rules.redis_now = self.server.now
        self.network = Network(self.scheduler, self.server, self.faults, self.rng, self.rules.disturb)
        self.network.on_forgotten = self._forgotten
        self.network.on_death = self._died
        self.network.on_redeployment = self._redeployed
        self.counts: Counter[str] = Counter()
        self.bounced: list[tuple[str, str]] = []
        self.stored: Counter[tuple[str, str]] = Counter()
        self.has_forgotten = False
        self.on_their_way = 0
        """Events of SES that have not come to a door yet."""
        self.outside = Process("outside")
        self.web = Process("web")
        self.numbers = iter(range(1, 10_000))
        self.installations: list[Installation] = []
        self._patch(patches)

    def _clock(self) -> float:
        return self.scheduler.now

    def _patch(self, patches: Patches) -> None:
        patches.replace_everywhere(modules(self.scheduler, random.Random(f"{self.run.seed} product")))
        texts = self.texts
        patches.set(Scripts, "source", lambda scripts, name: texts.source(scripts, name, former=_is_former()))
        if self.run.bug:
            self.run.bug.plant(patches)
        patches.set(client, "connect", self._connect)
        for module in (tasks, strangers):
            patches.set(module, "client_of", lambda app: app)

    def _connect(self, _url: str, *, timeout_seconds: float) -> Any:
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
        self.scheduler.run(START + storm_seconds)
        self._make_peace()
        self._wait_for_the_rest()
        self._probe()
        ends.judge(self)

    def _make_peace(self) -> None:
        self.story.tell("PEACE")
        self.server.skew_seconds = max(0.0, self.server.skew_seconds)
        for installation in self.installations:
            ses = installation.ses
            ses.paused_until, ses.quota, ses.rate = 0.0, 50_000, max(ses.rate, 10)
            self.scheduler.spawn(self.outside, installation.operators[0].open_all, "peace")
            self.scheduler.spawn(self.outside, installation.operators[0].give_time_anew, "peace")

    def _wait_for_the_rest(self) -> None:
        end = self.scheduler.now + PEACE_AT_MOST_SECONDS
        while self.scheduler.now < end:
            self.scheduler.run(self.scheduler.now + 10.0)
            if all(sender.done for each in self.installations for sender in each.senders) and not self.model.waiting():
                break
        self.counts["peace_seconds"] = round(self.scheduler.now - self.faults.until)
        self._wait_for_what_is_told()

    def _wait_for_what_is_told(self) -> None:
        """Events that come late, and receivers that are called again."""
        end = self.scheduler.now + TELLING_AT_MOST_SECONDS
        while self.scheduler.now < end and (self.on_their_way or ends.untold(self)):
            self.scheduler.run(self.scheduler.now + 10.0)

    def _probe(self) -> None:
        """After all that, the next email goes out at once: nothing is worn out."""
        self.probes = []
        for place, each in enumerate(self.installations):
            for offset, sender in enumerate(each.senders):
                numbers = [100_000 + 100 * place + 10 * offset + n for n in range(4)]
                self.probes += numbers
                self.scheduler.spawn(
                    self.web, lambda s=sender, n=numbers: [s.send(self.run.seed, [one], at_once=True) for one in n], "probe"
                )
        self.scheduler.run(self.scheduler.now + PROBE_SECONDS)
        ends.judge_probes(self)
        self.scheduler.run(self.scheduler.now + 60.0)

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

    def _died(self, process: Process) -> None:
        assert isinstance(process, Worker)
        process.die()
        self.bounds.worker_died(process)
        self._installation_of(process).replace(process)

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
        ends.forget(self, changed)


class Installation:
    """One key prefix with its account at SES, its queues, and its sites."""

    def __init__(self, world: World, prefix: str) -> None:
        self.world, self.prefix = world, prefix
        rng = world.rng
        self.queues = Queues()
        rate = rng.choice((5, 14, 40))
        self.ses = Ses(world.scheduler, world.faults, rng, rate=rate, quota=rng.choice((200, 50_000, 50_000)))
        self.ses.disturb = world.rules.disturb
        self.sites = ("alpha", "beta") if rng.random() < 0.4 else ("alpha",)
        self.workers: list[Worker] = []
        self.threads = rng.choice((2, 3, 4))
        self.doors = {site: self.client(site) for site in self.sites}
        self.base = self.doors["alpha"].scripts.keys.base
        rules = world.rules
        self.ses.on_call = lambda send_id, email: rules.asks(self.base, send_id, email)
        self.ses.on_answer = lambda send_id, answer: rules.answers(self.base, send_id, answer)
        self.ses.on_taken = self._taken
        self.sns = {
            site: Sns(world.scheduler, door, world.faults, rng, self._stored) for site, door in self.doors.items()
        }
        self.senders = [Sender(world.scheduler, door, world.model, rng) for door in self.doors.values()]
        self.operators = [
            Operator(world.scheduler, door, world.model, world.faults, rng, world.story) for door in self.doors.values()
        ]

    def open(self, numbers: list[int], over_seconds: float) -> None:
        """Workers, senders and operators begin."""
        world = self.world
        for place in range(self.world.rng.choice((2, 3))):
            self._start(self.sites[place % len(self.sites)])
        for site in self.sites[len(self.workers) :]:
            self._start(site)
        seed = world.run.seed
        for place, sender in enumerate(self.senders):
            own = numbers[place :: len(self.senders)]
            send = lambda s=sender, n=own: s.send_all(seed, n, over_seconds)  # noqa: E731
            world.scheduler.spawn(world.web, send, "sender", 0.5)
        for operator in self.operators:
            world.scheduler.spawn(world.outside, operator.work, "operator", 1.0)

    def client(self, site: str) -> Client:
        """A client of a site, with the broker."""
        world = self.world
        lost = lambda ids: world.bounds.ticket_lost(self.base, ids)  # noqa: E731
        made = Client(self._settings_of(site), Broker(world.scheduler, world.faults, self.queues, lost, site))
        vars(made)["transport"] = Transport(self.ses, world.network.step)
        return made

    @cache  # noqa: B019  it lives as long as its world
    def _settings_of(self, site: str) -> Settings:
        return Settings(
            key_prefix=self.prefix,
            site=site,
            evidence_window_seconds=self.world.window_seconds,
            max_attempts=self.world.max_attempts,
            raw_delivery_site=site,
            verify_queues=False,
            from_email="shop@example.com",
            suppress_send=False,
        )

    def replace(self, process: Worker) -> None:
        """The supervisor starts another in its place."""
        site = process.client.settings.site
        later = self.world.faults.choose(0.5, 2.0, 10.0)
        self.world.scheduler.spawn(self.world.outside, lambda: self._start(site), "supervisor", later)

    def _start(self, site: str) -> None:
        world = self.world
        number = next(world.numbers)
        made = self.client(site)
        broker = made.broker
        assert isinstance(broker, Broker)
        worker = Worker(f"worker-{number}", number, world.scheduler, made, broker, world.bug, world.rules.task_ended)
        worker.former_release = world.faults.strikes("former_release", worker.name)
        self.workers.append(worker)
        world.scheduler.spawn(worker, lambda: worker.start(self.threads), "start")

    def _taken(self, taken: Taken) -> None:
        world = self.world
        world.rules.takes(self.base, taken)
        send = world.model.sends[self.base, taken.send_id]
        self.sns[send.site].tell(taken, self._bring)

    def _bring(self, run: Callable[[], None], delay_seconds: float) -> None:
        world = self.world
        world.on_their_way += 1

        def bring() -> None:
            run()
            world.on_their_way -= 1

        world.scheduler.spawn(world.web, bring, "sns", delay_seconds)

    def _stored(self, kind: str, taken: Taken) -> None:
        if kind == "Bounce":
            self.world.bounced.append((self.base, taken.email.recipients[0]))
        if kind == "Send":
            self.world.stored[self.base, taken.message_id] = taken.email.recipient_count


def simulate(run: Run, wire: Wire) -> Result:
    """Live through one seed."""
    log = logging.getLogger("sesmail")
    level = log.level
    log.setLevel(logging.CRITICAL)
    with patched() as patches:
        world = World(run, wire, patches)
        with _receivers(world):
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
    import greenlet

    return bool(getattr(getattr(greenlet.getcurrent(), "process", None), "former_release", False))


class _receivers:
    """Somebody listens to the ends of sends, for as long as the block runs."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __enter__(self) -> None:
        signals.email_sent.connect(self._hear_of_sent)
        signals.email_failed.connect(self._hear_of_failed)

    def __exit__(self, *_: object) -> None:
        signals.email_sent.disconnect(self._hear_of_sent)
        signals.email_failed.disconnect(self._hear_of_failed)

    def _hear_of_sent(self, _site: str, *, status: Any, metadata: Any) -> None:
        self._hear("email_sent", status, metadata)

    def _hear_of_failed(self, _site: str, *, status: Any, metadata: Any) -> None:
        self._hear("email_failed", status, metadata)

    def _hear(self, signal: str, status: Any, metadata: Any) -> None:
        world = self._world
        fiber = world.scheduler.current()
        base = fiber.process.client.scripts.keys.base  # type: ignore[attr-defined]
        failed = world.faults.strikes("receiver_raises", status.send_id)
        world.rules.hears(base, status.send_id, str(status.state), signal, failed=failed)
        world.rules.check("receivers_get_the_metadata", metadata == {"number": self._number(base, status.send_id)}, "")
        if failed:
            raise ValueError("a receiver has a bug")

    def _number(self, base: str, send_id: str) -> int:
        send: Send = self._world.model.sends[base, send_id]
        return send.number
