#!lua flags=no-writes
-- Read consecutive entries, whatever they are.
-- KEYS: meta, log.  ARGV: the known epoch, direction (1 or -1), the place to start from, exclusive
--   ('' is the end of the log), limit, size, entries to skip (looking back).
-- Reply: state, reached, then the entries.

local state, refusal = read_state()
if not state then
  return refusal
end
local step, limit, size = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local start = tonumber(ARGV[3]) or state.head + 1
local reply = answer(state)
local skip = tonumber(ARGV[6])
local CHUNK = '32'

-- The place of a body: behind the count of terms, that many terms, and a NUL each.
local function body_size(entry)
  local count = num_terms(entry)
  local at = string.find(entry, '\0', 1, true)
  for _ = 1, count do
    at = string.find(entry, '\0', at + 1, true) or damaged()
  end
  return #entry - at
end

local last = step > 0 and state.head or state.floor
if step > 0 and (start < state.floor - 1 or start > state.head) then
  last = start -- the place is gone, or not there yet: the state tells
elseif step < 0 then
  start = math.max(math.min(start, state.head + 1), state.floor)
end

local reached, found, taken = start, 0, 0
local function take(entry)
  taken = taken + body_size(entry)
  if found > 0 and taken > size then
    return false
  end
  found = found + 1
  reply[5 + found] = entry
  reached = next_place(entry, reached, last)
  return found < limit
end

local function read_all()
  local command = step > 0 and 'ZRANGEBYSCORE' or 'ZREVRANGEBYSCORE'
  local to = string.format('%.0f', last)
  while (last - reached) * step > 0 do
    local from = string.format('(%.0f', reached)
    local entries = redis.call(command, KEYS[2], from, to, 'LIMIT', tostring(skip), CHUNK)
    skip = 0
    for _, entry in ipairs(entries) do
      if not take(entry) then
        return
      end
    end
    if #entries < tonumber(CHUNK) then
      reached = last -- places without an entry are empty
    end
  end
end

if limit > 0 then
  read_all()
elseif step < 0 then
  reached = math.max(start - skip, state.floor)
end
reply[5] = reached
return reply
