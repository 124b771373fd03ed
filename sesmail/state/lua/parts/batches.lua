-- Batches: one letter and many recipients. What is common to them stands once; a recipient has four bits.
--
-- `batch:<id>` is a hash: what the batch is (v, site, account, lane, list, content, state, accepted_at, expires_at, wait_until,
-- ...) and how many of its recipients are in which state (`n:<state>`), what events have told (`e:<counter>`). `batch:<id>:chunks` has a hundred recipients a field,
-- compressed, by the chunk's number, for as long as any of them waits. `batch:<id>:states` is a string of four bits a
-- recipient, at the number `chunk * 100 + place`, which makes the id of its send: `<batch>-<number>`. `batch:<id>:todo` lists
-- the chunks that wait for a worker. A recipient for which SES gave no clear answer, or whom it refused, leaves: it gets a row
-- of the ledger (rows.lua) under the same id, stands in `batch:<id>:rows` until that has ended, and has the state `row` here.
--
-- A worker that holds a chunk stands in `batches:held`: `<batch> <chunk>` is `owner token claimed_at number`, the last being
-- whom it asks SES for. Every later move shows the token. Batches of a site and a lane share in turns: `batches:ready:<site>:<lane>` has them by what they have had so far.
local BATCH_VERSION = 1
local CHUNK = 100
local CODES = {none = 0, queued = 1, sending = 2, sent = 3, row = 4, suppressed = 5, expired = 6, cancelled = 7}
local NAMES = {[0] = 'none', 'queued', 'sending', 'sent', 'row', 'suppressed', 'expired', 'cancelled'}
local DAY_MS = 86400000
local LONGEST_TICKET_MS = 60000 -- a ticket that nobody took for so long counts as lost

local function of_batch(id, ...)
  return key('batch', id, ...)
end

-- The batch and the number that a send's id names; nothing where it is of another form.
local function split_id(send_id)
  local id, number = string.match(send_id, '^(batch_%x+)%-(%d+)$')
  return id, tonumber(number)
end

-- The states of recipients by their numbers.
local function states_in_batch(id, numbers)
  local asked, answer = {}, {}
  for _, number in ipairs(numbers) do
    asked[#asked + 1] = 'GET'
    asked[#asked + 1] = 'u4'
    asked[#asked + 1] = '#' .. string.format('%d', number)
  end
  for i, code in ipairs(redis.call('BITFIELD', of_batch(id, 'states'), unpack(asked))) do
    answer[i] = NAMES[code]
  end
  return answer
end

local function state_in_batch(id, number)
  return states_in_batch(id, {number})[1]
end

-- Of a recipient that is still in its batch, by the id of its send: the batch, its number, its state. Nothing for others.
local function find_in_batch(send_id)
  local batch, number = split_id(send_id)
  local state = batch and state_in_batch(batch, number) or 'none'
  if state ~= 'none' and state ~= 'row' then
    return batch, number, state
  end
end

-- Moves of several recipients, each of another one, for `write_moves` to write at once, with what they do to the batch's counts.
local function new_moves()
  return {states = {}, counts = {}}
end

local function add_move(moves, id, number, from, to)
  for _, part in ipairs({'SET', 'u4', '#' .. string.format('%d', number), CODES[to]}) do
    moves.states[#moves.states + 1] = part
  end
  moves.counts[from] = (moves.counts[from] or 0) - 1
  moves.counts[to] = (moves.counts[to] or 0) + 1
end

local function write_moves(moves, id)
  if #moves.states == 0 then
    return
  end
  redis.call('BITFIELD', of_batch(id, 'states'), unpack(moves.states))
  for state, change in pairs(moves.counts) do
    if change ~= 0 then
      redis.call('HINCRBY', of_batch(id), 'n:' .. state, change)
    end
  end
  redis.call('HSET', of_batch(id), 'moved_at', now_ms())
end

local function move_in_batch(id, number, from, to)
  local moves = new_moves()
  add_move(moves, id, number, from, to)
  write_moves(moves, id)
end

-- Whether an event has proved meanwhile that SES took it; asked once.
local function is_proved(id, number)
  return redis.call('HDEL', of_batch(id), 'proved:' .. string.format('%d', number)) == 1
end

local function name_of_hold(id, chunk)
  return id .. ' ' .. string.format('%d', chunk)
end

-- The reasons for an opt-out that a lane ignores, of those that transactional email does.
local function ignored_by(lane, reasons)
  local ignored = {}
  for reason in string.gmatch(lane == 'transactional' and reasons or '', '%S+') do
    ignored[reason] = true
  end
  return ignored
end

-- What a worker holds under this token, of the chunk that this recipient is in; nothing where it is not its own any more.
local function hold_of(id, number, token)
  local hold = redis.call('HGET', key('batches', 'held'), name_of_hold(id, math.floor(number / CHUNK)))
  return hold and string.match(hold, '^%S+ (%S+)') == token and hold
end

-- What becomes of a recipient that SES took, or that waits again: `to` is 'sent' or 'queued'. Answers the state that it has
-- then, or '' where its chunk is not held any more. What an event has proved meanwhile that SES took stays sent.
local function settle_in_batch(moves, id, number, state, is_held, to)
  if state == 'sent' or (is_held and state ~= 'sending') then
    return state
  end
  if not is_held then
    return ''
  end
  if is_proved(id, number) then
    to = 'sent'
  end
  if to == 'queued' and redis.call('HEXISTS', of_batch(id), 'ramp_begun') == 1 then
    redis.call('HINCRBY', of_batch(id), 'ramp_begun', -1)
  end
  add_move(moves, id, number, 'sending', to)
  return to
end

-- How many recipients of a chunk still wait or are being asked for, and how many of them are being asked for.
local function left_in_chunk(id, chunk)
  local states = redis.call('GETRANGE', of_batch(id, 'states'), chunk * CHUNK / 2, (chunk + 1) * CHUNK / 2 - 1)
  local left, asked = 0, 0
  for i = 1, #states do
    local byte = string.byte(states, i)
    for _, code in ipairs({math.floor(byte / 16), byte % 16}) do
      if code == CODES.queued or code == CODES.sending then
        left = left + 1
        asked = asked + (code == CODES.sending and 1 or 0)
      end
    end
  end
  return left, asked
end

-- Every recipient of a chunk who waits comes to be in another state.
local function move_chunk(id, chunk, to)
  for number = chunk * CHUNK, (chunk + 1) * CHUNK - 1 do
    if state_in_batch(id, number) == 'queued' then
      move_in_batch(id, number, 'queued', to)
    end
  end
end

-- Keeps all of a batch for so long (ms); for ever, until it has ended, where that is nil.
local function keep_for(id, lifetime_ms)
  local names = {redis.call('HGET', of_batch(id), 'key'), of_batch(id)}
  for _, part in ipairs({'chunks', 'states', 'todo', 'seen', 'rows', 'metadata'}) do
    names[#names + 1] = of_batch(id, part)
  end
  for _, name in ipairs(names) do
    if lifetime_ms then
      redis.call('PEXPIRE', name, lifetime_ms)
    else
      redis.call('PERSIST', name)
    end
  end
end

-- Batches take turns by start-time fair queueing: whoever has the lowest score in `batches:ready` is next, and goes on by what its
-- chunk is worth. The score of whoever had a turn last stands beside it, for who comes while nobody waits.
local function of_its_lane(id, what)
  local f = redis.call('HMGET', of_batch(id), 'site', 'lane')
  return key('batches', what, f[1] .. ':' .. f[2])
end

local function ready_of(id)
  return of_its_lane(id, 'ready')
end

-- Puts a batch among those that are sent. A new one comes to its turn at once, but makes up for nothing; one whose last chunk
-- was held comes when it would have come without that; not later than by one turn, as a former release knows no scores of these.
local function make_ready(id)
  local ready = ready_of(id)
  if redis.call('LLEN', of_batch(id, 'todo')) > 0 and not redis.call('ZSCORE', ready, id) then
    local first = redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')[2]
    local turn = tonumber(first or redis.call('GET', of_its_lane(id, 'turn')) or 0)
    local f = redis.call('HMGET', of_batch(id), 'next_turn', 'turn_cost')
    local own = math.min(tonumber(f[1]) or turn, turn + (tonumber(f[2]) or 0))
    redis.call('ZADD', ready, string.format('%.17g', math.max(turn, own)), id)
  end
end

-- How many tickets, or chunks held, a batch of this rate of its own (recipients a second, nil for none) is worth at once.
local function most_at_once(rate)
  return rate and math.max(1, math.ceil(tonumber(rate) / 8)) or math.huge
end

-- Counts one more that is begun of a batch with a ramp, by its day of 24 hours; false where no more may be begun on this one:
-- then the whole batch waits for the next.
local function begin_on_ramp(id, first_day, from)
  local now = now_ms()
  local day = math.floor(math.max(0, now - from) / DAY_MS)
  local f = redis.call('HMGET', of_batch(id), 'ramp_day', 'ramp_begun')
  local begun = tonumber(f[1]) == day and tonumber(f[2]) or 0
  if begun >= first_day * 2 ^ math.min(day, 40) then
    redis.call('HSET', of_batch(id), 'wait_until', string.format('%.0f', from + (day + 1) * DAY_MS))
    return false
  end
  redis.call('HSET', of_batch(id), 'ramp_day', day, 'ramp_begun', begun + 1)
  return true
end

local function may_go(id, now)
  local f = redis.call('HMGET', of_batch(id), 'state', 'wait_until', 'v')
  return f[1] == 'running' and (tonumber(f[2]) or 0) <= now and (tonumber(f[3]) or math.huge) <= BATCH_VERSION
end
