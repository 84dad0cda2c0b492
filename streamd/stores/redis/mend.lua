#!lua
-- Let terms' lists agree with the log about some places: a place is in a term's list then if the entry
-- there has the term. Doing it twice is doing it once.
-- KEYS: meta, log, then one per term.  ARGV: the known epoch; for each term itself, the number of its places,
--   and these.
-- Reply: state.

local state, refusal = read_state()
if not state then
  return refusal
end
local at = 2
for key = 3, #KEYS do
  -- Neither a term nor an event has a raw NUL: between two, only a term can stand.
  local term, count, lacking = '\0' .. ARGV[at] .. '\0', tonumber(ARGV[at + 1]), {}
  for i = at + 2, at + 1 + count do
    local seq = ARGV[i]
    local entry = redis.call('ZRANGEBYSCORE', KEYS[2], seq, seq)[1]
    if entry and string.find(entry, term, 1, true) then
      lacking[#lacking + 1] = seq
    else
      redis.call('ZREMRANGEBYSCORE', KEYS[key], seq, seq)
    end
  end
  post(KEYS[key], lacking)
  at = at + 2 + count
end
if num_foreign > 0 then
  return redis.error_reply(DAMAGED)
end
return answer(state)
