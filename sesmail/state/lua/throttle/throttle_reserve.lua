-- needs: rows, beginning, throttle
-- When may these recipients go? Reserves their slot, or several of them, or says when to ask again, or why to go away. A claimed
-- send whose slot is due at once begins in the same act.
-- Moves: claimed -> sending: its slot is due, and SES is asked now
--
-- ARGV: 1 recipients, 2 recipients that count to the 24-hour quota, 3 lane, 4 the lane among which it waits for its turn,
--       5 how far ahead a slot may lie (us), 6 who asks (one place in the line), 7 how many slots are of use to it, one for
--       so many recipients each, 8 how long it is busy with each (us), or 'together': all of them at one moment, 9 id of
--       the send that is to begin (or '': none), 10 its token, 11 longest that asking SES can take (ms), 12 the account that SES
--       is asked through, where that is not the email's own, else '', 13 number of shares, then per share: its name, recipients
--       a second; then the scopes that must be open
-- Answers {'granted', microseconds until the slot, the slot, the same of each further slot..., what this send probes...}, or
--         the same with 'begun' where the send has begun; {'stale'} where its claim is;
--         {'wait', microseconds until it is worth asking again}, or
--         {'postponed', milliseconds until it is worth coming back, cause, text, the scope that the brake has closed}.
-- Among what it probes, 'account' says that GetAccount is to be asked first.
-- Repeated: the first slot passes unused and its recipients stay counted; what has begun is given a new slot. Nothing else.
local recipients, counted, lane, turns, horizon, asker =
  tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local most, busy, together = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[8] == 'together'
local FIRST_SHARE = 14
local FIRST_SCOPE = FIRST_SHARE + 2 * ARGV[13]
local LATE = 10000 -- us: less than the least margin, so that who is so late with a slot is in nobody's way
local now = now_us()
local begins, token = ARGV[9] ~= '' and held(ARGV[9]), ARGV[10]
if begins and begins[2] ~= token then
  return {'stale'}
end
if begins and begins[1] ~= 'claimed' and begins[1] ~= 'sending' then
  return {'stale'}
end
local row, newer = read_books()
if not row then
  return {'postponed', NEWER_SECONDS * 1000, 'version', newer}
end

-- Where the breaker has closed the line, an email of bulk tries it, or, when none has come for a while, any.
local function must_leave_it_to_bulk(due)
  local waits = redis.call('ZCARD', key('in', 'queued', 'bulk')) +
    redis.call('ZCOUNT', key('in', 'scheduled', 'bulk'), '-inf', now / 1000)
  return lane == 'transactional' and waits > 0 and now < due * 1000 + BULK_TRIES_SECONDS * SECOND
end

-- 1. The line: scopes that are closed; where SES closed one, now and then a single send may try it.
local function closed()
  local fields, probes = {}, {}
  if redis.call('EXISTS', of_account('line')) == 0 then
    return nil, probes
  end
  for i = FIRST_SCOPE, #ARGV do
    fields[#fields + 1] = 'paused:' .. ARGV[i]
    fields[#fields + 1] = 'stopped:' .. ARGV[i]
  end
  local entries = redis.call('HMGET', of_account('line'), unpack(fields))
  for i = 1, #entries do
    if entries[i] then
      local due, every, text = string.match(entries[i], '^(%d+) (%d+) %d+ ([^\n]*)')
      local cause = string.match(fields[i], '^[^:]+')
      local tried = cause == 'stopped' and due  -- what is closed in words that we do not know, is closed
      local email_at = string.match(entries[i], '\nbreaker %d+ (%d+)')
      if not tried or tonumber(due) * 1000 > now or (email_at and must_leave_it_to_bulk(due)) then
        local scope = string.match(fields[i], ':(.*)$')
        local wait = tried and math.max(0, tonumber(due) - math.floor(now / 1000)) or PAUSED_SECONDS * 1000
        if scope == 'account' or string.find(scope, '^lane:') then
          wait = WATCHED_SECONDS * 1000
        end
        return {'postponed', wait, cause, scope .. ': ' .. (text or 'closed by a newer release')}
      end
      local asks_first = email_at and tonumber(email_at) * 1000 > now
      probes[#probes + 1] = {field = fields[i], every = tonumber(every), asks_first = asks_first}
    end
  end
  return nil, probes
end

-- 2. What the brake has closed for bulk, for all accounts; a trial lets some recipients through when it is time for it. See
-- brake.lua. Answers the entries of trials under way.
local function braked()
  local scopes, fields, trials = {}, {}, {}
  if lane ~= 'bulk' or redis.call('EXISTS', key('line')) == 0 then
    return nil, trials
  end
  for i = FIRST_SCOPE, #ARGV do
    scopes[#scopes + 1] = ARGV[i]
    fields[#fields + 1] = 'braked:' .. ARGV[i]
  end
  local entries = redis.call('HMGET', key('line'), unpack(fields))
  for i, scope in ipairs(scopes) do
    if entries[i] then
      local trial_at, left, text, judged_at = string.match(entries[i], '^(%d+) (%d+) %d+ ([^\n]*)\nbrake %d+ (%d+)')
      local begins_later = trial_at and tonumber(trial_at) * 1000 > now
      if begins_later or tonumber(left or 0) <= 0 then
        local ends_at = begins_later and trial_at or judged_at or 0
        local wait = math.max(PAUSED_SECONDS * 1000, tonumber(ends_at) - math.floor(now / 1000))
        if string.find(scope, '^lane:') then
          wait = WATCHED_SECONDS * 1000
        end
        return {'postponed', wait, 'braked', scope .. ': ' .. (text or 'closed by a newer release'), scope}
      end
      trials[#trials + 1] = {field = fields[i], entry = entries[i]}
    end
  end
  return nil, trials
end

-- Several sends wait for the same room: each is promised its own part of what leaves the 24 hours, the oldest first.
local function promised_room(excess)
  local buckets = {{bucket = row.bucket, recipients = row.in_bucket}}
  local sent = redis.call('HGETALL', of_account('throttle', 'sent'))
  for i = 1, #sent, 2 do
    buckets[#buckets + 1] = {bucket = tonumber(sent[i]), recipients = tonumber(sent[i + 1])}
  end
  table.sort(buckets, function(a, b) return a.bucket < b.bucket end)
  local needed = excess + sum_of_living(of_account('throttle', 'promised'), now)
  for _, leaving in ipairs(buckets) do
    needed = needed - leaving.recipients
    if needed <= 0 then
      redis.call('HINCRBY', of_account('throttle', 'promised'), leaving.bucket, counted)
      return leaves_at(leaving.bucket)
    end
  end
  return now + 3600 * SECOND
end

-- 3. The 24-hour quota: bulk leaves the reserve alone. Where SES said that it is used up, now and then a single send may
-- try whether that still holds: others may have used it, and nobody tells when their part leaves the 24 hours.
local function excess_over_quota()
  if row.quota < 0 or counted == 0 then
    return 0
  end
  local usable = lane == 'bulk' and math.floor(row.quota * (1 - row.reserve)) or row.quota
  return used_24_hours(row) + counted - usable
end

local function over_quota(probes)
  local excess = excess_over_quota()
  if excess <= 0 then
    return nil
  end
  if row.quota_probe_at > 0 and row.quota_probe_at <= now then
    probes[#probes + 1] = {field = 'quota'}
    return nil
  end
  local wait = math.ceil((promised_room(excess) - now) / 1000)
  if lane == 'transactional' then
    wait = math.min(wait, QUOTA_PROBE_SECONDS * 1000)
  end
  return {'postponed', wait, 'quota', 'the 24-hour quota is used up'}
end

-- A clock that was set back would leave the books in the future: start over after one empty window.
local function mend_clock(limit)
  if row.tail > now + 10 * SECOND then
    redis.call('DEL', slots, of_account('throttle', 'shares'))
    row.tail, row.next, row.oldest = now + limit.window, now + limit.window, 0
    row.reacted_at = math.min(row.reacted_at, now)
    write_books(row)
  end
end

-- The earliest time at which the window still has room, by the log of slots. Each entry is a slot and the sum of
-- recipients up to and with it, so the entry that must have left the window is the first one whose sum reaches what is
-- too much. Earlier ones are never needed again, once the slot is given.
local searched = {}

local function room_in_window(limit)
  local too_much = row.total + recipients - limit.recipients
  if recipients > limit.recipients then
    return row.tail + limit.window
  end
  while row.oldest_sum < too_much do
    local entry = redis.call('LPOP', slots)
    if not entry then
      return 0
    end
    searched[#searched + 1] = entry
    local at, sum = struct.unpack('dd', entry)
    row.oldest, row.oldest_sum = math.max(row.oldest, at), sum  -- one before it may have been late: throttle_late.lua
  end
  return row.oldest + limit.window
end

local function put_back_searched()
  for i = #searched, 1, -1 do
    redis.call('LPUSH', slots, searched[i])
  end
end

-- 4. The account's slot: paced, and within the window. Messages of several recipients leave room in windows that they do
-- not fit; such delays may be caught up, by ten recipients at most, idleness may not: a burst is what SES throttles.
-- Answers the slot, and when the next one may follow by the pace.
local function account_slot(limit)
  local from = room_in_window(limit)
  local slot = math.ceil(math.max(now, row.tail, row.next, from))
  local pace = slot
  if from > row.next and from >= now and recipients <= limit.recipients then
    pace = math.max(row.next, slot - 10 * limit.window / limit.recipients)
  end
  return slot, pace + recipients * limit.window / limit.recipients
end

-- 5. Shares of it: those of a worker, a configuration set, a site. How long until the tightest has room at `slot`?
local function wait_for_shares(slot)
  local longest = 0
  for i = FIRST_SHARE, FIRST_SCOPE - 2, 2 do
    local next_slot = tonumber(redis.call('ZSCORE', of_account('throttle', 'shares'), ARGV[i])) or 0
    longest = math.max(longest, next_slot - slot)
  end
  return longest
end

local function charge_shares(slot)
  for i = FIRST_SHARE, FIRST_SCOPE - 2, 2 do
    local shares = of_account('throttle', 'shares')
    local rate = tonumber(ARGV[i + 1])
    local next_slot = tonumber(redis.call('ZSCORE', shares, ARGV[i])) or 0
    -- Woken a little late, it does not lose what it may send: up to 50 ms are made up.
    redis.call('ZADD', shares, math.max(next_slot, slot - 50000) + recipients / rate * SECOND, ARGV[i])
  end
end

-- 6. Turns: first come, first served among those whose slots would lie too far ahead. Whoever does not come when it was
-- told to, and a quarter of the horizon later, is dead and loses its place: no slot is lost, they still lie ahead.
local waiting = of_account('throttle', 'waiting', turns)

local function leave_line(name)
  redis.call('ZREM', waiting, name)
  redis.call('HDEL', of_account('throttle', 'expected', turns), name)
end

local function is_dead(name)
  local expected = redis.call('HGET', of_account('throttle', 'expected', turns), name)
  return (tonumber(expected) or 0) + horizon / 4 < now
end

local function first_in_line()
  local first = redis.call('ZRANGE', waiting, 0, 0)[1]
  while first and first ~= asker and is_dead(first) do
    leave_line(first)
    first = redis.call('ZRANGE', waiting, 0, 0)[1]
  end
  return first
end

-- Answers how long to stay away: until the turn should come, or in time to see that those before are dead.
local function join_line(too_early, slot_length)
  redis.call('ZADD', waiting, 'NX', now, asker)
  local before = redis.call('ZRANK', waiting, asker)
  local wait = math.max(1000, too_early) + math.min(before * slot_length, horizon / 4 + before * 1000)
  redis.call('HSET', of_account('throttle', 'expected', turns), asker, now + wait)
  return wait
end

-- The probes that this send makes are not due again for a while.
local function take(probes)
  for _, probe in ipairs(probes) do
    if probe.field == 'quota' then
      row.quota_probe_at = now + QUOTA_PROBE_SECONDS * SECOND
    else
      local due = string.format('%.0f', math.floor(now / 1000) + probe.every)
      local entry = redis.call('HGET', of_account('line'), probe.field)
      redis.call('HSET', of_account('line'), probe.field, (string.gsub(entry, '^%d+', due)))
    end
  end
end

local function take_from(trials)
  for _, trial in ipairs(trials) do
    local trial_at, left, rest = string.match(trial.entry, '^(%d+) (%d+)(.*)$')
    redis.call('HSET', key('line'), trial.field,
      string.format('%s %.0f%s', trial_at, math.max(0, tonumber(left) - recipients), rest))
  end
end

local function book(slot, next_slot)
  row.total, row.next, row.tail = row.total + recipients, next_slot, slot
  if row.rate > 0 then
    redis.call('RPUSH', slots, struct.pack('dd', slot, row.total))
  end
end

local postponed, probes = closed()
local held_up, trials = braked()
roll_24_hours(row, now)
postponed = postponed or held_up or over_quota(probes)
if postponed then
  return postponed
end

local limit, slot, next_slot, slot_length = nil, now, now, 0
if row.rate > 0 then
  limit = limit_at(row, now)
  mend_clock(limit)
  slot_length = limit.window / limit.recipients
end

-- One call for several has one slot: no more than the horizon is worth, so that nobody waits longer for them.
local each, several = counted, 1
if together and #probes == 0 and #trials == 0 then
  several = math.min(most, slot_length > 0 and math.floor(horizon / slot_length) or most)
  for i = FIRST_SHARE + 1, FIRST_SCOPE - 1, 2 do
    several = math.min(several, math.floor(tonumber(ARGV[i]) * horizon / SECOND))
  end
  several = math.max(1, several)
  recipients, counted = recipients * several, counted * several
  while several > 1 and excess_over_quota() > 0 do
    several = several - 1
    recipients, counted = recipients / (several + 1) * several, each * several
  end
end
if limit then
  slot, next_slot = account_slot(limit)
end
local first = first_in_line()
local wait, too_early = wait_for_shares(slot), slot - horizon - now
if (too_early > 0 or (first and first ~= asker)) and wait <= 0 then
  wait = join_line(too_early, slot_length)
elseif first then
  leave_line(asker)
end
if wait > 0 then
  put_back_searched()
  return {'wait', math.ceil(wait)}
end

-- 7. Further slots for one that will use them one after the other, each at its own time: those that lie within the horizon, and
-- for which it will not be late.
local function take_slot()
  book(slot, next_slot)
  charge_shares(slot)
  count_sent(row, now, counted)
end

local function has_further_slot(taken, first_slot)
  if together or taken >= most or excess_over_quota() > 0 then
    return false
  end
  if limit then
    slot, next_slot = account_slot(limit)
  end
  return slot + LATE >= first_slot + taken * busy and slot - horizon <= now and wait_for_shares(slot) <= 0
end

local answer, first_slot, taken = {'granted'}, slot, 0
local oldest, oldest_sum
repeat
  take_slot()
  taken, searched, oldest, oldest_sum = taken + 1, {}, row.oldest, row.oldest_sum
  for _ = 1, several do
    answer[#answer + 1] = slot - now
    answer[#answer + 1] = slot
  end
until #probes > 0 or #trials > 0 or not has_further_slot(taken, first_slot)
put_back_searched()
row.oldest, row.oldest_sum = oldest, oldest_sum
take(probes)
take_from(trials)
write_books(row)
if begins and first_slot <= now and #probes == 0 then
  if begins[1] == 'claimed' then
    move_to_sending(ARGV[9], begins, ARGV[11], ARGV[12])
  end
  answer[1] = 'begun'
end
for _, probe in ipairs(probes) do
  answer[#answer + 1] = probe.field
  if probe.asks_first then
    answer[#answer + 1] = 'account'
  end
end
return answer
