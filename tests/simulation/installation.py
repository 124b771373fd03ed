"""One installation: what shares a key prefix, an account at SES and its queues; its sites, workers and people."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError

from sesmail import Client, Settings
from sesmail.message import Email
from sesmail.sending.account import AccountWatch
from sesmail.sending.accounts import SesAccount
from tests.simulation.broker import Broker, Queues
from tests.simulation.people import BatchSender, Operator, Sender, Sns
from tests.simulation.ses import RESERVE, Ses, Taken, Transport
from tests.simulation.worker import Worker

if TYPE_CHECKING:
    from tests.simulation.world import World


SHARED = 0.6
"""The part of the installations whose ledger's Redis is the broker, too."""


class Installation:
    """One key prefix with its account at SES, its queues, and its sites."""

    def __init__(self, world: World, prefix: str) -> None:
        self.world, self.prefix = world, prefix
        rng = world.rng
        shared = random.Random(f"{world.run.seed} broker {prefix}").random() < SHARED
        self.queues = Queues(wire=world.server.wire, prefix=prefix, are_the_ledger_s=shared)
        rate = rng.choice((5, 14, 40))
        self.ses = Ses(world.scheduler, world.faults, rng, rate=rate, quota=rng.choice((200, 50_000, 50_000)))
        self.accounts = {
            "default": self.ses,
            **self._second_account(random.Random(f"{world.run.seed} {prefix} accounts")),
        }
        self.sites = ("alpha", "beta") if rng.random() < 0.4 else ("alpha",)
        self.workers: list[Worker] = []
        self.key_prefix = ""
        """What stands before all its keys by now."""
        self.threads = rng.choice((2, 4, 8))
        self.former_door = self.client("alpha") if world.has_former_names else None
        """A program that does not heed the prefix yet."""
        if self.former_door:
            self.key_prefix = "shop:"
        self.doors = {site: self.client(site) for site in self.sites}
        self.base = self.doors["alpha"].scripts.keys.base
        rules = world.rules
        for ses in self.accounts.values():
            ses.disturb = rules.unsettle
            ses.on_call = partial(self._asked, ses)
            ses.on_answer = lambda send_id, answer: rules.answers(self.base, send_id, answer)
            ses.on_taken = self._taken
            ses.on_outage = partial(world.bounds.ses_is_down, self.base, ses, partial(self.breaker_is_closed, ses.name))
        self.sns = {
            site: Sns(world.scheduler, door, world.faults, rng, self._stored) for site, door in self.doors.items()
        }
        self.senders = [Sender(world.scheduler, door, world.model, rng) for door in self.doors.values()]
        self.batch_senders: list[BatchSender] = []
        self.former_sender: Sender | None = None
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
        if self.former_door:
            numbers = self._send_by_former_names(self.former_door, numbers)
        for place, sender in enumerate(self.senders):
            own = numbers[place :: len(self.senders)]
            world.scheduler.spawn(world.web, partial(sender.send_all, seed, own, over_seconds), "sender", 0.5)
        if world.has_batches:
            first = 50_000 + 10_000 * world.installations.index(self)
            rng, door = random.Random(f"{seed} batches {self.prefix}"), self.doors[self.sites[-1]]
            how = {"filled_by_ses": world.has_templates}
            sender_of_batches = BatchSender(world.scheduler, door, world.model, world.faults, rng, first, **how)
            self.batch_senders.append(sender_of_batches)
            run = partial(sender_of_batches.send, over_seconds)
            world.scheduler.spawn(world.web, run, "batch-sender", 0.7)
        for operator in self.operators:
            operator.on_erased = world.erased
            world.scheduler.spawn(world.outside, operator.work, "operator", 1.0)

    def _send_by_former_names(self, door: Client, numbers: list[int]) -> list[int]:
        """Some are accepted under them, and an operator says that all there is this project's; the rest is left."""
        world, some = self.world, numbers[::6]
        self.former_sender = sender = Sender(world.scheduler, door, world.model, world.rng)
        former_names = self.doors["alpha"].former_names
        assert former_names is not None
        world.scheduler.spawn(world.web, partial(sender.send_all, world.run.seed, some, 10.0), "former-sender", 0.1)
        whatever_happens = self.operators[0].whatever_happens
        world.scheduler.spawn(world.outside, partial(whatever_happens, former_names.say_all_are_mine), "operator", 20.0)
        return [number for number in numbers if number not in some]

    def _second_account(self, rng: random.Random) -> dict[str, Ses]:
        world = self.world
        if not world.run.has("accounts", rng.random()):
            return {}
        return {
            RESERVE: Ses(world.scheduler, world.faults, rng, rate=rng.choice((1, 5, 14)), quota=50_000, name=RESERVE)
        }

    def _asked(self, ses: Ses, send_id: str, email: Email) -> None:
        self.world.rules.asks(self.base, send_id, email, ses.name)

    def has_sent(self) -> bool:
        """Whether all who send are through."""
        former = [self.former_sender] if self.former_sender else []
        return all(sender.done for sender in (*self.senders, *self.batch_senders, *former))

    def is_stopped(self) -> bool:
        """Whether SES or the breaker has closed the line of any account."""
        return any(map(self._stopped, self.accounts))

    def breaker_is_closed(self, account: str | None = None) -> bool:
        """Whether it was the breaker, for an account or for any."""
        return any(b"\nbreaker " in (self._stopped(name) or b"") for name in ([account] if account else self.accounts))

    def _stopped(self, account: str) -> bytes | None:
        base = self.base if account == "default" else f"{self.base}account:{account}:"
        (entry,) = self.world.server.wire.ask(("HGET", f"{base}line", "stopped:account"))
        return entry

    def client(self, site: str) -> Client:
        """A client of a site, with the broker."""
        world = self.world
        lost = lambda ids: world.bounds.ticket_lost(self.base, ids)  # noqa: E731
        made = Client(self._settings_of(site), Broker(world.scheduler, world.faults, self.queues, lost, site))
        vars(made)["transport"] = Transport(self.ses, world.network.step_at_ses)
        if reserve := self.accounts.get(RESERVE):
            there = Transport(reserve, world.network.step_at_ses)
            vars(made)["accounts"] = {**made.accounts, RESERVE: _with_transport(made.accounts[RESERVE], there)}
        return made

    def _settings_of(self, site: str) -> Settings:
        return self._settings(site, self.key_prefix)

    @cache  # noqa: B019  it lives as long as its world
    def _settings(self, site: str, before: str) -> Settings:
        return Settings(
            global_key_prefix=before,
            redis_url="redis://127.0.0.1:6379/0",  # named only: nobody connects to it
            key_prefix=self.prefix,
            site=site,
            evidence_window_seconds=self.world.window_seconds,
            max_attempts=self.world.max_attempts,
            raw_delivery_site=site,
            verify_queues=False,
            from_email="shop@example.com",
            suppress_send=False,
            accept_waits_for="replica" if self.world.waits else None,
            accept_wait_seconds=1.0,
            soft_bounce_limit=2,
            soft_bounce_window_seconds=100_000.0,
            soft_bounce_pause_seconds=60.0,
            accounts={"default": {"fallback": RESERVE}, RESERVE: {}} if RESERVE in self.accounts else {},
            hourly_limit_per_address=self.world.hourly_limit,
            batch_call=self.world.batch_call,
            **self.world.brake,
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
        told = (world.bug, world.rules.task_ended, world.is_idle)
        worker = Worker(f"worker-{number}", number, world.scheduler, made, broker, *told)
        worker.on_continuation = self._continues
        worker.on_misfit = partial(world.rules.is_set_aside, self.base)
        worker.former_release = world.faults.strikes("former_release", worker.name)
        self.workers.append(worker)
        world.scheduler.spawn(worker, lambda: worker.start(self.threads), "start")

    def _continues(self, task: Any, kind: str) -> None:
        """What follows an email is published: now and then the broker takes it and does not say so, or is away."""
        world, answer = self.world, task.request.answer
        world.scheduler.sleep(0.001)
        if world.faults.strikes("continuation_is_slow", answer.send_id):
            world.scheduler.sleep(world.faults.choose(1.0, 5.0, 20.0))
        failed = world.faults.strikes("continuation_fails", answer.send_id)
        if not failed or world.faults.choose(0, 1):
            world.rules.continues(self.base, answer.send_id, answer.task_id, kind, failed=failed)
        if failed:
            raise OperationalError("the broker is away")

    def _taken(self, taken: Taken) -> None:
        world = self.world
        world.rules.takes(self.base, taken)
        send = world.model.sends[self.base, taken.send_id]
        filled_by_ses = send.number in world.model.filled_by_ses
        self.sns[send.site].tell(taken, self._bring, filled_by_ses=filled_by_ses)

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
        if kind == "Rendering Failure":
            self.world.not_filled_in.append((self.base, taken.send_id, taken.message_id))
        if kind == "Send":
            self.world.stored[self.base, taken.message_id] = taken.email.recipient_count


def _with_transport(account: SesAccount, transport: Any) -> SesAccount:
    watch = AccountWatch(account.settings, account.throttle, account.turns, lambda: transport)
    return replace(account, watch=watch, transport=lambda: transport)
