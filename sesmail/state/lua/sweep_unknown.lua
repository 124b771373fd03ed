-- needs: rows
-- Sends again what stayed unknown for the whole evidence window; gives up after the last attempt. What SES is proved to have
-- taken, counts as sent: a release that did not know the form of its row has kept the proof.
-- Moves: unknown -> queued: no evidence came within the window; it is sent again
--        unknown -> abandoned: no evidence came, and SES was asked SESMAIL_MAX_ATTEMPTS times
--        unknown -> sent: a proof was kept by a release that did not know the form of its row
--
-- ARGV: 1 evidence window (ms), 2 attempts allowed, 3 how many at most, 4 how many to skip: those that are left to others,
--       which earlier calls have found, 5 retention of a sent row (ms), 6 the account of SES that the caller serves
-- Answers {how many were looked at, how many of them are left to a newer release or to who serves their account, how many
-- were abandoned, id, lane, wishes, ...}: the ids need tickets (see `add_ticket`).
local before = now_ms() - tonumber(ARGV[1])
local left, abandoned, answer = 0, 0, {}
local found = redis.call('ZRANGEBYSCORE', key('in', 'unknown'), '-inf', before, 'LIMIT', ARGV[4], ARGV[3])
for _, id in ipairs(found) do
  local f = redis.call('HMGET', key('send', id), 'lane', 'attempts', 'v', 'evidence', 'account')
  if not is_there(id, key('in', 'unknown')) then
    -- Nothing of it is left.
  elseif not is_known(f[3]) or (f[5] or ARGV[6]) ~= ARGV[6] then
    left = left + 1
  elseif f[4] then
    finish_sent(id, 'unknown', f[1], f[4], ARGV[5])
  elseif tonumber(f[2] or 0) >= tonumber(ARGV[2]) then
    finish(id, 'unknown', 'abandoned', f[1], 'SES gave no clear answer, however often it was asked; it may have sent it', '')
    abandoned = abandoned + 1
  else
    requeue(id, 'unknown', f[1], true)
    add_ticket(answer, id, f[1])
  end
end
return {#found, left, abandoned, unpack(answer)}
