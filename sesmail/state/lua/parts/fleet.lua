-- The worker processes. `workers` holds them by the end (ms) of their lease; `fleet` tells dead workers from a Redis that was
-- away.
--
-- When no one has given a sign of life for half a lease, then Redis was out of reach more likely than everybody dead: all
-- leases hold for another half, in which the living renew theirs. Once for each silence, so that the dead are found.
--
-- When Redis' clock was set back (a failover, a step of NTP), leases would end too late by as much: those of the dead are
-- struck off, while all hold for half a lease.
--
-- Answers whether all leases hold for now.
local function silence_is_forgiven(now, lease_ms)
  local f = redis.call('HMGET', key('fleet'), 'heard_at', 'forgiven', 'hold_until')
  local heard_at, hold_until = tonumber(f[1]), tonumber(f[3]) or 0
  if heard_at and heard_at > now + lease_ms / 2 then
    redis.call('ZREMRANGEBYSCORE', key('workers'), string.format('(%.0f', now + lease_ms), '+inf')
    hold_until = now + lease_ms / 2
    redis.call('HSET', key('fleet'), 'heard_at', now, 'forgiven', now, 'hold_until', hold_until)
    return true
  end
  if heard_at and f[1] ~= f[2] and now - heard_at > lease_ms / 2 then
    hold_until = now + lease_ms / 2
    redis.call('HSET', key('fleet'), 'forgiven', f[1], 'hold_until', hold_until)
  end
  return hold_until > now
end

local function is_alive(owner, now)
  return (tonumber(redis.call('ZSCORE', key('workers'), owner)) or 0) > now
end
