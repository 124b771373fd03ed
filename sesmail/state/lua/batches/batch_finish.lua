-- needs: rows, batches, drops
-- Looks whether a batch has ended: nobody waits in it, and every row that left it has ended, too. Those are counted.
--
-- Moves: queued, sent, suppressed, cancelled, expired -> rejected: SES dropped it, as an event told while it was being asked
--        scheduled, claimed, unknown, abandoned -> rejected: the same, of one that has a row by now
--
-- ARGV: 1 id, 2 how many rows to look at
-- Answers 'finished' once; 'open'; 'more' where there are rows to look at; 'cancelling' where it was taken back and some still
--         wait; or 'gone'.
local id, now = ARGV[1], now_ms()
local f = redis.call('HMGET', of_batch(id), 'state', 'n:queued', 'n:sending', 'lifetime', 'site', 'v', 'rows_from', 'dropped')
if not f[1] then
  redis.call('ZREM', key('batches', 'open'), id)
  redis.call('ZREM', key('batches'), id)
  return 'gone'
end
if (tonumber(f[6]) or math.huge) > BATCH_VERSION then
  return 'open'
end
if f[8] then
  reject_late_dropped(id)
  f[2], f[3] = unpack(redis.call('HMGET', of_batch(id), 'n:queued', 'n:sending'))
end
local from = tonumber(f[7]) or 0
local rows = redis.call('ZRANGE', of_batch(id, 'rows'), from, from + ARGV[2] - 1)
for _, number in ipairs(rows) do
  local state = redis.call('HGET', key('send', id .. '-' .. number), 'state') or 'abandoned' -- gone: evicted
  if ENDS[state] then
    redis.call('ZREM', of_batch(id, 'rows'), number)
    redis.call('HINCRBY', of_batch(id), 'n:' .. state, 1)
    if state == 'sent' then
      redis.call('BITFIELD', of_batch(id, 'states'), 'SET', 'u4', '#' .. number, CODES.sent)
    end
  else
    from = from + 1
  end
end
local more = #rows == tonumber(ARGV[2])
redis.call('HSET', of_batch(id), 'rows_from', more and from or 0)
if more then
  return 'more'
end
local waits = (tonumber(f[2]) or 0) + (tonumber(f[3]) or 0) + redis.call('ZCARD', of_batch(id, 'rows'))
if f[1] == 'cancelled' and (tonumber(f[2]) or 0) > 0 then
  return 'cancelling'
end
if waits > 0 or f[1] == 'queueing' or f[1] == 'finished' then
  return 'open'
end
redis.call('HSET', of_batch(id), 'finished_at', now)
if f[1] ~= 'cancelled' then
  redis.call('HSET', of_batch(id), 'state', 'finished')
end
redis.call('ZREM', key('batches', 'open'), id)
redis.call('ZREM', ready_of(id), id)
local untold = key('batches', 'untold', f[5])
redis.call('ZADD', untold, now, id)
redis.call('ZREMRANGEBYSCORE', untold, '-inf', now - f[4]) -- nobody listens
keep_for(id, f[4])
return 'finished'
