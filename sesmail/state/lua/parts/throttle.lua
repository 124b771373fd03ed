-- The throttle's books and the arithmetic that its scripts share. Times in microseconds of Redis' clock.
--
-- `throttle` is one string of numbers, because every decision reads and writes it: a hash of the same costs three times
-- as much. `throttle:slots` is the log of slots given, `throttle:sent` the rolling 24 hours in buckets of ten minutes.
local SECOND = 1000000
local LEAST_MARGIN = 0.015
local BUCKET_SECONDS, BUCKETS = 600, 144
local QUOTA_PROBE_SECONDS = 600
local PAUSED_SECONDS = 60                         -- only an operator knows; come and see
local WATCHED_SECONDS = 1                         -- the sweeper knows when the account and the lanes are open, and waits
local BULK_TRIES_SECONDS = 5                      -- how long bulk alone may try what the breaker has closed
local NEWER_SECONDS = 10                          -- for a worker of the newer release that keeps the books
local books, slots = of_account('throttle'), of_account('throttle', 'slots')

-- The numbers of the books. A later release may add some behind them: these are kept as they are. Numbers of another
-- meaning are another version, which stands in a key of its own, `throttle:version`.
local VERSION = 1
local BOOKS = 'dddddddddddddddddd'
local BYTES = struct.size(BOOKS)

local function packed(row)
  return struct.pack(BOOKS,
    row.rate, row.quota, row.reserve, row.margin, row.began, row.reacted_at, row.step, row.total, row.next, row.tail,
    row.bucket, row.in_bucket, row.sent, row.foreign, row.quota_probe_at, row.refused,
    row.oldest, row.oldest_sum)
end

-- The books; or nothing, and words for people, where a newer release keeps them in a meaning that this one does not know:
-- they are its own then, to be left as they are.
local function read_books()
  local found = redis.call('MGET', books, of_account('throttle', 'version'))
  local written, version = found[1] or '', found[2]
  if version and (tonumber(version) or math.huge) > VERSION then
    return nil, 'the throttle is kept by a newer release (version ' .. version .. '; this one knows ' .. VERSION ..
      '), whose workers send: upgrade this one'
  end
  -- What holds before the account was read: SES's sandbox, https://docs.aws.amazon.com/ses/latest/dg/quotas.html
  local row = {
    rate = 1, quota = 200, reserve = 0,           -- recipients a second, in 24 hours; the part kept for transactional
    margin = 0, began = 0, reacted_at = 0, step = 0,  -- see margin_at
    total = 0, next = 0, tail = 0,                -- recipients given slots; when the next may go; the latest slot
    bucket = 0, in_bucket = 0, sent = 0,          -- the bucket under way and what is in it; sent in 24 hours
    foreign = 0, quota_probe_at = 0,              -- sent by others; when to try after SES said that the quota is used up
    refused = 0,                                  -- recipients that SES throttled
    oldest = 0, oldest_sum = 0,                   -- the entry of the log that must leave the window next
    version = version, following = '',            -- as they are written
  }
  if #written < BYTES then  -- none, or an older release's, which lacks numbers
    local whole = math.floor(#written / 8) * 8
    written = string.sub(written, 1, whole) .. string.sub(packed(row), whole + 1)
  end
  row.rate, row.quota, row.reserve, row.margin, row.began, row.reacted_at, row.step, row.total, row.next, row.tail,
    row.bucket, row.in_bucket, row.sent, row.foreign, row.quota_probe_at, row.refused,
    row.oldest, row.oldest_sum = struct.unpack(BOOKS, written)
  row.following = string.sub(written, BYTES + 1)
  return row
end

local function write_books(row)
  redis.call('SET', books, packed(row) .. row.following)
  if not row.version then
    redis.call('SET', of_account('throttle', 'version'), VERSION)
    row.version = VERSION
  end
end

-- Head-room by now, as a fraction: slots are spread over 1 + margin seconds instead of one.
--
-- `margin` was set at the last throttle, `began` is where that throttle came. What was added in excess is given back
-- quickly, but not the place where throttles began: that is passed only after a long quiet, slowly at first, as TCP
-- CUBIC does (RFC 9438).
local function margin_at(row, now)
  local quiet = math.max(0, now - row.reacted_at) / SECOND
  local added = row.margin - row.began
  local kept = math.min(added, 0.01 + 0.05 * row.began)
  local margin = row.began + math.max(kept, added * 0.5 ^ (quiet / 3))
  local probing = math.max(0, quiet - math.max(60, 6000 / row.rate))
  return math.max(LEAST_MARGIN, margin - 0.0001 * probing ^ 2)
end

-- At most `recipients` in any `window`: never shorter than SES's own second, and no longer than it must be.
local function limit_at(row, now)
  local whole = math.max(1, math.floor(row.rate))
  local spread = (1 + margin_at(row, now)) * math.max(1, whole / row.rate)
  local recipients = math.ceil(whole / spread)
  return {recipients = recipients, window = recipients * spread / whole * SECOND}
end

local function bucket_of(now)
  return math.floor(now / SECOND / BUCKET_SECONDS)
end

-- When a bucket has left the rolling 24 hours.
local function leaves_at(bucket)
  return (bucket + BUCKETS + 1) * BUCKET_SECONDS * SECOND
end

-- Forgets the buckets that have left; answers the sum of the others.
local function sum_of_living(name, now)
  local sum, entries = 0, redis.call('HGETALL', name)
  for i = 1, #entries, 2 do
    if leaves_at(tonumber(entries[i])) <= now then
      redis.call('HDEL', name, entries[i])
    else
      sum = sum + tonumber(entries[i + 1])
    end
  end
  return sum
end

-- `in_bucket` is the bucket under way, `sent` the sum of all that count. When a new bucket begins, the old one is put
-- away and the sum is made anew.
local function roll_24_hours(row, now)
  if row.bucket ~= bucket_of(now) then
    redis.call('HINCRBY', of_account('throttle', 'sent'), row.bucket, row.in_bucket)
    row.bucket, row.in_bucket = bucket_of(now), 0
    row.sent = sum_of_living(of_account('throttle', 'sent'), now)
    redis.call('ZREMRANGEBYSCORE', of_account('throttle', 'shares'), '-inf', now)  -- workers that are no more
    write_books(row)
  end
end

local function count_sent(row, now, recipients)
  roll_24_hours(row, now)
  row.in_bucket, row.sent = row.in_bucket + recipients, row.sent + recipients
end

local function used_24_hours(row)
  return row.sent + row.foreign
end
