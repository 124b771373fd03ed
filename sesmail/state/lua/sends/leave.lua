-- needs: rows
-- Gives a claimed send back that this worker cannot read: it waits for one that can.
--
-- ARGV: 1 id, 2 token, 3 reason
-- Answers 1, or 0 when the claim is stale.
local f = redis.call('HMGET', key('send', ARGV[1]), 'state', 'token', 'lane')
if f[2] ~= ARGV[2] then
  return 0
end
if f[1] == 'claimed' then
  leave(ARGV[1], 'claimed', f[3], ARGV[3])
end
return 1
