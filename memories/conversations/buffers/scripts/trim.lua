-- Remove the turns up to a number: they are saved. When no turn is left, the rest of the block is given back, and the
-- next turn asks for a new block.
-- KEYS: conversation. ARGV: the number.
-- Returns {turns left, last number used, end of the block offered last}, or false if the conversation is unknown.
local conversation, through = KEYS[1], tonumber(ARGV[1])
local known = redis.call('HMGET', conversation, 'first', 'waiting', 'last', 'offered')
if not known[1] then return false end
local first, waiting, last = tonumber(known[1]), tonumber(known[2]), tonumber(known[3])
for number = first, math.min(through, last) do
  waiting = waiting - redis.call('HDEL', conversation, number)
end
redis.call('HSET', conversation, 'first', math.max(first, through + 1), 'waiting', waiting)
if waiting == 0 then redis.call('HSET', conversation, 'limit', last) end
return {waiting, last, tonumber(known[4])}
