-- needs: rows, beginning
-- The last step before SES is asked: from here on, SES may have it.
-- Moves: claimed -> sending: SES is asked now
--
-- ARGV: 1 id, 2 token, 3 longest that asking SES can take (ms), 4 '1' if it is to try a line that the breaker has closed,
--       5 the account that SES is asked through this time, where that is not the email's own, else ''; KEYS[2] is of that one
-- Answers 1; 0 when the claim is stale, or -1 when the breaker has closed the line since the slot was given: then the caller
-- must not ask SES.
local id, token = ARGV[1], ARGV[2]
local f = held(id)
if f[2] ~= token then
  return 0
end
if f[1] == 'sending' then
  return 1
end
if f[1] ~= 'claimed' then
  return 0
end
if ARGV[4] ~= '1' and string.find(redis.call('HGET', of_account('line'), 'stopped:account') or '', '\nbreaker ', 1, true) then
  return -1
end
move_to_sending(id, f, ARGV[3], ARGV[5])
return 1
