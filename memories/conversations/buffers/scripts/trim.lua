-- Drop the turns up to a number: they are saved. When none is left, the rest of the block is given back, and the
-- next turn asks for a new one.
-- KEYS: conversation. ARGV: the number.
-- Answers {turns left, last number given, the end of the block offered last}, or false where there is nothing.
local conversation, through = KEYS[1], tonumber(ARGV[1])
local had = redis.call('HMGET', conversation, 'first', 'waiting', 'last', 'offered')
if not had[1] then return false end
local first, waiting, last = tonumber(had[1]), tonumber(had[2]), tonumber(had[3])
for number = first, math.min(through, last) do
  waiting = waiting - redis.call('HDEL', conversation, number)
end
redis.call('HSET', conversation, 'first', math.max(first, through + 1), 'waiting', waiting)
if waiting == 0 then redis.call('HSET', conversation, 'limit', last) end
return {waiting, last, tonumber(had[4])}
