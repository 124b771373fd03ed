-- Leases events of a site that are due, oldest first.
--
-- ARGV: 1 site, 2 limit, 3 now (ms), 4 leased until (ms)
-- Answers their ids.
local due = key('events', 'unprocessed', ARGV[1])
local ids = redis.call('ZRANGE', due, '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
  redis.call('ZADD', due, ARGV[4], id)
end
return ids
