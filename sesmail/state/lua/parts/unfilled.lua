-- What becomes of a batch's recipients whom SES took, and could then not fill in its template for. Their event is all that tells.

-- A recipient that is still in its batch gets a row for it, which has no text, and is counted at once.
local function reject_unfilled_in_batch(batch, number, from, message_id, reason, metadata)
  local id = batch .. '-' .. string.format('%d', number)
  local f = redis.call('HMGET', of_batch(batch), 'site', 'account', 'lane', 'list', 'accepted_at')
  redis.call('HSET', key('send', id), 'v', ROW_VERSION, 'site', f[1], 'account', f[2], 'lane', f[3], 'recipients', 1,
    'accepted_at', f[5], 'attempts', 1, 'reason', reason, 'code', UNFILLED, 'message_id', message_id, 'moves',
    with_move('', 'rejected', UNFILLED, '-'))
  if metadata ~= '' then
    redis.call('HSET', key('send', id), 'metadata', metadata)
  end
  enter(id, 'rejected', f[3], now_ms())
  to_be_told(id)
  redis.call('BITFIELD', of_batch(batch, 'states'), 'SET', 'u4', '#' .. string.format('%d', number), CODES.row)
  redis.call('HINCRBY', of_batch(batch), 'n:' .. from, -1)
  redis.call('HINCRBY', of_batch(batch), 'n:rejected', 1)
end

-- Those that SES was being asked for as their event came, by now: `batch:<id>` has a line of each in `unfilled`. Answers whether
-- some are still being asked for.
local function reject_late_unfilled(batch)
  local left = {}
  for line in string.gmatch(redis.call('HGET', of_batch(batch), 'unfilled') or '', '[^\n]+') do
    local number, message_id, said = string.match(line, '^(%d+) (%S+) (.*)$')
    local metadata, reason = string.match(said, '^(.-)\t(.*)$')
    local state = state_in_batch(batch, tonumber(number))
    if state == 'sending' then
      left[#left + 1] = line
    elseif state == 'sent' or state == 'queued' then
      reject_unfilled_in_batch(batch, tonumber(number), state, message_id, reason, metadata)
    elseif state == 'row' then
      local id = batch .. '-' .. number
      local is = redis.call('HMGET', key('send', id), 'state', 'lane')
      if is[1] == 'sent' or is[1] == 'unknown' then
        reject_unfilled(id, is[1], is[2], message_id, reason)
      end
    end
  end
  if #left > 0 then
    redis.call('HSET', of_batch(batch), 'unfilled', table.concat(left, '\n'))
  else
    redis.call('HDEL', of_batch(batch), 'unfilled')
  end
  return #left > 0
end
