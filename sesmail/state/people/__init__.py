"""What is known of addresses: who must not be written to, how far email got with them, what became of it."""
