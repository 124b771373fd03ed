-- Writes an opt-out down. A stronger reason replaces a weaker one; otherwise the first stays.
--
-- ARGV: 1 address, 2 scope, 3 reason, 4 since (ms), 5 the event it came from (or ''), then the reasons that it replaces
-- Answers 1 when it was written, 0 when what was there stays.
local address, scope, reason = ARGV[1], ARGV[2], ARGV[3]
local optouts = key('optout', scope)
local before = redis.call('HGET', optouts, address)
local replaces = not before
for i = 6, #ARGV do
  replaces = replaces or string.match(before, '^%S+') == ARGV[i]
end
if not replaces then
  return 0
end
redis.call('HSET', optouts, address, reason .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])
redis.call('SADD', key('optouts'), scope)
return 1
