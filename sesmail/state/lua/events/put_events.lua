-- needs: events
-- Stores notifications of SES, each once.
--
-- ARGV: 1 most events kept per site, 2 the version of an event, then for each: id, site, topic ARN, received at (ms), message,
--       due at (ms)
-- Answers {how many were new, how many the fullest of their sites holds now}; the first is -1 where there was no room for
-- all: what there was room for is stored then, and all may be put again.
local limit = tonumber(ARGV[1])
local held = {}

local function count(site)
  local total = 0
  for _, state in ipairs({'unprocessed', 'processed', 'set_aside'}) do
    total = total + redis.call('ZCARD', key('events', state, site))
  end
  return total
end

-- Gives up the event that was processed first, of those that are known; false where all wait to be processed, or the oldest
-- hundred are a newer release's.
local function make_room(site)
  local processed = key('events', 'processed', site)
  for _, id in ipairs(redis.call('ZRANGE', processed, 0, 99)) do
    if is_known(id, ARGV[2]) then
      redis.call('ZREM', processed, id)
      redis.call('DEL', key('event', id))
      return true
    end
  end
  return false
end

local new, fullest, refused = 0, 0, false
for i = 3, #ARGV, 6 do
  local id, site, received_at = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  local row = key('event', id)
  if redis.call('EXISTS', row) == 0 then
    held[site] = held[site] or count(site)
    local room = held[site] < limit
    if room then
      held[site] = held[site] + 1
    end
    if room or make_room(site) then
      redis.call('HSET', row, 'v', ARGV[2], 'source', site, 'topic_arn', ARGV[i + 2], 'received_at', received_at,
        'message', ARGV[i + 4])
      redis.call('ZADD', key('events', 'unprocessed', site), ARGV[i + 5], id)
      new = new + 1
    else
      refused = true
    end
    fullest = math.max(fullest, held[site])
  end
end
return {refused and -1 or new, fullest}
