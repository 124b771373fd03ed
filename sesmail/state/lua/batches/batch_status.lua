-- needs: batches
-- What is known of a recipient that is still in its batch.
--
-- ARGV: 1 id of the send
-- Answers {state, lane, accepted at (ms), moved at (ms), attempts}; {} where there is none.
local id, _, state = find_in_batch(ARGV[1])
if not id or redis.call('EXISTS', of_batch(id)) == 0 then
  return {}
end
local f = redis.call('HMGET', of_batch(id), 'lane', 'accepted_at', 'moved_at', 'state')
return {state, f[1], f[2], f[3], (state == 'sent' or state == 'sending') and '1' or '0'}
