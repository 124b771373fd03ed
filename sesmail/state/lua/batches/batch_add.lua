-- needs: pseudonyms, batches, suppression
-- Adds recipients to a batch, all of them or none: those who stand in it already are named instead.
-- Moves: nothing -> queued: it goes out when the whole list has been read
--
-- ARGV: 1 id, 2 token of who adds, 3 how many blocks it has added before, 4 digests of the addresses (8 bytes each), 5 the
--       addresses as opt-outs have them, one a line, then for each chunk: how many recipients, their data,
--       and the metadata that are their own (compressed, or '')
-- Answers {'added', number of the first chunk, how many have opted out by now}; {'known', places among these, ...}: nothing
--         was done; {'lost'}: somebody else adds to it now; or {'gone'}.
local id, seen = ARGV[1], of_batch(ARGV[1], 'seen')
local f = redis.call('HMGET', of_batch(id), 'adds', 'added', 'chunks', 'site', 'list', 'state')
if not f[1] then
  return {'gone'}
end
if f[1] ~= ARGV[2] or f[6] == 'cancelled' then
  return {'lost'}
end
local this = ARGV[2] .. ' ' .. ARGV[3]
local before, chunk, opted_out = string.match(f[2] or '', '^(%S+ %S+) (%d+) (%d+)')
if before == this then -- repeated
  return {'added', tonumber(chunk), tonumber(opted_out)}
end

-- Digests stand in buckets by their first byte, the rest of each behind the other: seven bytes a recipient.
local buckets, known = {}, {}
for i = 0, #ARGV[4] / 8 - 1 do
  local first, rest = string.byte(ARGV[4], 8 * i + 1), string.sub(ARGV[4], 8 * i + 2, 8 * i + 8)
  local bucket = buckets[first]
  if not bucket then
    bucket = {held = redis.call('HGET', seen, first) or '', new = {}}
    buckets[first] = bucket
  end
  local at = string.find(bucket.held, rest, 1, true)
  while at and at % 7 ~= 1 do
    at = string.find(bucket.held, rest, at + 1, true)
  end
  if at then
    known[#known + 1] = i
  end
  bucket.new[#bucket.new + 1] = rest
end
if #known > 0 then
  return {'known', unpack(known)}
end
for first, bucket in pairs(buckets) do
  redis.call('HSET', seen, first, bucket.held .. table.concat(bucket.new))
end

local scopes, out = {}, 0
for _, scope in ipairs({'everything', 'site:' .. f[4], f[5] ~= '' and 'list:' .. f[4] .. '/' .. f[5]}) do
  scopes[#scopes + 1] = scope and redis.call('EXISTS', key('optout', scope)) == 1 and key('optout', scope) or nil
end
for address in string.gmatch(#scopes > 0 and ARGV[5] or '', '[^\n]+') do
  for _, scope in ipairs(scopes) do
    if holds(redis.call('HGET', scope, address)) then
      out = out + 1
      break
    end
  end
end

local first_chunk, count = tonumber(f[3]), 0
for i = 6, #ARGV, 3 do
  local number, size = first_chunk + (i - 6) / 3, tonumber(ARGV[i])
  local states = string.rep('\17', math.floor(size / 2)) .. (size % 2 == 1 and '\16' or '')
  redis.call('HSET', of_batch(id, 'chunks'), string.format('%d', number), ARGV[i + 1])
  if ARGV[i + 2] ~= '' then
    redis.call('HSET', of_batch(id, 'metadata'), string.format('%d', number), ARGV[i + 2])
  end
  redis.call('SETRANGE', of_batch(id, 'states'), string.format('%d', number * CHUNK / 2), states)
  redis.call('RPUSH', of_batch(id, 'todo'), string.format('%d', number))
  count = count + size
end
-- Beside the buckets, the first bytes in the order of the numbers: whose the n-th of a bucket is (recipients.py); a byte each.
redis.call('HSET', seen, string.format('from %d', first_chunk), (string.gsub(ARGV[4], '(.).......', '%1')))
redis.call('HINCRBY', of_batch(id), 'n:queued', count)
redis.call('HSET', of_batch(id), 'chunks', string.format('%d', first_chunk + (#ARGV - 5) / 3),
  'added', this .. ' ' .. string.format('%d %d', first_chunk, out))
if f[6] == 'queueing' then
  keep_for(id, redis.call('HGET', of_batch(id), 'lifetime'))
end
return {'added', first_chunk, out}
