"""Sends: every row, every move, and what people ask about them."""
