#!lua flags=no-writes
-- Name terms' lists, a part of all that there are.
-- KEYS: meta.  ARGV: the known epoch, Redis' cursor, the pattern of their keys, how many keys to look at.
-- Reply: state, the cursor to go on with ('0' at the end), then the keys.

local state, refusal = read_state()
if not state then
  return refusal
end
if not redis.acl_check_cmd('SCAN', '0') then
  return redis.error_reply('NOPERM the command SCAN is not allowed')
end
local reply = answer(state)
local found = redis.call('SCAN', ARGV[2], 'MATCH', ARGV[3], 'COUNT', ARGV[4], 'TYPE', 'zset')
reply[5] = found[1]
for _, key in ipairs(found[2]) do
  reply[#reply + 1] = key
end
return reply
