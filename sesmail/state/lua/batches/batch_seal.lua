-- needs: batches
-- The list has been read to its end: from now on the batch is sent. One that had ended before, and to which nobody was added,
-- stays ended.
--
-- ARGV: 1 id, 2 token of who adds
-- Answers the state of the batch, or 'lost' where somebody else adds to it now.
local id = ARGV[1]
local f = redis.call('HMGET', of_batch(id), 'adds', 'state', 'n:queued', 'lifetime')
if f[1] ~= ARGV[2] then
  return 'lost'
end
if f[2] == 'finished' and (tonumber(f[3]) or 0) == 0 then
  keep_for(id, f[4])
  return 'finished'
end
if f[2] == 'queueing' or f[2] == 'finished' then
  redis.call('HSET', of_batch(id), 'state', 'running')
  redis.call('HDEL', of_batch(id), 'finished_at')
  redis.call('ZADD', key('batches', 'open'), now_ms(), id)
  f[2] = 'running'
end
keep_for(id, nil)
make_ready(id)
return f[2]
