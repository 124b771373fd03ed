-- needs: pseudonyms
-- Notes how far emails got with their recipients. A status never goes back. Of who was erased of late nothing is noted.
--
-- ARGV: 1 all statuses from the least to the furthest, with commas, 2 how long they are kept (s), then for each: send id,
--       recipient, status
-- Answers how many changed.
local rank, place = {}, 0
for status in string.gmatch(ARGV[1], '[^,]+') do
  place = place + 1
  rank[status] = place
end
local changed = 0
for i = 3, #ARGV, 3 do
  local row = key('delivery', ARGV[i])
  local before = redis.call('HGET', row, ARGV[i + 1])
  if is_erased(ARGV[i + 1], ARGV[2] * 1000) then
    redis.call('HDEL', row, ARGV[i + 1])
  elseif not before or (rank[before] or math.huge) < rank[ARGV[i + 2]] then  -- one of a newer release is left
    redis.call('HSET', row, ARGV[i + 1], ARGV[i + 2])
    redis.call('EXPIRE', row, ARGV[2])
    changed = changed + 1
  end
end
return changed
