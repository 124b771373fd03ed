-- needs: throttle
-- SES said that the 24-hour quota is used up: what we did not send ourselves, others did.
--
-- ARGV: 1 recipients of the refused send that were counted
-- Answers the milliseconds until a single send may try again. Repeated: as once.
local now = now_us()
local row = read_books()
if not row then
  return QUOTA_PROBE_SECONDS * 1000
end
if row.quota_probe_at <= now then
  count_sent(row, now, -tonumber(ARGV[1]))
end
if row.quota < 0 then
  row.quota = used_24_hours(row)
end
row.foreign = math.max(row.foreign, row.quota - row.sent)
row.quota_probe_at = math.max(row.quota_probe_at, now + QUOTA_PROBE_SECONDS * SECOND)
write_books(row)
return math.ceil((row.quota_probe_at - now) / 1000)
