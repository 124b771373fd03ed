-- needs: fleet, batches
-- A sweep takes over a chunk whose worker is dead, or has held it past its hard end.
--
-- ARGV: 1 token of the sweep, 2 lease (ms), 3 hard end (ms), 4 site
-- Answers {id, chunk, its states, list, account, waits, digest of the letter, data, its rate or ''}; {} where there is none.
local now = now_ms()
if silence_is_forgiven(now, tonumber(ARGV[2])) then
  return {}
end
local held = redis.call('HGETALL', key('batches', 'held'))
for i = 1, #held, 2 do
  local owner, token, since = string.match(held[i + 1], '^(%S+) (%S+) (%d+)')
  local id, chunk = string.match(held[i], '^(%S+) (%d+)$')
  local of = redis.call('HMGET', of_batch(id), 'site', 'v', 'lane')
  local dead = (owner ~= 'sweep' and not is_alive(owner, now)) or tonumber(since) + tonumber(ARGV[3]) < now
  if not of[1] then
    redis.call('HDEL', key('batches', 'held'), held[i])
  elseif of[1] == ARGV[4] and (dead or token == ARGV[1]) and (tonumber(of[2]) or math.huge) <= BATCH_VERSION then
    chunk = tonumber(chunk)
    redis.call('DEL', key('batches', 'awake', of[1] .. ':' .. of[3])) -- tickets may have died with it
    redis.call('HSET', key('batches', 'held'), held[i], 'sweep ' .. ARGV[1] .. ' ' .. string.format('%.0f', now))
    local f = redis.call('HMGET', of_batch(id), 'list', 'account', 'waits', 'letter_digest', 'rate')
    local states = redis.call('GETRANGE', of_batch(id, 'states'), chunk * CHUNK / 2, (chunk + 1) * CHUNK / 2 - 1)
    local data = redis.call('HGET', of_batch(id, 'chunks'), string.format('%d', chunk)) or ''
    return {id, chunk, states, f[1], f[2], f[3] or '0', f[4], data, f[5] or ''}
  end
end
return {}
