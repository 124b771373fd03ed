-- needs: rows, fleet
-- Takes back what dead workers hold. A claim goes back to the queue; what SES was being asked becomes unknown. So does what
-- is held past its hard end under a living owner.
-- Moves: claimed -> queued: its worker died, or held it for too long
--        sending -> unknown: its worker died, or got no answer, while SES was asked
--        sending -> sent: its worker died, but an event has proved meanwhile that SES took it
--
-- ARGV: 1 state to look at (claimed or sending), 2 position to start from, 3 how many to look at, 4 lease (ms),
--       5 hard end: how long (ms) past its place in the index a send may be in this state, 6 retention of a sent row (ms)
-- Answers {next position or -1, how many settled by evidence, how many unknown, id, lane, wishes, ...}: the ids need tickets
-- (see `add_ticket`).
local state, first, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
if silence_is_forgiven(now, tonumber(ARGV[4])) then
  return {-1, 0, 0}
end
local found = redis.call('ZRANGE', key('in', state), first, first + count - 1, 'WITHSCORES')
local answer, moved, settled, unknown = {}, 0, 0, 0
for i = 1, #found, 2 do
  local id, score = found[i], tonumber(found[i + 1])
  local f = redis.call('HMGET', key('send', id), 'owner', 'lane', 'v')
  if not is_there(id, key('in', state)) then
    moved = moved + 1
  elseif is_known(f[3]) and (not is_alive(f[1], now) or score + tonumber(ARGV[5]) < now) then
    moved = moved + 1
    if state == 'claimed' then
      requeue(id, state, f[2], true, 'worker-gone')
      add_ticket(answer, id, f[2])
    elseif finish_unknown(id, state, f[2], 'the worker died or got no answer while SES was asked', '', ARGV[6],
        'worker-gone') == 'sent' then
      settled = settled + 1
    else
      unknown = unknown + 1
    end
  end
end
local following = #found < 2 * count and -1 or first + count - moved
return {following, settled, unknown, unpack(answer)}
