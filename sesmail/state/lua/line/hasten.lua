-- Makes what waits for an opened scope of the line due now, in the order of its acceptance.
--
-- ARGV: 1 lane, 2 scope, 3 how many of those that wait are passed over, 4 how many are looked at
-- Answers {how many were looked at, id, ...}: those that are due now. Repeated: they are due already.
local now, name = now_ms(), key('in', 'scheduled', ARGV[1])
local found = redis.call('ZRANGEBYSCORE', name, '(' .. string.format('%.0f', now), '+inf', 'LIMIT', ARGV[3], ARGV[4])
local answer = {#found}
for _, id in ipairs(found) do
  local f = redis.call('HMGET', key('send', id), 'waits_for', 'accepted_at')
  if f[1] == ARGV[2] then
    redis.call('ZADD', name, math.min(tonumber(f[2]) or now, now), id)
    answer[#answer + 1] = id
  end
end
return answer
