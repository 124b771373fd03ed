-- needs: events
-- Forgets events of a site that were processed before a time; those of a newer release are passed over.
--
-- ARGV: 1 site, 2 before (ms), 3 the latest version of an event that is known, 4 how many to skip: those of a newer release,
--       which earlier calls have found, 5 how many to look at
-- Answers {how many were looked at, how many of them forgotten}.
local done = key('events', 'processed', ARGV[1])
local ids = redis.call('ZRANGE', done, '-inf', '(' .. ARGV[2], 'BYSCORE', 'LIMIT', ARGV[4], ARGV[5])
local forgotten = 0
for _, id in ipairs(ids) do
  if is_known(id, ARGV[3]) then
    redis.call('DEL', key('event', id))
    redis.call('ZREM', done, id)
    forgotten = forgotten + 1
  end
end
return {#ids, forgotten}
