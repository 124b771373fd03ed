-- needs: rows
-- Queues the scheduled sends of a lane whose time has come.
-- Moves: scheduled -> queued: its time has come
--
-- ARGV: 1 lane, 2 how many at most, 3 a closed scope of the line that they are to try, as `stopped:account` (or ''), 4 for
--       how long (ms) it must have been due for that, 5 the only account whose emails are queued (or '': of all), then the
--       accounts whose emails are not: they are looked at again a while later, so that they are not in others' way
-- Answers {how many were put off, id, lane, wishes, ...}: they need tickets (see `add_ticket`).
local LOOKED_AT, CLOSED_MS = 500, 10000
local lane, answer = ARGV[1], {0}
local closed = ARGV[3] ~= '' and redis.call('HGET', of_account('line'), ARGV[3])
if closed and number_of(closed) + tonumber(ARGV[4]) > now_ms() then
  return answer
end
local only, closed_accounts = ARGV[5] or '', {}
for i = 6, #ARGV do
  closed_accounts[ARGV[i]] = true
end
local by_account = only ~= '' or next(closed_accounts)
local looked_at = by_account and LOOKED_AT or ARGV[2]
local due = redis.call('ZRANGEBYSCORE', key('in', 'scheduled', lane), '-inf', now_ms(), 'LIMIT', 0, looked_at)
for _, id in ipairs(due) do
  if is_there(id, key('in', 'scheduled', lane)) then
    local account = by_account and (redis.call('HGET', key('send', id), 'account') or 'default')
    if closed_accounts[account] then
      redis.call('ZADD', key('in', 'scheduled', lane), now_ms() + CLOSED_MS, id)
      answer[1] = answer[1] + 1
    elseif only == '' or account == only then
      requeue(id, 'scheduled', lane, false)
      add_ticket(answer, id, lane)
    end
    if #answer > 3 * ARGV[2] then
      break
    end
  end
end
return answer
