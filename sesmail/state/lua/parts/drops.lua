-- What becomes of a batch's recipients whose email SES took, and then dropped. Their event is all that tells.

-- A recipient that is still in its batch gets a row for it, which has no text, and is counted at once.
local function reject_dropped_in_batch(batch, number, from, message_id, code, reason, metadata)
  local id = batch .. '-' .. string.format('%d', number)
  local f = redis.call('HMGET', of_batch(batch), 'site', 'account', 'lane', 'list', 'accepted_at')
  redis.call('HSET', key('send', id), 'v', ROW_VERSION, 'site', f[1], 'account', f[2], 'lane', f[3], 'recipients', 1,
    'accepted_at', f[5], 'attempts', 1, 'reason', reason, 'code', code, 'message_id', message_id,
    'dropped_ids', message_id, 'moves', with_move('', 'rejected', code, '-'))
  if metadata ~= '' then
    redis.call('HSET', key('send', id), 'metadata', metadata)
  end
  enter(id, 'rejected', f[3], now_ms())
  to_be_told(id)
  redis.call('BITFIELD', of_batch(batch, 'states'), 'SET', 'u4', '#' .. string.format('%d', number), CODES.row)
  redis.call('HINCRBY', of_batch(batch), 'n:' .. from, -1)
  redis.call('HINCRBY', of_batch(batch), 'n:rejected', 1)
end

-- Of a send that SES took more than once, it may drop each: `dropped_ids` has all of their message ids, so that no late word
-- of one of them says that it went out (evidence.lua).
local function note_dropped(row, message_id)
  local before = redis.call('HGET', row, 'dropped_ids')
  if not was_dropped(before, message_id) then
    redis.call('HSET', row, 'dropped_ids', before and before .. ' ' .. message_id or message_id)
  end
end

-- A send that has a row. Answers as dropped.lua does.
local function reject_dropped_row(id, message_id, code, reason)
  local row = key('send', id)
  local f = redis.call('HMGET', row, 'state', 'lane', 'message_id', 'v')
  if not f[1] then
    return 'gone'
  end
  note_dropped(row, message_id)
  if f[3] == message_id and f[1] ~= 'sent' then
    return 'known'
  end
  if f[1] == 'sending' or not is_known(f[4]) then
    redis.call('HSETNX', row, 'evidence', message_id)
    redis.call('HSET', row, 'dropped', message_id .. ' ' .. code .. ' ' .. reason)
    return 'kept'
  end
  if f[1] == 'sent' and f[3] ~= message_id then
    return 'copy'
  end
  if f[1] == 'rejected' then
    return 'known'
  end
  reject_dropped(id, f[1], f[2], message_id, code, reason)
  return 'rejected'
end

-- Those that SES was being asked for as their event came, by now: `batch:<id>` has a line of each in `dropped`. Answers whether
-- some are still being asked for.
local function reject_late_dropped(batch)
  local left = {}
  for line in string.gmatch(redis.call('HGET', of_batch(batch), 'dropped') or '', '[^\n]+') do
    local number, message_id, code, said = string.match(line, '^(%d+) (%S+) (%S+) (.*)$')
    local metadata, reason = string.match(said, '^(.-)\t(.*)$')
    local state = state_in_batch(batch, tonumber(number))
    if state == 'sending' then
      left[#left + 1] = line
    elseif state ~= 'row' and state ~= 'none' then
      reject_dropped_in_batch(batch, tonumber(number), state, message_id, code, reason, metadata)
    elseif state == 'row' then
      reject_dropped_row(batch .. '-' .. number, message_id, code, reason)
    end
  end
  if #left > 0 then
    redis.call('HSET', of_batch(batch), 'dropped', table.concat(left, '\n'))
  else
    redis.call('HDEL', of_batch(batch), 'dropped')
  end
  return #left > 0
end
