-- The receivers of a send's end were told; or some failed, and are to be told again later.
--
-- ARGV: 1 site, 2 id, 3 the receivers that failed ('': none), 4 when to tell them again (ms from now)
-- Answers 1. Repeated: one failure more is counted.
local untold, row = key('untold', ARGV[1]), key('send', ARGV[2])
if ARGV[3] == '' then
  redis.call('ZREM', untold, ARGV[2])
  redis.call('HDEL', row, 'told_in_vain', 'told_in_vain_to')
elseif redis.call('EXISTS', row) == 1 then
  redis.call('ZADD', untold, now_ms() + tonumber(ARGV[4]), ARGV[2])
  redis.call('HINCRBY', row, 'told_in_vain', 1)
  redis.call('HSET', row, 'told_in_vain_to', ARGV[3])
end
return 1
