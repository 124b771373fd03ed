-- needs: rows
-- Accepts an email into the ledger.
-- Moves: nothing -> queued: it may go at once
--        nothing -> scheduled: it is to go later
--
-- ARGV: 1 id, 2 email (JSON), 3 lane, 4 recipients, 5 send at (epoch ms or ''), 6 delay (ms), 7 expires at (epoch ms or ''),
--       8 expires in (ms or ''), 9 idempotency digest (or ''), 10 its lifetime (ms), 11 the recipients' addresses as
--       opt-outs have them, one a line, 12 the list that it goes to (or ''), 13 the caller's metadata (JSON or ''), 14 the
--       site that it is of, 15 the account of SES that it goes through, 16 the task id of who calls, 17 what it wants with
--       its tickets and at the end (JSON or ''), 18 '1' if it wants to know the end, 19 '1' if also that of an earlier send with
--       the same key, then for each blob: digest, data (data '' means: it should be there already).
-- Answers {'accepted', id, state}; {'exists', id, state} where the key or the id was seen before;
--         {'missing', digest, ...} where blobs are not there: nothing was done, call again with their data.
local id, email, lane, recipients = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local idempotency = ARGV[9] ~= '' and key('idempotency', ARGV[9])

local seen = (idempotency and redis.call('GET', idempotency)) or id
local state = redis.call('HGET', key('send', seen), 'state')
if state or seen ~= id then
  if state and ARGV[19] == '1' then
    add_caller(seen, ARGV[16], ARGV[17])
  end
  return {'exists', seen, state or 'gone'}
end

local missing, digests = {}, {}
for i = 20, #ARGV, 2 do
  digests[#digests + 1] = ARGV[i]
  if ARGV[i + 1] == '' and redis.call('EXISTS', key('blob', ARGV[i])) == 0 then
    missing[#missing + 1] = ARGV[i]
  end
end
if #missing > 0 then
  return {'missing', unpack(missing)}
end
for i = 20, #ARGV, 2 do
  if ARGV[i + 1] ~= '' then
    redis.call('HSETNX', key('blob', ARGV[i]), 'data', ARGV[i + 1])
  end
  redis.call('HINCRBY', key('blob', ARGV[i]), 'references', 1)
end

local now = now_ms()
local due = math.max(tonumber(ARGV[5]) or 0, now + tonumber(ARGV[6]))
local expires = tonumber(ARGV[7]) or (tonumber(ARGV[8]) and now + tonumber(ARGV[8])) or ''
state = due > now and 'scheduled' or 'queued'
redis.call('HSET', key('send', id), 'v', ROW_VERSION, 'site', ARGV[14], 'account', ARGV[15], 'state', state, 'lane', lane, 'recipients', recipients, 'email', email,
  'blobs', table.concat(digests, ' '), 'accepted_at', now, 'moved_at', now, 'expires_at', expires, 'addresses', ARGV[11])
for i, name in ipairs({'list', 'metadata'}) do
  if ARGV[11 + i] ~= '' then
    redis.call('HSET', key('send', id), name, ARGV[11 + i])
  end
end
if ARGV[18] == '1' then
  add_caller(id, ARGV[16], ARGV[17])
elseif ARGV[17] ~= '' then
  redis.call('HSET', key('send', id), 'caller:' .. id, ARGV[17])
end
redis.call('ZADD', index(state, id, lane), due, id)
if idempotency then
  redis.call('SET', idempotency, id, 'PX', ARGV[10])
end
return {'accepted', id, state}
