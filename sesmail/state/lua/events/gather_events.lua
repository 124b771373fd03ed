-- needs: events
-- Leases events of a site that are due, oldest first; those of a newer release are passed over.
--
-- ARGV: 1 site, 2 how many to look at, 3 now (ms), 4 leased until (ms), 5 the latest version of an event that is known, 6 how
--       many to skip: those of a newer release, which earlier calls have found
-- Answers {how many were looked at, the id of each that was leased...}.
local due = key('events', 'unprocessed', ARGV[1])
local ids = redis.call('ZRANGE', due, '-inf', ARGV[3], 'BYSCORE', 'LIMIT', ARGV[6], ARGV[2])
local answer = {#ids}
for _, id in ipairs(ids) do
  if is_known(id, ARGV[5]) then
    redis.call('ZADD', due, ARGV[4], id)
    answer[#answer + 1] = id
  end
end
return answer
