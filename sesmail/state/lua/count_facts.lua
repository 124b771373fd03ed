-- Counts facts about emails, each once, and notes that their sites are told something.
--
-- ARGV: 1 how long a fact is remembered (s), 2 how long rates are kept (s), then for each fact: the day it happened,
--       its digest, the digest of who tells of it, site, day of sending, 'counter list' (or '')
-- Answers for each: 'first', 'again' (told by the same before) or 'twin' (told by another before).
local seen_seconds, rates_seconds = ARGV[1], ARGV[2]
local answer, expires, heard = {}, {}, {}
for i = 3, #ARGV, 6 do
  local seen, fact, told_by, counter = key('seen', ARGV[i]), ARGV[i + 1], ARGV[i + 2], ARGV[i + 5]
  local teller = redis.call('HGET', seen, fact)
  if not teller then
    redis.call('HSET', seen, fact, told_by)
    expires[seen] = seen_seconds
    if counter ~= '' then
      local rates = key('rates', ARGV[i + 3], ARGV[i + 4])
      redis.call('HINCRBY', rates, counter, 1)
      expires[rates] = rates_seconds
    end
  end
  heard[ARGV[i + 3]] = true
  answer[#answer + 1] = not teller and 'first' or teller == told_by and 'again' or 'twin'
end
for name, seconds in pairs(expires) do
  redis.call('EXPIRE', name, seconds)
end
for site in pairs(heard) do
  redis.call('HSET', key('heard'), site, now_ms())
  redis.call('EXPIRE', key('heard'), rates_seconds)
end
return answer
