"""Set-ups of Redis and of brokers that teams run, one line each, and what befalls them."""
