-- Put before the scripts that store entries, behind common.lua.

local CHUNK = 2000 -- values given to unpack, whose limit is 7,999

-- Run a command on a key with any number of values, which come in pairs.
local function call_with(command, key, values)
  for from = 1, #values, CHUNK do
    redis.call(command, key, unpack(values, from, math.min(from + CHUNK - 1, #values)))
  end
end

-- Write entries to the log, and publish them as all workers get them: `epoch floor length…`, newline,
-- entries. `fields` has the place and the text of each in turn; `most` is the bytes of one message.
local function store_entries(state, fields, channel, most)
  call_with('ZADD', KEYS[2], fields)
  local lead = state.epoch .. ' ' .. string.format('%.0f', state.floor) .. ' '
  local part, lengths, size = {}, {}, 0
  local function publish()
    redis.call('PUBLISH', channel, lead .. table.concat(lengths, ' ') .. '\n' .. table.concat(part))
    part, lengths, size = {}, {}, 0
  end
  for at = 2, #fields, 2 do
    local entry = fields[at]
    if size > 0 and size + #entry > tonumber(most) then
      publish()
    end
    part[#part + 1] = entry
    lengths[#lengths + 1] = #entry
    size = size + #entry
  end
  if size > 0 then
    publish()
  end
end

-- Add places, which are texts, to a term's list.
local function post(key, seqs)
  local fields = {}
  for _, seq in ipairs(seqs) do
    fields[#fields + 1] = seq
    fields[#fields + 1] = seq
  end
  call_with('ZADD', key, fields)
end
