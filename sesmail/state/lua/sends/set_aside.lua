-- needs: rows
-- Keeps a message that asked for a send but cannot be understood, where `sesmail failed` lists it.
-- Moves: nothing -> abandoned: what came as an email is none
--
-- ARGV: 1 id, 2 its content, 3 reason, 4 the site, 5 the account of SES that it would have gone through
-- Answers 1, or 0 when the id is in use by anything else.
local row, now = key('send', ARGV[1]), now_ms()
if redis.call('EXISTS', row) == 1 then
  local f = redis.call('HMGET', row, 'code', 'email')
  return f[1] == 'broken' and f[2] == ARGV[2] and 1 or 0
end
redis.call('HSET', row, 'v', ROW_VERSION, 'site', ARGV[4], 'account', ARGV[5], 'state', 'abandoned',
  'lane', 'transactional', 'recipients', 0, 'email', ARGV[2], 'blobs', '', 'accepted_at', now, 'moved_at', now,
  'reason', ARGV[3], 'code', 'broken')
redis.call('ZADD', key('in', 'abandoned'), now, ARGV[1])
return 1
