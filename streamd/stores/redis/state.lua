#!lua flags=no-writes
-- KEYS: meta.  ARGV: the known epoch.

local state, refusal = read_state()
if not state then
  return refusal
end
return answer(state)
