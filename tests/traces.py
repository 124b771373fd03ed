"""Where an address can still be read in a Redis: every key and every value is looked at, parts of emails unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

READS = {
    b"string": ("GET",),
    b"hash": ("HGETALL",),
    b"zset": ("ZRANGE", 0, -1),
    b"set": ("SMEMBERS",),
    b"list": ("LRANGE", 0, -1),
}
LONGEST_PLAIN = 40
"""What is longer may be the compressed part of an email."""


def traces(ask: Callable[..., Any], pattern: str, *needles: str) -> list[str]:
    """The keys in which one of these can be read, of those like the pattern; `ask` sends one command."""
    found = []
    for name in sorted(ask("KEYS", pattern)):
        command, *rest = READS[ask("TYPE", name)]
        kept = b"\n".join([name, *_texts(ask(command, name, *rest))]).lower()
        if any(needle.encode() in kept for needle in needles):
            found.append(name.decode())
    return found


def _texts(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        value = [part for pair in value.items() for part in pair]
    for part in value if isinstance(value, list | tuple | set) else [value]:
        text = part if isinstance(part, bytes) else str(part).encode()
        yield text
        if len(text) > LONGEST_PLAIN:
            try:
                yield zlib.decompress(text)
            except zlib.error:
                continue
