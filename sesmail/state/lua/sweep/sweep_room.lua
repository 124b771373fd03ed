-- needs: rows, throttle
-- Queues what waits for room in the 24-hour quota or for the rate of its account, in the order in which it was accepted, and no
-- more of it than there is room for: the limit was raised, others sent less than before, or a part of what was sent has left the
-- 24 hours; nor more than goes out at the account's rate until the next sweeps.
-- Moves: scheduled -> queued: the 24-hour quota has room for it, or its turn at the rate comes
--
-- ARGV: 1 lane, 2 how many at most, 3 '1' if one of them has just had its slot, so that the next may come in any case
-- Answers {id, lane, wishes, ...}: they need tickets (see `add_ticket`).
--
-- `for_room:<lane>` holds those that were postponed for want of room, by the time of acceptance; what is on its way out again
-- stays in it and takes up room until it has a slot, so that the next sweep does not give the same room to others.
local LOOKED_AT = 1000
local CARRIED_SECONDS = 6
local lane, most, answer = ARGV[1], tonumber(ARGV[2]), {}
local waiting = of_account('for_room', lane)

local function room_left(row)
  if row.quota < 0 then
    return math.huge
  end
  local usable = lane == 'bulk' and math.floor(row.quota * (1 - row.reserve)) or row.quota
  return usable - used_24_hours(row)
end

local function release(row)
  local now = now_us()
  roll_24_hours(row, now)
  local room = room_left(row)
  local carried = (ARGV[3] == '1' or row.rate < 0) and math.huge or math.max(1, row.rate * CARRIED_SECONDS)
  local may_try = row.quota_probe_at > 0 and row.quota_probe_at <= now  -- SES said "used up" long ago: see over_quota
  for _, id in ipairs(redis.call('ZRANGE', waiting, 0, LOOKED_AT - 1)) do
    local f = redis.call('HMGET', key('send', id), 'state', 'waits_for', 'recipients', 'v')
    local recipients = tonumber(f[3]) or 0
    if f[2] ~= 'room' or not is_known(f[4]) then
      redis.call('ZREM', waiting, id)
    elseif f[1] == 'queued' or f[1] == 'claimed' then
      room, may_try = room - recipients, false
      local issued_at = tonumber(redis.call('ZSCORE', key('in', 'queued', lane), id))
      if issued_at and issued_at * 1000 > now - CARRIED_SECONDS * SECOND then -- else it stands in a long queue
        carried = carried - recipients
      end
    elseif f[1] ~= 'scheduled' then
      redis.call('ZREM', waiting, id)
    elseif carried > 0 and #answer < 3 * most and (recipients <= room or may_try) then
      requeue(id, 'scheduled', lane, false)
      add_ticket(answer, id, lane)
      room, carried, may_try = room - recipients, carried - recipients, false
    else
      return
    end
  end
end

local row = redis.call('EXISTS', waiting) == 1 and read_books()
if row then
  release(row)
  if redis.call('EXISTS', of_account('for_room', 'bulk'), of_account('for_room', 'transactional')) == 0 then
    redis.call('DEL', of_account('throttle', 'promised'))  -- nobody waits for what was promised
  end
end
return answer
