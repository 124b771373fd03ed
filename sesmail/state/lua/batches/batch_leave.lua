-- needs: rows, batches
-- A recipient leaves its batch: it gets a row of the ledger, under the same id, and goes the way of every other send.
-- Moves: queued, sending -> rejected: SES refuses it for good, or it cannot be composed
--        queued -> abandoned: too many emails an hour to the recipient (code `too-many`): a loop?
--        sending -> sent: an event has proved meanwhile that SES took it
--        sending -> unknown: SES gave no clear answer, or the worker died while SES was asked
--
-- ARGV: 1 id, 2 number, 3 token, 4 state (rejected, abandoned or unknown), 5 reason, 6 code, 7 email (JSON), 8 recipients, 9 addresses, as
--       opt-outs have them, one a line, 10 the caller's metadata (JSON or ''), then for each blob: digest, data
-- Answers the state that it has now, or '' when the claim is stale. What an event has proved meanwhile that SES took stays sent.
local batch, number, to = ARGV[1], tonumber(ARGV[2]), ARGV[4]
local id = batch .. '-' .. ARGV[2]
local state = state_in_batch(batch, number)
if state == 'row' then
  return redis.call('HGET', key('send', id), 'state') or 'sent'
end
if state == 'sent' then
  return 'sent'
end
local hold = hold_of(batch, number, ARGV[3])
if not hold or (state ~= 'sending' and not (state == 'queued' and to ~= 'unknown')) then
  return ''
end
if is_proved(batch, number) then
  move_in_batch(batch, number, state, 'sent')
  return 'sent'
end
local digests = {}
for i = 11, #ARGV, 2 do
  digests[#digests + 1] = ARGV[i]
  redis.call('HSETNX', key('blob', ARGV[i]), 'data', ARGV[i + 1])
  redis.call('HINCRBY', key('blob', ARGV[i]), 'references', 1)
end
local f = redis.call('HMGET', of_batch(batch), 'site', 'account', 'lane', 'list', 'accepted_at', 'expires_at')
redis.call('HSET', key('send', id), 'v', ROW_VERSION, 'site', f[1], 'account', f[2], 'lane', f[3], 'recipients', ARGV[8],
  'email', ARGV[7], 'blobs', table.concat(digests, ' '), 'accepted_at', f[5], 'expires_at', f[6] or '', 'addresses', ARGV[9],
  'attempts', to == 'unknown' and 1 or 0, 'reason', ARGV[5], 'code', ARGV[6])
for name, value in pairs({list = f[4] or '', metadata = ARGV[10]}) do
  if value ~= '' then
    redis.call('HSET', key('send', id), name, value)
  end
end
if state == 'sending' and to == 'rejected' then
  redis.call('DEL', of_account('unclear'))
end
redis.call('HSET', key('send', id), 'moves', with_move('', to, ARGV[6], string.match(hold, '^%S+')))
enter(id, to, f[3], now_ms())
if to ~= 'unknown' then
  to_be_told(id)
end
redis.call('BITFIELD', of_batch(batch, 'states'), 'SET', 'u4', '#' .. ARGV[2], CODES.row)
redis.call('HINCRBY', of_batch(batch), 'n:' .. state, -1)
redis.call('ZADD', of_batch(batch, 'rows'), number, number)
return to
