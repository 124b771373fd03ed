-- Stands before every script. KEYS[1] is the base that all keys begin with, such as "{sesmail}:".
local function below(base, kind, name, detail)
  if not name then
    return base .. kind
  end
  return base .. kind .. ':' .. name .. (detail and ':' .. detail or '')
end

local function key(kind, name, detail)
  return below(KEYS[1], kind, name, detail)
end

-- The same for what belongs to one account of SES: its throttle, line and breaker. KEYS[2], where it is given, is their base,
-- such as "{sesmail}:account:marketing:"; those of the account `default` stand below KEYS[1].
local function of_account(kind, name, detail)
  return below(KEYS[2] or KEYS[1], kind, name, detail)
end

-- Redis' own clock in microseconds: hosts disagree, Redis does not. All of a script is one moment.
local moment
local function now_us()
  if not moment then
    local t = redis.call('TIME')
    moment = t[1] * 1000000 + t[2]
  end
  return moment
end

local function now_ms()
  return math.floor(now_us() / 1000)
end
