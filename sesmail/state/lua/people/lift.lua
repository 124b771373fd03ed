-- needs: pseudonyms, suppression
-- Somebody came back by SES's own means, or by one of our links: ends an opt-out that came from those before, and no other.
--
-- ARGV: 1 address, 2 scope, 3 when it was (ms), 4 how long that is remembered, for opt-outs that are told late (s),
--       5 '1' if it was by one of our links, which ends also what came from those
-- Answers 1 where an opt-out ended, 0 where there was none of these.
local address, scope, came_back_ms = name_of(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local returned, optouts = key('returned', scope), key('optout', scope)
local before = tonumber(redis.call('HGET', returned, address) or 0)
redis.call('HSET', returned, address, string.format('%d', math.max(before, came_back_ms)))
redis.call('EXPIRE', returned, ARGV[4])
local record = redis.call('HGET', optouts, address)
local is_theirs = record and (is_from_ses(record) or (ARGV[5] == '1' and is_from_link(record)))
if is_theirs and since(record) <= came_back_ms then
  redis.call('HDEL', optouts, address)
  return 1
end
return 0
