-- Append turns under consecutive numbers. The script is atomic: writers need no lock.
-- KEYS: lease, conversation.
-- ARGV: milliseconds to keep the conversation, id of a block that PostgreSQL has committed or '', Idempotency-Key
--       or '', hash of the turns, then the turns.
-- Returns {'appended', first number}, {'known', the turns that came with the key}, {'lease', time in ms} if the lease
-- must be renewed first, or {'block'} if a block of numbers is needed first.
local lease, conversation = KEYS[1], KEYS[2]
local keep, block_id, key, hash = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local turns = #ARGV - 4
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

local generation = redis.call('GET', lease)
if not generation then return {'lease', now} end
local known = redis.call('HMGET', conversation, 'generation', 'last', 'limit', 'offered', 'block_id', 'key:' .. key)
if known[1] ~= generation then return {'block'} end
if key ~= '' and known[6] then return {'known', known[6]} end

local last, limit = tonumber(known[2]), tonumber(known[3])
if block_id ~= '' and known[5] == block_id then limit = tonumber(known[4]) end
if last + turns > limit then return {'block'} end

local fields = {'last', last + turns, 'limit', limit, 'at', now}
for n = 1, turns do
  fields[#fields + 1] = last + n
  fields[#fields + 1] = ARGV[4 + n]
end
if key ~= '' then
  fields[#fields + 1] = 'key:' .. key
  fields[#fields + 1] = cjson.encode({hash = hash, first = last + 1, count = turns})
end
redis.call('HSET', conversation, unpack(fields))
redis.call('HINCRBY', conversation, 'waiting', turns)
redis.call('PEXPIRE', conversation, keep)
return {'appended', last + 1}
