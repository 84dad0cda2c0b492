#!lua flags=no-writes
-- Read the places of terms, list by list, as far as there is room.
-- KEYS: meta, then one per term.  ARGV: the known epoch, the place to start from in the first list,
--   exclusive ('-inf' for all of it), how many places.
-- Reply: state, then for each list that was read its places.

local state, refusal = read_state()
if not state then
  return refusal
end
local reply = answer(state)
local from, room = ARGV[2], tonumber(ARGV[3])
for key = 2, #KEYS do
  if room <= 0 then
    break
  end
  local seqs = redis.call('ZRANGEBYSCORE', KEYS[key], from, '+inf', 'LIMIT', '0', tostring(room))
  reply[3 + key] = seqs
  from, room = '-inf', room - #seqs
end
return reply
