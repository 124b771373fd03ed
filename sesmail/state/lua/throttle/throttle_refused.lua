-- needs: throttle
-- SES refused a send for the rate: everybody slows down, from the next slot that is given.
--
-- ARGV: 1 the slot that the send had, 2 its recipients, 3 its recipients that were counted to the 24-hour quota
-- Answers 1 when the margin was widened, 0 when that was done already, or is a newer release's to do.
-- Repeated: the margin is widened once; the refusal is counted twice.
local slot, recipients, counted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_us()
local row = read_books()
if not row then
  return 0
end

-- SES' second is still full of what was sent at the old pace: only slots after that judge the new one.
local widened = row.rate > 0 and slot > row.reacted_at + limit_at(row, now).window
if widened then
  local margin = margin_at(row, now)
  local step = math.max(0.002, 0.1 * margin)
  if now - row.reacted_at < 5 * SECOND then
    step = math.min(0.5, 2 * row.step)
  end
  row.margin, row.began, row.step, row.reacted_at = math.min(margin + step, 20), margin, step, now
end
count_sent(row, now, -counted)
row.refused = row.refused + recipients
write_books(row)
redis.call('HSET', of_account('throttle', 'facts'), 'refused_at', now)
return widened and 1 or 0
