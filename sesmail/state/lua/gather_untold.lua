-- Leases sends of a site that have ended and whose receivers have not been told, the longest ended first.
--
-- ARGV: 1 site, 2 how many at most, 3 lease (ms)
-- Answers {id, state, lane, recipients, accepted at (ms), ended at (ms), attempts, waits, message id, reason, code,
-- metadata, how often telling failed, the receivers that failed, ...}. One that was sent again, or whose row is gone, is
-- dropped: it is there anew when it ends.
local FIELDS = {'state', 'lane', 'recipients', 'accepted_at', 'moved_at', 'attempts', 'waits', 'message_id', 'reason',
  'code', 'metadata', 'told_in_vain', 'told_in_vain_to'}
local ENDS = {sent = 1, rejected = 1, suppressed = 1, cancelled = 1, expired = 1, abandoned = 1}
local untold, now, answer = key('untold', ARGV[1]), now_ms(), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', untold, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local row = redis.call('HMGET', key('send', id), unpack(FIELDS))
  if ENDS[row[1]] then
    redis.call('ZADD', untold, now + tonumber(ARGV[3]), id)
    answer[#answer + 1] = id
    for i = 1, #FIELDS do
      answer[#answer + 1] = row[i] or ''
    end
  else
    redis.call('ZREM', untold, id)
  end
end
return answer
