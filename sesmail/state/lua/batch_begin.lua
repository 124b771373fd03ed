-- needs: pseudonyms, batches, suppression
-- The last step before SES is asked for one recipient of a held chunk: from here on, SES may have it.
-- Moves: queued -> sending: SES is asked now
--        queued -> suppressed: the recipient has opted out, bounced or complained
--        queued -> expired: the batch's expiry time has passed
--
-- ARGV: 1 id, 2 number, 3 token, 4 address, as opt-outs have it, 5 '1' if it is to try a line that the breaker has
--       closed, 6 reasons for an opt-out that transactional email ignores
-- Answers 'sending'; 'stale' where another worker has the chunk; 'closed' where the breaker has closed the line since the slot
--         was given; 'waits' where its ramp lets no more go today; or the state of the
--         recipient or of the batch, for which SES must not be asked.
local id, number, token = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local hold = hold_of(id, number, token)
if not hold then
  return 'stale'
end
local state = state_in_batch(id, number)
if state == 'sending' then
  return string.match(hold, '^%S+ %S+ %d+ (%d+)') == ARGV[2] and 'sending' or 'stale' -- repeated
end
local f = redis.call('HMGET', of_batch(id), 'state', 'expires_at', 'site', 'list', 'lane', 'ramp', 'ramp_from')
if state ~= 'queued' or f[1] ~= 'running' then
  return state ~= 'queued' and state or f[1]
end
if (tonumber(f[2]) or math.huge) <= now_ms() then
  move_in_batch(id, number, 'queued', 'expired')
  return 'expired'
end
if suppressed(ARGV[4], f[3], f[4], ignored_by(f[5], ARGV[6])) then
  move_in_batch(id, number, 'queued', 'suppressed')
  return 'suppressed'
end
if ARGV[5] ~= '1' and string.find(redis.call('HGET', of_account('line'), 'stopped:account') or '', '\nbreaker ', 1, true) then
  return 'closed'
end
if f[6] and not begin_on_ramp(id, tonumber(f[6]), tonumber(f[7])) then
  return 'waits'
end
move_in_batch(id, number, 'queued', 'sending')
redis.call('HSET', key('batches', 'held'), name_of_hold(id, math.floor(number / CHUNK)),
  string.match(hold, '^%S+ %S+ %d+') .. ' ' .. ARGV[2])
return 'sending'
