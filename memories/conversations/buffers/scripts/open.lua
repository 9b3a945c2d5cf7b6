-- Offer a block of numbers. It counts once an append names the loan, which comes after PostgreSQL has committed it.
-- KEYS: conversation.
-- ARGV: generation, the number after which to go on, the block's end, the loan's name, milliseconds to keep the
--       conversation, then Idempotency-Keys and what they stand for, in turn.
local conversation = KEYS[1]
local generation, base, offered, loan, keep = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local had = redis.call('HMGET', conversation, 'generation', 'last', 'limit')
local last = math.max(tonumber(had[2] or 0), base)
-- What is left of a block of another generation is not used: PostgreSQL may have gone on numbering after it.
local limit = had[1] == generation and had[3] or last
redis.call('HSET', conversation, 'generation', generation, 'last', last, 'limit', limit,
           'offered', offered, 'loan', loan)
redis.call('HSETNX', conversation, 'first', last + 1)
redis.call('HSETNX', conversation, 'waiting', 0)
for n = 6, #ARGV, 2 do
  redis.call('HSET', conversation, 'key:' .. ARGV[n], ARGV[n + 1])
end
redis.call('PEXPIRE', conversation, keep)
