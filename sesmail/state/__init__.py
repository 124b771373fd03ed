"""What is kept in Redis: one module per structure, one Lua script per atomic act."""
