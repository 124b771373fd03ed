-- needs: rows
-- Gives a claimed send back: it waits in `scheduled` until it is due again. Waiting is not trying.
-- What an event has proved meanwhile that SES took, by an earlier call, is sent.
-- Moves: claimed, sending -> scheduled: it has to wait for the rate, the quota or the line, or SES could not be reached
--        sending -> sent: an event has proved that SES took it
--
-- ARGV: 1 id, 2 token, 3 delay (ms), 4 reason, 5 '1' if the wait makes the next back-off longer,
--       6 retention of a sent row (ms), 7 '1' if it waits for room in the 24-hour quota: see sweep_room.lua, 8 the scope of
--       the line for which it waits (or ''): see hasten.lua, 9 why, in a word
--       ('': it is not to be noted)
-- Answers the state that it has now, or '' when the claim is stale.
local id, token = ARGV[1], ARGV[2]
local row = key('send', id)
local f = redis.call('HMGET', row, 'state', 'token', 'lane', 'expires_at', 'accepted_at', 'moved_at', 'moves', 'owner')
if f[2] ~= token then
  return ''
end
if f[1] == 'scheduled' or f[1] == 'sent' then
  return f[1]
end
if f[1] ~= 'sending' and f[1] ~= 'claimed' then
  return ''
end
if f[1] == 'sending' then
  measure_answer('put_off', f[6])
end
if f[1] == 'sending' and finish_proved(id, f[1], f[3], ARGV[6]) then
  return 'sent'
end
if f[1] == 'sending' then
  redis.call('HINCRBY', row, 'attempts', -1)
end
local due = now_ms() + tonumber(ARGV[3])
due = math.min(due, tonumber(f[4]) or due)
redis.call('HINCRBY', row, 'waits', ARGV[5])
redis.call('HSET', row, 'reason', ARGV[4])
if ARGV[9] ~= '' then
  redis.call('HSET', row, 'moves', with_move(f[7], 'scheduled', ARGV[9], f[8]))
end
if ARGV[7] == '1' then
  redis.call('HSET', row, 'waits_for', 'room')
  redis.call('ZADD', of_account('for_room', f[3]), f[5], id)
elseif ARGV[8] ~= '' then
  redis.call('HSET', row, 'waits_for', ARGV[8])
else
  redis.call('HDEL', row, 'waits_for')
end
move(id, f[1], 'scheduled', f[3], due)
return 'scheduled'
