#!lua flags=no-writes
-- Read consecutive entries, whatever they are.
-- KEYS: meta, log.  ARGV: the known epoch, direction (1 or -1), the place to start from, exclusive
--   ('' is the end of the log), limit, size, places to skip.
-- Reply: state, reached, then the entries.

local state, refusal = read_state()
if not state then
  return refusal
end
local step, limit, size = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local start = tonumber(ARGV[3]) or state.head + 1
local reply = answer(state)
local CHUNK = 32

-- The place of a body: behind the count of terms, that many terms, and a NUL each.
local function body_size(entry)
  local at = string.find(entry, '\0', 1, true)
  for _ = 1, tonumber(string.match(entry, '^%d+ %d+ (%d+)')) do
    at = string.find(entry, '\0', at + 1, true)
  end
  return #entry - at
end

local last = step > 0 and state.head or state.floor
if step > 0 and (start < state.floor - 1 or start > state.head) then
  last = start -- the place is gone, or not there yet: the state tells
elseif step < 0 then
  start = math.max(math.min(start, state.head + 1) - tonumber(ARGV[6]), state.floor)
end

local reached, found, taken = start, 0, 0
local function take(seq, entry)
  if entry then
    taken = taken + body_size(entry)
    if found > 0 and taken > size then
      return false
    end
    found = found + 1
    reply[5 + found] = entry
  end
  reached = seq
  return found < limit
end

local function read_all()
  local seq = start + step
  while (last - seq) * step >= 0 and limit > 0 do
    local names = {}
    while #names < CHUNK and (last - seq) * step >= 0 do
      names[#names + 1] = seq
      seq = seq + step
    end
    for i, entry in ipairs(redis.call('HMGET', KEYS[2], unpack(names))) do
      if not take(names[i], entry) then
        return
      end
    end
  end
end

read_all()
reply[5] = reached
return reply
