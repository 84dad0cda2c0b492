-- Put before every script: KEYS[1] is the stream's meta hash, ARGV[1] the epoch that the caller knows.

-- Name this tenure of this server as a primary: Redis draws the id anew at every start and promotion.
-- A replica has none.
local function tenure()
  local info = redis.call('INFO', 'replication')
  return string.match(info, 'role:master') and string.match(info, 'master_replid:(%x+)')
end

local function refuse_replica()
  return redis.error_reply('READONLY the stream is read from its primary only')
end

-- What something else has written into the stream's keys is told of, and nothing is built upon it.
local DAMAGED = 'DAMAGED something else has written into a key of the stream'

local function damaged()
  error({err = DAMAGED})
end

local function whole(text)
  local number = tonumber(text)
  return number and number >= 0 and number < 2 ^ 53 and number % 1 == 0 and number
end

-- Return the place of an entry, which is behind the one `reached` on the way to the last.
local function next_place(entry, reached, last)
  local place, step = tonumber(string.match(entry, '^%d+')), last < reached and -1 or 1
  local fits = place and (place - reached) * step > 0 and (last - place) * step >= 0
  return fits and place or damaged()
end

-- Return how many terms an entry has: `seq time count NUL`, a NUL behind each term, and the body.
local function num_terms(entry)
  return tonumber(string.match(entry, '^%d+ %d+ (%d+)%z')) or damaged()
end

-- Read the log's state and, behind it, other numbers that are asked of the meta hash; or return nil and an
-- error: places belong to the tenure that opened the log, any other must open it first (see open.lua).
local function read_state(...)
  local mine = tenure()
  if not mine then
    return nil, refuse_replica()
  end
  local meta = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'chain', 'head', 'floor', ...)
  if meta[1] ~= mine then
    return nil, redis.error_reply('OWNER the log is not open on this server')
  end
  local epoch, chain, head, floor = meta[2], meta[3], whole(meta[4]), whole(meta[5])
  local state = {epoch = epoch, chain = chain, head = head, floor = floor}
  local named = epoch and #epoch == 8 and string.match(epoch, '^[%w_-]+$') and chain
  local ours = named and head and floor and 1 <= floor and floor <= head + 1
  for place = 6, #meta do
    state[place - 5] = whole(meta[place])
    ours = ours and state[place - 5]
  end
  if not ours then
    return nil, redis.error_reply(DAMAGED)
  end
  return state
end

-- Begin a reply: the epoch, its chain unless the caller knows it, head and floor.
local function answer(state)
  local chain = state.epoch ~= ARGV[1] and state.chain
  return {state.epoch, chain, state.head, state.floor}
end
