-- needs: rows
-- Queues the scheduled sends of a lane whose time has come.
-- Moves: scheduled -> queued: its time has come
--
-- ARGV: 1 lane, 2 how many at most, 3 a closed scope of the line that they are to try, as `stopped:account` (or ''), 4 for
--       how long (ms) it must have been due for that
-- Answers {id, lane, wishes, ...}: they need tickets (see `add_ticket`).
local lane, answer = ARGV[1], {}
local closed = ARGV[3] ~= '' and redis.call('HGET', key('line'), ARGV[3])
if closed and number_of(closed) + tonumber(ARGV[4]) > now_ms() then
  return answer
end
local due = redis.call('ZRANGEBYSCORE', key('in', 'scheduled', lane), '-inf', now_ms(), 'LIMIT', 0, ARGV[2])
for _, id in ipairs(due) do
  if is_there(id, key('in', 'scheduled', lane)) then
    requeue(id, 'scheduled', lane, false)
    add_ticket(answer, id, lane)
  end
end
return answer
