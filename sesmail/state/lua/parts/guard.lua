-- A guard against loops: no more than so many emails an hour to one address. `lately:<hash>` has the sends that were claimed
-- for it in the last hour, by the time (ms) of their first claim; the hash is that of pseudonyms.lua.
local HOUR_MS = 3600000

-- The hash of a recipient who has had as many as there may be, or nil; then this send is counted with each of them. Once
-- an hour, however often it is claimed.
local function has_had_enough(id, addresses, left_out, limit, exempt, now)
  local secret, books, passed_over = redis.call('GET', key('index:secret')) or '', {}, '\n' .. exempt .. '\n'
  for _, address in ipairs(left_out) do
    passed_over = passed_over .. address .. '\n'
  end
  for address in string.gmatch(addresses, '[^\n]+') do
    if not string.find(passed_over, '\n' .. address .. '\n', 1, true) then
      local whose = hash_of(secret, address)
      local book = key('lately', whose)
      redis.call('ZREMRANGEBYSCORE', book, '-inf', now - HOUR_MS)
      if redis.call('ZCARD', book) >= limit and not redis.call('ZSCORE', book, id) then
        return whose
      end
      books[#books + 1] = book
    end
  end
  for _, book in ipairs(books) do
    redis.call('ZADD', book, 'NX', now, id)
    redis.call('PEXPIRE', book, HOUR_MS)
  end
end

-- Whether this is the first that is held back from an address within the hour: then somebody is to be told.
local function is_news(whose)
  local told = key('lately', whose, 'told')
  local news = redis.call('SETNX', told, '1')
  if news == 1 then
    redis.call('PEXPIRE', told, HOUR_MS)
  end
  return news
end
