-- needs: rows
-- Queues the scheduled sends of a lane whose time has come.
-- Moves: scheduled -> queued: its time has come
--
-- ARGV: 1 lane, 2 how many at most
-- Answers {id, lane, wishes, ...}: they need tickets (see `add_ticket`).
local lane, answer = ARGV[1], {}
local due = redis.call('ZRANGEBYSCORE', key('in', 'scheduled', lane), '-inf', now_ms(), 'LIMIT', 0, ARGV[2])
for _, id in ipairs(due) do
  if is_there(id, key('in', 'scheduled', lane)) then
    requeue(id, 'scheduled', lane, false)
    add_ticket(answer, id, lane)
  end
end
return answer
