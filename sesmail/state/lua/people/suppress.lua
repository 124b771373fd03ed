-- needs: pseudonyms, suppression
-- Writes an opt-out down. A stronger reason replaces a weaker one, and any one that has ended; otherwise the first stays.
--
-- ARGV: 1 address, 2 scope, 3 reason, 4 since (ms), 5 the event it came from (or ''), 6 when it ends (ms, or ''), then the
--       reasons that it replaces
-- Answers 1 when it was written, 0 when what was there stays, or somebody has come back since.
local address, scope, reason = name_of(ARGV[1]), ARGV[2], ARGV[3]
local optouts = key('optout', scope)
local before = redis.call('HGET', optouts, address)
local record = reason .. ' ' .. ARGV[4] .. ' ' .. ARGV[5] .. (ARGV[6] ~= '' and '\nends=' .. ARGV[6] or '')

-- Told late: who came back by SES's own means after leaving by them has not left.
local came_back = is_from_ses(record) and redis.call('HGET', key('returned', scope), address)
if came_back and tonumber(came_back) >= since(record) then
  return 0
end

local replaces = not holds(before)
for i = 7, #ARGV do
  replaces = replaces or string.match(before, '^%S+') == ARGV[i]
end
if not replaces then
  -- Left again by the same means: who came back in between, and is told of late, has left since.
  if is_from_ses(before) and is_from_ses(record) and since(record) > since(before) then
    redis.call('HSET', optouts, address, record)
  end
  return 0
end
redis.call('HSET', optouts, address, record)
redis.call('SADD', key('optouts'), scope)
return 1
