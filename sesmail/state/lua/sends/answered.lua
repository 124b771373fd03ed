-- needs: rows
-- A caller has been answered: what it had given is forgotten. Or it could not be, and is to be tried again.
--
-- ARGV: 1 id, 2 task id, 3 when to try again (ms from now; '': never)
-- Answers 1.
local row, task_id = key('send', ARGV[1]), ARGV[2]
local unanswered, member = key('unanswered'), ARGV[1] .. ' ' .. task_id
redis.call('HDEL', row, 'answering:' .. task_id)
if ARGV[3] ~= '' then
  redis.call('ZADD', unanswered, 'XX', now_ms() + ARGV[3], member)
  return 1
end
redis.call('ZREM', unanswered, member)
redis.call('HDEL', row, 'caller:' .. task_id, 'asked:' .. task_id)
local others = {}
for other in string.gmatch(redis.call('HGET', row, 'callers') or '', '%S+') do
  if other ~= task_id then
    others[#others + 1] = other
  end
end
if #others > 0 then
  redis.call('HSET', row, 'callers', table.concat(others, ' '))
  return 1
end
redis.call('HDEL', row, 'callers')
local f = redis.call('HMGET', row, 'state', 'message_id')
if f[1] == 'sent' then
  redis.call('HSETNX', row, 'attempts', '1') -- so it is understood where a sent row does not say it
  local remaining_ms = redis.call('PTTL', row)
  write_anew(ARGV[1], f[2])
  if remaining_ms > 0 then
    redis.call('PEXPIRE', row, remaining_ms)
  end
end
return 1
