"""What must hold at every act: checked when Redis has done it, or when SES is asked. Who breaks a rule is told on."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from docs.source import moves, moves_in_batches
from sesmail.message import Email, Lane
from sesmail.state.line.line import list_scope
from sesmail.vocabulary import Reason
from tests.simulation.batch_rules import BatchRules
from tests.simulation.model import ENDS, HELD, Model, Send
from tests.simulation.scheduler import Fiber, Scheduler
from tests.simulation.ses import RESERVE, Taken
from tests.simulation.story import Story

QUIET_SECONDS = 20.0
RATE_WAIT_SECONDS = 3.0
"""Who holds a claim for so long where nothing goes wrong waits for the rate."""
WAITING_SECONDS = 0.5
"""No more threads of a worker wait for the rate of one account than have their turns within this; but one may."""
LATE_SECONDS = 0.25
REFUSALS = frozenset({"SendRejected", "SendThrottled", "SendingPaused", "DailyQuotaExceeded", "SesUnavailable"})
"""Answers by which it is known that SES has not taken an email."""
BRAKE_SECONDS = 45.0
BRAKE_STOPS_AT = 0.05
HOLDING_SECONDS = 75.0
"""Less than what a worker may hold a send for, and less than what asking SES may take."""
STIRS = ("accept", "put_events", "batch_add", "requeue", "reschedule", "brake")
"""Scripts after which there is something for the duties of workers to see, also where they move nothing."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken."""

    rule: str
    send_id: str
    what: str
    at: float


def _rows(base: str) -> str:
    """Where the rows of sends are, of a base that may be an account's."""
    return base.partition("account:")[0]


class Rules(BatchRules):
    """Judges a history while it is made."""

    def __init__(
        self, scheduler: Scheduler, story: Story, model: Model, window_seconds: float, max_attempts: int
    ) -> None:
        self._scheduler, self._story, self._model = scheduler, story, model
        self._window_seconds, self._max_attempts = window_seconds, max_attempts
        self._said = {
            (move.script, origin, move.to) for move in (*moves(), *moves_in_batches()) for origin in move.origins
        }
        self.violations: list[Violation] = []
        self.used: Counter[str] = Counter()
        self.moves: Counter[str] = Counter()
        self.quiet_since = 0.0
        self.stirred_at = 0.0
        """When something last happened to an email."""
        self.hourly_limit = 0
        """How many emails an hour may go to one address; 0: any number."""
        self.leases_since = 0.0
        """Since when nothing has kept a living worker from renewing its lease, but for a Redis that was plainly away."""
        self.troubles: list[tuple[float, float]] = []
        self.excused: Counter[str] = Counter()
        self.brake_minimum = 500
        self.has_several_accounts: Callable[[str], bool] = lambda _base: False
        self.rate_of: Callable[[str, str], float] = lambda _base, _account: 1.0
        """Recipients a second that SES allows for an account."""
        self._in_line: dict[str, dict[str, float]] = defaultdict(dict)
        """Who waits for a turn of transactional email: when it is to come again, by Redis' clock."""
        self.redis_now: Callable[[], float] = lambda: scheduler.now
        self.look: Callable[..., list[Any]] = lambda *_commands: []
        """Ask Redis what stands there, behind everybody's back."""

    # -- how rules are told -----------------------------------------------------------------------------------------

    def check(self, rule: str, holds: bool, send_id: str, what: str = "") -> None:
        """Count that a rule was looked at, and tell where it does not hold."""
        self.used[rule] += 1
        if not holds:
            self.violations.append(Violation(rule, send_id, what, self._scheduler.now))
            self._story.tell(f"BROKEN {rule}", f"{send_id} {what}")

    def disturb(self, seconds: float, *, leases: bool = True) -> None:
        """Something goes wrong that bounds in time do not allow for. `leases`: it may keep the living from renewing them."""
        now = self._scheduler.now
        if leases:
            self.leases_since = max(self.leases_since, now + seconds)
        self.quiet_since = max(self.quiet_since, now + seconds)
        self.unsettle(seconds)

    def unsettle(self, seconds: float) -> None:
        """What SES allows changes, or the pace of sending: the rate is not judged for a while."""
        now = self._scheduler.now
        self.troubles.append((now, now + seconds))

    # -- what Redis does --------------------------------------------------------------------------------------------

    def script(
        self, base: str, name: str, argv: tuple[Any, ...], reply: Any, moved: list[tuple[str, str, float]]
    ) -> None:
        """A script has run and has moved these sends: id, state, epoch seconds by Redis' clock."""
        if moved or name in STIRS:
            self.stirred_at = self._scheduler.now
        rows = _rows(base)
        before = {send_id: send.state for send_id, _, _ in moved if (send := self._model.sends.get((rows, send_id)))}
        for send_id, state, at_redis in moved:
            if send := self._model.sends.get((rows, send_id)):
                self._move(send, name, state, at_redis)
        if handler := getattr(self, f"_{name}", None):
            try:
                handler(base, argv, reply, before)
            except (
                Exception
            ) as error:  # a script has changed: the product, which has called it, would try again and again
                self.check("scripts_are_read_as_they_are", False, "", f"{name}: {error!r}")

    def _move(self, send: Send, script: str, state: str, at_redis: float) -> None:
        came_from, unknown_since = send.state, send.state_at_redis
        self.moves[f"{came_from} -> {state}"] += 1
        self._story.tell(f"Redis: {script} moves {came_from} -> {state}:", send.id)
        self.check("legal_move", (script, came_from, state) in self._said, send.id, f"{script}: {came_from} -> {state}")
        if script == "sweep_unknown" and state == "queued":
            waited = at_redis - unknown_since
            self.check("waits_for_evidence", waited >= self._window_seconds - 0.01, send.id, f"{waited:.1f} s")
            send.licences.append(self._scheduler.now)
        if script == "sweep_claims":
            self._taken_back(send, came_from)
        if script == "sweep_due":
            self.check("not_before_due", at_redis >= send.due_at - 0.01, send.id)
        send.state, send.state_at, send.state_at_redis = state, self._scheduler.now, at_redis
        send.unknown_times += state == "unknown"
        if state == "unknown":
            send.bound_to = send.asked_through
        if state == "unknown" or state in ENDS:
            send.doubts.clear()
        self.check("gives_up_in_the_end", send.unknown_times <= self._max_attempts or send.forgotten, send.id)
        if state == "suppressed":  # by the end, a soft bounce may hold no more
            send.opted_out |= self._model.whom_not(send)
        if state in ENDS:
            send.ended[state] += 1
            send.silent = self._scheduler.current().process.former_release
            send.first_end_at = min(send.first_end_at, self._scheduler.now)
        if state not in HELD:
            send.holder_process = send.holder_fiber = None

    def _taken_back(self, send: Send, came_from: str) -> None:
        holder = send.holder_process
        living = holder is not None and not holder.dead and not holder.stopping
        heard = self._scheduler.now - self.leases_since >= QUIET_SECONDS
        in_time = send.state_at + HOLDING_SECONDS > self._scheduler.now
        self.check("the_living_keep_their_claims", not (living and heard and in_time), send.id, came_from)

    def _accept(self, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        if reply[0] != b"accepted":
            self._seen_before(base, argv, reply)
            return
        now = self.redis_now()
        send, another = self._model.accept(base, argv, reply[2].decode(), self._scheduler.now)
        if another and not another.forgotten:
            self.check("accepted_once", False, send.id, f"and as {another.id}")
        self.used["accepted_once"] += 1
        send.forgotten = bool(another)
        send.state_at_redis = now
        send.due_at = max(float(argv[4] or 0) / 1000, now + float(argv[5]) / 1000)
        if argv[7] != "":
            send.expires_at = now + float(argv[7]) / 1000
        self.check("waits_as_it_was_asked_to", (send.state == "scheduled") == (float(argv[5]) > 0), send.id, send.state)
        self.moves[f"nothing -> {send.state}"] += 1
        self._story.tell(f"Redis: accepts as {send.state}:", send.id)

    def _seen_before(self, base: str, argv: tuple[Any, ...], reply: Any) -> None:
        send = self._model.sends.get((base, reply[1].decode()))
        if send and reply[0] in (b"exists", b"other"):
            holds = (reply[0] == b"exists") == (send.content == argv[16])
            self.check("a_key_is_one_emails", holds, send.id, reply[0].decode())

    def _set_aside(self, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        if reply:
            self._model.aside[base][argv[0]] = argv[1]

    def is_set_aside(self, base: str, task_id: str, misfit: Mapping[str, Any]) -> None:
        """A worker is done with what is no email: it is kept, and nobody's email is another for it."""
        kept = [name for name, text in self._model.aside[base].items() if json.dumps(misfit) in text]
        self.check("what_is_no_email_is_set_aside", bool(kept), task_id)
        taken = [name for name in kept if (base, name) in self._model.sends]
        self.check("no_misfit_takes_an_emails_place", not taken, " ".join(taken))

    def _claim(self, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        send = self._model.sends.get((base, argv[0]))
        if send and reply[0] == b"suppressed" and argv[0] in before:
            send.opted_out = self._model.whom_not(send) | send.erased
        if send and reply[0] == b"too-many":
            self._held_back(send)
        if send is None or reply[0] != b"claimed" or len(reply) == 1:  # alone, it is the state
            return
        fiber = self._scheduler.current()
        if argv[0] in before:
            self.check("claimed_by_one", before[argv[0]] not in HELD, send.id, f"was {before[argv[0]]}")
            self.check("not_claimed_when_expired", self.redis_now() < send.expires_at + 0.01, send.id)
            if before[argv[0]] == "scheduled":
                self.check("not_claimed_early", self.redis_now() >= send.due_at - 0.01, send.id)
        # Also where a claim is repeated whose answer was lost: who has opted out meanwhile is left out, too.
        send.opted_out = fiber.opted_out[base, send.id] = self._model.whom_not(send) | send.erased
        if self.hourly_limit and not send.let_pass and argv[0] in before:
            self._counted(send)
        send.holder, send.holder_process, send.holder_fiber = argv[2], fiber.process, fiber
        self._spares_threads(send)
        fiber.begun.pop(send.id, None)
        fiber.refused_by.clear()
        fiber.claims[base, send.id] = argv[2]

    def _spares_threads(self, send: Send) -> None:
        """Where there are several accounts, who waits for a slow one holds few of the threads that all of them share."""
        now, process = self._scheduler.now, send.holder_process
        if send.email.lane is not Lane.TRANSACTIONAL or now - self.quiet_since < QUIET_SECONDS:
            return
        waiting = {
            each.holder_fiber
            for each in self._model.sends.values()
            if each.state == "claimed"
            and each.holder_process is process
            and each.email.lane is Lane.TRANSACTIONAL
            and (each.base, each.account) == (send.base, send.account)
            and now - each.state_at > RATE_WAIT_SECONDS
            and not each.holder_fiber.name.startswith("sesmail-")  # the thread that sends what waits in the ledger
        }
        if waiting and self.has_several_accounts(send.base):
            most = max(1, ceil(self.rate_of(send.base, send.account) * WAITING_SECONDS))
            what = f"{len(waiting)} threads wait for {send.account}"
            self.check("a_slow_account_spares_the_threads", len(waiting) <= most, send.id, what)

    def _counted(self, send: Send) -> None:
        for address in frozenset(send.email.recipients) - send.opted_out:
            self._model.lately[send.base, address].setdefault(send.id, self.redis_now())
            had = self._model.had_lately(send.base, address, self.redis_now())
            self.check("no_address_gets_too_many_an_hour", len(had) <= self.hourly_limit, send.id, f"{len(had)}")

    def _held_back(self, send: Send) -> None:
        send.held_back = True
        had = [self._model.had_lately(send.base, each, self.redis_now()) for each in send.email.recipients]
        enough = max(map(len, had)) >= self.hourly_limit
        self.check("only_what_is_too_many_is_held_back", enough or self._model.forgetful, send.id)
        self.check("who_is_meant_to_pass_passes", not send.let_pass or send.forgotten, send.id)

    def _begin(self, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        send = self._model.sends.get((base, argv[0]))
        if reply == -1:
            self._scheduler.current().refused_by.add(base)
        if send is None or reply != 1:
            return
        self._begins(send, argv[1], argv[4], before)

    def _begins(self, send: Send, token: str, through: str, before: dict[str, str]) -> None:
        send.asked_through = through or send.account
        self.check("only_the_holder_begins", send.holder == token, send.id)
        self.check("cancelled_stays", send.cancelled_at is None, send.id)
        if send.id in before:
            self.check("what_is_in_doubt_is_unknown_first", not send.doubts or send.forgotten, send.id)
            self._scheduler.current().begun[send.id] = self._scheduler.now
            self._scheduler.current().erased[send.id] = send.erased
        else:
            self._scheduler.current().begun.setdefault(send.id, self._scheduler.now)

    def _settle(self, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        send = self._model.sends.get((base, argv[0]))
        if reply:
            self._scheduler.current().yes.discard(argv[0])
        if send and argv[0] in before:
            self.check("only_the_holder_moves_it", send.holder == argv[1], send.id, f"settle as {send.state}")

    def _postpone(self, base: str, argv: tuple[Any, ...], _: Any, before: dict[str, str]) -> None:
        send = self._model.sends.get((base, argv[0]))
        if send and argv[0] in before:
            self.check("only_the_holder_moves_it", send.holder == argv[1], send.id, "postpone")
            send.due_at = min(send.state_at_redis + float(argv[2]) / 1000, send.expires_at)
            send.waits_for_room = argv[6:] == (1,)

    def _evidence(self, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        send = self._model.sends.get((base, argv[0]))
        if send is None:
            self._scheduler.current().yes.discard(argv[0])
            return
        self._story.tell(f"Redis: evidence {reply.decode()}:", send.id)
        self._scheduler.current().yes.discard(argv[0])
        if send.told_at is None and reply != b"gone":
            send.told_at = self._scheduler.now
        if before:
            send.holder = None
        self.check("evidence_settles", reply == b"kept" or send.state == "sent", send.id, send.state)

    def _template_failed(self, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        send = self._model.sends.get((base, argv[0]))
        if send and reply in (b"rejected", b"kept", b"known"):
            self._story.tell(f"Redis: a template that SES could not fill in, {reply.decode()}:", send.id)
            send.unfilled.add(argv[1])
        if send and send.id in before:
            send.holder = None

    def _suppress(self, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        reasons = self._model.opt_outs[base][argv[1]]
        if argv[1] == "everything":
            self._model.soft_bounces.forget(base, self._model.pseudonyms.get((base, argv[0]), argv[0]))
        order = list(Reason)
        address = self._model.pseudonyms.get((base, argv[0]), argv[0])
        reasons[address] = str(
            max(argv[2], reasons.get(address, argv[2]), key=lambda reason: order.index(Reason(reason)))
        )

    def _soft_bounces(self, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        model = self._model
        expected = model.soft_bounces.told(
            base,
            argv,
            self.redis_now() * 1000,
            lambda name: model.pseudonyms.get((base, name), name),
            lambda address: address in model.opt_outs[base]["everything"],
        )
        self.check("soft_bounces_opt_out_when_they_should", reply == expected, "", f"{reply}, not {expected}")

    def _erase_opt_outs(self, base: str, argv: tuple[Any, ...], _reply: Any, _: Any) -> None:
        self._model.soft_bounces.forget_passing(base, argv[0])

    def _cancel(self, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        send = self._model.sends.get((base, argv[0]))
        if send and reply == b"cancelled":
            send.cancelled_at = self._scheduler.now

    def _erase_send(self, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        send = self._model.sends.get((base, argv[0]))
        if send is None or reply in (b"changed", b"gone", b"of a newer release"):
            return
        left = frozenset(argv[3].split("\n")) if argv[2] else frozenset()
        send.erased = frozenset(send.email.recipients) - left
        if not left:
            send.cancelled_at, send.holder = send.cancelled_at or self._scheduler.now, None
        if reply == b"claimed":
            send.holder, send.due_at = None, self.redis_now()
        self.check("nobody_elses_mail_is_erased", self._erased_alone(base, send), send.id, "more than her")

    def _erased_alone(self, base: str, send: Send) -> bool:
        return all((base, address) in self._model.erasing_since for address in send.erased)

    def _requeue(self, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        send = self._model.sends.get((base, argv[0]))
        if send and before and reply == b"queued":
            send.licences.append(self._scheduler.now)
            send.cancelled_at, send.holder, send.expires_at, send.due_at = None, None, float("inf"), 0.0
            send.unknown_times, send.bound_to, send.let_pass = 0, None, True
            self.check("operators_do_not_repeat_what_is_sent", before[send.id] != "sent", send.id)

    def _reschedule(self, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        send = self._model.sends.get((base, argv[0]))
        if send and before and reply == b"scheduled":
            send.due_at, send.waits_for_room = float(argv[1]) / 1000, False

    def _adopt(self, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        """It stands under today's names from now on."""
        if reply and (send := self._model.sends.pop((argv[0], argv[1]), None)):
            send.base = base
            self._model.sends[base, send.id] = send
            self._story.tell("Redis: takes over from the former names:", send.id)

    def _listen(self, base: str, argv: tuple[Any, ...], _reply: Any, _: Any) -> None:
        self._model.listening_since.setdefault((base, argv[0]), self._scheduler.now)

    def _line(self, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        if argv[0] == "paused" and reply:
            self._model.paused[base].add(argv[1])

    def fields_gone(self, name: str, fields: tuple[Any, ...]) -> None:
        """An operator's `resume`, also where the client repeats it by itself."""
        if name.endswith(":line"):
            for field in fields:
                if str(field).startswith("braked:"):
                    self._model.braked[name.removesuffix("line")].pop(str(field).removeprefix("braked:"), None)
            self._model.paused[name.removesuffix("line")] -= {str(field).partition(":")[2] for field in fields}

    def _throttle_reserve(self, base: str, argv: tuple[Any, ...], reply: Any, before: dict[str, str]) -> None:
        scopes = argv[13 + 2 * int(argv[12]) :]
        if reply[0] == b"postponed" and reply[2] in (b"stopped", b"quota"):
            self._scheduler.current().refused_by.add(base)
        send = self._model.sends.get((_rows(base), argv[8]))
        if send and reply[0] == b"begun":
            self.check("begins_when_its_slot_is_due", reply[2] <= self.redis_now() * 1e6 + 1, send.id)
            self._begins(send, argv[9], argv[11], before)
        self._comes_in_its_lane(base, argv, reply)
        if reply[0] in (b"granted", b"begun"):
            if b"account" in reply[3:]:  # GetAccount tries it first
                self._scheduler.current().refused_by.add(base)
            closed = self._model.paused[base] & set(scopes)
            self.check("nothing_passes_a_paused_line", not closed, "", " ".join(sorted(closed)))
            self._passes_the_brake(_rows(base), scopes, int(argv[0]))
        elif reply[2:3] == [b"braked"]:
            self.check("the_brake_holds_up_bulk_alone", argv[2] == "bulk", "", argv[2])

    def _comes_in_its_lane(self, base: str, argv: tuple[Any, ...], reply: Any) -> None:
        """While transactional email fills the rate, bulk waits."""
        turns, asker, waits_for_share = argv[3], str(argv[5]), int(argv[12]) > 0
        in_line, now = self._in_line[base], self.redis_now()
        if turns == "transactional":
            in_line.pop(asker, None)
            if reply[0] == b"wait" and not waits_for_share:
                in_line[asker] = now + reply[1] / 1e6
        elif reply[0] in (b"granted", b"begun") and not self.is_troubled():
            before = [name for name, due in in_line.items() if due + LATE_SECONDS >= now]
            self.check("transactional_email_goes_before_bulk", not before, argv[8], f"{len(before)} in line")

    def _throttle_account(self, base: str, _argv: tuple[Any, ...], _reply: Any, _: Any) -> None:
        """The rate may be another now: who was told to wait was told so by the former one."""
        self._in_line.clear()

    def is_troubled(self) -> bool:
        """Whether something disturbs the pace of sending by now."""
        now = self._scheduler.now
        return any(start <= now <= end for start, end in self.troubles)

    def _passes_the_brake(self, base: str, scopes: tuple[str, ...], recipients: int) -> None:
        for scope in scopes:
            if trial := self._model.braked[base].get(scope):
                holds = trial[0] <= self.redis_now() + 0.01 and trial[1] > 0
                self.check("nothing_but_a_trial_passes_the_brake", holds, "", f"{scope}, {trial[1]} left")
                trial[1] -= recipients
            tally = self._model.judged.get((base, scope))
            if tally:
                bad_since = tally.bad_since if tally.bad_since is not None else self._scheduler.now
                waited = self._scheduler.now - max(bad_since, self.quiet_since)
                self.check("a_bad_list_is_stopped", waited < BRAKE_SECONDS, "", f"{scope} goes on for {waited:.0f} s")

    def _brake(self, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        scope, now = argv[1], self.redis_now()
        if reply in (b"closed", b"again"):
            self._closed_for_a_reason(base, scope, argv[2])
            closure = self._model.braked[base].get(scope)
            first, longest = float(argv[3]) / 1000, float(argv[4]) / 1000
            pause = min(2 * closure[2], longest) if closure and reply == b"again" else first
            self._model.braked[base][scope] = [now + pause, float(argv[5]), pause]
            self._story.tell(f"the brake closes {scope}:", argv[2])
            self._count_anew(base, argv[7:], now + pause)
            self.disturb(60.0, leases=False)
        elif argv[0] == "open":
            self._model.braked[base].pop(scope, None)
            self._story.tell("the brake opens", scope)
            self._count_anew(base, argv[7:], now)

    def _closed_for_a_reason(self, base: str, scope: str, reason: str) -> None:
        """What brought one closing about must not bring about the next."""
        if scope.startswith("list:") and "told nothing" not in reason and not self._model.forgetful:
            its = self._model.judged.get((base, scope))
            self.check("the_brake_closes_for_what_came_since", its is not None and its.bounced > 0, "", reason)

    def _count_anew(self, base: str, places: tuple[str, ...], since: float) -> None:
        for site, which in zip(places[::2], places[1::2], strict=True):
            self._model.counts_from[base, site, which] = since
            for (of, scope), tally in self._model.judged.items():
                if (
                    of == base
                    and scope.startswith(f"list:{site}/")
                    and which in ("from", f"from {scope[6 + len(site) :]}")
                ):
                    tally.sent, tally.bounced, tally.bad_since = 0, 0, None

    def _count_facts(self, base: str, argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        for place, sight in enumerate(reply):
            site, _day, counter, sent_ms = argv[3 + 9 * place + 3 : 3 + 9 * place + 7]
            kind, _, list_name = counter.partition(" ")
            if sight != b"first" or not argv[2] or kind not in ("sent", "bounced_permanent"):
                continue
            since = [self._model.counts_from.get((base, site, which), 0.0) for which in ("from", f"from {list_name}")]
            if float(sent_ms) / 1000 >= max(since):
                tally = self._model.judged[base, list_scope(site, list_name)]
                tally.sent += kind == "sent"
                tally.bounced += kind == "bounced_permanent"
                is_bad = list_name and tally.sent >= self.brake_minimum and tally.bounced / tally.sent >= BRAKE_STOPS_AT
                tally.bad_since = (tally.bad_since or self._scheduler.now) if is_bad else None

    def _hasten(self, base: str, _argv: tuple[Any, ...], reply: Any, _: Any) -> None:
        for send_id in reply[1:]:
            if send := self._model.sends.get((base, send_id.decode())):
                send.due_at = min(send.due_at, self.redis_now())

    # -- what SES is asked ------------------------------------------------------------------------------------------

    def asks(self, base: str, send_id: str, email: Email, account: str) -> None:
        """A worker asks SES, through one of its accounts."""
        send = self._model.sends[base, send_id]
        fiber: Fiber = self._scheduler.current()
        self._story.tell("SES is asked:", send_id)
        self.check("begins_before_it_asks", send_id in fiber.begun, send_id)
        wanted = set(send.email.recipients) - fiber.opted_out.get((base, send_id), frozenset())
        self.check("asked_for_whom_it_should", set(email.recipients) == wanted, send_id)
        gone = fiber.erased.get(send_id, frozenset()) & set(email.recipients)
        self.check("nobody_writes_to_who_was_erased", not gone or send.forgotten, send_id)
        is_its = fiber.claims.get((base, send_id), "") == send.holder
        if send.state == "sending" and (is_its or (send.batch and send.batch.is_held_by(fiber, send_id))):
            send.doubts.add(fiber)  # else it asks too late: that is not promised
        self._asks_through(send, account, fiber)

    def _asks_through(self, send: Send, account: str, fiber: Fiber) -> None:
        """Its own account, or what that one falls back to."""
        falls_back = (send.account, account) == ("default", RESERVE) and send.email.lane is Lane.TRANSACTIONAL
        is_own = account == send.account
        self.check("no_email_goes_through_a_foreign_account", is_own or falls_back, send.id, account)
        if send.bound_to and not send.forgotten:
            self.check("unknown_does_not_move", account == send.bound_to, send.id, f"{account}, not {send.bound_to}")
        elif not is_own and not send.forgotten:
            holds = send.base in fiber.refused_by
            self.check("falls_back_only_while_its_own_takes_none", holds, send.id)

    def takes(self, base: str, taken: Taken) -> None:
        """SES takes an email."""
        send = self._model.sends[base, taken.send_id]
        self._story.tell(f"SES takes it as {taken.message_id}:", send.id)
        if send.told_at is not None:
            holds = taken.begun_at <= send.told_at or send.forgotten
            self.check("never_again_once_told", holds, send.id, f"told {taken.begun_at - send.told_at:.1f} s before")
        for earlier in send.taken:
            self._twice(send, *sorted((earlier.begun_at, taken.begun_at)))
        send.taken.append(taken)

    def _twice(self, send: Send, first: float, second: float) -> None:
        explained = any(first <= licence <= second for licence in send.licences)
        self.excused["twice_with_redis" if send.forgotten else "sent_twice_explained"] += 1
        self.check("twice_only_after_its_window", explained or send.forgotten, send.id)

    def answers(self, base: str, send_id: str, answer: str) -> None:
        """SES has answered."""
        send = self._model.sends[base, send_id]
        send.answers[answer] += 1
        if answer in REFUSALS:
            send.doubts.discard(self._scheduler.current())
        if answer.startswith("ses-"):
            self._scheduler.current().yes.add(send_id)
        self._story.tell(f"SES answers {answer}:", send_id)

    def task_ended(self) -> None:
        """A worker's thread is done with a ticket, whatever came of it."""
        fiber: Any = self._scheduler.current()
        for (base, send_id), token in fiber.claims.items():
            send = self._model.sends.get((base, send_id))
            stopping = fiber.process.stopping  # then what cannot be given back is taken back, as is what is forgotten
            left = send is not None and send.state in HELD and send.holder == token
            if stopping or (send and send.forgotten):
                continue
            self.check("no_claim_without_an_owner", not left, send_id, "its task has ended")
        held = [batch.id for batch in self._model.batches.values() for h in batch.holders.values() if h[1] is fiber]
        if not fiber.process.stopping:
            self.check("no_chunk_without_an_owner", not held, " ".join(held), "its task has ended")
        self.check("a_yes_is_written_down", not fiber.yes, " ".join(sorted(fiber.yes)))
        fiber.claims.clear()
        fiber.yes.clear()

    def continues(self, base: str, send_id: str, task_id: str, kind: str, *, failed: bool) -> None:
        """What follows an email, for one of its callers: `link` where it was sent, else `link_error`."""
        send = self._model.sends.get((base, send_id))
        self._story.tell(f"{kind} of {task_id} runs:", send_id)
        if send is None:  # Redis has forgotten it meanwhile
            return
        ends = {"sent"} if kind == "link" else ENDS - {"sent"}
        self.check("what_follows_is_right", bool(ends & set(send.ended)) or send.forgotten, send_id, kind)
        before = send.continued_at.get(task_id)
        excused = send.continuation_failed or send.called_twice or send.forgotten
        again = before is not None and not excused and self.quiet_since < before - 5.0
        self.check("what_follows_runs_once_where_nothing_died", not again, send_id, task_id)
        send.continued[task_id] += 1
        send.continued_at[task_id] = self._scheduler.now
        send.continuation_failed = send.continuation_failed or failed

    def hears(self, base: str, send_id: str, state: str, signal: str, *, failed: bool) -> None:
        """A receiver is told of an end."""
        self.check("the_right_receivers_hear", (signal == "email_sent") == (state == "sent"), send_id, signal)
        send = self._model.sends[base, send_id]
        self._story.tell(f"receivers hear {state}:", send_id)
        again = send.heard.total() - send.ended.total() >= 0 and not send.receiver_failed and not send.forgotten
        self.check("told_once_where_nothing_died", not (again and self.quiet_since < send.heard_at - 5.0), send_id)
        send.heard[state] += not failed
        send.heard_at = self._scheduler.now
        send.receiver_failed = send.receiver_failed or failed
