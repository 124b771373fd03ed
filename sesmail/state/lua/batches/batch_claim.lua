-- needs: batches
-- A worker takes a chunk of the batch whose turn it is.
--
-- ARGV: 1 owner, 2 token, 3 site, 4 lane, 5 accounts that the worker serves
-- Answers {id, chunk, its states (four bits each), list, account, waits, digest of the letter, data, recipients a second that
--         the batch may have, or ''}; {} where no chunk waits.
local now, ready = now_ms(), key('batches', 'ready', ARGV[3] .. ':' .. ARGV[4])
local awake = key('batches', 'awake', ARGV[3] .. ':' .. ARGV[4])
if tonumber(redis.call('GET', awake) or 0) > 0 then
  redis.call('DECR', awake)
end

local function answer(id, chunk)
  local f = redis.call('HMGET', of_batch(id), 'list', 'account', 'waits', 'letter_digest', 'rate')
  local states = redis.call('GETRANGE', of_batch(id, 'states'), chunk * CHUNK / 2, (chunk + 1) * CHUNK / 2 - 1)
  local data = redis.call('HGET', of_batch(id, 'chunks'), string.format('%d', chunk)) or ''
  return {id, chunk, states, f[1], f[2], f[3] or '0', f[4], data, f[5] or ''}
end

local holds, held_of = redis.call('HGETALL', key('batches', 'held')), {}
for i = 1, #holds, 2 do
  local holder_of = string.match(holds[i], '^%S+')
  held_of[holder_of] = (held_of[holder_of] or 0) + 1
  if string.match(holds[i + 1], '^%S+ (%S+)') == ARGV[2] then -- repeated
    local id, chunk = string.match(holds[i], '^(%S+) (%d+)$')
    return answer(id, tonumber(chunk))
  end
end
-- Those that wait for something keep up with the others: they make up for nothing later.
local passed = {}
local function keep_up(score)
  for _, id in ipairs(passed) do
    redis.call('ZADD', ready, score, id)
  end
end

for _, id in ipairs(redis.call('ZRANGE', ready, 0, -1)) do
  local f = redis.call('HMGET', of_batch(id), 'account', 'weight', 'rate')
  local has_room = (held_of[id] or 0) < most_at_once(f[3])
  if not f[1] then
    redis.call('ZREM', ready, id)
  elseif string.find(' ' .. ARGV[5] .. ' ', ' ' .. f[1] .. ' ', 1, true) and has_room and may_go(id, now) then
    local chunk = redis.call('LPOP', of_batch(id, 'todo'))
    if chunk then
      local turn, cost = redis.call('ZSCORE', ready, id), math.max(1, (left_in_chunk(id, chunk))) / tonumber(f[2])
      keep_up(turn)
      redis.call('SET', of_its_lane(id, 'turn'), turn)
      redis.call('HSET', of_batch(id), 'next_turn', redis.call('ZINCRBY', ready, cost, id), 'turn_cost', cost)
      redis.call('HSET', key('batches', 'held'), id .. ' ' .. chunk, ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. string.format('%.0f', now))
    end
    if redis.call('LLEN', of_batch(id, 'todo')) == 0 then
      redis.call('ZREM', ready, id)
    end
    if chunk then
      return answer(id, tonumber(chunk))
    end
  else
    passed[#passed + 1] = id
  end
end
return {}
