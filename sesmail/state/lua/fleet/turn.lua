-- Hands a turn in: only whoever holds it may. Once its time was over, it may be another's.
--
-- ARGV: 1 name, 2 token, 3 for how long (ms) it is nobody's turn now; 0: it is anybody's
-- Answers 1, or 0 when it was no longer the caller's. Repeated: as once.
local turn = of_account('turn', ARGV[1])
if redis.call('GET', turn) ~= ARGV[2] then
  return 0
end
return redis.call('PEXPIRE', turn, ARGV[3])
