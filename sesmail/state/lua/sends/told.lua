-- The receivers of a send's end were told; or some failed, and are to be told again later.
--
-- ARGV: 1 site, 2 id, 3 when it had ended (ms), 4 the receivers that failed ('': none), 5 when to tell them again (ms from
-- now)
-- Answers 1; 0 where it has ended anew since it was gathered, as an abandoned send does by an event: that is to be told
-- yet. Repeated: one failure more is counted.
local untold, row = key('untold', ARGV[1]), key('send', ARGV[2])
local ended_at = redis.call('HGET', row, 'moved_at')
if ended_at and ended_at ~= ARGV[3] then
  return 0
end
if ARGV[4] == '' then
  redis.call('ZREM', untold, ARGV[2])
  redis.call('HDEL', row, 'told_in_vain', 'told_in_vain_to')
elseif ended_at then
  redis.call('ZADD', untold, now_ms() + tonumber(ARGV[5]), ARGV[2])
  redis.call('HINCRBY', row, 'told_in_vain', 1)
  redis.call('HSET', row, 'told_in_vain_to', ARGV[4])
end
return 1
