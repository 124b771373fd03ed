-- needs: rows
-- Takes a send over from the names under which a release that did not heed Celery's `global_keyprefix` kept it. It stays in
-- its state and in its place there. Those that a worker of that release holds are left to it, as are those that it has sent.
--
-- ARGV: 1 the base of the former names, 2 id, 3 a new secret, for a ledger that has none: see index.lua
-- Answers 1 where it was taken over, else 0.
local MAY_BE_TAKEN = {queued = 1, scheduled = 1, unknown = 1, rejected = 1, suppressed = 1, cancelled = 1, expired = 1,
  abandoned = 1}
local id = ARGV[2]
local function former(...)
  return ARGV[1] .. table.concat({...}, ':')
end

local f = redis.call('HMGET', former('send', id), 'state', 'lane', 'v', 'express', 'blobs')
local state, lane = f[1], f[2]
if not MAY_BE_TAKEN[state or ''] or not is_known(f[3]) or redis.call('EXISTS', key('send', id)) == 1 then
  return 0
end
local place = (state == 'queued' and f[4] and 'transactional') or lane
local by_lane = state == 'queued' or state == 'scheduled'
local stood_in = by_lane and former('in', state, place) or former('in', state)
local score = redis.call('ZSCORE', stood_in, id) or now_ms()

for digest in string.gmatch(f[5] or '', '%S+') do
  redis.call('HSETNX', key('blob', digest), 'data', redis.call('HGET', former('blob', digest), 'data') or '')
  redis.call('HINCRBY', key('blob', digest), 'references', 1)
  if redis.call('HINCRBY', former('blob', digest), 'references', -1) <= 0 then
    redis.call('DEL', former('blob', digest))
  end
end
redis.call('SETNX', key('index:secret'), ARGV[3])
local row = redis.call('HGETALL', former('send', id))
redis.call('HSET', key('send', id), unpack(row))
redis.call('ZADD', index(state, id, lane), score, id)
redis.call('ZREM', stood_in, id)
redis.call('DEL', former('send', id))
return 1
