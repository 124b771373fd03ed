-- Stands before every script. KEYS[1] is the base that all keys begin with, such as "{sesmail}:".
local function key(kind, name, detail)
  if not name then
    return KEYS[1] .. kind
  end
  return KEYS[1] .. kind .. ':' .. name .. (detail and ':' .. detail or '')
end

-- Redis' own clock in microseconds: hosts disagree, Redis does not.
local function now_us()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

local function now_ms()
  return math.floor(now_us() / 1000)
end
