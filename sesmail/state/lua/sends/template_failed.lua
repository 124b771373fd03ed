-- needs: rows, batches, unfilled
-- An event of SES says that it took this send and then could not fill in its template: nobody gets it.
-- Moves: sent, queued, scheduled, claimed, unknown -> rejected: SES could not fill in its template, and did not send it
--
-- ARGV: 1 id, 2 SES message id, 3 reason, in one line, 4 the caller's metadata, for a recipient of a batch (JSON or '')
-- Answers 'rejected'; 'kept' (SES is being asked, or the row is of a newer release; noted for when it has answered); 'known'
--         (it is not to be had any more, or was told so before); 'copy' (SES has taken it under another message id as well);
--         or 'gone'.
local id, message_id, reason = ARGV[1], ARGV[2], ARGV[3]
local row = key('send', id)
local f = redis.call('HMGET', row, 'state', 'lane', 'message_id', 'v')

local function reject_in_batch()
  local batch, number = split_id(id)
  local state = batch and state_in_batch(batch, number) or 'none'
  if state == 'none' or state == 'row' then
    return 'gone'
  end
  if state == 'sending' then
    local before = redis.call('HGET', of_batch(batch), 'unfilled')
    local line = string.format('%d %s %s\t%s', number, message_id, ARGV[4], reason)
    redis.call('HSET', of_batch(batch), 'unfilled', before and before .. '\n' .. line or line)
    return 'kept'
  end
  if state ~= 'sent' and state ~= 'queued' then
    return 'known'
  end
  reject_unfilled_in_batch(batch, number, state, message_id, reason, ARGV[4])
  return 'rejected'
end

if not f[1] then
  return reject_in_batch()
end
if f[1] == 'sending' or not is_known(f[4]) then
  redis.call('HSETNX', row, 'evidence', message_id)
  redis.call('HSET', row, 'unfilled', message_id .. ' ' .. reason)
  return 'kept'
end
if f[1] == 'sent' and f[3] ~= message_id then
  return 'copy'
end
if f[3] == message_id and f[1] ~= 'sent' then
  return 'known'
end
if f[1] ~= 'sent' and f[1] ~= 'queued' and f[1] ~= 'scheduled' and f[1] ~= 'claimed' and f[1] ~= 'unknown' then
  return 'known'
end
reject_unfilled(id, f[1], f[2], message_id, reason)
return 'rejected'
