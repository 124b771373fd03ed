-- Finds sends in an index; the latest first, those that are forgotten left out.
--
-- ARGV: 1 what the index is of, `address:<hash>` or `list:<site>:<list>`, 2 how many are passed over, 3 how many are wanted
-- Answers {how many are indexed, id, id, ...}.
local name, skip, most = key('index', ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local found, count, position = {}, redis.call('ZCARD', name), 0
while #found < skip + most and position < count do
  for _, id in ipairs(redis.call('ZREVRANGE', name, position, position + 199)) do
    if redis.call('EXISTS', key('send', id)) == 1 then
      found[#found + 1] = id
    end
  end
  position = position + 200
end
local answer = {count}
for i = skip + 1, math.min(skip + most, #found) do
  answer[#answer + 1] = found[i]
end
return answer
