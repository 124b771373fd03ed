-- needs: throttle, batches
-- How many tickets are to be issued now, so that as many workers take chunks as the rate is worth; they count as issued.
--
-- ARGV: 1 site, 2 lane
-- Answers how many.
local now, wanted = now_ms(), 0
local row = read_books()
local rate = row and row.rate or 1
local most = rate < 0 and 64 or math.min(64, math.max(2, math.ceil(rate / 8)))
for _, id in ipairs(redis.call('ZRANGE', key('batches', 'ready', ARGV[1] .. ':' .. ARGV[2]), 0, -1)) do
  if may_go(id, now) then
    wanted = wanted + math.min(redis.call('LLEN', of_batch(id, 'todo')), most_at_once(redis.call('HGET', of_batch(id), 'rate')))
  end
end
local awake = key('batches', 'awake', ARGV[1] .. ':' .. ARGV[2])
local count = tonumber(redis.call('GET', awake) or 0)
wanted = math.min(wanted, most - redis.call('HLEN', key('batches', 'held'))) - count
if wanted <= 0 then
  return 0
end
redis.call('SET', awake, string.format('%d', count + wanted))
redis.call('PEXPIRE', awake, LONGEST_TICKET_MS)
return wanted
