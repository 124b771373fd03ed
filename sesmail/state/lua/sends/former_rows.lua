-- needs: rows
-- Counts the rows of an index that are in the form of a former release.
--
-- ARGV: 1 index, below `in:`, 2 position to start from, 3 how many to look at
-- Answers {next position or -1, how many}. Those that move meanwhile may be missed or counted twice.
local first, count = tonumber(ARGV[2]), tonumber(ARGV[3])
local ids, former = redis.call('ZRANGE', key('in', ARGV[1]), first, first + count - 1), 0
for _, id in ipairs(ids) do
  if (tonumber(redis.call('HGET', key('send', id), 'v')) or ROW_VERSION) < ROW_VERSION then
    former = former + 1
  end
end
return {#ids < count and -1 or first + count, former}
