-- Offer a block of numbers. The block counts once an append names its id, which happens after PostgreSQL committed.
-- What Redis still holds of another row is removed first: that conversation of the same name was deleted, and an older
-- state of Redis has come back.
-- KEYS: conversation.
-- ARGV: generation, number after which the block begins, end of the block, id of the block, milliseconds to keep the
--       conversation, id of its row in PostgreSQL, then pairs of an Idempotency-Key and the turns that came with it (JSON).
local conversation = KEYS[1]
local generation, base, offered, block_id, keep = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local row = ARGV[6]
if redis.call('HGET', conversation, 'conversation') ~= row then redis.call('DEL', conversation) end
local known = redis.call('HMGET', conversation, 'generation', 'last', 'limit')
local last = math.max(tonumber(known[2] or 0), base)
-- The rest of a block of another generation is not used: PostgreSQL may have used numbers after it.
local limit = known[1] == generation and known[3] or last
redis.call('HSET', conversation, 'generation', generation, 'last', last, 'limit', limit,
           'offered', offered, 'block_id', block_id, 'conversation', row)
redis.call('HSETNX', conversation, 'first', last + 1)
redis.call('HSETNX', conversation, 'waiting', 0)
for n = 7, #ARGV, 2 do
  redis.call('HSET', conversation, 'key:' .. ARGV[n], ARGV[n + 1])
end
redis.call('PEXPIRE', conversation, keep)
