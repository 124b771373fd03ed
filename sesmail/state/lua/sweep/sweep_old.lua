-- needs: rows
-- Forgets what is past its retention: the index entries of sent rows (Redis expires the rows themselves), and the rows and
-- bodies of sends that were not sent. Those of a newer release are its own to forget; so many are passed over in each state.
-- Moves: rejected, suppressed, cancelled, expired, abandoned -> nothing: it was not sent, and its retention is over
--
-- ARGV: 1 retention of sent rows (ms), 2 retention of failed rows (ms), 3 how many of each at most
-- Answers {how many index entries, how many failed sends} were forgotten.
local PASSED_OVER = 1000
local now, count = now_ms(), tonumber(ARGV[3])
local function oldest(state, retention_ms, at_most)
  return redis.call('ZRANGEBYSCORE', key('in', state), '-inf', now - retention_ms, 'LIMIT', 0, at_most)
end

local sent, failed = oldest('sent', ARGV[1], count), 0 -- those of former releases
if #sent > 0 then
  redis.call('ZREM', key('in', 'sent'), unpack(sent))
end
local gone, first = 0, redis.call('LINDEX', key('sent'), 0)
while first and gone < count and redis.call('EXISTS', key('send', first)) == 0 do
  redis.call('LPOP', key('sent'))
  gone, first = gone + 1, redis.call('LINDEX', key('sent'), 0)
end
for _, state in ipairs({'rejected', 'suppressed', 'cancelled', 'expired', 'abandoned'}) do
  for _, id in ipairs(oldest(state, ARGV[2], count + PASSED_OVER)) do
    if failed < count and not is_newer(id) then
      drop_body(id)
      redis.call('ZREM', key('in', state), id)
      redis.call('DEL', key('send', id))
      failed = failed + 1
    end
  end
end
redis.call('ZREMRANGEBYSCORE', key('workers'), '-inf', now - 3600000)
return {math.max(#sent, gone), failed}
