#!lua
-- Store entries in places and with times that they have already. All is judged before the first write,
-- and nothing after it can fail, as in append.lua.
-- KEYS: meta, log, then one per term.
-- ARGV: the known epoch, entries retained (0: all), the channel, the first place, the times of the
--   first and of the last entry, the number of entries, these; for each term the number of its
--   places, and these.
-- Reply: state, 1 if the entries are in the log, be it since an earlier call, or 0, and how many of the
--   terms' lists are none.

local state, refusal = read_state('time')
if not state then
  return refusal
end
refusal = denied(ARGV[3])
if refusal then
  return refusal
end
local first, count = tonumber(ARGV[4]), tonumber(ARGV[7])
local FIRST_ENTRY = 8
local last = first + count - 1

local function reply(stored)
  local result = answer(state)
  result[5], result[6] = stored, num_foreign
  return result
end

if first ~= state.head + 1 or tonumber(ARGV[5]) < tonumber(state[1]) then
  local place = string.format('%.0f', last)
  local there = redis.call('ZRANGEBYSCORE', KEYS[2], place, place)[1]
  return reply(there == ARGV[FIRST_ENTRY + count - 1] and 1 or 0)
end

redis.call('ZCARD', KEYS[2]) -- fails if the log is none
local most = tonumber(ARGV[2])
if most > 0 then
  state.floor = math.max(state.floor, last - most + 1)
end
state.head = last
redis.call('HSET', KEYS[1], 'head', last, 'time', ARGV[6], 'floor', state.floor)

local fields = {}
for number = 0, count - 1 do
  fields[#fields + 1] = string.format('%.0f', first + number)
  fields[#fields + 1] = ARGV[FIRST_ENTRY + number]
end
call_with(redis.call, 'ZADD', KEYS[2], fields)
publish_texts(ARGV[3], state, first, ARGV[6], '', '') -- Their times differ: whoever follows reads them.

local at = FIRST_ENTRY + count
for key = 3, #KEYS do
  local seqs = {}
  for i = at + 1, at + tonumber(ARGV[at]) do
    seqs[#seqs + 1] = ARGV[i]
  end
  post(KEYS[key], seqs)
  at = at + #seqs + 1
end
return reply(1)
