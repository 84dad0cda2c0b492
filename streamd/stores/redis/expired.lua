#!lua flags=no-writes
-- Tell which terms the oldest entries below the floor have.
-- KEYS: meta, log.  ARGV: the known epoch, the last place removed, entries and bytes to look at.
-- Reply: state, the last place looked at, then the terms, each once.

local state, refusal = read_state()
if not state then
  return refusal
end
local reply = answer(state)
local reached, seen, bytes = tonumber(ARGV[2]), {}, 0
local last = math.min(reached + tonumber(ARGV[3]), state.floor - 1)
local function note(entry)
  local count = num_terms(entry)
  local nul = string.find(entry, '\0', 1, true)
  for _ = 1, count do
    local next_nul = string.find(entry, '\0', nul + 1, true) or damaged()
    local term = string.sub(entry, nul + 1, next_nul - 1)
    nul = next_nul
    if not seen[term] then
      seen[term] = true
      reply[#reply + 1] = term
    end
  end
end

local CHUNK = 32
local to = string.format('%.0f', last)
while reached < last and bytes < tonumber(ARGV[4]) do
  local from = string.format('(%.0f', reached)
  local entries = redis.call('ZRANGEBYSCORE', KEYS[2], from, to, 'LIMIT', '0', tostring(CHUNK))
  for _, entry in ipairs(entries) do
    bytes = bytes + #entry
    reached = next_place(entry, reached, last)
    note(entry)
  end
  if #entries < CHUNK then
    reached = last -- places without an entry are empty
  end
end
table.insert(reply, 5, reached)
return reply
