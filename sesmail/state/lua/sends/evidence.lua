-- needs: rows, batches
-- An event of SES carries this send's id: SES took it. It is settled as sent, whatever was known before.
-- Moves: queued, scheduled, claimed, unknown -> sent: an event of SES, or an operator, says that SES took it
--        rejected, suppressed, cancelled, expired, abandoned -> sent: an event says that SES took it all the same
--
-- ARGV: 1 id, 2 SES message id, 3 retention of a sent row (ms), 4 '1' if it is SES's first word of it: how long such words
--       take says how long the evidence window must be (sweep_unknown.lua)
-- Answers 'settled' (it counts as sent from now), 'kept' (SES is being asked, or the row is of a newer release; noted for
--         when no answer comes), 'known' (sent already), 'copy' (sent already under another message id: it went out twice),
--         or 'gone'.
local LONGEST_DELAY = 1800000

-- The mean of late, in which the last sixteen events count for most. One that comes a week late, from a dead-letter queue, is
-- no more than one that is late.
local function learn_delay(site, delay)
  local mean = tonumber(redis.call('HGET', key('delay_of_events'), site)) or delay
  mean = mean + (math.min(math.max(delay, 0), LONGEST_DELAY) - mean) / 16
  redis.call('HSET', key('delay_of_events'), site, string.format('%.0f', mean))
end

local id, message_id = ARGV[1], ARGV[2]
local row = key('send', id)
local f = redis.call('HMGET', row, 'state', 'lane', 'message_id', 'v', 'moved_at', 'site', 'dropped_ids')

-- Of a recipient that is still in its batch, where message ids are not kept: two copies are not told from one.
local function settle_in_batch()
  local batch, number, state = find_in_batch(id)
  if not batch then
    return 'gone'
  end
  if state == 'sending' then
    redis.call('HSET', of_batch(batch), 'proved:' .. string.format('%d', number), message_id)
    return 'kept'
  end
  if state ~= 'sent' then
    move_in_batch(batch, number, state, 'sent')
  end
  return state == 'sent' and 'known' or 'settled'
end

if not f[1] then
  return settle_in_batch()
end
if f[1] == 'sent' and f[3] == message_id and ARGV[4] == '1' then
  learn_delay(f[6] or '', now_ms() - tonumber(f[5]))
end
if f[1] == 'sent' then
  return f[3] == message_id and 'known' or 'copy'
end
if was_dropped(f[7], message_id) then
  return 'known' -- SES took it, and dropped it: dropped.lua; an operator may have sent it again since
end
if f[1] == 'sending' or not is_known(f[4]) then
  redis.call('HSETNX', row, 'evidence', message_id)
  return 'kept'
end
finish_sent(id, f[1], f[2], message_id, ARGV[3])
redis.call('HDEL', row, 'token')
return 'settled'
