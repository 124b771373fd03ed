"""Batches in Redis: the letter once, recipients in compressed chunks with four bits of state each (batches.lua).

A recipient's send has the id `<batch>-<number>` from the start. The ledger finds it by that: its status, to cancel it,
for evidence. Who leaves the common road gets a row of the ledger under the same id.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any, cast

from sesmail.errors import IdempotencyConflict, MoveRefused, StaleClaim, UnknownSend
from sesmail.message import Lane
from sesmail.message.addresses import bare_address, normal_address
from sesmail.state.batches.chunks import (
    CHUNK,
    Block,
    Held,
    held,
    own_metadata,
    packed,
    unpacked,
)
from sesmail.state.keys import KeyDigest
from sesmail.state.people.reputation import Counter as Told
from sesmail.state.people.suppression import SuppressionList
from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import DEFAULT_ACCOUNT, BatchState, BatchStatus, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sesmail.settings import Settings
    from sesmail.state.scripts import Scripts

SWEEP_HOLDS_MS = 30_000
"""How long a sweep may take for what a dead worker held of one chunk."""
CANCELLED_AT_ONCE = 20
"""Chunks that one script cancels: Redis serves nobody else meanwhile."""
ROWS_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a batch is to be, as `open` writes it down."""

    key: str = field(repr=False)
    content: str
    """The digest of what the letter says."""
    letter: bytes = field(repr=False)
    letter_digest: str
    account: str
    lane: Lane
    list: str
    send_at: datetime | None
    expires_at: datetime | None
    weight: float
    metadata: str = field(repr=False)
    """The caller's, as JSON; empty for none."""
    rate: float | None
    """Recipients a second that it may have at most."""
    ramp: int | None
    """How many on its first day, twice as many on each that follows."""


_COUNTED = [f"n:{state}" for state in State]
_TOLD = [f"e:{counter}" for counter in Told]
_FIELDS = [
    *_COUNTED,
    *_TOLD,
    *("state", "lane", "list", "accepted_at", "moved_at", "finished_at", "wait_until", "site", "account"),
    *("rate", "ramp"),
]


class Batches:
    """All batches of a ledger. All methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._redis = scripts.redis
        self._key = scripts.keys
        self._run = scripts.run
        self._settings = settings
        self._scripts = scripts
        self._accounts = " ".join(settings.account_names)
        self._suppression = SuppressionList(scripts)
        self.hourly_limit = settings.hourly_limit_per_address
        """How many emails an hour may go to one address; 0 is any number."""
        self._unlimited = "\n".join(map(normal_address, settings.hourly_limit_exempt))

    # -- in ---------------------------------------------------------------------------------------------------------

    def open(self, batch_id: str, token: str, wanted: Wanted) -> tuple[str, bool]:
        """Begin a batch, or go on with the one that has this key; its id, and whether it was there.

        Whoever opens it last may add to it. Raises `IdempotencyConflict` where the key stands for another letter.
        """
        settings = self._settings
        lifetime_seconds = max(settings.idempotency_seconds, settings.sent_retention_seconds)
        how, found = self._run(
            "batch_open",
            batch_id,
            token,
            settings.site,
            KeyDigest.of(wanted.key).todays,
            wanted.content,
            round(lifetime_seconds * 1000),
            wanted.account,
            wanted.lane,
            wanted.list,
            _epoch_ms(wanted.send_at),
            _epoch_ms(wanted.expires_at),
            round(settings.max_age_seconds * 1000),
            wanted.weight,
            wanted.metadata,
            wanted.letter,
            wanted.letter_digest,
            wanted.rate or "",
            wanted.ramp or "",
            token_hex(32),
        )
        if how == b"other":
            raise IdempotencyConflict("key", found.decode())
        if how == b"cancelled":
            raise MoveRefused("The batch of this key was cancelled: nothing was queued. Take another key.")
        return found.decode(), how == b"resumed"

    def add(self, batch_id: str, token: str, number: int, block: Block) -> tuple[int, Sequence[int]]:
        """Add a block, the `number`th of this token, or nothing of it: then the places of those who are in the batch.

        Answers how many of the added have opted out. Raises `MoveRefused` where somebody else adds to it by now.
        """
        if "xn--" in block.addresses:  # former releases kept some opt-outs in letters that scripts do not look for
            for address in block.addresses.split("\n"):
                if "xn--" in address:
                    self._suppression.rewrite_former(address)
        chunks = [part for chunk in block.chunks for part in chunk]
        answer = self._run("batch_add", batch_id, token, number, block.digests, block.addresses, *chunks)
        if answer[0] == b"known":
            return 0, answer[1:]
        if answer[0] == b"gone":
            raise UnknownSend
        if answer[0] == b"lost":
            raise MoveRefused(
                "Somebody else queues the batch of this key by now, or has cancelled it: this call has stopped. "
                "Nobody is queued twice."
            )
        return int(answer[2]), ()

    def seal(self, batch_id: str, token: str) -> BatchState:
        """The list is read to its end: it is sent from now on. Raises `MoveRefused` as `add` does."""
        state = self._run("batch_seal", batch_id, token).decode()
        if state == "lost":
            raise MoveRefused("Somebody else queues the batch of this key by now: it is theirs to send it.")
        return BatchState(state)

    # -- out --------------------------------------------------------------------------------------------------------

    def wanted(self, lane: Lane) -> int:
        """How many tickets are to be issued now for batches of this site in a lane; they count as issued."""
        return int(self._run("batch_wanted", self._settings.site, lane))

    def claim(self, lane: Lane, owner: str, token: str) -> Held | None:
        """Take a chunk of the batch of this site whose turn it is; None where none waits."""
        return held(token, self._run("batch_claim", owner, token, self._settings.site, lane, self._accounts))

    def take_over(self, token: str) -> Held | None:
        """Take a chunk of this site that a dead worker holds; None where there is none."""
        lease_ms = round(self._settings.lease_seconds * 1000)
        longest_ms = round((self._settings.holding_seconds + self._settings.asking_seconds) * 1000)
        return held(token, self._run("batch_take_over", token, lease_ms, longest_ms, self._settings.site))

    def letter(self, batch_id: str) -> bytes:
        """The letter, as it was given to `open`. Raises `UnknownSend`."""
        with reachable(self._redis):
            found = cast("bytes | None", self._redis.hget(self._key("batch", batch_id), "letter"))
        if found is None:
            raise UnknownSend
        return found

    def screen(self, held: Held, addresses: Mapping[int, str]) -> frozenset[int]:
        """Of these recipients by their numbers, those who must be left out by now: opted out, or too late."""
        pairs = (part for number, address in addresses.items() for part in (number, address))
        return frozenset(self._run("batch_screen", held.batch_id, held.token, self._ignored, *pairs))

    def begin(
        self, held: Held, addresses: Mapping[int, str], *, tries: bool, taken: Sequence[int] = ()
    ) -> tuple[list[str], list[bool]]:
        """Note that SES is asked for these recipients now, in one call, and that it took those of the call before.

        Answers `sending`, or why not (batch_begin.lua), for each by its number; and for each that was taken whether
        that is written down: False where the claim is stale.
        """
        pairs = (part for number, address in addresses.items() for part in (number, address))
        about: tuple[str | int, ...] = (held.batch_id, held.token, int(tries), self._ignored)
        about += (self.hourly_limit, self._unlimited, len(taken), *taken)
        answer = [each.decode() for each in self._run_at(held.account, "batch_begin", *about, *pairs)]
        return answer[len(taken) :], [bool(each) for each in answer[: len(taken)]]

    def _run_at(self, account: str, name: str, *arguments: str | bytes | float) -> Any:
        """Run a script that touches what belongs to an account of SES."""
        return self._scripts.of_account(account).run(name, *arguments)

    @property
    def _ignored(self) -> str:
        return " ".join(self._settings.transactional_ignores)

    def settle(self, held: Held, numbers: Sequence[int], to: str) -> list[State | None]:
        """Recipients are `sent`, or `queued` again; each is `SENT` where an event has proved that.

        None where the claim is stale.
        """
        if not numbers:
            return []
        answer = self._run_at(held.account, "batch_settle", held.batch_id, held.token, to, *numbers)
        states = {b"": None, b"sent": State.SENT}
        return [states.get(each, State.SCHEDULED) for each in answer]

    def leave(
        self,
        held: Held,
        number: int,
        to: State,
        *,
        reason: str,
        code: str,
        record: str,
        blobs: Mapping[str, bytes],
        addresses: Sequence[str],
        metadata: str = "",
    ) -> State:
        """A recipient gets a row of the ledger, rejected or unknown. `SENT` where an event has proved that.

        Raises `StaleClaim`.
        """
        parts = (part for digest, content in blobs.items() for part in (digest, zlib.compress(content, 1)))
        count, lines = max(1, len(addresses)), "\n".join(addresses)
        answer = self._run_at(
            held.account,
            "batch_leave",
            held.batch_id,
            number,
            held.token,
            to,
            reason,
            code,
            record,
            count,
            lines,
            metadata,
            *parts,
        ).decode()
        if not answer:
            raise StaleClaim
        return State(answer)

    def release(self, held: Held, *, wait_seconds: float = 0.0, backs_off: bool | None = None) -> None:
        """Give a chunk back. `backs_off`: the wait makes the batch's next one longer; False: such waits are over."""
        how = "" if backs_off is None else str(int(backs_off))
        self._run("batch_release", held.batch_id, held.chunk, held.token, round(wait_seconds * 1000), how)

    # -- the end ----------------------------------------------------------------------------------------------------

    def any_open(self) -> bool:
        """Whether there is a batch that has not ended."""
        with reachable(self._redis):
            return bool(self._redis.exists(self._key("batches", "open")))

    def finish(self) -> list[str]:
        """See which batches have ended since; their ids."""
        with reachable(self._redis):
            found = cast("list[bytes]", self._redis.zrange(self._key("batches", "open"), 0, -1))
        ended = []
        for batch_id in (each.decode() for each in found):
            while (state := self._run("batch_finish", batch_id, ROWS_AT_ONCE).decode()) in ("more", "cancelling"):
                if state == "cancelling":
                    self.cancel(batch_id)
                    break
            if state == "finished":
                ended.append(batch_id)
        return ended

    def untold(self, lease_seconds: float) -> list[str]:
        """Ended batches of this site of which nobody was told yet, taken under a lease."""
        found = self._run("batch_untold", self._settings.site, round(lease_seconds * 1000), "")
        return [each.decode() for each in found]

    def any_untold(self) -> bool:
        """Whether there are any."""
        with reachable(self._redis):
            return bool(self._redis.exists(self._key("batches", "untold", self._settings.site)))

    def told(self, batch_id: str) -> None:
        """Its receivers have been called."""
        self._run("batch_untold", self._settings.site, 0, batch_id)

    # -- asked by people --------------------------------------------------------------------------------------------

    def pause(self, batch_id: str) -> BatchState:
        """Nothing more is begun. Raises `UnknownSend`, and `MoveRefused` where it is not under way."""
        return self._steer(batch_id, "pause", BatchState.PAUSED)

    def resume(self, batch_id: str) -> BatchState:
        """Go on after a pause. Raises as `pause`."""
        return self._steer(batch_id, "resume", BatchState.RUNNING)

    def cancel(self, batch_id: str) -> BatchState:
        """Take back all that has not begun. Raises as `pause`."""
        return self._steer(batch_id, "cancel", BatchState.CANCELLED)

    def slow(self, batch_id: str, what: str, limit: float | None) -> None:
        """Set its `rate` (recipients a second) or its `ramp` (how many on the first day), from now; None takes it off.

        Raises `UnknownSend`, and `MoveRefused` for a batch of a newer release.
        """
        answer = self._run("batch_slow", batch_id, what, limit or "").decode()
        if answer == "gone":
            raise UnknownSend
        if answer != "slowed":
            raise MoveRefused(f"The batch is {answer}: upgrade this program to say how fast it may go.")

    def _steer(self, batch_id: str, wish: str, expected: BatchState) -> BatchState:
        following = 0
        while following >= 0:
            state, *rest = self._run("batch_steer", batch_id, wish, following, CANCELLED_AT_ONCE)
            if state == b"gone":
                raise UnknownSend
            if state.decode() != expected:
                raise MoveRefused(f"The batch is {state.decode()}: it cannot {wish}.")
            (following,) = rest
        return expected

    def status(self, batch_id: str) -> BatchStatus:
        """How far a batch is. Raises `UnknownSend`."""
        (row,) = self._read([batch_id])
        if row is None:
            raise UnknownSend
        return _status(batch_id, row, self._rows(batch_id))

    def under_way(self, limit: int = 25) -> list[BatchStatus]:
        """Those that have not ended, the latest first.

        Who has left a batch for a row of the ledger, and is not counted yet, is `unknown` here.
        """
        with reachable(self._redis):
            opened = cast("list[bytes]", self._redis.zrevrange(self._key("batches", "open"), 0, limit - 1))
            latest = cast("list[bytes]", self._redis.zrevrange(self._key("batches"), 0, limit - 1))
            ids = [each.decode() for each in dict.fromkeys([*latest, *opened])]
            with self._redis.pipeline(transaction=False) as pipe:
                for batch_id in ids:
                    pipe.zcard(self._key("batch", batch_id, "rows"))
                left = pipe.execute()
        known = zip(ids, self._read(ids), left, strict=True)
        found = [_status(batch_id, row, {State.UNKNOWN.value: count}) for batch_id, row, count in known if row]
        under_way = [each for each in found if each.finished_at is None]
        return sorted(under_way, key=lambda each: -each.accepted_at)[:limit]

    def _read(self, ids: Sequence[str]) -> list[dict[str, str] | None]:
        """What a row tells of how far a batch is, without its letter; None where there is none."""
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hmget(self._key("batch", batch_id), _FIELDS)
            found = pipe.execute()
        rows = (dict(zip(_FIELDS, row, strict=True)) for row in found)
        return [
            {name: value.decode() for name, value in row.items() if value is not None} if row["state"] else None
            for row in rows
        ]

    def counts(self) -> dict[str, int]:
        """How many recipients of all batches that are kept are in each state, but those who have a row of the ledger.

        Those are among the sends of the ledger, and are counted here, too, when their row has come to an end.
        """
        found: Counter[str] = Counter()
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for batch_id in cast("list[bytes]", self._redis.zrange(self._key("batches"), 0, -1)):
                pipe.hmget(self._key("batch", batch_id.decode()), _COUNTED)
            for values in pipe.execute():
                found.update({name[2:]: int(value) for name, value in zip(_COUNTED, values, strict=True) if value})
        return {state: count for state, count in found.items() if count}

    def _rows(self, batch_id: str) -> dict[str, int]:
        """The states of those who have left and are not counted yet."""
        counts: dict[str, int] = {}
        with reachable(self._redis):
            numbers = cast("list[bytes]", self._redis.zrange(self._key("batch", batch_id, "rows"), 0, -1))
            for first in range(0, len(numbers), ROWS_AT_ONCE):
                with self._redis.pipeline(transaction=False) as pipe:
                    for number in numbers[first : first + ROWS_AT_ONCE]:
                        pipe.hget(self._key("send", f"{batch_id}-{number.decode()}"), "state")
                    for state in pipe.execute():
                        name = (state or b"sent").decode()
                        counts[name] = counts.get(name, 0) + 1
        return counts

    def of_key(self, key: str) -> str:
        """The id of the batch that this site's key stands for. Raises `UnknownSend`."""
        with reachable(self._redis):
            name = self._key("batch-key", self._settings.site, KeyDigest.of(key).todays)
            found = cast("bytes | None", self._redis.get(name))
        if found is None:
            raise UnknownSend
        return found.decode()

    def erase(self, address: str, *, dry_run: bool) -> int:
        """Take an address out of all that is queued: nothing more goes to it. How many recipients had it.

        What SES was being asked for when it was erased stays until that is known.
        """
        with reachable(self._redis):
            ids = cast("list[bytes]", self._redis.zrange(self._key("batches"), 0, -1))
            return sum(self._erase_in(batch_id.decode(), address, dry_run) for batch_id in ids)

    def _erase_in(self, batch_id: str, address: str, dry_run: bool) -> int:
        name, erased = self._key("batch", batch_id, "chunks"), 0
        for number, data in self._redis.hscan_iter(name, count=50):
            rows = unpacked(data)
            addresses = [normal_address(bare_address(row[0])) if row[0] else "" for row in rows]
            places = [place for place, each in enumerate(addresses) if each == address]
            erased += len(places)
            for place in places if not dry_run else ():
                self._run("cancel", f"{batch_id}-{int(number) * CHUNK + place}")
                rows[place] = [""] * len(rows[place])
            if places and not dry_run and self._redis.hexists(name, number):
                self._redis.hset(name, number, packed(rows))
                self._erase_metadata(batch_id, number, places)
        return erased

    def _erase_metadata(self, batch_id: str, chunk: bytes, places: Sequence[int]) -> None:
        name = self._key("batch", batch_id, "metadata")
        kept = own_metadata(cast("bytes | None", self._redis.hget(name, chunk)))
        if len(left := {place: said for place, said in kept.items() if int(place) not in places}) < len(kept):
            self._redis.hset(name, chunk, zlib.compress(json.dumps(left).encode()))

    def latest(self, limit: int = 20, *, skip: int = 0) -> list[str]:
        """The ids of those that are known, the latest first."""
        with reachable(self._redis):
            found = cast("list[bytes]", self._redis.zrevrange(self._key("batches"), skip, skip + limit - 1))
            known = [each for each in found if self._redis.exists(self._key("batch", each.decode()))]
            if gone := set(found) - set(known):
                self._redis.zrem(self._key("batches"), *gone)
        return [each.decode() for each in known]


def _status(batch_id: str, row: Mapping[str, str], left: Mapping[str, int]) -> BatchStatus:
    """What a row says, with the states of those who have left it and are not counted yet."""
    counts = _counts(row)
    for state, count in left.items():
        if count:
            counts[state] = counts.get(state, 0) + count
    finished = row.get("finished_at")
    return BatchStatus(
        batch_id=batch_id,
        state=BatchState(row["state"]),
        lane=Lane(row["lane"]),
        list=row["list"],
        accepted_at=float(row["accepted_at"]) / 1000,
        changed_at=float(row["moved_at"]) / 1000,
        finished_at=float(finished) / 1000 if finished else None,
        waits_until=float(row["wait_until"]) / 1000,
        counts=counts,
        site=row.get("site", ""),
        account=row.get("account", DEFAULT_ACCOUNT),
        rate=float(row["rate"]) if "rate" in row else None,
        ramp=int(row["ramp"]) if "ramp" in row else None,
        events={name[2:]: int(row[name]) for name in _TOLD if name in row},
    )


def _counts(text: Mapping[str, str]) -> dict[str, int]:
    return {name[2:]: count for name in _COUNTED if (count := int(text.get(name, 0)))}


def _epoch_ms(when: datetime | None) -> int | str:
    return "" if when is None else round(when.timestamp() * 1000)
