-- needs: rows
-- Sends again what stayed unknown for the whole evidence window; gives up after the last attempt.
-- Moves: unknown -> queued: no evidence came within the window; it is sent again
--        unknown -> abandoned: no evidence came, and SES was asked SESMAIL_MAX_ATTEMPTS times
--
-- ARGV: 1 evidence window (ms), 2 attempts allowed, 3 how many at most
-- Answers {how many abandoned, id, lane, ...}: the ids need tickets.
local before = now_ms() - tonumber(ARGV[1])
local abandoned, answer = 0, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('in', 'unknown'), '-inf', before, 'LIMIT', 0, ARGV[3])) do
  local f = redis.call('HMGET', key('send', id), 'lane', 'attempts')
  if tonumber(f[2] or 0) >= tonumber(ARGV[2]) then
    finish(id, 'unknown', 'abandoned', f[1], 'SES gave no clear answer, however often it was asked; it may have sent it', '')
    abandoned = abandoned + 1
  else
    requeue(id, 'unknown', f[1], true)
    answer[#answer + 1] = id
    answer[#answer + 1] = f[1]
  end
end
return {abandoned, unpack(answer)}
