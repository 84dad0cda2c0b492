#!lua flags=allow-oom
-- Remove the oldest entries, which are below the floor, from the log and their terms' lists.
-- KEYS: meta, log, then one per term.  ARGV: the known epoch, that of
--   the log in which the terms were read, the last place removed then, the last to remove.
-- Reply: state, the last place removed.

local state, refusal = read_state('swept')
if not state then
  return refusal
end
local from, to = tonumber(ARGV[3]), tonumber(ARGV[4])
local reply = answer(state)
-- Another worker was here, or it is another log by now: then the terms say nothing.
if state.epoch ~= ARGV[2] or tonumber(state[1]) ~= from or to >= state.floor then
  reply[5] = state[1]
  return reply
end
for key = 2, #KEYS do
  redis.call('ZREMRANGEBYSCORE', KEYS[key], '-inf', to)
end
redis.call('HSET', KEYS[1], 'swept', to)
reply[5] = to
return reply
