-- Leases sends of a site that have ended and whose receivers have not been told, the longest ended first.
--
-- ARGV: 1 site, 2 how many at most, 3 lease (ms), 4.. fields of a row: its state first
-- Answers {id, these fields ('' for what is not there), ...}. One that was sent again, or whose row is gone, is dropped:
-- it is there anew when it ends.
local fields = {unpack(ARGV, 4)}
local ENDS = {sent = 1, rejected = 1, suppressed = 1, cancelled = 1, expired = 1, abandoned = 1}
local untold, now, answer = key('untold', ARGV[1]), now_ms(), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', untold, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local row = redis.call('HMGET', key('send', id), unpack(fields))
  if ENDS[row[1]] then
    redis.call('ZADD', untold, now + tonumber(ARGV[3]), id)
    answer[#answer + 1] = id
    for i = 1, #fields do
      answer[#answer + 1] = row[i] or ''
    end
  else
    redis.call('ZREM', untold, id)
  end
end
return answer
