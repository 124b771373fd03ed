-- The idempotency keys of callers: `idempotency:<site>:<digest of the key>` is `<send id> <digest of the email>`.
--
-- A key is the site's that gave it. Releases that knew no sites here kept `idempotency:<sha256 of the key>`, the id alone:
-- such a key is the site's whose the send is. This release writes those as well, for a day, for callers of that release.

-- The id of the send that a key stands for, and what is known of its email's content ('' where that is nothing).
local function send_of_key(site, digest, former)
  local value = redis.call('GET', key('idempotency', site, digest))
  if value then
    return string.match(value, '^(%S+) ?(%S*)')
  end
  local id = redis.call('GET', key('idempotency', former))
  local whose = id and redis.call('HGET', key('send', id), 'site')
  if id and (whose or site) == site then
    return id, ''
  end
end

-- Whether two digests are of the same form and say that the emails are not the same.
local function tells_another_email(one, other)
  return one ~= '' and other ~= '' and string.sub(one, 1, 1) == string.sub(other, 1, 1) and one ~= other
end
