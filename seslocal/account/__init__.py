"""The account: what it may, what it keeps, and whether it takes an email."""
