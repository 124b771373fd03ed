"""In which batches people look for somebody: by address, by list; and what is known of who is still in one.

A batch keeps no address of whom it was sent to, but eight bytes of each address's digest, so that nobody is queued
twice: in buckets by the first byte, and the first bytes once more in the order of the recipients' numbers. The n-th of
a bucket has the number of the n-th of those bytes (lua/batches/batch_add.lua).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sesmail.message import Lane
from sesmail.message.addresses import bare_address, normal_address
from sesmail.state.batches.chunks import CHUNK, RECIPIENT_ID, STATES, address_digest, unpacked
from sesmail.state.batches.recipients import Recipients
from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import DEFAULT_ACCOUNT, State, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sesmail.state.scripts import Scripts

NUMBERS = "from "
"""Before a chunk's number: from it on, the first bytes of a block of recipients."""
STATES_AT_ONCE = 500
_COUNTED = tuple(f"n:{state}" for state in State)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address stands in a batch."""

    batch_id: str
    begun_at_ms: float
    number: int | None
    """None where a former release queued it and its chunk is gone: whose the number is, nobody knows any more."""

    @property
    def send_id(self) -> str | None:
        """The id of its send there."""
        return None if self.number is None else f"{self.batch_id}-{self.number}"


@dataclass(frozen=True, slots=True)
class Piece:
    """Ids of sends that stand side by side in what is found."""

    at_ms: float
    size: int
    ids: Callable[[int, int], Sequence[str]]
    """By how many are passed over, and how many are wanted."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of somebody who is still in a batch, which keeps neither a time nor a message id for each."""

    status: Status
    site: str
    list: str
    expires_at: float | None


class InBatches:
    """Looks in all batches. All methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._key = scripts.keys
        self._recipients = Recipients(scripts)

    # -- by address -------------------------------------------------------------------------------------------------

    def places(self, digest: bytes, *, after_ms: float = 0.0) -> list[Place]:
        """Where an address of this digest is queued, or was: in batches begun after a time, the latest first."""
        first, rest = str(digest[0]), digest[1:]
        begun = [(batch_id, at) for batch_id, at in self._begun() if at > after_ms]
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for batch_id, _ in begun:
                pipe.hget(self._key("batch", batch_id, "seen"), first)
            buckets = pipe.execute()
        found = []
        for (batch_id, at), bucket in zip(begun, buckets, strict=True):
            entries = [bucket[start : start + len(rest)] for start in range(0, len(bucket or b""), len(rest))]
            if rest in entries:
                number = self._number(batch_id, digest, entries.index(rest), len(entries))
                found.append(Place(batch_id, at, number))
        return found

    def _begun(self) -> list[tuple[str, float]]:
        with reachable(self._redis):
            found: Any = self._redis.zrevrange(self._key("batches"), 0, -1, withscores=True)
        return [(batch_id.decode(), at) for batch_id, at in found]

    def _number(self, batch_id: str, digest: bytes, nth: int, of_bucket: int) -> int | None:
        """Of the `nth` in the bucket of a digest."""
        blocks = self._first_bytes(batch_id)
        if sum(firsts.count(digest[0]) for _, firsts in blocks) != of_bucket:  # a former release has queued some
            return self._number_by_chunks(batch_id, digest)
        for chunk, firsts in blocks:
            if nth < (here := firsts.count(digest[0])):
                return chunk * CHUNK + [place for place, each in enumerate(firsts) if each == digest[0]][nth]
            nth -= here
        return None

    def _first_bytes(self, batch_id: str) -> list[tuple[int, bytes]]:
        """Numbers of chunks, and the first bytes of the recipients from there on."""
        with reachable(self._redis):
            name = self._key("batch", batch_id, "seen")
            found = dict(self._redis.hscan_iter(name, match=f"{NUMBERS}*", count=1000))
        return sorted((int(field.removeprefix(NUMBERS.encode())), firsts) for field, firsts in found.items())

    def _number_by_chunks(self, batch_id: str, digest: bytes) -> int | None:
        """While its chunk is kept: until nobody of it waits any more."""
        with reachable(self._redis):
            for chunk, data in self._redis.hscan_iter(self._key("batch", batch_id, "chunks"), count=50):
                for place, row in enumerate(unpacked(data)):
                    if row[0] and address_digest(normal_address(bare_address(row[0]))) == digest:
                        return int(chunk) * CHUNK + place
        return None

    # -- by list ----------------------------------------------------------------------------------------------------

    def to_list(self, site: str, list_name: str, states: Sequence[State] = ()) -> list[Piece]:
        """The recipients of a site's batches to a list, the latest batch first; of some states, those in them now."""
        begun = self._begun()
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for batch_id, _ in begun:
                pipe.hmget(self._key("batch", batch_id), "site", "list", *_COUNTED)
                pipe.zcard(self._key("batch", batch_id, "rows"))
            said = pipe.execute()
        wanted = [site.encode(), list_name.encode()]
        return [
            self._piece(batch_id, at, sum(map(int, filter(None, row[2:]))) + left, states)
            for (batch_id, at), row, left in zip(begun, said[::2], said[1::2], strict=True)
            if row[:2] == wanted
        ]

    def _piece(self, batch_id: str, at_ms: float, size: int, states: Sequence[State]) -> Piece:
        if not states:
            return Piece(at_ms, size, lambda skip, limit: self._recipients.of(batch_id, skip=skip, limit=limit))
        ids = [one for state in states for one in self._recipients.of(batch_id, state, limit=size)]
        return Piece(at_ms, len(ids), lambda skip, limit: ids[skip : skip + limit])

    # -- what is known of them --------------------------------------------------------------------------------------

    def known(self, send_ids: Iterable[str]) -> dict[str, Known]:
        """What is known of those who have no row of the ledger; others are left out."""
        numbers: dict[str, list[int]] = {}
        for send_id in send_ids:
            if found := RECIPIENT_ID.fullmatch(send_id):
                numbers.setdefault(found[1], []).append(int(found[2]))
        return {
            known.status.send_id: known for batch_id, of in numbers.items() for known in self._known_of(batch_id, of)
        }

    def _known_of(self, batch_id: str, numbers: Sequence[int]) -> Iterator[Known]:
        names = ("site", "list", "lane", "account", "accepted_at", "moved_at", "expires_at")
        with reachable(self._redis):
            row = cast("list[bytes | None]", self._redis.hmget(self._key("batch", batch_id), names))
        if row[2] is None:
            return
        said = {name: (value or b"").decode() for name, value in zip(names, row, strict=True)}
        account = said["account"] or DEFAULT_ACCOUNT
        for number, code in zip(numbers, self._codes(batch_id, numbers), strict=True):
            if (name := STATES[code]) not in {"none", "row"}:
                status = Status(
                    send_id=f"{batch_id}-{number}",
                    state=State(name),
                    lane=Lane(said["lane"]),
                    recipients=1,
                    accepted_at=float(said["accepted_at"]) / 1000,
                    changed_at=float(said["moved_at"]) / 1000,
                    attempts=int(name in {State.SENT, State.SENDING}),
                    waits=0,
                    message_id=None,
                    reason=None,
                    code=None,
                    account=account,
                    through=account,
                )
                expires_at = float(said["expires_at"]) / 1000 if said["expires_at"] else None
                yield Known(status, said["site"], said["list"], expires_at)

    def _codes(self, batch_id: str, numbers: Sequence[int]) -> Iterator[int]:
        name = self._key("batch", batch_id, "states")
        for start in range(0, len(numbers), STATES_AT_ONCE):
            first, *others = numbers[start : start + STATES_AT_ONCE]
            with reachable(self._redis):
                asked: Any = self._redis.bitfield_ro(name, "u4", f"#{first}", [("u4", f"#{each}") for each in others])
            yield from asked
