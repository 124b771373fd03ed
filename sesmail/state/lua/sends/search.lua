-- Looks at a part of an index of sends, from the latest on; those that are forgotten are left out.
--
-- ARGV: 1 what the index is of, `address:<hash>` or `list:<site>:<list>`, 2 from which, 3 how many are looked at
-- Answers {how many are indexed, id, accepted at (ms), id, accepted at, ...}.
local name, from = key('index', ARGV[1]), tonumber(ARGV[2])
local answer = {redis.call('ZCARD', name)}
for _, id in ipairs(redis.call('ZREVRANGE', name, from, from + ARGV[3] - 1)) do
  local accepted_at = redis.call('HGET', key('send', id), 'accepted_at')
  if accepted_at then
    answer[#answer + 1] = id
    answer[#answer + 1] = accepted_at
  end
end
return answer
