-- The rows of sends and their indexes.
--
-- `send:<id>` is a hash: one row a send. Every state has one index, a sorted set of ids: `in:<state>`; queued sends have
-- one for each of the broker's queues, `in:queued:<lane>`, so that each is in the order of its tickets; scheduled ones have
-- one for each lane, so that a closed lane can be left alone. A row is in exactly the index of its state. The sent ones, which
-- are by far the most and never move again, stand in a list instead, `sent`, at a third of the memory; former releases have
-- theirs in `in:sent`.
--
-- A row says in `v` which version of its form it has, and in `site` and `account` whose it is: the site that accepted it and
-- the account of SES that it goes through. (Version 1 says neither.) What a newer release wrote is left for it: no worker of
-- this one sends it, no sweep of this one settles, resends or forgets it. Only its tickets are issued, which tell nothing.
local ROW_VERSION = 2
local OF_NEWER = 'of a newer release'
local ERASED = 'erased'

local function is_known(version)
  return not version or (tonumber(version) or math.huge) <= ROW_VERSION
end

local function is_newer(id)
  return not is_known(redis.call('HGET', key('send', id), 'v'))
end

-- The number at the head of a text, or 0; a later release may put more behind it.
local function number_of(text)
  return tonumber(string.match(text or '', '^%d+')) or 0
end

-- The lane in whose queue the ticket of a queued send is: express tickets go with the transactional ones.
local function queue(lane, express)
  return express and 'transactional' or lane
end

local function index_of(state, lane, express)
  if state == 'queued' then
    return key('in', state, queue(lane, express))
  end
  return key('in', state, state == 'scheduled' and lane or nil)
end

local function index(state, id, lane)
  return index_of(state, lane, state == 'queued' and redis.call('HGET', key('send', id), 'express'))
end

-- Whether a send that stands in an index has a row. One whose row was evicted, or deleted by hand, is struck off, so that it
-- holds up nobody else.
local function is_there(id, name)
  if redis.call('EXISTS', key('send', id)) == 1 then
    return true
  end
  redis.call('ZREM', name, id)
  return false
end

-- What follows `score` are fields of the row and their values, written in the same command.
local function enter(id, state, lane, score, ...)
  if state == 'sent' then
    redis.call('RPUSH', key('sent'), id)
  else
    redis.call('ZADD', index(state, id, lane), score, id)
  end
  redis.call('HSET', key('send', id), 'state', state, 'moved_at', now_ms(), ...)
end

-- How a send came where it is, for people who ask: the moves by which it left the common road (accepted, claimed, asked,
-- sent), which is all that most ever make. `moves` has a line of each, the latest last, and no more than so many:
--
--   <when, epoch s>[*<how often in a row>] <state> <why, in a word> <the worker, or ->
--
-- A sent row keeps the last of them that fit into a small hash's value, without their workers; and none where it has waited
-- for its turn alone, as the most part of a large run may.
--
-- These are two functions and no tables of their own: Redis makes each anew at every call of a script, on the common road, too.
local function with_move(moves, state, why, worker)
  local MOST, lines, word = 10, {}, string.gsub(why or '', '%s', '-')
  for line in string.gmatch(moves or '', '[^\n]+') do
    lines[#lines + 1] = line
  end
  local said = state .. ' ' .. (word == '' and '-' or word)
  local at, times, before = string.match(lines[#lines] or '', '^(%d+)%*?(%d*) (%S+ %S+)')
  if before == said then
    lines[#lines] = string.format('%s*%d %s %s', at, (tonumber(times) or 1) + 1, said, worker or '-')
  else
    lines[#lines + 1] = string.format('%.0f %s %s', math.floor(now_ms() / 1000), said, worker or '-')
  end
  return table.concat(lines, '\n', math.max(1, #lines - MOST + 1))
end

local function note_move(id, from, to, why)
  local f = redis.call('HMGET', key('send', id), 'moves', 'owner')
  local is_held = from == 'claimed' or from == 'sending'
  redis.call('HSET', key('send', id), 'moves', with_move(f[1], to, why, is_held and f[2] or '-'))
end

-- Moves a send; `score` places it in the new state's index (a time in ms, see keys.py).
local function move(id, from, to, lane, score, ...)
  redis.call('ZREM', index(from, id, lane), id)
  enter(id, to, lane, score, ...)
end

-- Back to the queue with a ticket that overtakes bulk (`express`), or at the end of its lane. `why` is noted, unless it was
-- to come back at this time anyhow.
local function requeue(id, from, lane, express, why)
  redis.call('ZREM', index(from, id, lane), id)
  if why then
    note_move(id, from, 'queued', why)
  end
  if express then
    redis.call('HSET', key('send', id), 'express', '1')
  else
    redis.call('HDEL', key('send', id), 'express')
  end
  enter(id, 'queued', lane, now_ms())
end

-- Gives a send back that this worker must leave to another. It is due again soon, and later each time: where no worker can
-- take it, many of them must not keep broker and workers busy. It has not been tried, and waited for nothing of its own.
local function leave(id, from, lane, reason)
  local times = redis.call('HINCRBY', key('send', id), 'left', 1)
  redis.call('HSET', key('send', id), 'reason', reason)
  redis.call('HDEL', key('send', id), 'waits_for')
  note_move(id, from, 'scheduled', 'for-another-worker')
  move(id, from, 'scheduled', lane, now_ms() + math.min(5 * times, 60) * 1000)
end

-- A ticket to be issued: id, lane, and what its caller gave with it ('': nothing), so that it is as good as the first.
local function add_ticket(answer, id, lane)
  for _, value in ipairs({id, lane, redis.call('HGET', key('send', id), 'caller:' .. id) or ''}) do
    answer[#answer + 1] = value
  end
end

-- A blob goes with the last row that uses it.
local function drop_blobs(digests)
  for digest in string.gmatch(digests or '', '%S+') do
    if redis.call('HINCRBY', key('blob', digest), 'references', -1) <= 0 then
      redis.call('DEL', key('blob', digest))
    end
  end
end

-- Frees the email's text.
local function drop_body(id)
  drop_blobs(redis.call('HGET', key('send', id), 'blobs'))
  redis.call('HDEL', key('send', id), 'email', 'blobs', 'addresses', 'list')
end

-- Where a site has receivers for the ends of its sends, its workers tell them: see endings.py.
local function to_be_told(id)
  if redis.call('EXISTS', key('listeners')) == 0 then
    return
  end
  local site, now = redis.call('HGET', key('send', id), 'site'), now_ms()
  if site and number_of(redis.call('HGET', key('listeners'), site)) > now then
    redis.call('ZADD', key('untold', site), now, id)
    redis.call('HDEL', key('send', id), 'told_in_vain', 'told_in_vain_to') -- of an earlier end
  end
end

-- Who called for a send may want something done at its end: Celery's callbacks, chains, chords and results. Its row has
-- `callers`, the ids of their tasks, and for each of them `caller:<task id>`, what is to be done (see answering.py). The id of
-- the first is that of the send; others came with the same idempotency key. `caller:<id>` alone is for tickets only.
local ENDS = {sent = 1, rejected = 1, suppressed = 1, cancelled = 1, expired = 1, abandoned = 1}
local ANSWER_AFTER_MS = 1000 -- the worker that settles a send has answered by then

local function to_be_answered(id)
  for task_id in string.gmatch(redis.call('HGET', key('send', id), 'callers') or '', '%S+') do
    redis.call('ZADD', key('unanswered'), now_ms() + ANSWER_AFTER_MS, id .. ' ' .. task_id)
  end
end

local function add_caller(id, task_id, wishes)
  local row = key('send', id)
  redis.call('HSET', row, 'caller:' .. task_id, wishes)
  local callers = redis.call('HGET', row, 'callers')
  if not string.find(' ' .. (callers or '') .. ' ', ' ' .. task_id .. ' ', 1, true) then
    redis.call('HSET', row, 'callers', callers and callers .. ' ' .. task_id or task_id)
  end
  if ENDS[redis.call('HGET', row, 'state')] then
    to_be_answered(id)
  end
end

-- What histograms are made of (meters.py): of each label, how many lay below each bound in seconds and above the one before
-- it, and their sum in ms. In the act that settles a send, so that none is counted twice and none is lost with its worker.
local SECONDS_BOUNDS = {0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400}

local function measure(meter, label, ms)
  ms = math.max(ms, 0)
  local bound = '+Inf'
  for _, seconds in ipairs(SECONDS_BOUNDS) do
    if ms <= seconds * 1000 then
      bound = tostring(seconds)
      break
    end
  end
  redis.call('HINCRBY', key('meters', meter), label .. ' ' .. bound, 1)
  redis.call('HINCRBY', key('meters', meter), label .. ' sum', string.format('%.0f', ms))
end

-- SES has answered a call that it was asked since the send came to be `sending`.
local function measure_answer(answer, asked_at)
  measure('seconds_to_answer', answer, now_ms() - tonumber(asked_at))
end

-- What nobody asks of a sent row (of its text, too), and what is understood where it is not said.
local OF_NO_USE_ONCE_SENT = {owner = 1, token = 1, expires_at = 1, express = 1, left = 1, reason = 1, code = 1,
  wanted_at = 1, let_pass = 1, email = 1, blobs = 1, addresses = 1, list = 1, dropped = 1}
local UNDERSTOOD_ONCE_SENT = {v = tostring(ROW_VERSION), account = 'default', attempts = '1', waits = '0'}

local MOST_BYTES_OF_MOVES = 64 -- a longer value makes a hash large: hash-max-listpack-value

-- What a sent row goes on with, of the fields that it had. What other releases have put there is kept.
local function kept_once_sent(fields, message_id, left_out)
  local kept, tried = {'message_id', message_id}, false
  for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    local is_told = name == 'message_id' or (name == 'evidence' and value == message_id)
    if name == 'moves' then
      local tells, kept_moves = false, ''
      for line in string.gmatch(value, '[^\n]+') do
        line = string.match(line, '^%S+ %S+ %S+') or ''
        tells = tells or not string.find(line, ' scheduled rate', 1, true)
        kept_moves = kept_moves == '' and line or kept_moves .. '\n' .. line
      end
      while #kept_moves > MOST_BYTES_OF_MOVES do -- the earliest go
        kept_moves = string.match(kept_moves, '\n(.*)') or ''
      end
      value = tells and kept_moves ~= '' and kept_moves
    end
    tried = tried or name == 'attempts'
    local is_dropped = not value or is_told or OF_NO_USE_ONCE_SENT[name] or left_out[name]
    if not is_dropped and UNDERSTOOD_ONCE_SENT[name] ~= value then
      kept[#kept + 1] = name
      kept[#kept + 1] = value
    end
  end
  if not tried then
    kept[#kept + 1] = 'attempts'
    kept[#kept + 1] = '0'
  end
  return kept
end

-- Writes a row anew that is sent: status, events and receivers ask for little of it, and a hash that was ever large stays in
-- the form of large ones, at twice the memory.
local function write_anew(id, message_id)
  local kept = kept_once_sent(redis.call('HGETALL', key('send', id)), message_id, {})
  redis.call('DEL', key('send', id))
  redis.call('HSET', key('send', id), unpack(kept))
end

-- Whether an event has told that SES dropped what it took under this id: see drops.lua.
local function was_dropped(dropped_ids, message_id)
  return string.find(' ' .. (dropped_ids or '') .. ' ', ' ' .. message_id .. ' ', 1, true) ~= nil
end

-- A send that SES took and then dropped, as its event tells, is rejected after all. Who waited for its end has had one where it
-- was sent.
local function reject_dropped(id, from, lane, message_id, code, reason)
  local row = key('send', id)
  note_move(id, from, 'rejected', code)
  if from == 'sent' then
    redis.call('LREM', key('sent'), -1, id)
    redis.call('PERSIST', row)
  end
  for name, understood in pairs(UNDERSTOOD_ONCE_SENT) do
    redis.call('HSETNX', row, name, understood)
  end
  redis.call('HDEL', row, 'token', 'waits_for')
  move(id, from, 'rejected', lane, now_ms(), 'reason', reason, 'code', code, 'message_id', message_id)
  to_be_told(id)
  if not ENDS[from] then
    to_be_answered(id)
  end
end

local function finish_sent(id, from, lane, message_id, retention_ms)
  local row, f = key('send', id), {}
  local fields = redis.call('HGETALL', row)
  for i = 1, #fields, 2 do
    f[fields[i]] = fields[i + 1]
  end
  drop_blobs(f.blobs)
  redis.call('ZREM', index(from, id, lane), id)
  redis.call('DEL', row)
  local left_out = {state = 1, moved_at = 1, ['caller:' .. id] = not f.callers or nil}
  enter(id, 'sent', lane, nil, unpack(kept_once_sent(fields, message_id, left_out)))
  redis.call('PEXPIRE', row, retention_ms)
  to_be_told(id)
  if f.callers then
    to_be_answered(id)
  end
  if f.dropped then -- its event came before SES's answer
    local its, code, reason = string.match(f.dropped, '^(%S+) (%S+) (.*)$')
    if its == message_id then
      reject_dropped(id, 'sent', lane, message_id, code, reason)
    end
  end
end

-- Ends or parks a send with a reason, and in a word `why`, which is most often the code. Its text stays, so that an operator
-- can send it again.
local function finish(id, from, to, lane, reason, code, why)
  note_move(id, from, to, why or code)
  move(id, from, to, lane, now_ms())
  redis.call('HSET', key('send', id), 'reason', reason, 'code', code or '')
  if to ~= 'unknown' then
    to_be_told(id)
    to_be_answered(id)
  end
end

-- Whatever SES answered to this call: if an event has proved meanwhile that it took the email, it counts as sent.
local function finish_proved(id, from, lane, retention_ms)
  local f = redis.call('HMGET', key('send', id), 'evidence', 'token')
  if f[1] then
    finish_sent(id, from, lane, f[1], retention_ms)
    redis.call('HSET', key('send', id), 'token', f[2]) -- this call, repeated, is answered as it was
  end
  return f[1]
end

-- No answer from SES: parked as unknown, unless an event has proved that SES took it.
local function finish_unknown(id, from, lane, reason, code, retention_ms, why)
  if finish_proved(id, from, lane, retention_ms) then
    return 'sent'
  end
  finish(id, from, 'unknown', lane, reason, code, why)
  return 'unknown'
end
