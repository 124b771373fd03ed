-- needs: rows
-- Finds callers who wait for the end of a send that has ended, the longest waiting first: each needs one last ticket. Tickets
-- may be lost, so it is found again after a pause that doubles each time, until somebody has answered.
--
-- ARGV: 1 how many at most, 2 the first pause (ms)
-- Answers {id, task id, what is to be done, how many such tickets it has had by now, ...}. One whose send goes on, or is gone, is dropped: it is
-- there anew when that ends.
local MOST_DOUBLINGS = 6
local unanswered, now, answer = key('unanswered'), now_ms(), {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', unanswered, '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local id, task_id = string.match(member, '^(%S+) (%S+)$')
  local f = redis.call('HMGET', key('send', id), 'state', 'caller:' .. task_id)
  if ENDS[f[1]] and f[2] then
    local times = redis.call('HINCRBY', key('send', id), 'asked:' .. task_id, 1)
    redis.call('ZADD', unanswered, now + ARGV[2] * 2 ^ math.min(times - 1, MOST_DOUBLINGS), member)
    for _, value in ipairs({id, task_id, f[2], times}) do
      answer[#answer + 1] = value
    end
  else
    redis.call('ZREM', unanswered, member)
  end
end
return answer
