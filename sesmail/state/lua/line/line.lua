-- Closes a scope of the line: by an operator ("paused"), or because SES would refuse everything in it ("stopped").
--
-- ARGV: 1 'paused' or 'stopped', 2 scope, 3 reason, 4 ms between the single sends that try whether it is open again
-- An entry of the hash `line` reads "next try (ms; 0: never), ms between tries, since (ms), reason"; what a later release
-- puts behind a line break is not read by this one. SES's refusals stand in the place of what the breaker has closed.
-- Answers 1 when it was open until now. Repeated: the first reason stays.
local now = now_ms()
local field = ARGV[1] .. ':' .. ARGV[2]
if string.find(redis.call('HGET', of_account('line'), field) or '', '\nbreaker ', 1, true) then
  redis.call('HDEL', of_account('line'), field)
end
local next_try = ARGV[1] == 'paused' and 0 or now + tonumber(ARGV[4])
return redis.call('HSETNX', of_account('line'), field,
  string.format('%.0f %.0f %.0f %s', next_try, tonumber(ARGV[4]), now, (string.gsub(ARGV[3], '%s+', ' '))))
