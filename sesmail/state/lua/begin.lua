-- needs: rows
-- The last step before SES is asked: from here on, SES may have it.
-- Moves: claimed -> sending: SES is asked now
--
-- ARGV: 1 id, 2 token, 3 longest that asking SES can take (ms)
-- Answers 1, or 0 when the claim is stale: the caller must not ask SES.
local id, token = ARGV[1], ARGV[2]
local f = redis.call('HMGET', key('send', id), 'state', 'token', 'lane')
if f[2] ~= token then
  return 0
end
if f[1] == 'sending' then
  return 1
end
if f[1] ~= 'claimed' then
  return 0
end
move(id, 'claimed', 'sending', f[3], now_ms() + tonumber(ARGV[3]))
redis.call('HINCRBY', key('send', id), 'attempts', 1)
return 1
