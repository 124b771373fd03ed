-- needs: rows, keys_of_callers, pseudonyms, index
-- Accepts an email into the ledger.
-- Moves: nothing -> queued: it may go at once
--        nothing -> scheduled: it is to go later
--
-- ARGV: 1 id, 2 email (JSON), 3 lane, 4 recipients, 5 send at (epoch ms or ''), 6 delay (ms), 7 expires at (epoch ms or ''),
--       8 expires in (ms or ''), 9 digest of the idempotency key (or ''), 10 its lifetime (ms), 11 the recipients'
--       addresses as opt-outs have them, one a line, 12 the list that it goes to (or ''), 13 the caller's metadata (JSON or
--       ''), 14 the site that it is of, 15 the account of SES that it goes through, 16 sha256 of the idempotency key,
--       17 digest of what the caller's email says (or '': nobody could mean another by the id or the key), 18 a new secret
--       of the index, 19 how long after it is due a send can be searched for (ms, or 0: not at all), 20 how long the
--       metadata is kept for events (ms), 21 the task id of who calls, 22 what it wants with its tickets and at the end (JSON
--       or ''), 23 '1' if it wants to know the end, 24 '1' if also that of an earlier send with the same key, 25 the
--       broker's queue, a list in this database (or ''), 26 its ticket as that has it (or ''), then for each blob: digest,
--       data (data '' means: it should be there already).
-- Answers {'accepted', id, state, ticket}, where `ticket` is 'put', '' where none was given or due, or how Redis refused
--         it; {'exists', id, state} where the key or the id was seen before; {'other', id, 'key' or
--         'id'} where it was seen with another email; {'missing', digest, ...} where blobs are not there: nothing was done,
--         call again with their data.
local FORMER_KEY_MS = 86400000
local id, email, lane, recipients, site, content = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[14], ARGV[17]
local has_key = ARGV[9] ~= ''

local seen, of_key
if has_key then
  seen, of_key = send_of_key(site, ARGV[9], ARGV[16])
end
local f = redis.call('HMGET', key('send', seen or id), 'state', 'content')
if f[1] or seen then
  if tells_another_email(content, of_key and of_key ~= '' and of_key or f[2] or '') then
    return {'other', seen or id, seen and 'key' or 'id'}
  end
  if f[1] and ARGV[24] == '1' then
    add_caller(seen or id, ARGV[21], ARGV[22])
  end
  return {'exists', seen or id, f[1] or 'gone'}
end

local missing, digests = {}, {}
for i = 27, #ARGV, 2 do
  digests[#digests + 1] = ARGV[i]
  if ARGV[i + 1] == '' and redis.call('EXISTS', key('blob', ARGV[i])) == 0 then
    missing[#missing + 1] = ARGV[i]
  end
end
if #missing > 0 then
  return {'missing', unpack(missing)}
end
for i = 27, #ARGV, 2 do
  if ARGV[i + 1] ~= '' then
    redis.call('HSETNX', key('blob', ARGV[i]), 'data', ARGV[i + 1])
  end
  redis.call('HINCRBY', key('blob', ARGV[i]), 'references', 1)
end

local now = now_ms()
local due = math.max(tonumber(ARGV[5]) or 0, now + tonumber(ARGV[6]))
local expires = tonumber(ARGV[7]) or (tonumber(ARGV[8]) and now + tonumber(ARGV[8])) or ''
local state = due > now and 'scheduled' or 'queued'
local row = {'v', ROW_VERSION, 'site', site, 'account', ARGV[15], 'state', state, 'lane', lane, 'recipients', recipients,
  'email', email, 'blobs', table.concat(digests, ' '), 'accepted_at', now, 'moved_at', now, 'expires_at', expires,
  'addresses', ARGV[11]}
local wanted_at = due > now and string.format('%.0f', due) or '' -- from when on it is late, where not from the beginning
for name, value in pairs({list = ARGV[12], metadata = ARGV[13], content = content, wanted_at = wanted_at}) do
  if value ~= '' then
    row[#row + 1] = name
    row[#row + 1] = value
  end
end
redis.call('HSET', key('send', id), unpack(row))
if ARGV[23] == '1' then
  add_caller(id, ARGV[21], ARGV[22])
elseif ARGV[22] ~= '' then
  redis.call('HSET', key('send', id), 'caller:' .. id, ARGV[22])
end
if ARGV[13] ~= '' then -- SES tells of an email long after its row is forgotten
  redis.call('SET', key('metadata', id), ARGV[13])
  redis.call('PEXPIRE', key('metadata', id), string.format('%d', ARGV[20] + due - now))
end
redis.call('ZADD', index(state, id, lane), due, id)
if ARGV[19] ~= '0' then
  index_send(id, ARGV[11], site, ARGV[12], ARGV[18], now, due + ARGV[19])
end
if has_key then
  redis.call('SET', key('idempotency', site, ARGV[9]), content == '' and id or id .. ' ' .. content)
  redis.call('PEXPIRE', key('idempotency', site, ARGV[9]), ARGV[10])
  if redis.call('SETNX', key('idempotency', ARGV[16]), id) == 1 then
    redis.call('PEXPIRE', key('idempotency', ARGV[16]), string.format('%d', math.min(tonumber(ARGV[10]), FORMER_KEY_MS)))
  end
end
local ticket = ''
if ARGV[25] ~= '' and state == 'queued' then -- the last act: whatever becomes of it, the email is accepted
  local put = redis.pcall('LPUSH', ARGV[25], ARGV[26])
  ticket = type(put) == 'table' and put.err or 'put'
end
return {'accepted', id, state, ticket}
