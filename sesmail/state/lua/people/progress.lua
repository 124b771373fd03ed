-- needs: pseudonyms
-- Notes how far emails got with their recipients. A status never goes back. Of who was erased of late nothing is noted.
-- When SES told of each status first stands under `<status> <recipient>` in the same row: releases that do not know it read
-- statuses alone.
--
-- ARGV: 1 all statuses from the least to the furthest, with commas, 2 how long they are kept (s), then for each: send id,
--       recipient, status, when (epoch s) and in which word of SES's why, with a space between them, or ''
-- Answers how many changed.
local rank, place = {}, 0
for status in string.gmatch(ARGV[1], '[^,]+') do
  place = place + 1
  rank[status] = place
end
local changed = 0
for i = 3, #ARGV, 4 do
  local row, recipient, status = key('delivery', ARGV[i]), ARGV[i + 1], ARGV[i + 2]
  local before = redis.call('HGET', row, recipient)
  if is_erased(recipient, ARGV[2] * 1000) then
    for each in pairs(rank) do
      redis.call('HDEL', row, recipient, each .. ' ' .. recipient)
    end
  else
    if not before or (rank[before] or math.huge) < rank[status] then -- one of a newer release is left
      redis.call('HSET', row, recipient, status)
      redis.call('EXPIRE', row, ARGV[2])
      changed = changed + 1
    end
    if ARGV[i + 3] ~= '' then
      redis.call('HSETNX', row, status .. ' ' .. recipient, ARGV[i + 3])
    end
  end
end
return changed
