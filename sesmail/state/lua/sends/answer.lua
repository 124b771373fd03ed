-- needs: rows
-- A worker takes it on to answer a caller: to end its task as the send has ended. Nobody else does meanwhile.
--
-- ARGV: 1 id, 2 task id, 3 token, 4 lease (ms)
-- Answers {state, message id, reason, code, what is to be done}, or {} where nothing is to be answered: the send has not
-- ended, the caller has been answered or never asked, or another worker is at it.
local row, task_id, now = key('send', ARGV[1]), ARGV[2], now_ms()
local unanswered, member = key('unanswered'), ARGV[1] .. ' ' .. task_id
local f = redis.call('HMGET', row, 'state', 'message_id', 'reason', 'code', 'caller:' .. task_id, 'answering:' .. task_id, 'v')
if not ENDS[f[1]] or not f[5] or not is_known(f[7]) or not redis.call('ZSCORE', unanswered, member) then
  return {}
end
local holder = string.match(f[6] or '', ' (%S+)$')
if number_of(f[6]) > now and holder ~= ARGV[3] then
  return {}
end
local until_ms = string.format('%.0f', now + ARGV[4])
redis.call('HSET', row, 'answering:' .. task_id, until_ms .. ' ' .. ARGV[3])
redis.call('ZADD', unanswered, until_ms, member)
return {f[1], f[2] or '', f[3] or '', f[4] or '', f[5]}
