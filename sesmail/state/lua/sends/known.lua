-- needs: keys_of_callers
-- Looks up what an idempotency key stands for.
--
-- ARGV: 1 site, 2 the key's digest, 3 its sha256, as former releases have it
-- Answers {id, its state or 'gone', the digest of its content or ''}, or {} where nobody has used the key.
local id, content = send_of_key(ARGV[1], ARGV[2], ARGV[3])
if not id then
  return {}
end
local f = redis.call('HMGET', key('send', id), 'state', 'content')
return {id, f[1] or 'gone', content ~= '' and content or f[2] or ''}
