#!lua
-- Store one batch. All is judged before the first write, and nothing after it can fail: memory is
-- asked for before the script starts (no allow-oom), rights when the log is opened.
-- KEYS: meta, log, ids, old ids, batches, old batches, then one per term.
-- ARGV: the known epoch, the batch, lifetimes of ids and of batches (ms), entries retained (0: all),
--   the channel, bytes of one message, the number of calls, of drafts; for each call its number of
--   drafts; for each draft its packed text, insert id and digest ('' where there is none); for each
--   term the number of its drafts, and these.

local state, refusal = read_state('time', 'ids_since', 'batches_since')
if not state then
  return refusal
end
local head = state.head
local CALLS, DRAFTS = tonumber(ARGV[8]), tonumber(ARGV[9])
local FIRST_DRAFT = 10 + CALLS

local function reply(record)
  local result = answer(state)
  result[5] = record
  return result
end

local function draft_at(draft)
  local at = FIRST_DRAFT + 3 * (draft - 1)
  return ARGV[at], ARGV[at + 1], ARGV[at + 2]
end

-- This very batch was stored, and its answer lost.
local done = redis.call('HGET', KEYS[5], ARGV[2]) or redis.call('HGET', KEYS[6], ARGV[2])
if done then
  return reply(done)
end

local clock = redis.call('TIME')
local now = math.max(clock[1] * 1000 + math.floor(clock[2] / 1000), tonumber(state[1]))
local id_lifetime, batch_lifetime = tonumber(ARGV[3]), tonumber(ARGV[4])

-- Return what is remembered of the batch's insert ids: {seq, time, digest} of each.
local function recall()
  local asked, known = {}, {}
  for draft = 1, DRAFTS do
    local _, id = draft_at(draft)
    if id ~= '' then
      asked[#asked + 1] = id
    end
  end
  for from = 1, #asked, CHUNK do
    local to = math.min(from + CHUNK - 1, #asked)
    local new = redis.call('HMGET', KEYS[3], unpack(asked, from, to))
    local old = redis.call('HMGET', KEYS[4], unpack(asked, from, to))
    for i = 1, to - from + 1 do
      local value = new[i] or old[i]
      if value then
        local seq, time, rest = struct.unpack('>I6I6', value)
        if now - time < id_lifetime then
          known[asked[from + i - 1]] = {seq, time, string.sub(value, rest)}
        end
      end
    end
  end
  return known
end

-- Judge: give numbers to the drafts of the calls that hold.
local known = recall()
local seqs, fresh, verdicts, plain = {}, {}, {}, true
local last, draft = head, 0
for call = 1, CALLS do
  local first, count = draft + 1, tonumber(ARGV[9 + call])
  local seq, mine, told, refused = last, {}, {}, false
  draft = draft + count
  for d = first, draft do
    local _, id, digest = draft_at(d)
    local place = id ~= '' and (mine[id] or known[id])
    if not place then
      seq = seq + 1
      seqs[d] = seq
      told[#told + 1] = 'n'
      if id ~= '' then
        mine[id] = {seq, now, digest}
      end
    elseif place[3] == digest then
      plain = false
      told[#told + 1] = 'd' .. place[1] .. ',' .. place[2]
    else
      refused = true
      break
    end
  end
  if refused then
    plain = false
    for d = first, draft do
      seqs[d] = nil
    end
    verdicts[#verdicts + 1] = 'x'
  else
    last = seq
    for id, place in pairs(mine) do
      known[id] = place
      fresh[#fresh + 1] = id
    end
    if told[1] then
      verdicts[#verdicts + 1] = table.concat(told, ' ')
    end
  end
end

-- Write. The record is `first time`, and unless each draft is new, a word for each draft or refused call.
local record = string.format('%.0f %.0f', head + 1, now)
if not plain then
  record = record .. ' ' .. table.concat(verdicts, ' ')
end
local most = tonumber(ARGV[5])
if most > 0 then
  state.floor = math.max(state.floor, last - most + 1)
end
state.head = last
redis.call('HSET', KEYS[1], 'head', last, 'time', now, 'floor', state.floor)

-- Let what is remembered grow old: `new` becomes `old` after a lifetime, and is gone after the next.
local function remember(new, old, name, since, lifetime, values)
  if now - since >= lifetime then
    redis.call('UNLINK', old)
    if now - since >= 2 * lifetime then
      redis.call('UNLINK', new)
    elseif redis.call('EXISTS', new) == 1 then
      redis.call('RENAME', new, old)
    end
    redis.call('HSET', KEYS[1], name, now)
  end
  call_with('HSET', new, values)
  redis.call('PEXPIRE', new, 2 * lifetime + 60000)
end

remember(KEYS[5], KEYS[6], 'batches_since', tonumber(state[3]), batch_lifetime, {ARGV[2], record})
if fresh[1] then
  local values = {}
  for _, id in ipairs(fresh) do
    local place = known[id]
    values[#values + 1] = id
    values[#values + 1] = struct.pack('>I6I6', place[1], place[2]) .. place[3]
  end
  remember(KEYS[3], KEYS[4], 'ids_since', tonumber(state[2]), id_lifetime, values)
end

local fields = {}
local stamp = string.format(' %.0f ', now)
for d = 1, DRAFTS do
  local seq = seqs[d]
  if seq then
    local text = string.format('%.0f', seq)
    seqs[d] = text
    fields[#fields + 1] = text
    fields[#fields + 1] = text .. stamp .. draft_at(d)
  end
end
store_entries(state, fields, ARGV[6], ARGV[7])

local at = FIRST_DRAFT + 3 * DRAFTS
for key = 7, #KEYS do
  local count, posted = tonumber(ARGV[at]), {}
  for i = at + 1, at + count do
    posted[#posted + 1] = seqs[tonumber(ARGV[i])]
  end
  post(KEYS[key], posted)
  at = at + count + 1
end
return reply(record)
