-- Counts facts about emails, each once, and notes that their sites are told something.
--
-- ARGV: 1 how long a fact is remembered (s), 2 how long rates are kept (s), 3 the brake's windows (ms each, with spaces
--       between; '': it does not count), then for each fact: the day it happened, its digest of 8 bytes (and behind it
--       that by which a former release knows it, where that is another), the digest of who tells of it, site, day of
--       sending, 'counter list' (or ''), when its email was sent (epoch ms; 0: the brake does not judge it),
--       the id of the batch that its email is of (or ''), the id of its send, where the brake counts by account, too (or '')
-- Answers for each: 'first', 'again' (told by the same before) or 'twin' (told by another before).
--
-- What a former release knows by another digest is marked under that one, too, so that its workers do not count it again.
-- For them several facts are one; a field beside the mark says that we made it, so that we do not take them for one.
--
-- `brake:<site>` has what the brake judges by: "<window> <end of its part> <counter> <list>" is what was told in a sixth of a
-- window (brake_counts.lua sums it up), and "from <list>", or "from" for all, since when (ms) emails must have been sent to count.
-- Where a site has several SES accounts, "<counter>@<account>" has each once more, and "from @<account>" is its beginning.
local PARTS = 6
local JUDGED = {sent = 1, delivered = 1, bounced_permanent = 1, complained = 1}
local seen_seconds, rates_seconds = ARGV[1], ARGV[2]
local answer, expires, heard, now, longest = {}, {}, {}, now_ms(), 0
local windows = {}
for window in string.gmatch(ARGV[3], '%d+') do
  windows[#windows + 1] = tonumber(window)
  longest = math.max(longest, tonumber(window))
end

-- Since when the emails of a list must have been sent to be judged.
local since, judged = {}, {}
local function judged_since(brake, list)
  local place = brake .. ' ' .. list
  if not since[place] then
    local from = redis.call('HMGET', brake, 'from', 'from ' .. list)
    since[place] = math.max(tonumber(from[1]) or 0, tonumber(from[2]) or 0, now - longest)
  end
  return since[place]
end

local function count_for_brake(site, counter, sent_at, batch, send_id)
  local kind, list = string.match(counter, '^(%S+) ?(.*)$')
  local brake = key('brake', site)
  if not JUDGED[kind] or longest == 0 or sent_at < judged_since(brake, list) then
    return
  end
  judged[brake] = judged[brake] or {}
  judged[brake][counter] = (judged[brake][counter] or 0) + 1
  if send_id == '' then
    return
  end
  local row = batch ~= '' and key('batch', batch) or key('send', send_id)
  local account = redis.call('HGET', row, 'account') or 'default'
  if sent_at >= judged_since(brake, '@' .. account) then
    local of_account = kind .. '@' .. account .. (list == '' and '' or ' ' .. list)
    judged[brake][of_account] = (judged[brake][of_account] or 0) + 1
  end
end

for i = 4, #ARGV, 9 do
  local seen, told_by, counter = key('seen', ARGV[i]), ARGV[i + 2], ARGV[i + 5]
  local fact, formerly = string.sub(ARGV[i + 1], 1, 8), string.sub(ARGV[i + 1], 9)
  local ours = formerly .. ' ours'
  local teller = redis.call('HGET', seen, fact)
  if not teller and formerly ~= '' and redis.call('HEXISTS', seen, ours) == 0 then
    teller = redis.call('HGET', seen, formerly)
  end
  if not teller then
    redis.call('HSET', seen, fact, told_by)
    if formerly ~= '' then
      redis.call('HSET', seen, formerly, told_by, ours, '')
    end
    expires[seen] = seen_seconds
    if counter ~= '' then
      local rates = key('rates', ARGV[i + 3], ARGV[i + 4])
      redis.call('HINCRBY', rates, counter, 1)
      expires[rates] = rates_seconds
      count_for_brake(ARGV[i + 3], counter, tonumber(ARGV[i + 6]), ARGV[i + 7], ARGV[i + 8])
      if ARGV[i + 7] ~= '' and redis.call('EXISTS', key('batch', ARGV[i + 7])) == 1 then
        redis.call('HINCRBY', key('batch', ARGV[i + 7]), 'e:' .. string.match(counter, '^%S+'), 1)
      end
    end
  end
  heard[ARGV[i + 3]] = true
  answer[#answer + 1] = not teller and 'first' or teller == told_by and 'again' or 'twin'
end
for brake, counts in pairs(judged) do
  for counter, number in pairs(counts) do
    for _, window in ipairs(windows) do
      local part = window / PARTS
      local ends_at = (math.floor(now / part) + 1) * part
      redis.call('HINCRBY', brake, string.format('%.0f %.0f %s', window, ends_at, counter), number)
    end
  end
  expires[brake] = math.ceil(2 * longest / 1000)
end
for name, seconds in pairs(expires) do
  redis.call('EXPIRE', name, seconds)
end
for site in pairs(heard) do
  redis.call('HSET', key('heard'), site, now_ms())
  redis.call('EXPIRE', key('heard'), rates_seconds)
end
return answer
