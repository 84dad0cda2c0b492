#!lua
-- Store one batch. All is judged before the first write, and nothing after it can fail: memory is
-- asked for before the script starts (no allow-oom). Only lists of terms may be none any more: their
-- places are left out then.
-- KEYS: meta, log, ids, old ids, batches, old batches, then one per term.
-- ARGV: the known epoch, the batch, lifetimes of ids and of batches (ms), entries retained (0: all),
--   the channel, bytes of one message; then, as numbers of four bytes, of each call its number of
--   drafts, and of each draft the size of its text; of each draft 12 bytes for its insert id and 12 for
--   its body ('' where no draft has an id, NUL where this one has none); the texts in a row; of each term
--   the number of its drafts, and these of all terms in a row, as numbers of four bytes. A few long
--   arguments cost a fraction of many short ones.
-- Reply: state, the record (see below), how many of the terms' lists are none.

local state, refusal = read_state('time', 'ids_since', 'batches_since')
if not state then
  return refusal
end
refusal = denied(ARGV[6])
if refusal then
  return refusal
end
local head = state.head
local COUNTS, SIZES, MARKS, TEXTS = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local POSTED, POSTINGS = ARGV[12], ARGV[13]
local CALLS, DRAFTS = #COUNTS / 4, #SIZES / 4
local NO_ID = string.rep('\0', 12)

local function reply(record)
  local result = answer(state)
  result[5], result[6] = record, num_foreign
  return result
end

-- This very batch was stored, and its answer lost.
local done = redis.call('HGET', KEYS[5], ARGV[2]) or redis.call('HGET', KEYS[6], ARGV[2])
if done then
  return reply(done)
end

local clock = redis.call('TIME')
local now = math.max(clock[1] * 1000 + math.floor(clock[2] / 1000), tonumber(state[1]))
local id_lifetime, batch_lifetime = tonumber(ARGV[3]), tonumber(ARGV[4])

-- Of each draft its insert id and a digest of its body; nothing where it has no id.
local ids, digests, asked = {}, {}, {}
for draft = 1, #MARKS / 24 do
  local id, digest = struct.unpack('c12c12', MARKS, 24 * draft - 23)
  if id ~= NO_ID then
    ids[draft], digests[draft], asked[#asked + 1] = id, digest, id
  end
end

-- What is remembered of these ids: {seq, time, digest} of each.
local known = {}
local function recall(key)
  if redis.call('EXISTS', key) == 0 then
    return
  end
  for from = 1, #asked, CHUNK do
    local to = math.min(from + CHUNK - 1, #asked)
    for i, value in ipairs(redis.call('HMGET', key, unpack(asked, from, to))) do
      if value then
        local seq, time, digest = struct.unpack('>I6I6c12', value)
        if now - time < id_lifetime then
          known[asked[from + i - 1]] = {seq, time, digest}
        end
      end
    end
  end
end
if asked[1] then
  recall(KEYS[4])
  recall(KEYS[3]) -- What both have, this one has from later.
end

-- Judge: give numbers to the drafts of the calls that hold.
local seqs, placed, words, plain = {}, {}, {}, true
local last, draft = head, 0
for call = 1, CALLS do
  local first, seq, told, refused = draft + 1, last, #words, false
  draft = draft + struct.unpack('>I4', COUNTS, 4 * call - 3)
  for d = first, draft do
    local id = ids[d]
    local twin, old = id and placed[id], id and known[id]
    if not twin and not old then
      seq = seq + 1
      seqs[d] = seq
      words[#words + 1] = 'n'
      if id then
        placed[id] = d
      end
    elseif (old and old[3] or digests[twin]) == digests[d] then
      plain = false
      words[#words + 1] = 'd' .. (old and old[1] or seqs[twin]) .. ',' .. (old and old[2] or now)
    else
      refused = true
      break
    end
  end
  if refused then
    plain = false
    for d = first, draft do
      if ids[d] and placed[ids[d]] == d then
        placed[ids[d]] = nil
      end
      seqs[d] = nil
    end
    for word = #words, told + 1, -1 do
      words[word] = nil
    end
    words[told + 1] = 'x'
  else
    last = seq
  end
end

redis.call('ZCARD', KEYS[2]) -- fails if the log is none: the other keys have been read

-- Write. The record is `first time`, and unless each draft is new, a word for each draft or refused call.
local record = string.format('%d %d', head + 1, now)
if not plain then
  record = record .. ' ' .. table.concat(words, ' ')
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
  call_with(redis.call, 'HSET', new, values)
  redis.call('PEXPIRE', new, 2 * lifetime + 60000)
end

remember(KEYS[5], KEYS[6], 'batches_since', tonumber(state[3]), batch_lifetime, {ARGV[2], record})
if asked[1] then
  local values = {}
  for d = 1, DRAFTS do
    if seqs[d] and ids[d] then
      values[#values + 1] = ids[d]
      values[#values + 1] = struct.pack('>I6I6c12', seqs[d], now, digests[d])
    end
  end
  if values[1] then
    remember(KEYS[3], KEYS[4], 'ids_since', tonumber(state[2]), id_lifetime, values)
  end
end

-- New drafts that follow one another are published together, up to the bytes of one message.
local run = {}
local function publish(behind)
  if run.draft then
    local first, at, texts = seqs[run.draft], run.at, TEXTS
    if run.size < #TEXTS then
      texts = string.sub(TEXTS, at, at + run.size - 1)
    end
    local sizes = string.sub(SIZES, 4 * run.draft - 3, 4 * behind - 4)
    publish_texts(ARGV[6], state, first, now, sizes, texts)
    run.draft = nil
  end
end

local fields, at, most = {}, 1, tonumber(ARGV[7])
local stamp = string.format(' %d ', now)
for d = 1, DRAFTS do
  local seq, size = seqs[d], struct.unpack('>I4', SIZES, 4 * d - 3)
  if not seq or (run.draft and run.size + size > most) then
    publish(d)
  end
  if seq then
    local text = string.format('%d', seq)
    seqs[d] = text
    fields[#fields + 1] = text
    fields[#fields + 1] = text .. stamp .. string.sub(TEXTS, at, at + size - 1)
    if not run.draft then
      run.draft, run.at, run.size = d, at, 0
    end
    run.size = run.size + size
  end
  at = at + size
end
publish(DRAFTS + 1)
call_with(redis.call, 'ZADD', KEYS[2], fields)

at = 1
for key = 7, #KEYS do
  local count = struct.unpack('>I4', POSTED, 4 * key - 27)
  if count == 1 then
    local seq = seqs[struct.unpack('>I4', POSTINGS, at)]
    if seq then
      note_post(redis.pcall('ZADD', KEYS[key], seq, seq))
    end
  else
    local posted = {}
    for i = 0, count - 1 do
      posted[#posted + 1] = seqs[struct.unpack('>I4', POSTINGS, at + 4 * i)]
    end
    post(KEYS[key], posted)
  end
  at = at + 4 * count
end
return reply(record)
