-- needs: batches
-- Somebody pauses a batch, lets it go on, or takes back what has not begun.
-- Moves: queued -> cancelled: somebody takes it back
--
-- ARGV: 1 id, 2 'pause', 'resume' or 'cancel', 3 first chunk to look at, 4 how many
-- Answers {state of the batch, next chunk to look at or -1}; {'gone'}.
local id, wish = ARGV[1], ARGV[2]
local f = redis.call('HMGET', of_batch(id), 'state', 'v', 'chunks')
if not f[1] then
  return {'gone'}
end
if (tonumber(f[2]) or math.huge) > BATCH_VERSION then
  return {'of a newer release'}
end
if wish == 'pause' and f[1] == 'running' then
  redis.call('HSET', of_batch(id), 'state', 'paused')
  return {'paused', -1}
end
if wish == 'resume' and f[1] == 'paused' then
  redis.call('HSET', of_batch(id), 'state', 'running', 'wait_until', 0)
  return {'running', -1}
end
if wish ~= 'cancel' or f[1] == 'finished' then
  return {f[1], -1}
end
redis.call('HSET', of_batch(id), 'state', 'cancelled')
redis.call('ZADD', key('batches', 'open'), 'NX', now_ms(), id)
redis.call('ZREM', ready_of(id), id)
redis.call('DEL', of_batch(id, 'todo'))
local first, chunks = tonumber(ARGV[3]), tonumber(f[3])
for chunk = first, math.min(first + ARGV[4], chunks) - 1 do
  move_chunk(id, chunk, 'cancelled')
  if not redis.call('HGET', key('batches', 'held'), name_of_hold(id, chunk)) then
    redis.call('HDEL', of_batch(id, 'chunks'), string.format('%d', chunk))
  end
end
local following = first + tonumber(ARGV[4])
return {'cancelled', following < chunks and following or -1}
