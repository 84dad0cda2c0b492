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
local TERM = #KEYS[1] - #'meta' + 2 -- where the term begins in its key

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
        wanted[string.sub(KEYS[k], TERM)] = true
      end
      table.insert(checks[number], wanted)
    end
  end
end

-- The heap of lists by their next place: scores ascend, so looking back they are negative. A list is
-- the number of its key; most lists are read for one place only, and must not cost more than that.
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

-- Numbers given to a call are written out by each call: texts made once are not.
local command, stop = 'ZRANGEBYSCORE', state.head
if step < 0 then
  command, stop = 'ZREVRANGEBYSCORE', state.floor
end
local stop_text = string.format('%.0f', stop)
local first = math.max(1, math.min(64, math.ceil(2 * (limit + skip) / num_lists)))
local chunks, positions, sizes = {}, {}, {} -- what was read of a list, where more than one place was

local function open_lists(from, to)
  local start_text, count = '(' .. ARGV[3], tostring(first)
  local by_rank, last = ARGV[3] == '', tostring(first - 1)
  for key = from, to do
    local found
    if by_rank then
      -- From the end of the log on, a rank is found sooner than a score.
      found = redis.call('ZREVRANGE', KEYS[key], '0', last)
    else
      found = redis.call(command, KEYS[key], start_text, stop_text, 'LIMIT', '0', count)
    end
    if found[1] then
      heap = heap + 1
      scores[heap], lists[heap] = step * found[1], key
      if first > 1 then
        chunks[key], positions[key], sizes[key] = found, 1, first
      end
    end
  end
end

if by_log then
  local all = {}
  for seq = start + 1, state.head do
    all[#all + 1] = seq
  end
  if all[1] then
    heap, scores[1], lists[1] = 1, all[1], 0
    chunks[0], positions[0], sizes[0] = all, 1, 0
  end
else
  for number, clause in ipairs(clauses) do
    open_lists(clause[drivers[number]][1], clause[drivers[number]][2])
  end
end
for hole = math.floor(heap / 2), 1, -1 do
  sift(hole, scores[hole], lists[hole])
end

-- Move the topmost list on by one place.
local function advance()
  local list, chunk = lists[1], chunks[lists[1]]
  local place
  if chunk then
    positions[list] = positions[list] + 1
    place = chunk[positions[list]]
  end
  if not place and (not chunk or #chunk == sizes[list]) then
    local size = math.min(64, 4 * (sizes[list] or 1))
    local from = string.format('(%.0f', step * scores[1])
    chunk = redis.call(command, KEYS[list], from, stop_text, 'LIMIT', '0', tostring(size))
    chunks[list], positions[list], sizes[list] = chunk, 1, size
    place = chunk[1]
  end
  if place then
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
  local terms, count = {}, num_terms(entry)
  local nul = string.find(entry, '\0', 1, true)
  for i = 1, count do
    local next_nul = string.find(entry, '\0', nul + 1, true) or damaged()
    terms[i] = not plain and string.sub(entry, nul + 1, next_nul - 1)
    nul = next_nul
  end
  if plain then
    return #entry - nul, true
  end
  for _, parts in ipairs(checks) do
    local all = true
    for _, wanted in ipairs(parts) do
      local any = false
      for i = 1, count do
        any = any or wanted[terms[i]]
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
  if seq < state.floor then break end
  if seq ~= previous then
    if looked >= work or budget <= 0 then
      return finish(reached, looked, skipped, 'more')
    end
    previous, looked, budget = seq, looked + 1, budget - 1
    if plain and skipped < skip then
      skipped = skipped + 1
    else
      local place = string.format('%.0f', seq)
      local entry = redis.call('ZRANGEBYSCORE', KEYS[2], place, place)[1]
      if entry then
        budget = budget - 2 - math.floor(#entry / 1024)
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
