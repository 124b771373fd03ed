-- needs: batches
-- Begins a batch, or goes on with one that was begun under the same key. Whoever opens it last may add to it.
--
-- ARGV: 1 id for a new one, 2 token of who adds, 3 site, 4 digest of the key, 5 digest of what the letter says, 6 its lifetime
--       after its end (ms), 7 account, 8 lane, 9 list (or ''), 10 send at (epoch ms or ''), 11 expires at (epoch ms or ''),
--       12 greatest age (ms), 13 weight, 14 metadata (JSON or ''), 15 the letter (compressed), 16 its digest, 17 recipients a
--       second that it may have (or ''), 18 how many on its first day, twice as many on each that follows (or ''), 19 a new
--       secret, for a ledger that has none: see index.lua
-- Answers {'opened' or 'resumed', id}; {'other', id} where the key stands for another letter; {'cancelled', id}.
local of_key, now = key('batch-key', ARGV[3], ARGV[4]), now_ms()

-- When it is worth nothing any more, or too old, for what is due then.
local function expires_at(due)
  local oldest = due + tonumber(ARGV[12])
  return string.format('%.0f', math.min(tonumber(ARGV[11]) or oldest, oldest))
end

-- When it may begin, and how fast it may go. Answers the former.
local function take_terms(id)
  local due = math.max(tonumber(ARGV[10]) or 0, now)
  redis.call('HSET', of_batch(id), 'wait_until', due, 'weight', ARGV[13])
  redis.call('HDEL', of_batch(id), 'rate', 'ramp', 'ramp_from')
  if ARGV[17] ~= '' then
    redis.call('HSET', of_batch(id), 'rate', ARGV[17])
  end
  if ARGV[18] ~= '' then
    redis.call('HSET', of_batch(id), 'ramp', ARGV[18], 'ramp_from', due)
  end
  return due
end

local id = redis.call('GET', of_key)
if id and redis.call('EXISTS', of_batch(id)) == 1 then
  local f = redis.call('HMGET', of_batch(id), 'content', 'state', 'adds', 'v', 'wait_until')
  if f[1] ~= ARGV[5] or (tonumber(f[4]) or math.huge) > BATCH_VERSION then
    return {'other', id}
  end
  if f[2] == 'cancelled' then
    return {'cancelled', id}
  end
  if f[2] == 'queueing' then -- nothing has gone out: it is as the last call says
    f[5] = take_terms(id)
  end
  redis.call('HSET', of_batch(id), 'adds', ARGV[2], 'expires_at', expires_at(math.max(now, tonumber(f[5]))))
  if f[2] == 'queueing' or f[2] == 'finished' then
    keep_for(id, ARGV[6])
  end
  if f[3] == ARGV[2] and redis.call('HGET', of_batch(id), 'opened_by') == ARGV[2] then
    return {'opened', id} -- repeated
  end
  return {'resumed', id}
end
id = ARGV[1]
redis.call('SETNX', key('index:secret'), ARGV[19]) -- the guard of guard.lua hashes addresses with it from the first on
redis.call('SET', of_key, id)
local due = take_terms(id)
redis.call('HSET', of_batch(id), 'v', BATCH_VERSION, 'site', ARGV[3], 'account', ARGV[7], 'lane', ARGV[8], 'list', ARGV[9],
  'content', ARGV[5], 'state', 'queueing', 'adds', ARGV[2], 'opened_by', ARGV[2], 'accepted_at', now, 'moved_at', now,
  'expires_at', expires_at(due),
  'letter', ARGV[15], 'letter_digest', ARGV[16], 'chunks', 0, 'key', of_key, 'lifetime', ARGV[6])
if ARGV[14] ~= '' then
  redis.call('HSET', of_batch(id), 'metadata', ARGV[14])
end
redis.call('ZADD', key('batches'), now, id)
keep_for(id, ARGV[6])
return {'opened', id}
