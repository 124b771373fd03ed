-- A worker of a site has receivers for the ends of its sends: they are noted from now on.
--
-- ARGV: 1 site, 2 for how long (ms)
-- Answers how many wait to be told by now.
redis.call('HSET', key('listeners'), ARGV[1], string.format('%.0f', now_ms() + tonumber(ARGV[2])))
return redis.call('ZCOUNT', key('untold', ARGV[1]), '-inf', now_ms())
