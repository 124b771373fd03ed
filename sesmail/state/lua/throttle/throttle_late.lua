-- needs: throttle
-- SES is asked only now, later than at the slot that was given: what follows a second after it leaves it that much more room.
--
-- ARGV: 1 the slot
-- Answers 1 where the log of slots still has it, else 0. Repeated: it lies at the later moment.
local slot = tonumber(ARGV[1])
local low, high = 0, redis.call('LLEN', slots) - 1
while low <= high do
  local middle = math.floor((low + high) / 2)
  local at, sum = struct.unpack('dd', redis.call('LINDEX', slots, middle))
  if at == slot then
    redis.call('LSET', slots, middle, struct.pack('dd', math.max(at, now_us()), sum))
    return 1
  elseif at < slot then
    low = middle + 1
  else
    high = middle - 1
  end
end
return 0
