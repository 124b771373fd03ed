-- The breaker: when SES gives no clear answer a few times in a row, the account's line is closed for the whole fleet. Single
-- calls then try it, at growing pauses; what was not asked waits, and uses no attempt.
--
-- ARGV: 1 what was seen: 'unclear' (no clear answer to an email; or SES was out of reach), 'email' (the same, and the email
--       was to try a closed line), 'account' (GetAccount had no clear answer when it was to try it), 'clear' (a clear
--       answer to what tried it), 2 reason, 3 how many in a row close the line, 4 first pause between tries (ms), 5 longest
--       pause (ms), 6 how long (ms) GetAccount is believed before an email tries in any case
-- Answers 'closed' or 'opened' where that was done now, else ''. Repeated: an answer may count twice, a pause may double.
--
-- `unclear` counts the answers in a row; settle.lua forgets them with SES's next yes or no. The entry in `line` is one of
-- "stopped:account" (line.lua), so that a former release heeds it, too; behind its line break stand the pause (ms) and when
-- (ms) an email is to try without asking for GetAccount.
local FIELD = 'stopped:account'
local seen, reason, longest = ARGV[1], string.gsub(ARGV[2], '%s+', ' '), tonumber(ARGV[5])
local now, entry = now_ms(), redis.call('HGET', of_account('line'), FIELD)
local since, words, pause, email_at = string.match(entry or '', '^%d+ %d+ (%d+) ([^\n]*)\nbreaker (%d+) (%d+)')

local function close(since, words, pause, email_at)
  redis.call('HSET', of_account('line'), FIELD, string.format('%.0f %.0f %.0f %s\nbreaker %.0f %.0f',
    now + pause, longest, since, words, pause, email_at))
end

if seen == 'clear' then
  redis.call('DEL', of_account('unclear'))
  return pause and redis.call('HDEL', of_account('line'), FIELD) == 1 and 'opened' or ''
end
if pause and seen ~= 'unclear' then
  close(since, words, math.min(2 * pause, longest), seen == 'email' and now + tonumber(ARGV[6]) or email_at)
end
if entry or redis.call('INCR', of_account('unclear')) < tonumber(ARGV[3]) then
  return ''
end
redis.call('DEL', of_account('unclear'))
close(now, reason, tonumber(ARGV[4]), now + tonumber(ARGV[6]))
return 'closed'
