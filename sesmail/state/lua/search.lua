-- needs: index
-- Finds sends by a recipient's address, or by their list; the latest first, those that are forgotten left out.
--
-- ARGV: 1 'address' or 'list', 2 the address as opt-outs have it, or `site:list`, 3 how many are passed over, 4 how many
-- Answers {how many are indexed, id, id, ...}.
local name
if ARGV[1] == 'address' then
  local secret = redis.call('GET', key('index:secret'))
  if not secret then
    return {0}
  end
  name = key('index:address', hash_of(secret, ARGV[2]))
else
  name = key('index:list', ARGV[2])
end
local skip, most = tonumber(ARGV[3]), tonumber(ARGV[4])
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
