-- needs: rows
-- Gives a waiting send another time.
-- Moves: queued, scheduled -> scheduled: somebody gives it another time
--
-- ARGV: 1 id, 2 send at (epoch ms)
-- Answers the state that it has now ('scheduled' if it was moved), 'gone', or 'of a newer release'.
local f = redis.call('HMGET', key('send', ARGV[1]), 'state', 'lane', 'v')
local state = f[1]
if not state then
  return 'gone'
end
if not is_known(f[3]) then
  return OF_NEWER
end
if state == 'queued' or state == 'scheduled' then
  redis.call('HDEL', key('send', ARGV[1]), 'waits_for')
  redis.call('HSET', key('send', ARGV[1]), 'wanted_at', ARGV[2])
  note_move(ARGV[1], state, 'scheduled', 'rescheduled')
  move(ARGV[1], state, 'scheduled', f[2], tonumber(ARGV[2]))
  return 'scheduled'
end
return state
