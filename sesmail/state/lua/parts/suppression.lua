-- Opt-outs, for scripts that ask: put `-- needs: pseudonyms, suppression` at their head.
-- One hash per scope holds address -> 'reason at source': why, since when (ms), and the event it came from; behind a line
-- break 'ends=ms' where it ends by itself. What a later release puts behind further ones is not read by this one; a reason
-- of its own holds.

-- Whether an opt-out has not ended yet.
local function holds(record)
  local till = record and string.match(record, '\nends=(%d+)')
  return record and (not till or tonumber(till) > now_ms())
end

-- Whether an opt-out came from SES's own means to unsubscribe, by an event: not from one of our links, nor an operator.
local function is_from_ses(record)
  local source = string.match(record, '^unsubscribed %S+ ([^\n]*)') or ''
  return string.match(source, '^[%w-]+$') and source ~= 'command' and source ~= 'import'
    and not string.match(source, '^link%-') and not string.match(source, '^shared%-')
end

-- Whether it came from one of our links.
local function is_from_link(record)
  return string.find(record, '^unsubscribed %S+ link%-') ~= nil
end

local function since(record)
  return tonumber(string.match(record, '^%S+ (%-?%d+)')) or 0
end

-- Why mail of this site and list must not go to an address (as `normal_address` in addresses.py writes it), or false.
-- Former releases kept quotes that an address does not need, and know of none that was erased: each entry holds.
-- `ignored` is a table of reasons that do not count, such as {unsubscribed = true}; site and list may be ''.
local function suppressed(address, site, list, ignored)
  local quoted = string.gsub(address, '^([^"]+)@', '"%1"@')
  local spellings, name = {address, quoted}, name_of(address)
  if name ~= address then
    spellings[3] = name
  end
  local scopes = {'everything', site ~= '' and 'site:' .. site, list ~= '' and 'list:' .. site .. '/' .. list}
  for i = 1, 3 do
    for _, spelling in ipairs(scopes[i] and spellings or {}) do
      local record = redis.call('HGET', key('optout', scopes[i]), spelling)
      local reason = record and string.match(record, '^%S+')
      if reason and holds(record) and not ignored[reason] then
        return reason
      end
    end
  end
  return false
end
