-- needs: rows, batches, drops
-- An event of SES says that it took this send and then dropped it, as it found a virus in it (`Reject`) or could not fill in
-- its template (`RenderingFailure`): nobody gets it.
-- Moves: sent, queued, scheduled, claimed, unknown -> rejected: SES dropped it: a virus, or a template that it could not fill in
--        suppressed, cancelled, expired, abandoned -> rejected: SES had taken it all the same, and dropped it
--
-- ARGV: 1 id, 2 SES message id, 3 reason, in one line, 4 the caller's metadata, for a recipient of a batch (JSON or ''),
--       5 SES's name of the event, in a word: the code
-- Answers 'rejected'; 'kept' (SES is being asked, or the row is of a newer release; noted for when it has answered); 'known'
--         (it is not to be had any more, or was told so before); 'copy' (SES has taken it under another message id as well);
--         or 'gone'.
local id, message_id, reason, code = ARGV[1], ARGV[2], ARGV[3], ARGV[5]

local function reject_in_batch()
  local batch, number, state = find_in_batch(id)
  if not batch then
    return 'gone'
  end
  if state == 'sending' then
    local before = redis.call('HGET', of_batch(batch), 'dropped')
    local line = string.format('%d %s %s %s\t%s', number, message_id, code, ARGV[4], reason)
    redis.call('HSET', of_batch(batch), 'dropped', before and before .. '\n' .. line or line)
    return 'kept'
  end
  reject_dropped_in_batch(batch, number, state, message_id, code, reason, ARGV[4])
  return 'rejected'
end

local answer = reject_dropped_row(id, message_id, code, reason)
return answer == 'gone' and reject_in_batch() or answer
