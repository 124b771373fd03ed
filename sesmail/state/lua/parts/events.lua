-- Stored events, for scripts that ask: put `-- needs: events` at their head.

-- Whether an event is of a version that this release knows; one that does not say its own is of version 1.
local function is_known(id, known)
  local version = redis.call('HGET', key('event', id), 'v')
  return not version or (tonumber(version) or math.huge) <= tonumber(known)
end
