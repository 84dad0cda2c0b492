#!lua flags=no-writes
-- Tell which places some terms' lists lack.
-- KEYS: meta, then one per term.  ARGV: the known epoch; for each term the number of its places, and these.
-- Reply: state, then of each place that is missing the number of its term (from 1), and the place.

local state, refusal = read_state()
if not state then
  return refusal
end
local reply = answer(state)
local at = 2
for key = 2, #KEYS do
  local count = tonumber(ARGV[at])
  for i = at + 1, at + count do
    if not redis.call('ZRANGEBYSCORE', KEYS[key], ARGV[i], ARGV[i])[1] then
      reply[#reply + 1] = key - 1
      reply[#reply + 1] = tonumber(ARGV[i])
    end
  end
  at = at + count + 1
end
return reply
