"""What is kept in Redis: one module per structure, one Lua script per atomic act.

keys.py is the map of all keys; scripts.py runs what lies in lua/, durable.py so that a write is safe. From below:

- server/: the Redis itself;
- people/: what is known of addresses;
- batches/: letters to many;
- ledger/: sends;
- line/, fleet/: what is closed, and who works.
"""
