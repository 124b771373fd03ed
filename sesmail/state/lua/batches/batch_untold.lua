-- Takes the ended batches of a site of which nobody has been told yet, under a lease; or notes that one has been told of.
--
-- ARGV: 1 site, 2 lease (ms), 3 id of one that has been told of (or '')
-- Answers the ids of up to ten.
local untold, now = key('batches', 'untold', ARGV[1]), now_ms()
if ARGV[3] ~= '' then
  redis.call('ZREM', untold, ARGV[3])
  return {}
end
local found = redis.call('ZRANGEBYSCORE', untold, '-inf', now, 'LIMIT', 0, 10)
for _, id in ipairs(found) do
  redis.call('ZADD', untold, now + ARGV[2], id)
end
return found
