-- needs: pseudonyms, batches, suppression, guard
-- The last step before SES is asked for recipients of a held chunk, in one call: from here on, SES may have them. Those that
-- it took by the call before are written down in the same act.
-- Moves: sending -> sent: SES took it by the call before
--        queued -> sending: SES is asked now
--        queued -> suppressed: the recipient has opted out, bounced or complained
--        queued -> expired: the batch's expiry time has passed
--
-- ARGV: 1 id, 2 token, 3 '1' if they are to try a line that the breaker has closed, 4 reasons for an opt-out that
--       transactional email ignores, 5 how many emails an hour may go to one address (0: any number), 6 addresses to which
--       that does not apply, one a line, 7 how many SES took by the call before, then the number of each; then for each
--       recipient to be asked for: number, address, as opt-outs have it
-- Answers for each that SES took 'sent', or '' when the claim is stale. Then for each to be asked for: 'sending'; 'stale' where
--         another worker has the chunk; 'closed' where the breaker has closed the line since the slot was given; or the state
--         of the recipient or of the batch, for which SES must not be asked; or 'waits' where its ramp lets no more go today; or
--         'too-many HASH NEWS' where the address has had as many as may be within the hour: NEWS is 1 for the first of them.
local id, token, answer, moves, numbers, addresses = ARGV[1], ARGV[2], {}, new_moves(), {}, {}
local taken, limit = tonumber(ARGV[7]), tonumber(ARGV[5])
for i = 8, 7 + taken do
  numbers[#numbers + 1] = tonumber(ARGV[i])
end
for i = 8 + taken, #ARGV, 2 do
  numbers[#numbers + 1] = tonumber(ARGV[i])
  addresses[#numbers] = ARGV[i + 1]
end
local call = ARGV[8 + taken] -- it is known by the first of those that it asks for
local hold = hold_of(id, numbers[1], token)
local f = redis.call('HMGET', of_batch(id), 'state', 'expires_at', 'site', 'list', 'lane', 'ramp', 'ramp_from')
local is_late = (tonumber(f[2]) or math.huge) <= now_ms()
local is_closed = ARGV[3] ~= '1' and
  string.find(redis.call('HGET', of_account('line'), 'stopped:account') or '', '\nbreaker ', 1, true)
local ignored = ignored_by(f[5], ARGV[4])
local has_opt_outs = f[3] and redis.call('EXISTS', key('optout', 'everything'), key('optout', 'site:' .. f[3]),
  key('optout', 'list:' .. f[3] .. '/' .. f[4])) > 0

local function begin(number, state, address)
  if not hold then
    return 'stale'
  end
  if state == 'sending' then
    return string.match(hold, '^%S+ %S+ %d+ (%d+)') == call and 'sending' or 'stale' -- repeated
  end
  if state ~= 'queued' or f[1] ~= 'running' then
    return state ~= 'queued' and state or f[1]
  end
  local why = is_late and 'expired' or (has_opt_outs and suppressed(address, f[3], f[4], ignored) and 'suppressed')
  if not why and is_closed then
    return 'closed'
  end
  if not why and f[6] and not begin_on_ramp(id, tonumber(f[6]), tonumber(f[7])) then
    return 'waits'
  end
  local whose = not why and limit > 0 and
    has_had_enough(id .. '-' .. string.format('%d', number), address, {}, limit, ARGV[6], now_ms())
  if whose then
    redis.call('HINCRBY', key('meters', 'guard'), 'held_back', 1)
    if f[6] then
      redis.call('HINCRBY', of_batch(id), 'ramp_begun', -1)
    end
    return 'too-many ' .. whose .. ' ' .. is_news(whose)
  end
  add_move(moves, id, number, 'queued', why or 'sending')
  return why or 'sending'
end

for i, state in ipairs(states_in_batch(id, numbers)) do
  if addresses[i] then
    answer[i] = begin(numbers[i], state, addresses[i])
  else
    answer[i] = settle_in_batch(moves, id, numbers[i], state, hold, 'sent')
  end
end
if taken > 0 and hold then
  redis.call('DEL', of_account('unclear')) -- SES gives clear answers: see breaker.lua
end
if moves.counts.queued then
  redis.call('HSET', key('batches', 'held'), name_of_hold(id, math.floor(numbers[1] / CHUNK)),
    string.match(hold, '^%S+ %S+ %d+') .. ' ' .. call)
end
write_moves(moves, id)
return answer
