-- needs: rows
-- Finds queued sends whose ticket the broker has lost: later tickets of the same queue were claimed long since, or the queue
-- is empty. Each is given a new place at the end, so that it is not found again at once.
-- Moves: queued -> queued: its ticket must be lost; it gets another
--
-- `overtaken` holds for each queue what `claimed_up_to` was at the end of the last period of grace (`before`: tickets older
-- than that are overdue) and what it was at the beginning of the present one (`next`).
--
-- ARGV: 1 the lane whose queue is looked at, 2 grace (ms): how long a ticket may take, 3 '1' if the broker's queue is empty,
--       4 '1' if the new tickets go by express, 5 how many at most, 6 only those issued before (ms; '': before now)
-- Answers {now (ms), id, lane, wishes, ...}: the ids need tickets (see `add_ticket`). With the first answer's time given to
-- the calls for more, no send is found twice, however long it takes to publish tickets for all.
local lane, grace = ARGV[1], tonumber(ARGV[2])
local now = now_ms()
local marks = key('overtaken')
local mark = redis.call('HMGET', marks, lane .. ':before', lane .. ':next', lane .. ':at')
local before = number_of(mark[1])
if now - number_of(mark[3]) >= grace then
  before = number_of(mark[2])
  redis.call('HSET', marks, lane .. ':before', before, lane .. ':at', now,
    lane .. ':next', redis.call('HGET', key('claimed_up_to'), lane) or '0')
end
if ARGV[3] == '1' then
  before = math.max(before, now - grace)
end
before = math.min(before, tonumber(ARGV[6]) or now)
local answer = {now}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('in', 'queued', lane), '-inf', string.format('(%.0f', before), 'LIMIT',
  0, ARGV[5])) do
  if is_there(id, key('in', 'queued', lane)) then
    local own_lane = redis.call('HGET', key('send', id), 'lane')
    requeue(id, 'queued', own_lane, ARGV[4] == '1', 'ticket-lost')
    add_ticket(answer, id, own_lane)
  end
end
return answer
