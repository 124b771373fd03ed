-- needs: rows, pseudonyms, suppression, guard
-- Claims a send for one worker, under a token that every later move must show. Recipients who have opted out are left
-- out, also where they did so after it was queued.
-- Moves: queued, scheduled -> claimed: a worker takes it
--        queued, scheduled -> expired: its expiry time has passed
--        queued, scheduled -> abandoned: it is older than SESMAIL_MAX_AGE_SECONDS
--        queued, scheduled -> abandoned: too many emails an hour to one of its recipients (code `too-many`): a loop?
--        queued, scheduled, claimed -> suppressed: every recipient has opted out, bounced or complained
--
-- ARGV: 1 id, 2 owner, 3 token, 4 greatest age (ms), 5 site, for rows that do not say theirs, 6 how long deliveries are
--       remembered (ms), 7 the accounts of SES that the worker serves, with spaces between, 8 how many emails an hour may go to
--       one address (0: any number), 9 addresses to which any number may, one a line, then the reasons for an opt-out that
--       transactional email ignores
-- Answers {'claimed', lane, '1' if its ticket went by express, opted out (addresses, one a line), attempts, waits, the task
--         ids of its callers, its site, its account, the account that it goes through, email, blob data, ...}, or {state} when
--         it is not to be had: 'gone' (no such row), or the state that the send is in; or
--         {'left', why it is left to another worker (or '' where another has it)}, or {'too-many', the hash of an
--         address that has had as many emails as there may be in an hour, 1 if that is news}: then it is `abandoned`.

-- Which recipients must not be written to, how many others there are, and the reason of the last.
local function screen(addresses, site, list, lane)
  local opted_out, remaining, why, ignored = {}, 0, '', {}
  for i = 10, lane == 'transactional' and #ARGV or 0 do
    ignored[ARGV[i]] = true
  end
  for address in string.gmatch(addresses, '[^\n]+') do
    local reason = suppressed(address, site, list, ignored)
    if reason then
      opted_out[#opted_out + 1], why = address, reason
    else
      remaining = remaining + 1
    end
  end
  return opted_out, remaining, why
end

local id, owner, token = ARGV[1], ARGV[2], ARGV[3]
local row = key('send', id)
local f = redis.call('HMGET', row, 'state', 'lane', 'token', 'expires_at', 'accepted_at', 'addresses', 'attempts',
  'waits', 'email', 'blobs', 'list', 'express', 'v', 'site', 'account', 'callers', 'through')
local state, lane, version, site, account = f[1], f[2], f[13], f[14] or ARGV[5], f[15] or 'default'
-- What SES may have had through another account than its own does not move: it is tried there again.
local through = number_of(f[7]) > 0 and f[17] or account
if not state then
  return {'gone'}
end

local now = now_ms()
-- A send that is in no index, which was evicted, is due.
local score = lane and (tonumber(redis.call('ZSCORE', index_of(state, lane, f[12]), id)) or now)
local free = score and (state == 'queued' or (state == 'scheduled' and score <= now))
if not free and not (state == 'claimed' and f[3] == token) then
  return is_known(version) and {state} or {'left', ''}
end
local not_ours
if not is_known(version) then
  not_ours = 'its row is of a newer release (version ' .. version .. '; this worker knows ' .. ROW_VERSION .. ')'
else
  for _, name in ipairs({account, through}) do
    if not string.find(' ' .. ARGV[7] .. ' ', ' ' .. name .. ' ', 1, true) then
      not_ours = 'it goes through the SES account ' .. name .. ' (this worker serves ' .. ARGV[7] .. ')'
    end
  end
end
if not_ours then
  leave(id, state, lane, not_ours)
  return {'left', not_ours}
end
if free and tonumber(f[4]) and tonumber(f[4]) <= now then
  finish(id, state, 'expired', lane, 'its expiry time passed before it could be sent', '')
  return {'expired'}
end
if free and now - tonumber(f[5]) > tonumber(ARGV[4]) then
  finish(id, state, 'abandoned', lane, 'older than the greatest age', '', 'too-old')
  return {'abandoned'}
end

local opted_out, remaining, why = {}, 1, ''
if redis.call('EXISTS', key('optouts')) == 1 then
  opted_out, remaining, why = screen(f[6] or '', site, f[11] or '', lane)
end
for _, address in ipairs(opted_out) do
  if not is_erased(address, tonumber(ARGV[6])) then
    redis.call('HSETNX', key('delivery', id), address, 'suppressed')
    redis.call('HSETNX', key('delivery', id), 'suppressed ' .. address, string.format('%.0f', math.floor(now / 1000)))
    redis.call('PEXPIRE', key('delivery', id), ARGV[6])
  end
end
if #opted_out > 0 and remaining == 0 then
  finish(id, state, 'suppressed', lane, 'every recipient has opted out, bounced or complained', why)
  return {'suppressed'}
end

local limit = tonumber(ARGV[8])
if free and limit > 0 and redis.call('HEXISTS', row, 'let_pass') == 0 then
  local whose = has_had_enough(id, f[6] or '', opted_out, limit, ARGV[9], now)
  if whose then
    finish(id, state, 'abandoned', lane, 'more than ' .. limit .. ' emails an hour to one of its recipients', 'too-many')
    redis.call('HINCRBY', key('meters', 'guard'), 'held_back', 1)
    return {'too-many', whose, is_news(whose)}
  end
end

if free then
  if state == 'queued' then
    local marks, place = key('claimed_up_to'), queue(lane, f[12])
    local mark = number_of(redis.call('HGET', marks, place))
    redis.call('HSET', marks, place, string.format('%.0f', math.max(mark, score)))
  end
  redis.call('ZREM', index_of(state, lane, f[12]), id)
  enter(id, 'claimed', lane, now, 'owner', owner, 'token', token)
end
local answer = {'claimed', lane, f[12] or '', table.concat(opted_out, '\n'), f[7] or '0', f[8] or '0', f[16] or '', site,
  account, through, f[9]}
for digest in string.gmatch(f[10] or '', '%S+') do
  answer[#answer + 1] = redis.call('HGET', key('blob', digest), 'data') or ''
end
return answer
