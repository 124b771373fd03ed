-- needs: pseudonyms, suppression
-- Counts passing bounces by address; so many with no delivery between opt it out of everything for a while.
--
-- ARGV: 1 how many, 2 how far apart at most (ms), 3 how long they opt out (ms), then for each: 'bounce' or 'delivery',
--       digest of the address, the address, when it happened (ms), the event it came from
-- Answers how many were opted out by it.
local limit, window_ms, pause_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local optouts = key('optout', 'everything')
local opted_out = 0

local function bounced(bounces, address, at, source)
  redis.call('ZADD', bounces, at, at)
  local latest = tonumber(redis.call('ZREVRANGE', bounces, 0, 0)[1])
  redis.call('ZREMRANGEBYSCORE', bounces, '-inf', latest - window_ms)
  redis.call('PEXPIRE', bounces, string.format('%d', window_ms))
  if redis.call('ZCARD', bounces) < limit or holds(redis.call('HGET', optouts, address)) then
    return
  end
  local ends = string.format('%d', latest + pause_ms)
  redis.call('HSET', optouts, address, 'soft-bounced ' .. latest .. ' ' .. source .. '\nends=' .. ends)
  redis.call('SADD', key('optouts'), 'everything')
  opted_out = opted_out + 1
end

local function delivered(bounces, address, at)
  redis.call('ZREMRANGEBYSCORE', bounces, '-inf', at)
  local record = redis.call('HGET', optouts, address)
  if record and string.match(record, '^soft%-bounced ') and since(record) <= tonumber(at) then
    redis.call('HDEL', optouts, address)
  end
end

for i = 4, #ARGV, 5 do
  local bounces = key('soft', ARGV[i + 1])
  if ARGV[i] == 'bounce' then
    bounced(bounces, name_of(ARGV[i + 2]), ARGV[i + 3], ARGV[i + 4])
  else
    delivered(bounces, name_of(ARGV[i + 2]), ARGV[i + 3])
  end
end
return opted_out
