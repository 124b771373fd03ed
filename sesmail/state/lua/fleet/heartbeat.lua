-- needs: fleet
-- A worker process says that it is alive.
--
-- ARGV: 1 owner, 2 lease (ms)
-- Answers 1 if its lease was still good, 0 if it had run out (its claims may have been given away) or is the first.
local owner, lease_ms = ARGV[1], tonumber(ARGV[2])
local now = now_ms()
local was_alive = silence_is_forgiven(now, lease_ms) or is_alive(owner, now)
redis.call('ZADD', key('workers'), now + lease_ms, owner)
redis.call('HSET', key('fleet'), 'heard_at', now)
return was_alive and 1 or 0
