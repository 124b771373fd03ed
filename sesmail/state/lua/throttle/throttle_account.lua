-- needs: throttle
-- Takes over what SES, or the settings, say of the account.
--
-- ARGV: 1 recipients a second (-1: no limit), 2 recipients in 24 hours (-1: no limit), 3 recipients that SES counted in the
--       last 24 hours ('' where it was not asked), 4 the part of the quota kept for transactional email, 5 who said so,
--       6 how the account stands with SES, for people, 7 the part of the rate that is given out
-- Answers 1, or 0 where the books are a newer release's to keep. Repeated: as once.
local now = now_us()
local row = read_books()
if not row then
  return 0
end
roll_24_hours(row, now)
local rate = tonumber(ARGV[1])
row.rate = rate < 0 and rate or rate * ARGV[7]
row.quota, row.reserve = tonumber(ARGV[2]), tonumber(ARGV[4])
if ARGV[3] ~= '' then
  row.foreign = math.max(0, tonumber(ARGV[3]) - row.sent)
end
if row.quota < 0 or used_24_hours(row) < row.quota then
  row.quota_probe_at = 0
end
write_books(row)
redis.call('HSET', of_account('throttle', 'facts'), 'source', ARGV[5], 'read_at', now, 'standing', ARGV[6],
  'share', ARGV[7])
return 1
