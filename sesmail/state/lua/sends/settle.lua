-- needs: rows
-- Writes down how a claimed send ended.
-- Moves: claimed, sending -> sent: SES took it
--        claimed, sending -> rejected: SES refuses it for good, or it cannot be composed
--        claimed, sending -> abandoned: its record cannot be read
--        claimed, sending -> unknown: SES gave no clear answer
--
-- ARGV: 1 id, 2 token, 3 state (sent, rejected, abandoned or unknown), 4 SES message id, 5 reason, 6 code,
--       7 retention of a sent row (ms)
-- Answers the state that it has now, or '' when the claim is stale.
local id, token, to = ARGV[1], ARGV[2], ARGV[3]
local f = redis.call('HMGET', key('send', id), 'state', 'token', 'lane', 'message_id', 'moved_at', 'wanted_at', 'accepted_at')
local from, lane = f[1], f[3]
if from == 'sent' and to == 'sent' and f[4] == ARGV[4] then -- repeated: a sent row needs no token
  return from
end
if f[2] ~= token then
  return ''
end
if from == to or (from == 'sent' and to ~= 'sent') then
  return from
end
if from ~= 'sending' and from ~= 'claimed' then
  return ''
end
if from == 'sending' and (to == 'sent' or to == 'rejected') then
  redis.call('DEL', of_account('unclear')) -- SES gives clear answers: see breaker.lua
end
if from == 'sending' then
  measure_answer(to, f[5])
end
if to == 'sent' then
  measure('seconds_to_sent', lane, now_ms() - tonumber(f[6] or f[7]))
  finish_sent(id, from, lane, ARGV[4], ARGV[7])
elseif to == 'unknown' then
  return finish_unknown(id, from, lane, ARGV[5], ARGV[6], ARGV[7])
elseif from == 'sending' and finish_proved(id, from, lane, ARGV[7]) then
  return 'sent'
else
  finish(id, from, to, lane, ARGV[5], ARGV[6])
end
return to
