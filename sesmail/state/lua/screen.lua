-- needs: suppression
-- Which of some addresses must not be written to.
--
-- ARGV: 1 site, 2 list, 3 how many reasons are ignored, those reasons, then the addresses
-- Answers for each address its reason, or ''.
local site, list, ignored = ARGV[1], ARGV[2], {}
local first = 4 + tonumber(ARGV[3])
for i = 4, first - 1 do
  ignored[ARGV[i]] = true
end
local answer = {}
for i = first, #ARGV do
  answer[#answer + 1] = suppressed(ARGV[i], site, list, ignored) or ''
end
return answer
