-- Tries whether tickets may be put into a queue of the broker's, a list in this database; none is, and it stays as it is.
--
-- ARGV: 1 the key of the queue
-- Answers '', or how Redis refuses it: its user may not write there, it is no list, or it is another node's.
local tried = redis.pcall('LTRIM', ARGV[1], 0, -1)
return tried.err or ''
