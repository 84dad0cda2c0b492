#!lua flags=no-writes
-- Find matching entries: merge the posting lists of each clause's rarest key by a heap of their heads,
-- and check what is left of the clause on the candidates. Only lists that contribute are read behind
-- their first place, so the cost does not grow with the length of the log.
-- KEYS: meta, log, then one per term: all terms of a clause's first key, of its second, …
-- ARGV: the known epoch, direction (1 or -1), the place to start from, exclusive ('' is the end of the
--   log), limit, size, matches to skip, candidates to look at, steps this call may take, entries
--   found by earlier calls; the number of clauses; for each its number of keys and their term counts.
-- Reply: state, reached, looked, skipped, why it ended ('end', 'full' or 'more'), then the entries.

local state, refusal = read_state()
if not state then
  return refusal
end
local step, limit, size, skip = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local work, budget, earlier = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local start = tonumber(ARGV[3]) or state.head + 1
local reply = answer(state)
local TERM = string.sub(KEYS[1], 1, -1 - #'meta') .. ':' -- a term's key is this and the term

local function finish(reached, looked, skipped, why)
  reply[5], reply[6], reply[7], reply[8] = reached, looked, skipped, why
  return reply
end

if step > 0 and (start < state.floor - 1 or start > state.head) then
  return finish(start, 0, 0, 'full') -- the place is gone, or not there yet: the state tells
end

-- Clauses are lists of {from, to}: stretches of KEYS.
local clauses = {}
local at, key = 11, 3
for clause = 1, tonumber(ARGV[10]) do
  clauses[clause] = {}
  for part = 1, tonumber(ARGV[at]) do
    local count = tonumber(ARGV[at + part])
    clauses[clause][part] = {key, key + count - 1}
    key = key + count
  end
  at = at + #clauses[clause] + 1
end

-- Choose the key whose lists are shortest together; lists that are many are not even counted then.
local function rarest(clause)
  table.sort(clause, function(a, b) return a[2] - a[1] < b[2] - b[1] end)
  local best, least = 1, math.huge
  for part, range in ipairs(clause) do
    local total = range[2] - range[1]
    for k = range[1], range[2] do
      if total >= least then break end
      total = total + redis.call('ZCARD', KEYS[k])
    end
    if total < least then
      best, least = part, total
    end
  end
  return best
end

local drivers, num_lists = {}, 0
for number, clause in ipairs(clauses) do
  drivers[number] = clause[2] and rarest(clause) or 1
  local range = clause[drivers[number]]
  num_lists = num_lists + range[2] - range[1] + 1
end
-- Looking at a few entries is cheaper than opening many lists.
local by_log = step > 0 and state.head - start <= num_lists
local plain = #clauses == 1 and not clauses[1][2] and not by_log

-- What remains to be checked: a driver's own candidates need not be.
local checks = {}
for number, clause in ipairs(clauses) do
  checks[number] = {}
  for part, range in ipairs(clause) do
    if not plain and (by_log or part ~= drivers[number] or #clauses > 1) then
      local wanted = {}
      for k = range[1], range[2] do
        wanted[KEYS[k]] = true
      end
      table.insert(checks[number], wanted)
    end
  end
end

-- The heap of lists by their next place: scores ascend, so looking back they are negative.
local scores, lists, heap = {}, {}, 0
local function sift(hole, score, list)
  while true do
    local child = 2 * hole
    if child > heap then break end
    if child < heap and scores[child + 1] < scores[child] then
      child = child + 1
    end
    if scores[child] >= score then break end
    scores[hole], lists[hole] = scores[child], lists[child]
    hole = child
  end
  scores[hole], lists[hole] = score, list
end

local function push(list)
  if list.places[1] then
    heap = heap + 1
    scores[heap], lists[heap] = step * list.places[1], list
  end
end

local command, stop = 'ZRANGEBYSCORE', state.head
if step < 0 then
  command, stop = 'ZREVRANGEBYSCORE', state.floor
end
local function read(name, from, count)
  return redis.call(command, name, '(' .. from, stop, 'LIMIT', 0, count)
end

if by_log then
  local places = {}
  for seq = start + 1, state.head do
    places[#places + 1] = seq
  end
  push({places = places, at = 1})
else
  local count = math.max(1, math.min(64, math.ceil(2 * (limit + skip) / num_lists)))
  for number, clause in ipairs(clauses) do
    local range = clause[drivers[number]]
    for k = range[1], range[2] do
      push({name = KEYS[k], places = read(KEYS[k], start, count), at = 1, count = count})
    end
  end
end
for hole = math.floor(heap / 2), 1, -1 do
  sift(hole, scores[hole], lists[hole])
end

-- Move the topmost list on by one place.
local function advance()
  local list = lists[1]
  local i = list.at + 1
  local place = list.places[i]
  if not place and list.count == i - 1 then
    list.count = math.min(64, list.count * 4)
    list.places = read(list.name, list.places[i - 1], list.count)
    i = 1
    place = list.places[1]
  end
  if place then
    list.at = i
    sift(1, step * place, list)
  else
    local score, other = scores[heap], lists[heap]
    scores[heap], lists[heap] = nil, nil
    heap = heap - 1
    if heap > 0 then
      sift(1, score, other)
    end
  end
end

-- Return the size of an entry's body and whether the entry matches.
local function judge(entry)
  local nul = string.find(entry, '\0', 1, true)
  local terms = {}
  for i = 1, tonumber(string.match(string.sub(entry, 1, nul - 1), '%d+$')) do
    local next_nul = string.find(entry, '\0', nul + 1, true)
    if not plain then
      terms[i] = TERM .. string.sub(entry, nul + 1, next_nul - 1)
    end
    nul = next_nul
  end
  if plain then
    return #entry - nul, true
  end
  for _, parts in ipairs(checks) do
    local all = true
    for _, wanted in ipairs(parts) do
      local any = false
      for _, term in ipairs(terms) do
        any = any or wanted[term]
      end
      all = all and any
    end
    if all then
      return #entry - nul, true
    end
  end
  return #entry - nul, false
end

local reached, looked, skipped, found, taken = start, 0, 0, 0, 0
local previous
while heap > 0 do
  local seq = step * scores[1]
  if seq ~= previous then
    if looked >= work or budget <= 0 then
      return finish(reached, looked, skipped, 'more')
    end
    previous, looked, budget = seq, looked + 1, budget - 1
    if plain and skipped < skip then
      skipped = skipped + 1
    else
      local entry = redis.call('HGET', KEYS[2], string.format('%.0f', seq))
      if entry then
        budget = budget - math.floor(#entry / 4096)
        local bytes, matches = judge(entry)
        if matches and skipped < skip then
          skipped = skipped + 1
        elseif matches then
          taken = taken + bytes
          if found + earlier > 0 and taken > size then
            return finish(reached, looked, skipped, 'full')
          end
          found = found + 1
          reply[8 + found] = entry
          if found >= limit then
            return finish(seq, looked, skipped, 'full')
          end
        end
      end
    end
    reached = seq
  end
  advance()
end
return finish(stop, looked, skipped, 'end')
