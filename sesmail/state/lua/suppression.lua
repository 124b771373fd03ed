-- Opt-outs, for scripts that ask: put `-- needs: suppression` at their head.
-- One hash per scope holds address -> 'reason at source': why, since when (ms), and the event it came from. What a later
-- release puts behind a line break is not read by this one; a reason of its own holds.

-- Why mail of this site and list must not go to an address (as `normal_address` in addresses.py writes it), or false.
-- Former releases kept quotes that an address does not need: such an entry holds, too.
-- `ignored` is a table of reasons that do not count, such as {unsubscribed = true}; site and list may be ''.
local function suppressed(address, site, list, ignored)
  local quoted = string.gsub(address, '^([^"]+)@', '"%1"@')
  local scopes = {'everything', site ~= '' and 'site:' .. site, list ~= '' and 'list:' .. site .. '/' .. list}
  for i = 1, 3 do
    for _, spelling in ipairs(scopes[i] and {address, quoted} or {}) do
      local record = redis.call('HGET', key('optout', scopes[i]), spelling)
      local reason = record and string.match(record, '^%S+')
      if reason and not ignored[reason] then
        return reason
      end
    end
  end
  return false
end
