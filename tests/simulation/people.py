"""Those outside of the fleet: who sends, who operates, and AWS's SNS, which brings the events."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from sesmail import Client
from sesmail.errors import EventStoreUnavailable, IdempotencyConflict, LedgerUnavailable, MoveRefused, UnknownSend
from sesmail.message import LIST_TAG, Email, Lane
from sesmail.sending.letters.letter import Letter
from sesmail.state.line.line import How
from sesmail.state.people.pseudonyms import Pseudonyms
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.vocabulary import Caller, Reason
from tests.simulation.faults import Faults
from tests.simulation.model import Model, Send
from tests.simulation.scheduler import Scheduler
from tests.simulation.ses import Taken, event
from tests.simulation.story import Story

Answer = TypeVar("Answer")

ACCOUNT_IS_READ_SECONDS = 200.0
UNDER_WAY = ("queued", "claimed")
LETTER = "A letter to many. " * 90
"""Long enough to be kept once for all."""


def made(seed: int, number: int) -> Email:
    """The email of that number: the same whatever else happens in the seed."""
    rng = random.Random(f"{seed} email {number}")
    kind = "refused" if rng.random() < 0.03 else "ann"
    to = [f"{kind}{number}@example.com"]
    to += [f"friend{place}.{number}@example.com" for place in range(rng.choice((0, 0, 0, 1, 3)))]
    if rng.random() < 0.3:
        to = [f"reader{rng.randrange(12)}@example.org", *to[1:]]
    lane = Lane.BULK if rng.random() < 0.5 else Lane.TRANSACTIONAL
    return Email(
        to,
        "A subject",
        LETTER if lane is Lane.BULK else f"Text {number}",
        from_email="shop@example.com",
        lane=lane,
        tags={LIST_TAG: "monthly"} if rng.random() < 0.3 else {},
        metadata={"number": number},
        idempotency_key=f"email-{number}",
    )


def is_reader(address: str) -> bool:
    """Whether it is one of the few who get more than one email."""
    return address.startswith("reader")


def _caller(task_id: str) -> Caller:
    return Caller(task_id=task_id, wishes='{"v":1,"link":["what follows"]}', waits=True, waits_for_others=True)


class Sender:
    """A site's own code: sends emails in bursts, and tries again where it is told to."""

    def __init__(self, scheduler: Scheduler, client: Client, model: Model, rng: random.Random) -> None:
        self._scheduler, self._client, self._model, self._rng = scheduler, client, model, rng
        self._accounts = client.settings.account_names
        self.done = False

    def send_all(self, seed: int, numbers: list[int], over_seconds: float) -> None:
        """All of them, within about so many seconds."""
        pauses = max(1, len(numbers) // 4)
        rest = list(numbers)
        while rest:
            size = min(len(rest), self._rng.choice((1, 1, 2, 8, 16)))
            self.send(seed, rest[:size])
            rest = rest[size:]
            self._scheduler.sleep(self._rng.expovariate(pauses / over_seconds))
        self.done = True

    def send(self, seed: int, numbers: list[int], *, at_once: bool = False) -> None:
        """Some together: bulk in lots, the others one by one."""
        emails = {number: self._of_account(made(seed, number), number) for number in numbers}
        for number, email in emails.items():
            self._model.wanted[number] = email, self._client.settings.site
        bulk = [number for number, email in emails.items() if email.lane is Lane.BULK]
        if len(bulk) > 2:
            self._until_done(lambda: self._client.outbox.send_lot([emails[number] for number in bulk]), bulk)
        for number in numbers:
            if number not in bulk or len(bulk) <= 2:
                self._send_one(number, emails[number], at_once=at_once)

    def _of_account(self, email: Email, number: int) -> Email:
        """Every third is of the second account, where there is one."""
        return email.at_account(self._accounts[number % 3 == 0]) if len(self._accounts) > 1 else email

    def _send_one(self, number: int, email: Email, *, at_once: bool) -> None:
        delay_seconds = 0.0 if at_once else self._rng.choice((0.0, 0.0, 0.0, 0.0, 3.0, 30.0))
        expires = None if at_once else self._rng.choice((None, None, None, None, None, 60.0))
        outbox = self._client.outbox
        task_id = f"n{number}"
        callers = [_caller(task_id) if number % 2 else None]
        if self._rng.random() < 0.1:
            callers.append(_caller(f"again{number}"))  # somebody calls under the same idempotency key
        for caller in callers:
            send_id, how = caller.task_id if caller else task_id, {"delay_seconds": delay_seconds, "caller": caller}
            self._until_done(partial(outbox.send, email, send_id=send_id, expires_in_seconds=expires, **how), [number])
            send = self._model.of_number.get(number)
            # Who calls by a former release for what has been taken over from it finds no row to stand in.
            if caller and send and (caller is callers[0] or send.base == self._client.scripts.keys.base):
                send.callers.add(caller.task_id)

    def _until_done(self, call: Callable[[], object], numbers: list[int]) -> None:
        while True:
            try:
                call()
                if self._rng.random() < 0.1:
                    call()  # somebody pressed the button twice
                    for send in filter(None, map(self._model.of_number.get, numbers)):
                        send.called_twice = True
                if self._rng.random() < 0.05:
                    self._mistake_a_key(self._rng.choice(numbers))
            except IdempotencyConflict:
                break  # as it should; by now all are accepted
            except LedgerUnavailable:
                self._scheduler.sleep(0.5)
            else:
                break
        for number in numbers:
            if send := self._model.of_number.get(number):  # Redis may have forgotten it already
                send.accepted = True

    def _mistake_a_key(self, number: int) -> None:
        """The program has a bug: it gives another email a key that it has given before. The rules judge the answer."""
        email, site = self._model.wanted[number]
        other = email.replace(subject="Another subject")
        known = self._model.of_number.get(number)
        self._model.wanted[number] = other, site  # what Redis has forgotten of the first, it may take
        try:
            self._client.outbox.accept(other)
        finally:
            if self._model.of_number.get(number) is known:
                self._model.wanted[number] = email, site


class BatchSender:
    """Sends a letter to many, and does it again under its key until the call comes back."""

    def __init__(
        self,
        scheduler: Scheduler,
        client: Client,
        model: Model,
        faults: Faults,
        rng: random.Random,
        first: int,
        *,
        filled_by_ses: bool,
    ) -> None:
        """`filled_by_ses`: the letter is a template that SES keeps, and that only SES can fill in."""
        self._filled_by_ses = filled_by_ses
        self._scheduler, self._client, self._model, self._faults = scheduler, client, model, faults
        self._rng, self._first = rng, first
        self.done = False

    def send(self, over_seconds: float) -> None:
        """A batch or two."""
        for place in range(self._rng.choice((1, 2))):
            self._scheduler.sleep(self._rng.uniform(0.0, over_seconds / 2))
            self._send_one(self._first + 1000 * place, self._rng.choice((5, 30, 120, 230)))
        self.done = True

    def _send_one(self, first: int, count: int) -> None:
        numbers = [*range(first, first + count)]
        list_name = self._rng.choice(("monthly", "weekly"))
        for number in numbers:
            email = Email(
                _address(number), "x", "x", from_email="shop@example.com", lane="bulk", tags={LIST_TAG: list_name}
            )
            self._model.wanted[number] = email, self._client.settings.site
        letter: Letter | str = Letter(subject="Number {{n}}", text=LETTER + "{{n}}", from_email="shop@example.com")
        if self._filled_by_ses:
            letter = "a template of SES"
            self._model.filled_by_ses.update(numbers)
        terms = {"key": f"batch-{first}", "list": list_name, "without_unsubscribe": True}
        terms["weight"] = self._rng.choice((1.0, 3.0))
        terms["rate"] = self._rng.choice((None, None, None, 2.0))
        ramp = self._rng.choice((None, None, None, None, 20))
        while True:
            terms["ramp"] = ramp if self._scheduler.now < self._faults.until else None  # nobody takes a later one off
            try:
                self._client.batch_office.send(letter, self._rows(numbers), **terms)
            except (LedgerUnavailable, _CutOff):
                self._scheduler.sleep(0.5)
            except (MoveRefused, UnknownSend):  # it was cancelled; or Redis has forgotten it meanwhile
                if any((s := self._model.of_number.get(n)) and s.batch and s.batch.is_cancelled for n in numbers):
                    break
                self._scheduler.sleep(0.5)
            else:
                break
        for number in numbers:
            if send := self._model.of_number.get(number):
                send.accepted = True

    def _rows(self, numbers: list[int]) -> Iterator[tuple[str, dict[str, object]]]:
        """In another order each time, some twice; now and then the program dies while it reads them."""
        order = self._rng.sample(numbers, len(numbers))
        for place, number in enumerate([*order, *order[:3]]):
            if place % 25 == 24 and self._faults.strikes("queueing_is_cut_off"):
                raise _CutOff
            yield _address(number), {"n": number}


class _CutOff(Exception):
    """The program that queues has died."""


def _address(number: int) -> str:
    if number % 40 == 7:
        return f"refused{number}@example.com"
    return f"reader{number // 30 % 12}@example.org" if number % 30 == 11 else f"ann{number}@example.com"


class Operator:
    """Cancels, requeues, reschedules, pauses and adds opt-outs in the middle of it all."""

    def __init__(
        self, scheduler: Scheduler, client: Client, model: Model, faults: Faults, rng: random.Random, story: Story
    ) -> None:
        self._scheduler, self._client, self._model = scheduler, client, model
        self._faults, self._rng, self._story = faults, rng, story
        self._base = client.scripts.keys.base
        self.on_erased: Callable[[str, str], None] = lambda _base, _address: None

    def work(self) -> None:
        """For as long as there are misfortunes."""
        while self._scheduler.now < self._faults.until:
            self._scheduler.sleep(self._rng.expovariate(0.15))
            acts = (self._cancel, self._requeue, self._reschedule, self._opt_out, self._pause, self._erase, self._steer)
            for act in acts:
                try:
                    act()
                except (LedgerUnavailable, MoveRefused, UnknownSend):
                    continue

    def open_all(self) -> None:
        """The end of all pauses, those too that Redis has back since it forgot; what SES had stopped opens by itself."""
        for closure in self.whatever_happens(self._client.throttle.snapshot).closures:
            if closure.how is How.BRAKED:
                self.whatever_happens(partial(self._client.brake.open, closure.scope))
            if closure.how is How.PAUSED:
                self._resume(closure.scope)
        for base, batch_id in list(self._model.batches):
            if base == self._base:
                self._go_on(batch_id)

    def _any(self, *states: str) -> str | None:
        ids = [s.id for s in self._model.sends.values() if s.state in states and s.base == self._base]
        return self._rng.choice(ids) if ids else None

    def _any_state_of(self, *states: str) -> str | None:
        """One of a state that some are in: few are in most of them, and many in one or two."""
        by_state = [found for state in states if (found := self._any(state))]
        return self._rng.choice(by_state) if by_state else None

    def _cancel(self) -> None:
        send_id = self._any_state_of("queued", "scheduled", "claimed", "sending")
        if send_id and self._faults.strikes("operator_cancels", send_id):
            self._client.outbox.cancel(send_id)

    def _requeue(self) -> None:
        send_id = self._any_state_of("unknown", "rejected", "cancelled", "abandoned", "suppressed", "expired", "sent")
        if send_id and self._faults.strikes("operator_requeues", send_id):
            self._client.outbox.requeue(send_id)

    def _reschedule(self) -> None:
        send_id = self._any("queued", "scheduled")
        if send_id and self._faults.strikes("operator_reschedules", send_id):
            when = self._scheduler.now + self._rng.choice((-1.0, 5.0, 40.0))
            self._client.outbox.reschedule(send_id, datetime.fromtimestamp(when, UTC))

    def _opt_out(self) -> None:
        if self._faults.strikes("operator_opts_out"):
            site = self._client.settings.site
            opt_out = OptOut(
                address=self._worth_opting_out(),
                scope=self._rng.choice((Scope(), Scope(site), Scope(site, "monthly"))),
                reason=self._rng.choice((Reason.MANUAL, Reason.UNSUBSCRIBED)),
                since=datetime.fromtimestamp(self._scheduler.now, UTC),
            )
            self._client.suppression.add(opt_out)

    def _worth_opting_out(self) -> str:
        """One of the few who get more than one email; somebody to whom one is under way; whose turn comes at once."""
        waiting = [send for send in self._model.waiting() if send.base == self._base and send.state in UNDER_WAY]
        in_hand = [send for send in waiting if send.batch and send.batch.is_held(send.id)]
        next_ones = sorted(in_hand, key=lambda send: int(send.id.rpartition("-")[2]))[:3]
        if found := self._rng.choice(((), waiting, next_ones)):
            return self._rng.choice(self._rng.choice(found).email.recipients)
        return f"reader{self._rng.randrange(12)}@example.org"

    def _steer(self) -> None:
        """Pause a batch for a while, take it back, or let a few of it go."""
        ids = [batch.id for (base, _), batch in self._model.batches.items() if base == self._base and batch.is_sealed]
        under_way = {send.batch.id for send in self._model.waiting() if send.batch}
        ids = [batch_id for batch_id in ids if batch_id in under_way] or ids
        if not ids or not self._faults.strikes("operator_steers_a_batch"):
            return
        batch_id, office = self._rng.choice(ids), self._client.batch_office
        what = self._rng.random()
        if what < 0.2:
            office.cancel(batch_id)
            return
        if what < 0.5:
            office.slow(batch_id, ramp=3)
        else:
            office.pause(batch_id)
        self._scheduler.sleep(self._rng.choice((5.0, 40.0)))
        self._go_on(batch_id)

    def _go_on(self, batch_id: str) -> None:
        with suppress(UnknownSend):
            self.whatever_happens(lambda: self._client.batch_office.slow(batch_id, ramp=None))
        with suppress(MoveRefused, UnknownSend):
            self.whatever_happens(lambda: self._client.batch_office.resume(batch_id))

    def _erase(self) -> None:
        sends = [send for send in self._model.sends.values() if send.base == self._base]
        if sends and self._faults.strikes("operator_erases"):
            address = self._rng.choice(self._rng.choice(self._worth_erasing(sends)).email.recipients)
            self._story.tell("an operator erases", address)
            self._model.erases(self._base, address, self.whatever_happens(lambda: self._pseudonym(address)))
            times_forgotten = self._model.times_forgotten
            self.whatever_happens(lambda: self._client.erase(address))
            if self._model.times_forgotten == times_forgotten:  # else Redis may have gone back to what was erased
                self._model.erased.add((self._base, address))
                self.on_erased(self._base, address)

    def _worth_erasing(self, sends: list[Send]) -> list[Send]:
        """Of anybody; of whom a worker is about to write to; of who gets more than one email."""
        held = [send for send in sends if send.state == "claimed"]
        readers = [send for send in sends if any(map(is_reader, send.email.recipients))]
        return self._rng.choice((sends, held, readers)) or sends

    def _pseudonym(self, address: str) -> str:
        return Pseudonyms(self._client.scripts).of_erased(address)

    def _pause(self) -> None:
        if self._faults.strikes("operator_pauses"):
            scope = self._rng.choice(("account", "lane:bulk", "lane:transactional"))
            self._client.throttle.line.pause(scope, "an operator")
            self._scheduler.sleep(self._rng.choice((5.0, 40.0)))
            self._resume(scope)

    def _resume(self, scope: str) -> None:
        self.whatever_happens(lambda: self._client.throttle.line.resume(scope))

    def whatever_happens(self, asked: Callable[[], Answer]) -> Answer:
        """Once it is done, however often that must be tried."""
        while True:
            try:
                return asked()
            except (LedgerUnavailable, EventStoreUnavailable):
                self._scheduler.sleep(2.0)


class Sns:
    """Brings SES's events to the doors of a site: late, twice, out of order, or never; again where a door says no."""

    def __init__(
        self,
        scheduler: Scheduler,
        door: Client,
        faults: Faults,
        rng: random.Random,
        on_stored: Callable[[str, Taken], None],
    ) -> None:
        self._scheduler, self._door, self._faults, self._rng = scheduler, door, faults, rng
        self._on_stored = on_stored
        self._bad_until = 0.0
        """Until when most of one list's addresses are dead."""
        self.is_there = rng.random() < 0.75
        """Some sites have no events at all: what is unknown then waits for its window."""

    def tell(
        self, taken: Taken, spawn: Callable[[Callable[[], None], float], object], *, filled_by_ses: bool = False
    ) -> None:
        """What follows from an acceptance; of one that SES is to fill in, perhaps that it could not."""
        rng = self._rng
        if not self.is_there:
            return
        if filled_by_ses and self._faults.strikes("template_fails", taken.send_id):
            said = {"errorMessage": "Attribute 'n' is not present", "templateName": "a template of SES"}
            spawn(lambda: self._bring("Rendering Failure", taken, **said), rng.expovariate(0.5))
            return
        spawn(lambda: self._bring("Send", taken), rng.expovariate(0.5))
        recipient = taken.email.recipients[0]
        if rng.random() < self._dead_part(taken):
            bounced = {"bounceType": "Permanent", "bounceSubType": "General"}
            bounced["bouncedRecipients"] = [{"emailAddress": recipient}]  # type: ignore[assignment]
            spawn(lambda: self._bring("Bounce", taken, **bounced), rng.uniform(1, 30))
        elif self._faults.strikes("mailbox_is_full", taken.send_id):
            full = {"bounceType": "Transient", "bounceSubType": "MailboxFull"}
            full["bouncedRecipients"] = [{"emailAddress": recipient}]  # type: ignore[assignment]
            spawn(lambda: self._bring("Bounce", taken, **full), rng.uniform(1, 30))
        elif rng.random() < 0.5:
            spawn(lambda: self._bring("Delivery", taken, recipients=[recipient]), rng.uniform(1, 9))

    def _dead_part(self, taken: Taken) -> float:
        now, faults = self._scheduler.now, self._faults
        if faults.strikes("list_goes_bad", taken.send_id):
            self._bad_until = now + faults.choose(30.0, 120.0)
        if now >= faults.until:
            return 0.0
        return 0.6 if now < self._bad_until and taken.email.tags.get(LIST_TAG) else 0.06

    def _bring(self, kind: str, taken: Taken, **details: object) -> None:
        faults = self._faults
        if faults.strikes("event_never", taken.send_id):
            return
        if faults.strikes("event_late", taken.send_id):
            self._scheduler.sleep(faults.choose(20.0, 100.0, 300.0))
        body = event(kind, taken, self._scheduler.now, **details)
        for _ in range(2 if faults.strikes("event_twice", taken.send_id) else 1):
            while faults.strikes("event_store_down", taken.send_id) or self._door.intake.take({"message": body}):
                self._scheduler.sleep(20.0)
            self._on_stored("passing" if details.get("bounceType") == "Transient" else kind, taken)
