-- needs: rows
-- An event of SES carries this send's id: SES took it. It is settled as sent, whatever was known before.
-- Moves: queued, scheduled, claimed, unknown -> sent: an event of SES, or an operator, says that SES took it
--        rejected, suppressed, cancelled, expired, abandoned -> sent: an event says that SES took it all the same
--
-- ARGV: 1 id, 2 SES message id, 3 retention of a sent row (ms)
-- Answers 'settled' (it counts as sent from now), 'kept' (SES is being asked, or the row is of a newer release; noted for
--         when no answer comes), 'known' (sent already), 'copy' (sent already under another message id: it went out twice),
--         or 'gone'.
local id, message_id = ARGV[1], ARGV[2]
local row = key('send', id)
local f = redis.call('HMGET', row, 'state', 'lane', 'message_id', 'v')
if not f[1] then
  return 'gone'
end
if f[1] == 'sent' then
  return f[3] == message_id and 'known' or 'copy'
end
if f[1] == 'sending' or not is_known(f[4]) then
  redis.call('HSETNX', row, 'evidence', message_id)
  return 'kept'
end
finish_sent(id, f[1], f[2], message_id, ARGV[3])
redis.call('HDEL', row, 'token')
return 'settled'
