"""What must hold for batches at every act."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from sesmail.state.batches.chunks import CHUNK
from tests.simulation.model import Batch, Model, Send
from tests.simulation.scheduler import Scheduler
from tests.simulation.story import Story

HELD_AT_MOST_SECONDS = 75.0
QUIET_SECONDS = 20.0


class Judge(Protocol):
    """What these rules need of all the others."""

    _scheduler: Scheduler
    _story: Story
    _model: Model
    leases_since: float
    hourly_limit: int
    redis_now: Callable[[], float]
    look: Callable[..., list[Any]]

    def _counted(self, send: Send) -> None: ...
    def _held_back(self, send: Send) -> None: ...

    def check(self, rule: str, holds: bool, send_id: str, what: str = "") -> None: ...


class BatchRules:
    """Handlers of the scripts of batches, by their names."""

    def _batch_open(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        if reply[0] in (b"opened", b"resumed"):
            batch_id = reply[1].decode()
            terms: dict[str, Any] = {"site": argv[2], "list": argv[8], "weight": float(argv[12])}
            terms |= {"rate": float(argv[16]) if argv[16] else None, "ramp": int(argv[17]) if argv[17] else None}
            self._model.batches.setdefault((base, batch_id), Batch(batch_id, base, **terms))
            self._story.tell(f"Redis: {reply[0].decode()}", batch_id)

    def _batch_add(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        batch = self._model.batches.get((base, argv[0]))
        if batch is None or reply[0] != b"added":
            return
        for place in range((len(argv) - 5) // 3):
            rows = json.loads(zlib.decompress(argv[6 + 3 * place]))
            for offset, row in enumerate(rows):
                send_id = f"{batch.id}-{(reply[1] + place) * CHUNK + offset}"
                if (base, send_id) not in self._model.sends:
                    self._added(batch, send_id, int(row[1]))  # type: ignore[attr-defined]

    def _added(self: Judge, batch: Batch, send_id: str, number: int) -> None:
        email, site = self._model.wanted[number]
        now = self._scheduler.now
        another = self._model.of_number.get(number)
        self.check("accepted_once", another is None or another.forgotten, send_id, "it stands in the batch already")
        send = Send(send_id, batch.base, site, number, email, state="queued", state_at=now, batch=batch)
        send.forgotten, send.place = bool(another), len(self._model.sends)
        self._model.sends[batch.base, send_id] = self._model.of_number[number] = send

    def _batch_seal(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        batch = self._model.batches.get((base, argv[0]))
        if batch and reply == b"running":
            batch.is_sealed = True

    def _batch_claim(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        if not reply or not (batch := self._model.batches.get((base, reply[0].decode()))):
            return
        chunk, token = int(reply[1]), argv[1]
        held = batch.holders.get(chunk)
        self.check("claimed_by_one", held is None or held[0] == token, batch.id, f"chunk {chunk}")
        self.check("nothing_goes_before_the_list_is_read", batch.is_sealed, batch.id)
        batch.holders[chunk] = token, self._scheduler.current(), self._scheduler.now
        self._story.tell(f"Redis: chunk {chunk} is claimed of", batch.id)
        if held is None:
            self._takes_its_turn(batch, chunk)  # type: ignore[attr-defined]

    def _takes_its_turn(self: Judge, batch: Batch, chunk: int) -> None:
        """Batches of a site share by their weights: none waits for more than its last turn was worth, and one of another's."""
        sends = (
            send for send in self._model.sends.values() if send.batch is batch and send.state in ("queued", "sending")
        )
        cost = max(1, sum(int(send.id.rpartition("-")[2]) // CHUNK == chunk for send in sends)) / batch.weight
        for other in self._model.batches.values():
            if other is not batch and (other.base, other.site) == (batch.base, batch.site):
                other.passed_over = other.passed_over + cost if self._could_go(other) else 0.0  # type: ignore[attr-defined]
                in_turn = other.passed_over <= other.cost + cost + 1e-6 or other.forgotten or batch.forgotten
                self.check("no_batch_waits_beyond_its_turn", in_turn, other.id, f"{other.passed_over:g} were before it")
        batch.cost, batch.passed_over = cost, 0.0

    def _could_go(self: Judge, batch: Batch) -> bool:
        """Whether it has a chunk that nobody holds, and waits for nothing."""
        row = f"{batch.base}batch:{batch.id}"
        todo, (state, wait_until) = self.look(("LLEN", f"{row}:todo"), ("HMGET", row, "state", "wait_until"))
        is_due = float(wait_until or 0) <= self.redis_now() * 1000
        return bool(todo) and state == b"running" and is_due and batch.rate is None

    def _batch_take_over(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        if not reply or not (batch := self._model.batches.get((base, reply[0].decode()))):
            return
        chunk = int(reply[1])
        token, fiber, since = batch.holders.get(chunk, ("", None, 0.0))
        if fiber is not None and token != argv[0]:
            process, now = fiber.process, self._scheduler.now
            living = not process.dead and not getattr(process, "stopping", False)
            heard, in_time = now - self.leases_since >= QUIET_SECONDS, since + HELD_AT_MOST_SECONDS > now
            self.check("the_living_keep_their_claims", not (living and heard and in_time), batch.id, f"chunk {chunk}")
        batch.holders[chunk] = argv[0], None, self._scheduler.now
        self._story.tell(f"Redis: chunk {chunk} is taken over of", batch.id)

    def _batch_release(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        if reply != -1 and (batch := self._model.batches.get((base, argv[0]))):
            batch.holders.pop(int(argv[1]), None)

    def _batch_begin(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        first = 7 + int(argv[6])
        self._settled(base, argv[0], argv[1], argv[7:first], reply, before)  # type: ignore[attr-defined]
        for number, answer in zip(argv[first::2], reply[int(argv[6]) :], strict=True):
            send = self._model.sends.get((base, f"{argv[0]}-{number}"))
            if send is None or send.batch is None:
                continue
            if answer == b"sending":
                self._begun(send, send.batch, int(number), argv[1], before)  # type: ignore[attr-defined]
            elif answer.startswith(b"too-many"):
                self._held_back(send)

    def _begun(self: Judge, send: Send, batch: Batch, number: int, held_by: str, before: dict[str, str]) -> None:
        fiber, now = self._scheduler.current(), self._scheduler.now
        token = batch.holders.get(number // CHUNK, ("",))[0]
        self.check("only_the_holder_begins", token == held_by or send.forgotten, send.id)
        self.check("cancelled_stays", send.cancelled_at is None, send.id)
        if send.id in before:
            self.check("opt_outs_hold_until_it_begins", not self._model.whom_not(send), send.id)
            known = not send.doubts or send.forgotten or batch.forgotten
            self.check("what_is_in_doubt_is_unknown_first", known, send.id)
            self.check("nothing_begins_in_a_pause", not batch.is_paused or send.forgotten, send.id)
            if self.hourly_limit:
                self._counted(send)
            batch.ramp_begun += 1
            ramp_is_kept = batch.ramp is None or batch.ramp_begun <= batch.ramp
            self.check("a_ramp_is_kept", ramp_is_kept or send.forgotten or batch.forgotten, send.id)
            batch.begun_at.append(now)
            fiber.begun[send.id] = now
        else:
            fiber.begun.setdefault(send.id, now)

    def _batch_settle(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        self._settled(base, argv[0], argv[1], argv[3:], reply, before)  # type: ignore[attr-defined]

    def _batch_leave(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        self._settled(base, argv[0], argv[2], argv[1:2], [reply], before)  # type: ignore[attr-defined]

    def _settled(
        self: Judge, base: str, batch_id: str, held_by: str, numbers: Any, reply: Any, before: dict[str, str]
    ) -> None:
        for number, answer in zip(numbers, reply, strict=False):
            send_id = f"{batch_id}-{number}"
            if answer:
                self._scheduler.current().yes.discard(send_id)
            send = self._model.sends.get((base, send_id))
            if send and send.batch and send_id in before:
                token = send.batch.holders.get(int(number) // CHUNK, ("",))[0]
                self.check("only_the_holder_moves_it", token == held_by or send.forgotten, send_id)
                send.batch.ramp_begun -= answer == b"queued"

    def _batch_slow(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        if (batch := self._model.batches.get((base, argv[0]))) and reply == b"slowed" and argv[1] == "ramp":
            batch.ramp, batch.ramp_begun = int(argv[2]) if argv[2] else None, 0
            self._story.tell(f"Redis: its ramp is {batch.ramp}", batch.id)

    def _batch_steer(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        if not (batch := self._model.batches.get((base, argv[0]))):
            return
        batch.is_paused = reply[0] == b"paused"
        if reply[0] == b"cancelled":
            batch.is_cancelled = True
        for send_id in before:
            self._model.sends[base, send_id].cancelled_at = self._scheduler.now

    def _batch_finish(self: Judge, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        batch = self._model.batches.get((base, argv[0]))
        if batch and reply == b"finished":
            # One that had ended and been counted, and that an operator has sent again, it does not wait for.
            waiting = [send.id for send in self._model.waiting() if send.batch is batch and not send.let_pass]
            self.check("a_batch_ends_with_its_last", not waiting or batch.forgotten, batch.id, " ".join(waiting[:3]))
            batch.finished += 1
            self._story.tell("Redis: finished is", batch.id)
