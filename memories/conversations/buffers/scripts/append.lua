-- Take turns in, numbered one after the other. All of it happens at once: writers need no lock.
-- KEYS: lease, conversation.
-- ARGV: milliseconds to keep the conversation, a loan that PostgreSQL has committed or '', Idempotency-Key or '',
--       hash of the turns, then each turn.
-- Answers {'taken', first number} | {'known', what the key stands for} | {'lease', now in ms} | {'open'}.
local lease, conversation = KEYS[1], KEYS[2]
local keep, loan, key, hash = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local turns = #ARGV - 4
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

local generation = redis.call('GET', lease)
if not generation then return {'lease', now} end
local had = redis.call('HMGET', conversation, 'generation', 'last', 'limit', 'offered', 'loan', 'key:' .. key)
if had[1] ~= generation then return {'open'} end
if key ~= '' and had[6] then return {'known', had[6]} end

local last, limit = tonumber(had[2]), tonumber(had[3])
if loan ~= '' and had[5] == loan then limit = tonumber(had[4]) end
if last + turns > limit then return {'open'} end

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
return {'taken', last + 1}
