-- needs: batches
-- A worker gives a chunk back: what still waits in it waits for the next, what is done is forgotten.
-- Moves: queued -> cancelled: the batch was taken back meanwhile
--
-- ARGV: 1 id, 2 chunk, 3 token, 4 how long the whole batch waits (ms), 5 '1' if that makes its next back-off longer, '0' if it
--       ends it, '' otherwise
-- Answers how many of the chunk still wait; -1 where another worker has it. Where one is being asked for, which nobody could
-- write down, a sweep takes the chunk over.
local id, chunk = ARGV[1], tonumber(ARGV[2])
local name = name_of_hold(id, chunk)
local hold = redis.call('HGET', key('batches', 'held'), name)
if not hold or string.match(hold, '^%S+ (%S+)') ~= ARGV[3] then
  return -1
end
if redis.call('EXISTS', of_batch(id)) == 0 then
  redis.call('HDEL', key('batches', 'held'), name)
  return 0
end
if ARGV[5] == '1' then
  redis.call('HINCRBY', of_batch(id), 'waits', 1)
elseif ARGV[5] == '0' then
  redis.call('HDEL', of_batch(id), 'waits')
end
local wait_ms = tonumber(ARGV[4])
if wait_ms > 0 then
  redis.call('HSET', of_batch(id), 'wait_until', string.format('%.0f', now_ms() + wait_ms))
end
if redis.call('HGET', of_batch(id), 'state') == 'cancelled' then
  move_chunk(id, chunk, 'cancelled')
end
local left, asked = left_in_chunk(id, chunk)
if asked > 0 then
  redis.call('HSET', key('batches', 'held'), name, (string.gsub(hold, '^%S+', 'nobody')))
  return left
end
redis.call('HDEL', key('batches', 'held'), name)
if left == 0 then
  redis.call('HDEL', of_batch(id, 'chunks'), ARGV[2])
else
  redis.call('LPUSH', of_batch(id, 'todo'), ARGV[2])
  make_ready(id)
end
return left
