#!lua flags=allow-oom
-- Raise the floor over what is too old, if the caller holds the lease or nobody does.
-- KEYS: meta, log, lease.  ARGV: the known epoch, the caller, the lease's length (ms),
--   entries retained (0: all), age retained (ms, 0: for ever).
-- Reply: state, and the last place that is not only hidden but removed; or only the state if another
--   worker has the lease.

local state, refusal = read_state('swept')
if not state then
  return refusal
end
local holder = redis.call('GET', KEYS[3])
if holder and holder ~= ARGV[2] then
  return answer(state)
end
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])

local floor = state.floor
local most, age = tonumber(ARGV[4]), tonumber(ARGV[5])
if most > 0 then
  floor = math.max(floor, state.head - most + 1)
end
if age > 0 then
  local clock = redis.call('TIME')
  local oldest = clock[1] * 1000 + math.floor(clock[2] / 1000) - age
  -- Times never decrease: the first entry that is young enough is found by halving.
  local low, high = floor, state.head + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local place = string.format('%.0f', middle)
    local entry = redis.call('ZRANGEBYSCORE', KEYS[2], place, place)[1]
    -- An empty place has no time: nothing is hidden on its account.
    if entry and (tonumber(string.match(entry, '^%d+ (%d+)')) or damaged()) < oldest then
      low = middle + 1
    else
      high = middle
    end
  end
  floor = low
end
if floor > state.floor then
  state.floor = floor
  redis.call('HSET', KEYS[1], 'floor', floor)
end
local reply = answer(state)
reply[5] = state[1]
return reply
