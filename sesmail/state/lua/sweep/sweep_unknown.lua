-- needs: rows
-- Sends again what stayed unknown for the whole evidence window; gives up after the last attempt. What SES is proved to have
-- taken, counts as sent: a release that did not know the form of its row has kept the proof.
-- Moves: unknown -> queued: no evidence came within the window; it is sent again
--        unknown -> abandoned: no evidence came, and SES was asked SESMAIL_MAX_ATTEMPTS times
--        unknown -> sent: a proof was kept by a release that did not know the form of its row
--
-- ARGV: 1 evidence window (ms) of transactional email, 2 of bulk ('': as below), 3 attempts allowed, 4 how many at most, 5 how
--       many to skip: those that are left, which earlier calls have found, 6 retention of a sent row (ms), 7 the accounts
--       of SES that the caller serves, with spaces between
-- Answers {how many were looked at, how many of them are left (their window is longer, or they are for a newer release or for
-- who serves their account), how many were abandoned, id, lane, wishes, ...}: the ids need tickets (see `add_ticket`).
local MINUTE, FACTOR = 60000, 3
local now = now_ms()
local given = {transactional = tonumber(ARGV[1]), bulk = tonumber(ARGV[2])}

-- Where nobody has said otherwise: half an hour for bulk; for transactional email a minute, as half an hour is too long for a
-- password reset, and longer where events come so late that a minute would say nothing.
local function window(lane, site)
  if given[lane] then
    return given[lane]
  end
  local usual = lane == 'bulk' and 30 * MINUTE or MINUTE
  return math.max(usual, math.min(30 * MINUTE, FACTOR * (tonumber(redis.call('HGET', key('delay_of_events'), site)) or 0)))
end

local shortest = math.min(given.transactional or MINUTE, given.bulk or 30 * MINUTE)
local left, abandoned, answer = 0, 0, {}
local found = redis.call('ZRANGEBYSCORE', key('in', 'unknown'), '-inf', now - shortest, 'WITHSCORES', 'LIMIT', ARGV[5], ARGV[4])
for i = 1, #found, 2 do
  local id, since = found[i], tonumber(found[i + 1])
  local f = redis.call('HMGET', key('send', id), 'lane', 'attempts', 'v', 'evidence', 'account', 'site')
  if not is_there(id, key('in', 'unknown')) then
    -- Nothing of it is left.
  elseif not is_known(f[3]) or not string.find(' ' .. ARGV[7] .. ' ', ' ' .. (f[5] or 'default') .. ' ', 1, true) then
    left = left + 1
  elseif f[4] then
    finish_sent(id, 'unknown', f[1], f[4], ARGV[6])
  elseif since > now - window(f[1], f[6] or '') then
    left = left + 1
  elseif tonumber(f[2] or 0) >= tonumber(ARGV[3]) then
    finish(id, 'unknown', 'abandoned', f[1], 'SES gave no clear answer, however often it was asked; it may have sent it', '',
      'no-evidence')
    abandoned = abandoned + 1
  else
    requeue(id, 'unknown', f[1], true, 'no-evidence')
    add_ticket(answer, id, f[1])
  end
end
return {#found / 2, left, abandoned, unpack(answer)}
