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

-- Read the log's state and, behind it, what else is asked of the meta hash; or return nil and an error:
-- numbers belong to the tenure that opened the log, any other must open it first (see open.lua).
local function read_state(...)
  local mine = tenure()
  if not mine then
    return nil, refuse_replica()
  end
  local meta = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'chain', 'head', 'floor', ...)
  if meta[1] ~= mine then
    return nil, redis.error_reply('OWNER the log is not open on this server')
  end
  return {
    epoch = meta[2], chain = meta[3], head = tonumber(meta[4]), floor = tonumber(meta[5]),
    meta[6], meta[7], meta[8],
  }
end

-- Begin a reply: the epoch, its chain unless the caller knows it, head and floor.
local function answer(state)
  local chain = state.epoch ~= ARGV[1] and state.chain
  return {state.epoch, chain, state.head, state.floor}
end
