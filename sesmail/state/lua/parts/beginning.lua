-- The step from which on SES may have an email, for the scripts that take it. Needs rows.

-- What is asked of a claimed send before it begins: state, token, lane, attempts, through.
local function held(id)
  return redis.call('HMGET', key('send', id), 'state', 'token', 'lane', 'attempts', 'through')
end

-- Moves a send that is held so: asking SES can take `longest_ms`, and `through` is the account that it is asked through this
-- time, where that is not the email's own, else ''.
local function move_to_sending(id, f, longest_ms, through)
  if f[5] then
    redis.call('HDEL', key('send', id), 'through')
  end
  local elsewhere = through ~= '' and {'through', through} or {}
  move(id, 'claimed', 'sending', f[3], now_ms() + tonumber(longest_ms), 'attempts', number_of(f[4]) + 1, unpack(elsewhere))
end
