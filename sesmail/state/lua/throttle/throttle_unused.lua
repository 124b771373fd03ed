-- needs: throttle
-- A slot was not used: its recipients count no longer to the 24-hour quota. The slot itself passes, as times do.
--
-- ARGV: 1 recipients that were counted
-- Repeated: counted back twice, until SES's own number is read again.
local row = read_books()
if not row then
  return 0
end
count_sent(row, now_us(), -tonumber(ARGV[1]))
write_books(row)
return 1
