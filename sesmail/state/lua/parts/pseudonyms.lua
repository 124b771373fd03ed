-- What an address is called where it must not stand: a keyed hash of it, the same each time; as pseudonyms.py computes it.
-- The secret is made by whoever needs it first, and never changed: what is kept under it could not be found any more.
local function hash_of(secret, address)
  return string.sub(redis.sha1hex(secret .. redis.sha1hex(secret .. address)), 1, 20)
end

-- Who was erased (sesmail erase) is known to the opt-outs by that hash alone, written as an address that nobody can have:
-- https://www.rfc-editor.org/rfc/rfc2606#section-2
local NOBODYS = '@erased.invalid'

local function erased_name(address)
  return hash_of(redis.call('GET', key('index:secret')) or '', address) .. NOBODYS
end

-- The name of an address in the opt-outs: that of who was erased, else the address itself. 'within_ms': of late, or ever.
local function name_of(address, within_ms)
  if redis.call('EXISTS', key('erased')) == 0 then
    return address
  end
  local name = erased_name(address)
  local erased_at = redis.call('ZSCORE', key('erased'), name)
  return erased_at and (not within_ms or now_ms() - erased_at <= within_ms) and name or address
end

-- Whether nothing is to be noted of an address: it was erased of late, and what SES still tells is of earlier email.
local function is_erased(address, within_ms)
  return string.sub(address, -#NOBODYS) == NOBODYS or name_of(address, within_ms) ~= address
end
