-- needs: pseudonyms
-- From now on, the opt-outs know an address by its keyed hash alone; they hold as before. What else is kept under it goes.
--
-- ARGV: 1 the address's SHA-256, then each spelling of it, first the one of today
-- Answers how many opt-outs it has.
local name, kept = erased_name(ARGV[2]), 0
redis.call('ZADD', key('erased'), now_ms(), name)

-- The address may stand in what an operator gave as the source.
local function without(record, address)
  if string.find(string.lower(record), string.lower(address), 1, true) then
    return string.match(record, '^%S+ %S+') .. ' ' .. (string.match(record, '\n.*') or '')
  end
  return record
end

for _, scope in ipairs(redis.call('SMEMBERS', key('optouts'))) do
  for i = 2, #ARGV do
    for _, book in ipairs({key('optout', scope), key('returned', scope)}) do
      local record = redis.call('HGET', book, ARGV[i])
      if record then
        redis.call('HSETNX', book, name, without(record, ARGV[i]))
        redis.call('HDEL', book, ARGV[i])
      end
    end
  end
  kept = kept + redis.call('HEXISTS', key('optout', scope), name)
end
redis.call('DEL', key('soft', ARGV[1]))
redis.call('SREM', key('ses-list'), unpack(ARGV, 2))
return kept
