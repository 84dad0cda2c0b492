#!lua flags=allow-oom
-- Make this tenure the owner of the log: where it was another's, a new epoch begins behind the newest
-- entry that is left, and the old one is closed there.
-- KEYS: meta, log.  ARGV: "", a fresh epoch, the declared keys ('' for those that the stream has), the
--   schema's version, the channel.
-- Reply: state, the stream's keys.

local mine = tenure()
if not mine then
  return refuse_replica()
end

local refusal = denied(ARGV[5])
if refusal then
  return refusal
end
-- What retention needs.
for _, command in ipairs({
  {'ZREMRANGEBYSCORE', KEYS[2], '1', '1'}, {'ZREMRANGEBYSCORE', KEYS[2] .. ':', '1', '1'}, {'SET', KEYS[2], ''},
}) do
  if not redis.acl_check_cmd(unpack(command)) then
    return redis.error_reply('NOPERM the command ' .. command[1] .. ' is not allowed')
  end
end

local names = {'epoch', 'owner', 'chain', 'head', 'floor', 'keys', 'schema'}
local meta = redis.call('HMGET', KEYS[1], unpack(names))
local epoch, owner, chain, head, floor = meta[1], meta[2], meta[3], meta[4], meta[5]

if not epoch then
  if redis.call('EXISTS', KEYS[2]) == 1 then
    return redis.error_reply('BROKEN the stream has entries, but its meta key is gone')
  end
  if ARGV[3] == '' then
    return redis.error_reply('ABSENT the stream is not there')
  end
  redis.call(
    'HSET', KEYS[1], 'epoch', ARGV[2], 'owner', mine, 'chain', '', 'head', 0, 'floor', 1,
    'swept', 0, 'time', 0, 'ids_since', 0, 'batches_since', 0, 'keys', ARGV[3], 'schema', ARGV[4]
  )
  return {ARGV[2], '', 0, 1, ARGV[3]}
end
if not (owner and chain and whole(head) and whole(floor) and meta[6] and meta[7]) then
  return redis.error_reply(DAMAGED)
end
if meta[7] ~= ARGV[4] then
  return redis.error_reply('SCHEMA ' .. meta[7])
end
if ARGV[3] ~= '' and meta[6] ~= ARGV[3] then
  return redis.error_reply('KEYS ' .. meta[6])
end
if owner == mine then
  return {epoch, chain, head, floor, meta[6]}
end

-- The chain is `epoch:last epoch:last …`. Cursors up to floor - 2 have expired, whatever their epoch.
local kept, last = {}, 0
for closed, fork in string.gmatch(chain, '(%S+):(%d+)') do
  last = tonumber(fork)
  if last >= tonumber(floor) - 1 then
    kept[#kept + 1] = closed .. ':' .. fork
  end
end
-- An epoch that handed out no number names no place, but for the first: place 0 is the oldest one's.
if tonumber(head) > last or not kept[1] and tonumber(floor) == 1 then
  kept[#kept + 1] = epoch .. ':' .. head
end
chain = table.concat(kept, ' ')
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'owner', mine, 'chain', chain)
return {ARGV[2], chain, head, floor, meta[6]}
