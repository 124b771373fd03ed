-- needs: rows
-- An operator sends again what was not sent: a new start, with all attempts.
-- Moves: rejected, suppressed, cancelled, expired, abandoned, unknown -> queued: an operator sends it again
--
-- ARGV: 1 id
-- Answers the state that it has now ('queued' if it was moved), 'gone', 'of a newer release', or 'erased' (its text is gone).
local row = key('send', ARGV[1])
local f = redis.call('HMGET', row, 'state', 'lane', 'v', 'moves', 'accepted_at')
local state = f[1]
if not state then
  return 'gone'
end
if not is_known(f[3]) then
  return OF_NEWER
end
if redis.call('HEXISTS', row, 'email') == 0 and state ~= 'sent' then
  return ERASED
end
local again = { rejected = 1, suppressed = 1, cancelled = 1, expired = 1, abandoned = 1, unknown = 1 }
if not again[state] then
  return state
end
if not string.find(f[4] or '', ' accepted ', 1, true) then -- the row is about to forget when that was
  local accepted = string.format('%.0f queued accepted -', math.floor((tonumber(f[5]) or now_ms()) / 1000))
  redis.call('HSET', row, 'moves', f[4] and accepted .. '\n' .. f[4] or accepted)
end
redis.call('HDEL', row, 'attempts', 'waits', 'left', 'waits_for', 'reason', 'code', 'token', 'expires_at', 'wanted_at')
redis.call('HSET', row, 'accepted_at', now_ms(), 'let_pass', '1') -- the guard of guard.lua: somebody means it
requeue(ARGV[1], state, f[2], true, 'requeued')
return 'queued'
