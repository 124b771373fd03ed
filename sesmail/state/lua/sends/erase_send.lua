-- needs: rows
-- Takes who was erased out of an email: it goes to the others, or to nobody.
-- Moves: claimed -> scheduled: the worker that holds it has it with somebody who was erased
--        queued, scheduled, claimed, sending, unknown -> cancelled: its only recipient was erased
--        sending -> sent: its only recipient was erased, and an event has proved that SES took it
--
-- ARGV: 1 id, 2 SHA-1 of the email as it was seen, 3 the email to the others ('': nobody is left), 4 their addresses, one a
--       line, 5 how many they are, 6 retention of a sent row (ms), 7 '1': it is only asked, and nothing is done
-- Answers the state that it was in, or 'changed' (the email is another by now, or gone), 'gone', 'of a newer release'.
local id, row = ARGV[1], key('send', ARGV[1])
local f = redis.call('HMGET', row, 'state', 'lane', 'v', 'email')
local state, lane = f[1], f[2]
if not state then
  return 'gone'
end
if not is_known(f[3]) then
  return OF_NEWER
end
if not f[4] or redis.sha1hex(f[4]) ~= ARGV[2] then
  return 'changed'
end
if ARGV[7] == '1' then
  return state
end

if ARGV[3] ~= '' then
  redis.call('HSET', row, 'email', ARGV[3], 'addresses', ARGV[4], 'recipients', ARGV[5])
  if state == 'claimed' then
    note_move(id, state, 'scheduled', 'somebody-erased')
    redis.call('HDEL', row, 'token', 'owner')
    move(id, state, 'scheduled', lane, now_ms())
  end
  return state
end

drop_body(id)
redis.call('HDEL', row, 'metadata')
redis.call('DEL', key('metadata', id))
local waits = {queued = 1, scheduled = 1, claimed = 1, sending = 1, unknown = 1}
if waits[state] and not (state == 'sending' and finish_proved(id, state, lane, ARGV[6])) then
  redis.call('HDEL', row, 'token', 'owner')
  finish(id, state, 'cancelled', lane, 'its recipient was erased', ERASED)
end
return state
