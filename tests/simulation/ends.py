"""What must hold in the end, and what is known to be lost where Redis itself has forgotten."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sesmail.message import Lane
from sesmail.state.keys import CATALOGUE, Key
from sesmail.state.ledger.ledger import PART_IS_MISSING
from sesmail.state.ledger.rows import moves_of
from sesmail.state.people.reputation import Counter as Rate
from sesmail.vocabulary import FAILED
from tests.simulation.lua import EXPIRIES, MOVES
from tests.simulation.model import ENDS, Send
from tests.simulation.scheduler import START
from tests.traces import traces

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.ses import Ses
    from tests.simulation.world import Installation, World

UNTOLD = ("untold", "events:unprocessed", "batches:untold")
RATE_TOLERANCE = 1.2
CALLS_TO_LEARN = 1000
"""The margin starts small: within so many calls a fleet has learnt how much this SES and the way to it need."""
MOST_MOVES = 10
KEYS: dict[str, list[tuple[re.Pattern[str], Key]]] = defaultdict(list)
"""What keys there are, by the first word of their names."""
for _key in CATALOGUE:
    _pattern = re.compile(fnmatch.translate(re.sub(r"<[^>]+>", "*", _key.pattern)))
    KEYS[_key.pattern.partition(":")[0]].append((_pattern, _key))
PASSING_KEYS = re.compile(r"(blob|in:queued|in:scheduled):|(in:(claimed|sending|unknown)|unanswered)$")
"""What must be gone, or empty, when nothing waits."""


def judge(world: World) -> None:
    """Every rule about ends."""
    rows = {each.base: _rows(world, each) for each in world.installations}
    for send in [send for send in world.model.sends.values() if send.base not in rows]:
        world.rules.check("what_has_former_names_is_taken_over", False, send.id, f"{send.state} in {send.base}")
    for send in [send for send in world.model.sends.values() if send.base in rows]:
        _judge_send(world, send, rows[send.base].get(send.id))
    for number in world.model.wanted:
        world.rules.check("senders_come_through", number in world.model.of_number or world.has_forgotten, f"n{number}")
    for each in world.installations:
        for ses in each.accounts.values():
            _judge_rate(world, ses)
        _judge_quota(world, each)
        _judge_counts(world, each, rows[each.base])
        _judge_rates(world, each)
        _judge_meters(world, each)
        _judge_blobs(world, each, rows[each.base])
    _judge_batches(world)
    _judge_keys(world)
    _judge_events(world)
    _judge_erasing(world)


def untold(world: World) -> int:
    """How many ends and events wait for somebody to be told of them."""
    wire = world.server.wire
    names = [f"{each.base}{kind}:{site}" for each in world.installations for site in each.sites for kind in UNTOLD]
    names += [f"{each.base}unanswered" for each in world.installations]
    return sum(wire.ask(*(("ZCARD", name) for name in names)))


def _rows(world: World, installation: Installation) -> dict[str, dict[str, str]]:
    base = installation.base
    ids = [send.id for send in world.model.sends.values() if send.base == base]
    found = world.server.wire.ask(*(("HGETALL", f"{base}send:{send_id}") for send_id in ids)) if ids else []
    return {
        send_id: {k.decode(): v.decode(errors="replace") for k, v in zip(row[::2], row[1::2], strict=True)}
        for send_id, row in zip(ids, found, strict=True)
        if row
    }


def _judge_send(world: World, send: Send, row: dict[str, str] | None) -> None:
    rules = world.rules
    if row is None and send.batch and (its_state := _state_in_batch(world, send)):
        _judge_recipient(world, send, its_state)
        return
    if row is None:
        if send.forgotten:
            world.counts["lost_with_redis"] += send.accepted and world.model.of_number[send.number] is send
        else:
            rules.check("nothing_is_lost", False, send.id)
        return
    state = row["state"]
    rules.check("nothing_is_lost", True, send.id)
    rules.check("nothing_is_stuck", state in ENDS, send.id, state)
    rules.check("the_model_knows", state == send.state, send.id, f"{state}, not {send.state}")
    if state == "sent":
        ids = {taken.message_id for taken in send.taken}
        rules.check("sent_means_that_ses_took_it", row["message_id"] in ids or send.forgotten, send.id)
        _judge_dropped(world, send, {row["message_id"]})
    elif not send.forgotten:
        rules.check("what_ses_took_and_told_is_sent", send.told_at is None or bool(send.dropped), send.id, state)
        _judge_failure(world, send, row)
    _judge_story(world, send, row)
    _judge_telling(world, send, state)
    _judge_callers(world, send, state)


def _judge_dropped(world: World, send: Send, ids: set[str]) -> None:
    """Whether what is `sent` under these message ids may be: what SES has dropped, nobody has got."""
    holds = not ids & send.dropped or send.forgotten
    world.rules.check("what_ses_dropped_is_not_sent", holds, send.id, " ".join(sorted(send.dropped)))


def _judge_story(world: World, send: Send, row: dict[str, str]) -> None:
    """How it came to its end is told, where that was not the common road and nobody moved it who keeps no moves."""
    moves, state = [*moves_of(row.get("moves", ""))], row["state"]
    world.rules.check("few_moves_are_kept", len(moves) <= MOST_MOVES, send.id, str(len(moves)))
    if state in FAILED and not send.silent and not send.forgotten and row.get("code") != "broken":
        told = moves[-1].state if moves else "nothing"
        world.rules.check("its_end_is_among_its_moves", told == state, send.id, f"{told}, not {state}")


def _state_in_batch(world: World, send: Send) -> str:
    """Of a recipient that has no row; empty where there is none."""
    batch_id, _, number = send.id.rpartition("-")
    byte = world.server.wire.ask(
        ("GETRANGE", f"{send.base}batch:{batch_id}:states", int(number) // 2, int(number) // 2)
    )
    code = (byte[0][0] >> 4 if int(number) % 2 == 0 else byte[0][0] & 15) if byte[0] else 0
    return {1: "queued", 2: "sending", 3: "sent", 5: "suppressed", 6: "expired", 7: "cancelled"}.get(code, "")


def _judge_recipient(world: World, send: Send, state: str) -> None:
    rules = world.rules
    rules.check("nothing_is_lost", True, send.id)
    rules.check("nothing_is_stuck", state in ENDS, send.id, state)
    rules.check("the_model_knows", state == send.state, send.id, f"{state}, not {send.state}")
    if state == "sent":
        rules.check("sent_means_that_ses_took_it", bool(send.taken) or send.forgotten, send.id)
        _judge_dropped(world, send, send.dropped)
    elif not send.forgotten:
        rules.check("what_ses_took_and_told_is_sent", send.told_at is None, send.id, state)
        reasons = {"cancelled": send.cancelled_at is not None, "suppressed": bool(send.opted_out)}
        rules.check("fails_for_a_reason", reasons.get(state, False), send.id, state)


def _judge_batches(world: World) -> None:
    """Each has ended, has counted right, and its end was told."""
    for batch in world.model.batches.values():
        sends = [send for send in world.model.sends.values() if send.batch is batch]
        if batch.forgotten or not batch.is_sealed:
            continue
        fields = world.server.wire.ask(("HGETALL", f"{batch.base}batch:{batch.id}"))[0]
        row = {name.decode(): value for name, value in zip(fields[::2], fields[1::2], strict=True)}
        world.rules.check("batches_end", "finished_at" in row, batch.id, str(row.get("state")))
        world.rules.check("the_end_of_a_batch_is_told", batch.heard > 0, batch.id)
        if batch.rate:
            begun = _most_within(10.0, [(at, 1) for at in batch.begun_at if not _troubled(world, at)])
            world.rules.check("a_batch_keeps_its_rate", begun <= 11 * batch.rate + 5, batch.id, f"{begun} in 10 s")
        counted = {name[2:]: int(value) for name, value in row.items() if name.startswith("n:") and int(value)}
        total = sum(counted.values())
        # Of a recipient whose row was evicted, the batch knows more than Redis can say.
        right = total == len(sends) or (world.faults.counts["redis_evicts"] and total > len(sends))
        world.rules.check("batches_count_right", bool(right), batch.id, f"{counted}, {len(sends)}")


def _judge_failure(world: World, send: Send, row: dict[str, str]) -> None:
    """It has failed for a reason."""
    state, evicted = row["state"], row.get("reason") == PART_IS_MISSING and world.faults.counts["redis_evicts"]
    reasons = {
        "rejected": send.answers["SendRejected"] > 0 or bool(send.dropped),
        "cancelled": send.cancelled_at is not None,
        "expired": send.expires_at < float("inf"),
        "suppressed": send.opted_out >= set(send.email.recipients)
        or world.model.whom_not(send) | send.erased >= set(send.email.recipients),
        "abandoned": send.unknown_times >= world.max_attempts or evicted or send.held_back or send.spoilt,
    }
    world.rules.check("fails_for_a_reason", bool(reasons.get(state, True)), send.id, state)
    world.counts["lost_with_redis"] += bool(evicted)


def _judge_telling(world: World, send: Send, state: str) -> None:
    """Who listened has heard of its end."""
    listening_since = world.model.listening_since.get((send.base, send.site), float("inf"))
    if world.has_forgotten or state not in ENDS or send.silent or send.state_at <= listening_since:
        return
    world.rules.check("ends_are_told", send.heard[state] > 0, send.id, f"{state} was not told")


def _judge_callers(world: World, send: Send, state: str) -> None:
    """Who called for it has been answered."""
    if world.has_forgotten or state not in ENDS or send.silent:
        return
    for task_id in send.callers:
        world.rules.check("what_follows_runs", send.continued[task_id] > 0, send.id, f"{state}: {task_id}")


def _judge_rate(world: World, ses: Ses) -> None:
    """What was offered to SES in any second, where nothing had disturbed the pace."""
    most = _most_within(1.0, [(at, n) for at, n in ses.offered if not _troubled(world, at)])
    world.rules.check(
        "offers_no_more_than_the_rate", most <= ses.highest_rate * RATE_TOLERANCE + 3, "", f"{most} in a second"
    )
    world.counts["ses_calls"] += ses.calls
    in_peace = [number for number, at in ses.throttled if not _troubled(world, at)]
    world.counts["ses_throttled"] += len(ses.throttled)
    world.counts["ses_throttled_in_peace"] += len(in_peace)
    if (calls := ses.calls - CALLS_TO_LEARN) > 0:
        late = sum(number > CALLS_TO_LEARN for number in in_peace)
        world.rules.check("throttles_are_few_once_learnt", late <= 2 + calls / 1000, "", f"{late} of {calls} calls")


def _most_within(seconds: float, counts: list[tuple[float, int]]) -> int:
    """The most that came within any so many seconds, of moments and how many came then."""
    first = total = most = 0
    for at, count in counts:
        total += count
        while counts[first][0] <= at - seconds:
            total -= counts[first][1]
            first += 1
        most = max(most, total)
    return most


def _troubled(world: World, at: float) -> bool:
    return any(start - 1.0 <= at <= end + 2.0 for start, end in world.rules.troubles)


def _judge_quota(world: World, each: Installation) -> None:
    changes = world.faults.counts["ses_quota_changes"] + 1
    probes = (world.scheduler.now - START) / 600.0 + 1
    in_flight = each.threads * len(each.workers)
    most = changes * in_flight + probes
    for ses in each.accounts.values():
        refused = ses.refused_for_quota
        world.rules.check("quota_is_kept_to", refused <= most or world.has_forgotten, "", f"{refused} refused")


def _judge_counts(world: World, each: Installation, rows: dict[str, dict[str, str]]) -> None:
    counted = {name: n for name, n in _counts(world, each).items() if n}
    known = Counter(row["state"] for row in rows.values())
    known["abandoned"] += len(world.model.aside[each.base].keys() - rows.keys())
    known = +known
    world.rules.check(
        "counts_agree", counted == dict(known) or world.has_forgotten, "", f"{counted}, not {dict(known)}"
    )


def _counts(world: World, each: Installation) -> dict[str, int]:
    names = [name.decode() for name in world.server.wire.ask(("KEYS", f"{each.base}in:*"))[0]]
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        state = name.removeprefix(f"{each.base}in:").partition(":")[0]
        counts[state] += world.server.wire.ask(("ZCARD", name))[0]
    counts["sent"] += world.server.wire.ask(("LLEN", f"{each.base}sent"))[0]
    return counts


def _judge_rates(world: World, each: Installation) -> None:
    """What is counted as sent is what SES's events told."""
    if world.has_forgotten:
        return
    stored = sum(n for (base, _), n in world.stored.items() if base == each.base)
    first = datetime.fromtimestamp(START - 86_400, UTC).date()
    days = [(first + timedelta(days=n)).isoformat() for n in range(4)]
    counted = 0
    for site in each.sites:
        for day in days:
            row = world.server.wire.ask(("HGETALL", f"{each.base}rates:{site}:{day}"))[0]
            counted += sum(
                int(v) for k, v in zip(row[::2], row[1::2], strict=True) if k.decode().split(" ")[0] == Rate.SENT
            )
    # An event that was counted, not marked, and then redacted is another fact: a worker died in between.
    most = stored + sum(base == each.base for base, _ in world.model.erasing_since)
    world.rules.check("rates_agree", stored <= counted <= most, "", f"{counted} counted, {stored} told")


def _judge_meters(world: World, each: Installation) -> None:
    """How long each took is measured once, however often its end was told."""
    if world.has_forgotten:
        return
    row = world.server.wire.ask(("HGETALL", f"{each.base}meters:seconds_to_sent"))[0]
    measured = sum(int(n) for name, n in zip(row[::2], row[1::2], strict=True) if not name.endswith(b" sum"))
    sent = sum(send.base == each.base and send.ended["sent"] > 0 for send in world.model.sends.values())
    world.rules.check("measured_once", measured <= sent, "", f"{measured} of {sent}")


def _judge_blobs(world: World, each: Installation, rows: dict[str, dict[str, str]]) -> None:
    """Large parts are kept once, for as long as a row has them."""
    if world.has_forgotten:
        return
    ask = world.server.wire.ask
    wanted = Counter(digest for row in rows.values() for digest in row.get("blobs", "").split())
    names = [name.decode() for name in ask(("KEYS", f"{each.base}blob:*"))[0]]
    found = ask(*(("HGET", name, "references") for name in names)) if names else []
    kept = {name.rpartition(":")[2]: int(n or 0) for name, n in zip(names, found, strict=True)}
    world.rules.check("blobs_are_kept_while_they_are_needed", kept == dict(wanted), "", f"{kept}, not {dict(wanted)}")


def _judge_keys(world: World) -> None:
    """No key that nobody knows, none that should be gone, no lifetime that is missing."""
    wire = world.server.wire
    mortal = {name.decode() for name in wire.ask(("ZRANGE", EXPIRIES, 0, -1))[0]}
    for each in world.installations:
        for raw in sorted(wire.ask(("KEYS", f"{each.base}*"))[0]):
            name = raw.decode()
            short = name.removeprefix(each.base)
            known = [key for pattern, key in KEYS[short.partition(":")[0]] if pattern.fullmatch(short)]
            world.rules.check("every_key_is_known", bool(known), "", short)
            if world.has_forgotten:
                continue
            passing = PASSING_KEYS.match(short)
            rest = any(row for row in world.model.sends.values() if row.base == each.base and row.state != "sent")
            if passing and not (short.startswith("blob:") and rest):
                world.rules.check("what_waited_is_gone", False, "", short)
            if known and all(key.lifetime[0].isdigit() for key in known):
                world.rules.check("keys_have_lifetimes", name in mortal, "", short)
    assert MOVES.encode() not in wire.ask(("KEYS", "sim:*"))[0]


def judge_probes(world: World) -> None:
    """What is sent now, goes out now."""
    for number in world.probes:
        send = world.model.of_number.get(number)
        if send and send.email.lane is Lane.BULK and world.model.braked[send.base]:
            continue  # what SES tells of these alone may be enough for the brake to judge what it told before
        state = send.state if send else "nothing"
        world.rules.check("fresh_email_goes_out_at_once", state in ENDS, send.id if send else f"n{number}", state)


def _judge_events(world: World) -> None:
    """What SES told has had its consequences."""
    if world.has_forgotten:
        return
    for base, address in world.bounced:
        world.rules.check("bounces_opt_out", address in world.model.opt_outs[base]["everything"], "", "no opt-out")
    told = {taken.message_id for send in world.model.sends.values() if send.told_at for taken in send.taken}
    for base, send_id, message_id in world.dropped:
        send = world.model.sends[base, send_id]
        world.rules.check("what_ses_dropped_is_noted", message_id in send.dropped, send_id, message_id)
    for _, message_id in world.stored:
        world.rules.check("events_settle", message_id in told, "", message_id)


def _judge_erasing(world: World) -> None:
    """Who was erased stands nowhere any more, and of her nothing is noted, whatever SES has told since."""
    ask, pseudonyms = _asked(world), {(base, of): name for (base, name), of in world.model.pseudonyms.items()}
    for base, address in world.model.gone():
        found = traces(ask, f"{base}*", address)
        world.rules.check("who_was_erased_leaves_no_trace", not found, "", f"{address} in {found}")
        noted = traces(ask, f"{base}delivery:*", pseudonyms[base, address])
        world.rules.check("nothing_is_noted_of_who_was_erased", not noted, "", f"{address} in {noted}")


def _asked(world: World) -> Callable[..., Any]:
    return lambda *command: world.server.wire.ask(command)[0]


def judge_rows_of_erased(world: World, base: str, address: str) -> None:
    """From the moment on in which an operator is told that it is done, no email names her, whether it waits or has ended."""
    found = traces(_asked(world), f"{base}send:*", address)
    world.rules.check("no_email_names_who_was_erased", not found, "", f"{address} in {found}")


def forget(world: World, changed: set[str]) -> None:
    """Take note of what Redis has gone back to."""
    for batch in world.model.batches.values():
        batch.forgotten = batch.forgotten or any(name.startswith(f"{batch.base}batch") for name in changed)
        batch.is_paused = batch.is_paused and not batch.forgotten
        if batch.forgotten:
            batch.holders.clear()
    for each in world.installations:
        world.model.forgets(each.base)
        for (base, send_id), send in list(world.model.sends.items()):
            of_batch = send.batch is not None and send.batch.forgotten
            if base == each.base and (of_batch or f"{base}send:{send_id}" in changed):
                _forget_send(world, send)
        opt_outs = world.model.opt_outs[each.base]
        for scope in list(opt_outs):
            row = world.server.wire.ask(("HGETALL", f"{each.base}optout:{scope}"))[0]
            found = zip(row[::2], row[1::2], strict=True)
            whose = lambda name: world.model.pseudonyms.get((each.base, name), name)  # noqa: B023, E731
            lasting = [(name, why) for name, why in found if not why.startswith(b"soft-bounced ")]
            opt_outs[scope] = {whose(name.decode()): why.decode().split(" ")[0] for name, why in lasting}
        fields = world.server.wire.ask(("HKEYS", f"{each.base}line"))[0]
        paused = {field.decode().removeprefix("paused:") for field in fields if field.startswith(b"paused:")}
        world.model.paused[each.base] &= paused
        world.model.braked[each.base].clear()
        world.model.judged.clear()


def _forget_send(world: World, send: Send) -> None:
    send.forgotten, send.told_at, send.cancelled_at, send.due_at = True, None, None, 0.0
    fields = ("state", "moved_at", "token", "attempts", "addresses")
    state, moved_at, token, attempts, addresses = world.server.wire.ask(
        ("HMGET", f"{send.base}send:{send.id}", *fields)
    )[0]
    world.story.tell(f"Redis has forgotten that it was {send.state}; it is {(state or b'gone').decode()}:", send.id)
    if state is None and send.batch and (its_state := _state_in_batch(world, send)):
        send.state, send.state_at = its_state, world.scheduler.now
    elif state is None:
        send.state = "nothing"
        del world.model.sends[send.base, send.id]
        if world.model.of_number.get(send.number) is send:
            del world.model.of_number[send.number]
        world.counts["lost_with_redis"] += send.accepted
    else:
        if addresses:  # whom it is to again, or still
            send.erased = frozenset(send.email.recipients) - {*addresses.decode().split("\n")}
        send.state, send.holder = state.decode(), token.decode() if token else None
        send.state_at_redis = float(moved_at) / 1000
        send.state_at = world.scheduler.now
        send.unknown_times = min(send.unknown_times, int(attempts or 0) - (send.state == "sending"))
