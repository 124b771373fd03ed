-- What the brake judges a site by: what was told in its windows (see count_facts.lua). Forgets what has left them.
--
-- ARGV: 1 site
-- Answers {now (ms), window (ms), 'counter list', how many, ...}.
local brake, now, sums = key('brake', ARGV[1]), now_ms(), {}
local fields = redis.call('HGETALL', brake)
for i = 1, #fields, 2 do
  local window, ends_at, counter = string.match(fields[i], '^(%d+) (%d+) (.*)$')
  if window and tonumber(ends_at) + tonumber(window) <= now then
    redis.call('HDEL', brake, fields[i])
  elseif window then
    local place = window .. ' ' .. counter
    sums[place] = (sums[place] or 0) + tonumber(fields[i + 1])
  end
end
local answer = {now}
for place, sum in pairs(sums) do
  local window, counter = string.match(place, '^(%d+) (.*)$')
  answer[#answer + 1] = tonumber(window)
  answer[#answer + 1] = counter
  answer[#answer + 1] = sum
end
return answer
