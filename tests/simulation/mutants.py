"""Planted bugs: does the simulation see them? Each breaks something that the product promises, or says why it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.bugs import Bug


def _lua(name: str, file: str, old: str, new: str, **more: str) -> Bug:
    return Bug(name=name, where=f"{file}.lua", old=old, new=new, **more)


def _python(name: str, module: str, old: str, new: str, **more: str) -> Bug:
    return Bug(name=name, where=f"sesmail.{module}", old=old, new=new, **more)


STALE_BEGIN = "if f[2] ~= token then\n  return 0\nend\n"
STALE_SETTLE = "if f[2] ~= token then\n  return ''\nend\n"
NOT_HELD = "if f[1] ~= 'sending' and f[1] ~= 'claimed' then\n  return ''\nend\n"

CLAIMS = (
    _lua("begin takes any token", "begin", STALE_BEGIN, "", needs="the sleeping"),
    _lua("begin takes any state", "begin", "if f[1] ~= 'claimed' then\n  return 0\nend\n", "", needs="people"),
    _lua(
        "a slot begins what another holds",
        "throttle_reserve",
        "if begins and begins[2] ~= token then",
        "if false then",
        needs="the sleeping",
    ),
    _lua("a slot begins before it is due", "throttle_reserve", "if begins and first_slot <= now and", "if begins and"),
    _lua("settle takes any token", "settle", STALE_SETTLE, "", needs="the frozen"),
    _lua("settle takes any state", "settle", "if from ~= 'sending' and from ~= 'claimed' then\n  return ''\nend\n", ""),
    _lua("postpone takes any token", "postpone", STALE_SETTLE, "", needs="the sleeping"),
    _lua("postpone takes any state", "postpone", NOT_HELD, "", needs="the frozen"),
    _lua(
        "waiting counts as trying",
        "postpone",
        "redis.call('HINCRBY', row, 'attempts', -1)",
        "",
        needs="an unsteady SES",
    ),
    _lua(
        "a wait may outlast the expiry",
        "postpone",
        "due = math.min(due, tonumber(f[4]) or due)",
        "",
        harmless="it expires when it is claimed, later than it could",
    ),
    _lua(
        "a claimed send can be claimed", "claim", "(state == 'queued' or", "(state == 'queued' or state == 'claimed' or"
    ),
    _lua(
        "a scheduled send can be claimed early",
        "claim",
        "(state == 'scheduled' and score <= now)",
        "state == 'scheduled'",
        needs="tickets twice",
    ),
    _lua(
        "expired email is sent", "claim", "if free and tonumber(f[4]) and tonumber(f[4]) <= now then", "if false then"
    ),
    _lua("every claim is the first's", "claim", "'owner', owner, 'token', token)", "'owner', owner)"),
    _lua(
        "cancel takes back what SES is asked",
        "cancel",
        "state == 'claimed' then",
        "state == 'claimed' or state == 'sending' then",
        needs="people",
    ),
    _lua("requeue sends again what was sent", "requeue", "unknown = 1 }", "unknown = 1, sent = 1 }", needs="people"),
    _lua(
        "requeue keeps the token",
        "requeue",
        "'code', 'token', 'expires_at'",
        "'code', 'expires_at'",
        harmless="no move begins from a state that has no holder, and the next claim writes its own token",
    ),
    _lua("requeue keeps the expiry", "requeue", "'expires_at', ", "", needs="people"),
)
TICKETS = (
    _lua(
        "a ticket that is not taken is raised",
        "accept",
        "redis.pcall('LPUSH'",
        "redis.call('LPUSH'",
        harmless="the row is there, and who calls again is told so; tests/contract/test_first_tickets.py sees it",
    ),
    _lua(
        "a ticket that is not taken counts as put",
        "accept",
        "type(put) == 'table' and put.err or 'put'",
        "'put'",
        harmless="it is issued as one that was lost, some seconds later",
    ),
    _lua(
        "what is to wait gets a ticket, too",
        "accept",
        "if ARGV[25] ~= '' and state == 'queued' then",
        "if ARGV[25] ~= '' then",
        harmless="a worker that takes it finds that it is not due",
    ),
)
SWEEPS = (
    _lua(
        "what the dead asked SES goes out at once",
        "sweep_claims",
        "if state == 'claimed' then\n      requeue",
        "if true then\n      requeue",
    ),
    _lua(
        "claims of the dead stay",
        "sweep_claims",
        "(not is_alive(f[1], now) or",
        "(state == 'sending' and not is_alive(f[1], now) or",
        needs="the dead",
    ),
    _lua("the living lose their claims", "sweep_claims", "(not is_alive(f[1], now) or", "(true or"),
    _lua("silence is not forgiven", "fleet", "return hold_until > now", "return false", needs="an ailing Redis"),
    _lua("a heartbeat lasts for nothing", "heartbeat", "now + lease_ms, owner", "now, owner"),
    _lua(
        "lost tickets are not looked for in empty queues",
        "sweep_lost",
        "before = math.max(before, now - grace)",
        "",
        needs="lost tickets",
    ),
    _lua(
        "what is lost keeps its place",
        "sweep_lost",
        "requeue(id, 'queued', own_lane, ARGV[4] == '1', 'ticket-lost')",
        "local _ = 0",
        harmless="its tickets are issued, again and again: more than needed, and none is lost",
    ),
    _lua("unknown goes out at once", "sweep_unknown", "= tonumber(ARGV[1]), bulk = tonumber(ARGV[2])", "= 0, bulk = 0"),
    _lua(
        "unknown is tried for ever",
        "sweep_unknown",
        ">= tonumber(ARGV[3]) then",
        ">= 1000 then",
        needs="an unsteady SES",
    ),
    _lua("unknown is given up at once", "sweep_unknown", ">= tonumber(ARGV[3]) then", ">= 1 then"),
    _lua("due five seconds early", "sweep_due", "now_ms(), 'LIMIT'", "now_ms() + 5000, 'LIMIT'"),
    _lua("bulk is never due", "sweep_due", "'-inf', now_ms()", "'-inf', lane == 'bulk' and 0 or now_ms()"),
    _lua(
        "turns can be handed in by anybody",
        "turn",
        "if redis.call('GET', turn) ~= ARGV[2] then\n  return 0\nend\n",
        "",
        harmless="what is done in turns is safe to do at once: it only costs more",
    ),
    _python(
        "a worker's claims go without tickets",
        "sending.sweeper",
        "self._issue(claimed, express=True)\n",
        "pass\n",
        harmless="their tickets are issued as lost ones, a quarter of a minute later",
    ),
    _python(
        "nobody sweeps",
        "celery.worker.duties",
        'if client.turns.take(f"sweep:{settings.site}", settings.sweep_interval_seconds * 0.9):',
        "if False:",
    ),
    _python(
        "all sites share one turn to sweep",
        "celery.worker.duties",
        'client.turns.take(f"sweep:{settings.site}", ',
        'client.turns.take("sweep", ',
        needs="the dead",
        trait="batches",
    ),
    _python(
        "a lease is renewed too late",
        "state.fleet.workers",
        "pause_seconds = self._lease_seconds / 4\n",
        "pause_seconds = self._lease_seconds * 2\n",
    ),
)
EVIDENCE = (
    _lua("evidence while SES is asked is dropped", "evidence", "redis.call('HSETNX', row, 'evidence', message_id)", ""),
    _lua("a proof is not looked at", "rows", "if f[1] then", "if false then"),
    _lua(
        "evidence leaves the token",
        "evidence",
        "redis.call('HDEL', row, 'token')",
        "",
        harmless="a sent send is moved by nobody, whatever the token",
    ),
    _python("events settle nothing", "events.consequences", "record(send_id, message_id)", "None"),
    _python(
        "bounces opt nobody out",
        "events.consequences",
        "return int(self._suppression.add(opt_out))",
        "return 0",
    ),
    _python("a door says yes before it stores", "events.intake", "return set(notifications)", "return set()"),
    _python("events are not stored", "events.intake", "self._store.put(events)", "pass"),
    _python(
        "events wait for an announcement",
        "celery.worker.duties",
        "self._client.broker.process_events(site)\n\n    def _look_for_endings",
        "pass\n\n    def _look_for_endings",
        harmless="the look for ended sends brings events, too, and here every site has somebody who listens for ends",
    ),
    _lua("a fact is counted each time", "count_facts", "if not teller then", "if true then", needs="full mailboxes"),
    _lua(
        "events are not put in line",
        "put_events",
        "redis.call('ZADD', key('events', 'unprocessed', site), ARGV[i + 5], id)",
        "",
    ),
)
OPT_OUTS = (
    _lua("opt-outs are not looked at", "claim", "if redis.call('EXISTS', key('optouts')) == 1 then", "if false then"),
    _lua("one opt-out is all", "claim", "if #opted_out > 0 and remaining == 0 then", "if #opted_out > 0 then"),
    _lua("a weaker reason replaces a stronger one", "suppress", "if not replaces then", "if false then"),
    _lua("opt-outs of a list are not looked at", "suppression", "for i = 1, 3 do", "for i = 1, 2 do"),
    _lua(
        "bulk ignores what transactional email may",
        "claim",
        "for i = 10, lane == 'transactional' and #ARGV or 0 do",
        "for i = 10, #ARGV do",
    ),
)
SOFT_BOUNCES = (
    _lua("a delivery lifts no soft bounce", "soft_bounces", "redis.call('ZREMRANGEBYSCORE', bounces, '-inf', at)", ""),
    _lua(
        "soft bounces opt out for ever",
        "suppression",
        "return record and (not till or tonumber(till) > now_ms())",
        "return record",
    ),
)
ERASING = (
    _lua("opt-outs of who was erased are not looked at", "suppression", "spellings[3] = name", ""),
    _lua("who was erased keeps what waits for her", "erase_send", "if waits[state] and", "if false and"),
    _lua("who was erased stays in email to several", "erase_send", "'addresses', ARGV[4], ", ""),
    _lua(
        "who holds an email to who was erased may go on",
        "erase_send",
        "  if state == 'claimed' then",
        "  if false then",
    ),
    _lua(
        "what is taken from its holder is not queued",
        "erase_send",
        "move(id, state, 'scheduled', lane, now_ms())",
        "",
        harmless="it has no owner: the next sweep queues it, some seconds later",
    ),
    _lua(
        "how far email got is noted of who was erased",
        "progress",
        "if is_erased(recipient, ARGV[2] * 1000) then",
        "if false then",
    ),
)
GUARD = (
    _lua("one address gets any number", "guard", "redis.call('ZCARD', book) >= limit", "false"),
    _lua(
        "a claim that is repeated counts again",
        "guard",
        "redis.call('ZADD', book, 'NX', now, id)",
        "redis.call('ZADD', book, now, id .. now)",
    ),
)
ACCEPTANCE = (
    _lua(
        "an idempotency key is not looked up",
        "accept",
        "if has_key then\n  seen, of_key",
        "if false then\n  seen, of_key",
    ),
    _lua(
        "another email is swallowed under a known key",
        "accept",
        "if tells_another_email(content, of_key and of_key ~= '' and of_key or f[2] or '') then",
        "if false then",
    ),
    _lua(
        "a delay is not kept",
        "accept",
        "local due = math.max(tonumber(ARGV[5]) or 0, now + tonumber(ARGV[6]))",
        "local due = now",
    ),
    _lua("a blob is referred to twice", "accept", "'references', 1)", "'references', 2)"),
    _lua("a blob stays", "rows", "redis.call('DEL', key('blob', digest))", ""),
    _lua("a blob goes with its first reader", "rows", "'references', -1) <= 0 then", "'references', -1) <= 100 then"),
    _python("a missing blob is not sent again", "state.ledger.ledger", 'if answer[0] == b"missing":', "if False:"),
    _python(
        "a new email gets no ticket",
        "sending.outbox",
        "self._broker.issue([ticket], in_a_hurry=True, options=options)",
        "pass",
    ),
)
MISFITS = (
    _python(
        "what is no email is dropped",
        "celery.tasks",
        "patiently(lambda: client.ledger.set_aside(request.id, content, reason))",
        "pass",
    ),
    _lua(
        "what is no email takes an email's place",
        "set_aside",
        "if redis.call('EXISTS', row) == 1 then",
        "if false then",
    ),
    _python(
        "what cannot be read is left as it is",
        "state.ledger.ledger",
        "return self._set_aside(send_id, token, unread if all(blobs) else PART_IS_MISSING)",
        "return None",
    ),
)
FORMER_NAMES = (
    _lua(
        "large parts stay under the former names", "adopt", "redis.call('HGET', former('blob', digest), 'data')", "nil"
    ),
    _lua("what is taken over is in no index", "adopt", "redis.call('ZADD', index(state, id, lane), score, id)", ""),
    _python("nobody looks for what has former names", "state.ledger.former_names", "if all_mine:", "if False:"),
)
SENDING = (
    _python(
        "no answer means not sent",
        "sending.delivery.aftermath",
        "return self.no_answer(claim, str(error), error.code)",
        "return self._back_off(claim, Cause.UNREACHABLE, error)",
    ),
    _python(
        "a stale claim asks SES",
        "sending.delivery.turn",
        "            raise\n        except LedgerUnavailable:",
        "            return None\n        except LedgerUnavailable:",
    ),
    _python(
        "SES is asked though Redis did not say so",
        "sending.delivery.turn",
        "return Postponed(seconds=0.0, cause=Cause.UNREACHABLE, reason=reason)",
        "return None",
    ),
    _python("a yes is tried to be written down once", "sending.patience", "if given_up.is_set():", "if True:"),
    _python(
        "a bug leaves the send as it is",
        "sending.delivery.aftermath",
        "        self.no_answer(claim, reason)\n        shown",
        "        shown",
        needs="an unsteady SES",
    ),
    _python(
        "the rest of a lot is dropped",
        "sending.delivery.delivery",
        "yield self._aftermath.give_back(claim)",
        "yield Stale()",
    ),
    _python(
        "a throttle is a refusal",
        "sending.delivery.aftermath",
        "return self._back_off(claim, Cause.THROTTLED, error)",
        "return self.rejected(claim, SendRejected('no'))",
    ),
    _python(
        "a late yes is dropped",
        "state.ledger.ledger",
        "            self.record_evidence(claim.send_id, message_id)\n",
        "",
    ),
    _python(
        "a claim is tried under another token",
        "sending.delivery.delivery",
        "lambda: self._ledger.claim(send_id, self._lease.owner(), token)",
        "lambda: self._ledger.claim(send_id, self._lease.owner())",
        needs="a moody SES",
    ),
)
ACCOUNTS = (
    _python("bulk falls back, too", "sending.fallback", "claim.lane is Lane.TRANSACTIONAL and claim.att", "claim.att"),
    _python("what waits for the rate falls back", "sending.fallback", "cause not in FALLS_BACK", "False"),
    _python("what SES may have had moves", "sending.fallback", "claim.attempts == 0 and ", ""),
    _lua("what was unknown there comes back", "claim", "number_of(f[7]) > 0 and f[17] or account", "account"),
)
RATE = (
    _python(
        "bulk reserves as far ahead as transactional email",
        "sending.throttle",
        "horizon_us = round(HORIZON_SECONDS[self.turns] * 1e6)",
        "horizon_us = 2_000_000",
        needs="a crowd",
    ),
    _python(
        "a slow account takes all threads",
        "sending.crowd",
        "            if is_full or place in self._threads:\n                return False\n",
        "",
        needs="a crowd",
        trait="accounts",
    ),
    _lua(
        "slots are not paced",
        "throttle_reserve",
        "math.ceil(math.max(now, row.tail, row.next, from))",
        "math.ceil(math.max(now, row.tail))",
    ),
    _lua(
        "a paused line is open",
        "throttle_reserve",
        "if not tried or tonumber(due)",
        "if tried and tonumber(due)",
        needs="pauses",
    ),
    _lua("the quota is not looked at", "throttle_reserve", "if excess <= 0 then", "if true then", needs="quota"),
    _lua("what waits for the quota sleeps on", "sweep_room", "(recipients <= room or may_try)", "may_try"),
    _lua("the breaker's line is never tried", "breaker", "now + pause, longest", "now + 1e9, longest"),
    _lua(
        "no answer closes no line",
        "breaker",
        "if entry or redis.call('INCR', of_account('unclear')) < tonumber(ARGV[3]) then",
        "if true then",
        needs="outages",
    ),
    _lua("a stopped line stays so", "throttle_accepted", "redis.call('HDEL', of_account('line'), field)", "0"),
    _lua("a stopped line is not tried", "line", "0 or now + tonumber(ARGV[4])", "0 or now + 1e12", needs="a moody SES"),
    _lua(
        "the margin is not widened",
        "throttle_refused",
        "if widened then",
        "if false then",
        harmless="the rate that SES tells is right here; what others send on the account is not simulated",
    ),
    _python(
        "a turnstile forgets who waits",
        "sending.turnstile",
        "self._waiting.popleft().set()",
        "self._waiting.popleft()",
        harmless="who waits sees its turn when its patience ends: ten seconds late",
    ),
)
TELLING = (
    _lua("ends are not noted", "rows", "redis.call('ZADD', key('untold', site), now, id)", ""),
    _lua("what was told is told again", "told", "redis.call('ZREM', untold, ARGV[2])", ""),
    _lua("ends are told by several", "gather_untold", "redis.call('ZADD', untold, now + tonumber(ARGV[3]), id)", ""),
    _lua("nobody is known to listen", "listen", "string.format('%.0f', now_ms() + tonumber(ARGV[2]))", "'0'"),
    _python(
        "that it was told is not noted",
        "sending.telling",
        "self._endings.told(self._site, ending, failed=failed, again_in_seconds=pause_seconds)",
        "pass",
    ),
    _python(
        "good news is bad news",
        "sending.telling",
        "email_sent if status.state is State.SENT else email_failed",
        "email_failed if status.state is State.SENT else email_sent",
    ),
)
ANSWERING = (
    _lua(
        "callers are not answered",
        "rows",
        "redis.call('ZADD', key('unanswered'), now_ms() + ANSWER_AFTER_MS, id .. ' ' .. task_id)",
        "",
    ),
    _lua(
        "a caller is answered by several",
        "answer",
        "if number_of(f[6]) > now and holder ~= ARGV[3] then",
        "if false then",
        needs="slow callbacks",
    ),
    _lua(
        "who calls later is not kept",
        "accept",
        "if f[1] and ARGV[24] == '1' then",
        "if false then",
    ),
    _python(
        "nobody issues last tickets",
        "sending.sweeper",
        "while tickets := self._callers.last_tickets(PAGE):",
        "while tickets := []:",
    ),
    _python(
        "an answer that failed counts as given",
        "celery.ending",
        "        _put_back(task, answer)\n        log",
        "        task.client.callers.answered(answer)\n        log",
    ),
)
BATCHES = (
    _lua(
        "a chunk is anybody's",
        "batches",
        "string.match(hold, '^%S+ (%S+)') == token and hold",
        "hold",
        needs="chunks",
    ),
    _lua(
        "opt-outs are not asked at the last moment",
        "batch_begin",
        "(has_opt_outs and suppressed(",
        "(false and suppressed(",
        needs="leaving",
    ),
    _lua("a paused batch goes on", "batch_begin", "or f[1] ~= 'running' then", "then"),
    _lua("who is queued is not remembered", "batch_add", "bucket.held .. table.concat(bucket.new)", "bucket.held"),
    _lua("proof for one of a batch is dropped", "batch_leave", "if is_proved(batch, number) then", "if false then"),
    _lua(
        "chunks of the living are taken over",
        "batch_take_over",
        "(owner ~= 'sweep' and not is_alive(owner, now)) or",
        "true or",
    ),
    _lua("a batch ends before its rows", "batch_finish", " + redis.call('ZCARD', of_batch(id, 'rows'))", ""),
    _lua("the rest of a chunk is forgotten", "batch_release", "if left == 0 then", "if true then"),
    _lua("a batch takes its turn for nothing", "batch_claim", "math.max(1, (left_in_chunk(id, chunk)))", "0"),
    _lua("a ramp is not looked at", "batch_begin", "if not why and f[6] and not", "if false and not", needs="ramps"),
    _lua("a ramp that is taken off still holds", "batch_slow", "'wait_until', 0)", "'slow', 0)", needs="ramps"),
    _lua("who waits again counts for the ramp", "batches", "'ramp_begun', -1)", "'ramp_begun', 0)", needs="ramps"),
    _python("a batch's rate is not kept", "sending.delivery.turn", "claim.run_rate,", "None,"),
    _python(
        "whom a dead worker asked for stays so",
        "sending.batches.sending",
        "unknown += self._write_unknown(held)",
        "unknown += 0",
    ),
    _python(
        "whom a dead worker asked for is asked for again",
        "sending.batches.sending",
        "unknown += self._write_unknown(held)",
        "ChunkLedger(self._batches, self._ledger, held).put_back(held.numbers('sending'))",
        needs="the dead",
    ),
)
DROPS = (
    _python(
        "what SES dropped is not noted",
        "events.consequences",
        "            if event.send_id and event.message_id:\n                code, meaning",
        "            if False:\n                code, meaning",
    ),
    _lua("what SES drops while it is asked stays sent", "rows", "if f.dropped then", "if false then"),
    _lua("what SES drops while its batch asks stays sent", "batch_finish", "if f[8] then", "if false then"),
    _lua("what SES has dropped is sent by its late first word", "evidence", "was_dropped(f[7], message_id)", "false"),
    _lua(
        "of what SES dropped twice one is forgotten", "drops", "before and before .. ' ' .. message_id or", "before or"
    ),
    _lua("a drop is a proof and no more", "drops", "reject_dropped(id, f[1],", "finish_sent(id, f[1],"),
)
BRAKE = (
    _lua("the brake closes nothing", "brake", "redis.call('HSET', key('line'), FIELD, string", "local _ = (string"),
    _lua("a trial takes any number", "throttle_reserve", "math.max(0, tonumber(left) - recipients)", "tonumber(left)"),
    _lua(
        "a trial begins at once",
        "throttle_reserve",
        "local begins_later = trial_at and tonumber(trial_at) * 1000 > now",
        "local begins_later = false",
    ),
    _lua("what brought the brake about counts again", "brake", "count_anew(now + pause)", ""),
    _lua("bounces are not counted for the brake", "count_facts", "not JUDGED[kind] or longest == 0", "true"),
    _python("nobody looks whether the brake is needed", "sending.brake", "self._close(judgement, sites)", "pass"),
)


STORIES = (_lua("an end is not noted among the moves", "rows", "note_move(id, from, to, why or code)", ""),)


def _needing(what: str, bugs: tuple[Bug, ...], trait: str = "") -> Iterator[Bug]:
    return (replace(bug, needs=bug.needs or what, trait=bug.trait or trait) for bug in bugs)


MUTANTS: tuple[Bug, ...] = (
    *CLAIMS,
    *TICKETS,
    *SWEEPS,
    *EVIDENCE,
    *_needing("leaving", OPT_OUTS),
    *_needing("full mailboxes", SOFT_BOUNCES),
    *_needing("the erased", ERASING),
    *_needing("", GUARD, trait="guard"),
    *ACCEPTANCE,
    *_needing("misfits", MISFITS),
    *_needing("lost tickets", FORMER_NAMES, trait="former names"),
    *SENDING,
    *_needing("accounts", ACCOUNTS, trait="accounts"),
    *_needing("brake", BRAKE, trait="brake"),
    *RATE,
    *_needing("telling", TELLING),
    *_needing("telling", ANSWERING),
    *_needing("batches", BATCHES, trait="batches"),
    *_needing("drops", DROPS, trait="templates"),
    *STORIES,
)
