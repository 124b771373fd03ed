-- needs: throttle
-- What is going on, for people: changes nothing but what is forgotten after 24 hours.
--
-- Answers {name, value, ...}; times in microseconds of Redis' clock. Where a newer release keeps the books, the values are
-- empty and `standing` says so.
local now = now_us()
local row, newer = read_books()
if row then
  roll_24_hours(row, now)
end

-- Recipients in the last full second before now, from the end of the log of slots. The log begins behind `oldest`; where that
-- is less than a second ago, as slots are given ahead, what went before is told by the pace since.
local function sent_in_last_second()
  local newest
  for i = -1, -redis.call('LLEN', slots), -1 do
    local slot, sum = struct.unpack('dd', redis.call('LINDEX', slots, i))
    if slot <= now then
      newest = newest or sum
      if slot <= now - SECOND then
        return newest - sum
      end
    end
  end
  if row.oldest <= now - SECOND then
    return newest and newest - row.oldest_sum or 0
  end
  local seconds = (row.tail - row.oldest) / SECOND
  return seconds > 0 and math.floor((row.total - row.oldest_sum) / seconds + 0.5) or 0
end

local answer = {}
local function tell(name, value)
  answer[#answer + 1] = name
  answer[#answer + 1] = type(value) == 'number' and string.format('%.17g', value) or value or ''
end

for _, name in ipairs({'rate', 'quota', 'reserve', 'total', 'refused', 'quota_probe_at', 'foreign', 'sent'}) do
  tell(name, row and row[name])
end
for _, name in ipairs({'source', 'read_at', 'refused_at', 'share'}) do
  tell(name, redis.call('HGET', of_account('throttle', 'facts'), name))
end
tell('standing', newer or redis.call('HGET', of_account('throttle', 'facts'), 'standing'))
tell('margin', row and row.rate > 0 and margin_at(row, now) or 0)
tell('rate_now', row and sent_in_last_second())
for _, lane in ipairs({'transactional', 'bulk'}) do
  tell('waiting:' .. lane, redis.call('ZCARD', of_account('throttle', 'waiting', lane)))
end
return answer
