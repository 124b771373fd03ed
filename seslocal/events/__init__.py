"""What becomes of an accepted email, and the notifications about it."""
