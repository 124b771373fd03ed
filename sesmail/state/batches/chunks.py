"""The form of a chunk of recipients: compressed rows, four bits of state each, and what else is a recipient's own."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis import Redis

    from sesmail.state.keys import Keys

CHUNK = 100
"""Recipients of a chunk; as in batches.lua."""
Row = list[Any]
"""What is kept of a recipient who waits: the mailbox, then the values of the letter's columns, then, where there is
any, what else is its own: a mapping of tags, headers, metadata."""
RECIPIENT_ID = re.compile(r"(batch_[0-9a-f]{16})-([0-9]{1,12})")
"""The id of a recipient's send. Callers cannot give a send of their own such an id."""
COMPRESSION = 3
"""Of zlib: 6 takes 6 % less room, and 40 % longer."""
STATES = ("none", "queued", "sending", "sent", "row", "suppressed", "expired", "cancelled")
"""Of a recipient within a batch, by their codes: batches.lua."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Block:
    """Recipients that are added in one act."""

    digests: bytes
    addresses: str
    """As opt-outs have them, one a line."""
    chunks: Sequence[tuple[int, bytes, bytes]]
    """How many recipients each has, their data, and the metadata that are their own; empty for none."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Held:
    """A chunk that a worker, or a sweep, holds under a token."""

    batch_id: str
    chunk: int
    token: str
    states: tuple[str, ...]
    """Of each of its recipients, as batches.lua names them."""
    list_name: str
    account: str
    """The SES account that it goes through."""
    waits: int
    """How often in a row the batch has backed off."""
    letter_digest: str
    data: bytes
    """Compressed; empty where Redis has lost it."""
    rate: float | None
    """Recipients a second that the batch may have at most."""

    def numbers(self, state: str) -> list[int]:
        """Those of its recipients that were in this state."""
        return [self.chunk * CHUNK + place for place, each in enumerate(self.states) if each == state]


def held(token: str, answer: Sequence[Any]) -> Held | None:
    """The chunk that a script has given out under this token; None where it gave none."""
    if not answer:
        return None
    batch_id, chunk, states, list_name, account, waits, digest, data, rate = answer
    return Held(
        batch_id=batch_id.decode(),
        chunk=int(chunk),
        token=token,
        states=tuple(states_of(states)),
        list_name=list_name.decode(),
        account=account.decode(),
        waits=int(waits),
        letter_digest=digest.decode(),
        data=data,
        rate=float(rate) if rate else None,
    )


def states_of(packed: bytes) -> Iterable[str]:
    """Of the recipients of a chunk, in their order."""
    for byte in packed:
        yield STATES[byte >> 4]
        yield STATES[byte & 15]


def metadata_of(redis: Redis, key: Keys, batch_id: str, number: int) -> dict[str, Any]:
    """What the caller gave with a batch's letter, and with this recipient, for receivers of events."""
    of_all = cast("bytes | None", redis.hget(key("batch", batch_id), "metadata"))
    own = cast("bytes | None", redis.hget(key("batch", batch_id, "metadata"), str(number // CHUNK)))
    return (json.loads(of_all) if of_all else {}) | own_metadata(own).get(str(number % CHUNK), {})


def own_metadata(data: bytes | None) -> dict[str, dict[str, Any]]:
    """What a chunk's recipients have of their own, by their places."""
    return dict(json.loads(zlib.decompress(data))) if data else {}


def address_digest(address: str) -> bytes:
    """By which it is known who is queued in a batch; of an address in its normal form."""
    return blake2b(address.encode(), digest_size=8).digest()


def packed(rows: Sequence[Row]) -> bytes:
    """A chunk's rows as they are kept."""
    return zlib.compress(_written(rows).encode(), COMPRESSION)


_written = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def unpacked(data: bytes) -> list[Row]:
    """The rows of a chunk."""
    rows: list[Row] = json.loads(zlib.decompress(data))
    return rows


def packed_metadata(rows: Sequence[Row], width: int) -> bytes:
    """What recipients of a chunk have of their own for receivers of events, by their places; empty for none.

    `width` is how many there are of mailbox and values, behind which it stands.

    It is kept for as long as the batch: events come when the rows have long gone.
    """
    found = {place: said for place, row in enumerate(rows) for own in row[width:] if (said := own.get("metadata"))}
    return zlib.compress(json.dumps(found, separators=(",", ":")).encode(), 6) if found else b""
