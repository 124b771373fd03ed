-- needs: rows, batches
-- Cancels a send that SES has not been asked to take. A worker that holds it is refused at its next move.
-- Moves: queued, scheduled, claimed -> cancelled: somebody takes it back
--
-- ARGV: 1 id
-- Answers the state that it has now, 'gone', or 'of a newer release'.
local f = redis.call('HMGET', key('send', ARGV[1]), 'state', 'lane', 'v')
local state = f[1]
if not state then
  local batch, number, its_state = find_in_batch(ARGV[1])
  if its_state == 'queued' then
    move_in_batch(batch, number, 'queued', 'cancelled')
    return 'cancelled'
  end
  return its_state or 'gone'
end
if not is_known(f[3]) then
  return OF_NEWER
end
if state == 'queued' or state == 'scheduled' or state == 'claimed' then
  finish(ARGV[1], state, 'cancelled', f[2], 'cancelled by request', '')
  return 'cancelled'
end
return state
