-- needs: pseudonyms, batches, suppression
-- Leaves out those of a held chunk who have opted out by now, before they take a slot.
-- Moves: queued -> suppressed: the recipient has opted out, bounced or complained
--        queued -> expired: the batch's expiry time has passed
--
-- ARGV: 1 id, 2 token, 3 reasons for an opt-out that transactional email ignores, then for each recipient: number, address, as opt-outs have it
-- Answers the numbers of those who are left out.
local id = ARGV[1]
local f = redis.call('HMGET', of_batch(id), 'site', 'list', 'expires_at', 'lane')
local answer, has_opt_outs = {}, redis.call('EXISTS', key('optouts')) == 1
local has_expired = (tonumber(f[3]) or math.huge) <= now_ms()
local ignored = ignored_by(f[4], ARGV[3])
for i = 4, #ARGV, 2 do
  local number = tonumber(ARGV[i])
  local why = has_expired and 'expired' or (has_opt_outs and suppressed(ARGV[i + 1], f[1], f[2], ignored) and 'suppressed')
  if why and hold_of(id, number, ARGV[2]) then
    if state_in_batch(id, number) == 'queued' then
      move_in_batch(id, number, 'queued', why)
    end
    answer[#answer + 1] = number
  end
end
return answer
