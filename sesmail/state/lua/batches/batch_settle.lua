-- needs: batches
-- Writes down what became of recipients of a held chunk: SES took them, or they wait again.
-- Moves: sending -> sent: SES took it
--        sending -> queued: it has to wait for the rate, the quota or the line, or SES could not be reached
--
-- ARGV: 1 id, 2 token, 3 'sent' or 'queued', then the number of each
-- Answers for each the state that it has now, or '' when the claim is stale. What an event has proved meanwhile that SES took
-- stays sent.
local id, token, to, numbers, answer, moves = ARGV[1], ARGV[2], ARGV[3], {}, {}, new_moves()
for i = 4, #ARGV do
  numbers[#numbers + 1] = tonumber(ARGV[i])
end
local is_held = hold_of(id, numbers[1], token)
for i, state in ipairs(states_in_batch(id, numbers)) do
  answer[i] = settle_in_batch(moves, id, numbers[i], state, is_held, to)
end
if to == 'sent' and is_held then
  redis.call('DEL', of_account('unclear')) -- SES gives clear answers: see breaker.lua
end
write_moves(moves, id)
return answer
