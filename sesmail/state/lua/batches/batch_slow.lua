-- needs: batches
-- Somebody says how fast a batch may go: recipients a second, or how many on its first day from now, twice as many on each
-- that follows.
--
-- ARGV: 1 id, 2 'rate' or 'ramp', 3 the number; '' takes it off
-- Answers 'slowed'; or 'gone', 'of a newer release'.
local id = ARGV[1]
local version = redis.call('HGET', of_batch(id), 'v')
if not version then
  return 'gone'
end
if (tonumber(version) or math.huge) > BATCH_VERSION then
  return 'of a newer release'
end
redis.call('HDEL', of_batch(id), ARGV[2])
if ARGV[2] == 'ramp' then
  if redis.call('HDEL', of_batch(id), 'ramp_from', 'ramp_day', 'ramp_begun') > 0 then
    redis.call('HSET', of_batch(id), 'wait_until', 0) -- what it waits for may be the next day of the former ramp
  end
  if ARGV[3] ~= '' then
    redis.call('HSET', of_batch(id), 'ramp_from', now_ms())
  end
end
if ARGV[3] ~= '' then
  redis.call('HSET', of_batch(id), ARGV[2], ARGV[3])
end
return 'slowed'
