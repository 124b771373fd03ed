-- needs: batches
-- Writes down what became of a recipient of a held chunk: SES took it, or it waits again.
-- Moves: sending -> sent: SES took it
--        sending -> queued: it has to wait for the rate, the quota or the line, or SES could not be reached
--
-- ARGV: 1 id, 2 number, 3 token, 4 'sent' or 'queued'
-- Answers the state that it has now, or '' when the claim is stale. What an event has proved meanwhile that SES took stays sent.
local id, number, to = ARGV[1], tonumber(ARGV[2]), ARGV[4]
local state = state_in_batch(id, number)
if state == 'sent' then
  return 'sent'
end
if not hold_of(id, number, ARGV[3]) then
  return ''
end
if state == 'sending' then
  if is_proved(id, number) then
    to = 'sent'
  end
  if ARGV[4] == 'sent' then
    redis.call('DEL', of_account('unclear')) -- SES gives clear answers: see breaker.lua
  end
  if to == 'queued' and redis.call('HEXISTS', of_batch(id), 'ramp_begun') == 1 then
    redis.call('HINCRBY', of_batch(id), 'ramp_begun', -1)
  end
  move_in_batch(id, number, 'sending', to)
  return to
end
return state
