-- The brake: closes a scope of the line where too many addresses bounce or complain, and opens it again.
--
-- ARGV: 1 'close' or 'open', 2 scope, 3 reason, 4 ms until a trial, 5 the longest that this may become (ms), 6 recipients of a
--       trial, 7 how long a trial takes (ms), then for each of whom it begins to count anew: site, and 'from <list>' (or
--       'from' for all of its lists, 'from @<account>' for what went through an SES account)
-- Answers 'closed', 'again' (a trial has failed: the next comes after twice the time) or 'opened' where that was done now,
-- else ''. Repeated: ''.
--
-- The entry "braked:<scope>" of `line` reads "trial at (ms), recipients left to the trial, since (ms), reason"; behind its
-- line break stand the time (ms) until that trial, and when (ms) it is judged. Former releases do not heed such an entry.
local FIELD = 'braked:' .. ARGV[2]
local now, reason = now_ms(), string.gsub(ARGV[3], '%s+', ' ')
local entry = redis.call('HGET', key('line'), FIELD)
local trial_at, since, pause = string.match(entry or '', '^(%d+) %d+ (%d+) [^\n]*\nbrake (%d+)')

-- Only what is sent from then on is judged: what brought this about has had its consequence.
local function count_anew(from)
  for i = 8, #ARGV, 2 do
    local brake, which = key('brake', ARGV[i]), ARGV[i + 1]
    local list, account = string.match(which, '^from ([^@]*)$'), string.match(which, '^from @(.*)$')
    for _, field in ipairs(redis.call('HKEYS', brake)) do
      local its_list = string.match(field, '^%d+ %d+ %S+ ?(.*)$')
      local its_account = string.match(field, '^%d+ %d+ [^@ ]+@(%S+)')
      if its_list and (not list or its_list == list) and (not account or its_account == account) then
        redis.call('HDEL', brake, field)
      end
    end
    redis.call('HSET', brake, which, string.format('%.0f', from))
    redis.call('PEXPIRE', brake, 2 * math.max(tonumber(ARGV[5]) or 0, from - now, 604800000))
  end
end

if ARGV[1] == 'open' then
  if #ARGV > 7 then
    count_anew(now)
  end
  return redis.call('HDEL', key('line'), FIELD) == 1 and 'opened' or ''
end
if entry and not (trial_at and tonumber(trial_at) <= now) then
  return ''
end
pause = entry and math.min(2 * tonumber(pause), tonumber(ARGV[5])) or tonumber(ARGV[4])
redis.call('HSET', key('line'), FIELD, string.format('%.0f %.0f %.0f %s\nbrake %.0f %.0f', now + pause,
  tonumber(ARGV[6]), tonumber(since) or now, reason, pause, now + pause + tonumber(ARGV[7])))
count_anew(now + pause)
return entry and 'again' or 'closed'
