#!lua flags=no-writes
-- Read the entries at some places.
-- KEYS: meta, log.  ARGV: the known epoch, then the places.
-- Reply: state, then the entries that are there and retained.

local state, refusal = read_state()
if not state then
  return refusal
end
local reply = answer(state)
for i = 2, #ARGV do
  local seq = tonumber(ARGV[i])
  if seq >= state.floor and seq <= state.head then
    reply[#reply + 1] = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[i], ARGV[i])[1]
  end
end
return reply
