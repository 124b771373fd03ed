"""Recipients of a batch as people look for them: by state, a page at a time; and their addresses, while any wait."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast

from sesmail.state.batches.chunks import CHUNK, RECIPIENT_ID, STATES, unpacked
from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sesmail.state.scripts import Scripts
    from sesmail.vocabulary import State

PIECE_BYTES = 65_536
"""Of the states that are read at once; two recipients a byte."""
ROWS_AT_ONCE = 200
CODES = {name: code for code, name in enumerate(STATES) if code}


class Recipients:
    """Looks them up. All methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._key = scripts.keys

    def of(self, batch_id: str, state: State | None = None, *, skip: int = 0, limit: int = 100) -> list[str]:
        """The ids of the sends of a batch, in the order of its list; of one state, those that are in it now."""
        return [*islice(self._ids(batch_id, state), skip, skip + limit)]

    def _ids(self, batch_id: str, state: State | None) -> Iterator[str]:
        if state is None:
            yield from (f"{batch_id}-{number}" for number, _ in self._numbers(batch_id, {*CODES.values()}))
            return
        within = CODES.get(state, 0)
        found = self._numbers(batch_id, {within, CODES["row"]} - {0})
        while page := [*islice(found, ROWS_AT_ONCE)]:
            rows = [f"{batch_id}-{number}" for number, code in page if code == CODES["row"]]
            in_state = {send_id for send_id, of_row in self._states(rows) if of_row == state}
            for number, code in page:
                if code == within or f"{batch_id}-{number}" in in_state:
                    yield f"{batch_id}-{number}"

    def _numbers(self, batch_id: str, codes: set[int]) -> Iterator[tuple[int, int]]:
        """Numbers, and codes, of those who have one of the codes."""
        marks = bytes(byte >> 4 in codes or byte & 15 in codes for byte in range(256))
        name, first = self._key("batch", batch_id, "states"), 0
        while piece := self._piece(name, first):
            marked = piece.translate(marks)
            place = marked.find(1)
            while place >= 0:
                for half, code in enumerate((piece[place] >> 4, piece[place] & 15)):
                    if code in codes:
                        yield 2 * (first + place) + half, code
                place = marked.find(1, place + 1)
            first += len(piece)

    def _piece(self, name: str, first: int) -> bytes:
        with reachable(self._redis):
            return cast("bytes", self._redis.getrange(name, first, first + PIECE_BYTES - 1))

    def _states(self, send_ids: Sequence[str]) -> Iterable[tuple[str, str]]:
        """What the rows say of those who have left the batch."""
        if not send_ids:
            return ()
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for send_id in send_ids:
                pipe.hget(self._key("send", send_id), "state")
            return [(send_id, (state or b"").decode()) for send_id, state in zip(send_ids, pipe.execute(), strict=True)]

    def addresses(self, send_ids: Sequence[str]) -> dict[str, str]:
        """The addresses of those whose chunk still has somebody who waits; other ids are left out."""
        places = [(each, found) for each in send_ids if (found := RECIPIENT_ID.fullmatch(each))]
        chunks = {(found[1], int(found[2]) // CHUNK) for _, found in places}
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for batch_id, chunk in chunks:
                pipe.hget(self._key("batch", batch_id, "chunks"), str(chunk))
            kept = {each: unpacked(data) for each, data in zip(chunks, pipe.execute(), strict=True) if data}
        known = {}
        for send_id, found in places:
            rows = kept.get((found[1], int(found[2]) // CHUNK), ())
            place = int(found[2]) % CHUNK
            if place < len(rows) and rows[place][0]:
                known[send_id] = rows[place][0]
        return known
