-- Writes other texts, in fields that are there; nothing that was forgotten meanwhile comes back.
--
-- ARGV: 1 what is below the base of the row's key, 2 how many fields go, those fields, then field and text of each
-- Answers 1, or 0 where there is no such row.
local row = key(ARGV[1])
local first = 3 + tonumber(ARGV[2])
for i = 3, first - 1 do
  redis.call('HDEL', row, ARGV[i])
end
for i = first, #ARGV, 2 do
  if redis.call('HEXISTS', row, ARGV[i]) == 1 then
    redis.call('HSET', row, ARGV[i], ARGV[i + 1])
  end
end
return redis.call('EXISTS', row)
