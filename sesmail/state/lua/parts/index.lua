-- The index by which people search: under a keyed hash of each recipient's address, and under each list of a site, the ids
-- of sends by the time (ms) at which they may be forgotten. No address stands in a key or a value: see pseudonyms.lua.

local function enter_index(name, id, now, until_ms)
  redis.call('ZREMRANGEBYSCORE', name, '-inf', now)
  redis.call('ZADD', name, until_ms, id)
  redis.call('PEXPIREAT', name, math.max(until_ms, now + redis.call('PTTL', name)))
end

-- `addresses` one a line; `candidate` is a new secret, for a ledger that has none.
local function index_send(id, addresses, site, list, candidate, now, until_ms)
  local secret = redis.call('GET', key('index:secret'))
  if not secret then
    redis.call('SET', key('index:secret'), candidate)
    secret = candidate
  end
  for address in string.gmatch(addresses, '[^\n]+') do
    enter_index(key('index:address', hash_of(secret, address)), id, now, until_ms)
  end
  if list ~= '' then
    enter_index(key('index:list', site, list), id, now, until_ms)
  end
end
