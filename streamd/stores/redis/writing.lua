-- Put before the scripts that store entries, behind common.lua.

local CHUNK = 2000 -- values given to unpack, whose limit is 7,999

-- Return the error of a command that our user may not give and that entries are stored by, or nil. In the
-- middle of a script it would leave half a batch behind; and rights may be taken away at any time.
local function denied(channel)
  local meta, log, may = KEYS[1], KEYS[2], redis.acl_check_cmd
  local command = not may('HSET', meta, 'head', '1') and 'HSET' or not may('PUBLISH', channel, '') and 'PUBLISH'
    or not (may('ZADD', log, '1', '1') and may('ZADD', log .. ':', '1', '1')) and 'ZADD'
    or not may('EXISTS', log) and 'EXISTS' or not may('RENAME', log, log) and 'RENAME'
    or not may('UNLINK', log) and 'UNLINK' or not may('PEXPIRE', log, '1') and 'PEXPIRE'
  return command and redis.error_reply('NOPERM the command ' .. command .. ' is not allowed') or nil
end

-- Run a command on a key with any number of values, which come in pairs, by redis.call or redis.pcall;
-- return the last reply.
local function call_with(call, command, key, values)
  local reply
  for from = 1, #values, CHUNK do
    reply = call(command, key, unpack(values, from, math.min(from + CHUNK - 1, #values)))
  end
  return reply
end

-- Tell all workers of new entries, as they get them: `epoch floor first time count`, newline, the size of each
-- text as a number of four bytes, and the texts. Where there are none they look themselves.
local function publish_texts(channel, state, first, time, sizes, texts)
  local place = string.format(' %d %d %d %d\n', state.floor, first, time, #sizes / 4)
  redis.call('PUBLISH', channel, state.epoch .. place .. sizes .. texts)
end

local num_foreign = 0 -- lists that are none: something else has written there

local function note_post(reply)
  num_foreign = num_foreign + (type(reply) == 'table' and 1 or 0)
end

-- Add places, which are texts, to a term's list; one that is none keeps no other from its places.
local function post(key, seqs)
  local fields = {}
  for _, seq in ipairs(seqs) do
    fields[#fields + 1] = seq
    fields[#fields + 1] = seq
  end
  note_post(call_with(redis.pcall, 'ZADD', key, fields))
end
