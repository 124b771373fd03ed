"""Sends as people look for them: by a recipient's address, by list, by state; and what is kept of one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from heapq import merge
from typing import TYPE_CHECKING, cast

from sesmail.errors import UnknownSend
from sesmail.frames import shows_no_email
from sesmail.message.addresses import normal_address
from sesmail.state.batches.chunks import RECIPIENT_ID, address_digest
from sesmail.state.batches.finding import InBatches, Piece
from sesmail.state.ledger.rows import DEFAULT_ACCOUNT, STATUS_FIELDS, status_of
from sesmail.state.people.pseudonyms import Pseudonyms
from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sesmail.settings import Settings
    from sesmail.state.scripts import Scripts
    from sesmail.vocabulary import Status

LOOKED_AT_ONCE = 200
"""Of an index, by one script."""
LOOKED_AT, ACCOUNTS_AT_ONCE = 50_000, 2_000
"""Of the sends in a state, to find those of one account."""
BY_LANE = (State.QUEUED, State.SCHEDULED)
"""States whose sends stand in an index of each lane."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Ids of sends, the latest first, and how many there are in all; of those some may be forgotten by now."""

    ids: tuple[str, ...]
    total: int
    batches: tuple[str, ...] = ()
    """Batches that had the address, where it is not known which of their sends was to it: of former releases."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the ledger knows of a send besides its status. Times are epoch seconds."""

    site: str
    account: str
    list: str
    """The list that it goes to; empty where there is none, and once it is sent."""
    due_at: float | None
    """When it goes out at the earliest, while it is scheduled."""
    expires_at: float | None
    metadata: tuple[str, ...]
    """The names of the caller's own keys, without what stands under them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """One send as lists show it. Times are epoch seconds."""

    status: Status
    site: str
    account: str
    list: str
    """The list that it goes to; empty where there is none, and once it is sent."""
    due_at: float | None
    """When it goes out at the earliest, while it is scheduled."""
    expires_at: float | None = None
    batch_id: str = ""
    """The batch that it is in, for as long as it has no row of its own."""


def searchable_ms(settings: Settings) -> int:
    """For how long after it is due a send may be there: it waits, and then it is kept. 0 where none is searched for."""
    kept_seconds = max(settings.sent_retention_seconds, settings.failed_retention_seconds)
    return round((settings.max_age_seconds + kept_seconds) * 1000) if settings.search_by_address else 0


class Search:
    """Looks sends up. All methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, scripts: Scripts) -> None:
        self._run = scripts.run
        self._redis = scripts.redis
        self._key = scripts.keys
        self._pseudonyms = Pseudonyms(scripts)
        self._in_batches = InBatches(scripts)

    @shows_no_email
    def by_address(self, address: str, *, skip: int = 0, limit: int = 100) -> Found:
        """The sends with an address among their recipients, in whatever spelling, and those of batches to it.

        Not those of releases without the index.
        """
        return self.by_handle(self.handle(address), skip=skip, limit=limit)

    def by_handle(self, handle: str, *, skip: int = 0, limit: int = 100) -> Found:
        """The same, by what `handle` calls an address."""
        name, digest = self._pseudonyms.opened(handle)
        erased_at_ms = self._pseudonyms.erased_at_ms(name)
        places = self._in_batches.places(digest, after_ms=erased_at_ms) if digest else []
        pieces = [Piece(place.begun_at_ms, 1, partial(_one, send_id)) for place in places if (send_id := place.send_id)]
        found = self._found(f"address:{name}", pieces, skip, limit)
        return replace(found, batches=tuple(place.batch_id for place in places if place.number is None))

    def by_list(
        self, site: str, list_name: str, *, skip: int = 0, limit: int = 100, of_batches: Sequence[State] = ()
    ) -> Found:
        """The sends of a site to a list, and the recipients of its batches to it.

        `of_batches` are the states of those recipients that are wanted, any for none: the index of sends has no states.
        """
        pieces = self._in_batches.to_list(site, list_name, of_batches)
        return self._found(f"list:{site}:{list_name}", pieces, skip, limit)

    @shows_no_email
    def pseudonym(self, address: str) -> str:
        """What an address is called where it must not stand: the same each time, by the secret of the index."""
        return self._pseudonyms.of(normal_address(address))

    @shows_no_email
    def handle(self, address: str) -> str:
        """The same, by which it is found in batches, too."""
        normal = normal_address(address)
        return self._pseudonyms.sealed(normal, address_digest(normal))

    def _found(self, what: str, in_batches: Sequence[Piece], skip: int, limit: int) -> Found:
        total, pieces = self._indexed(what)
        ids: list[str] = []
        for piece in merge(pieces, in_batches, key=lambda piece: -piece.at_ms):
            if skip >= piece.size:
                skip -= piece.size
                continue
            ids += piece.ids(skip, limit - len(ids))
            skip = 0
            if len(ids) >= limit:
                break
        return Found(ids=tuple(ids), total=total + sum(piece.size for piece in in_batches))

    def _indexed(self, what: str) -> tuple[int, Iterator[Piece]]:
        """How many sends an index has, and those that are not forgotten."""
        total, *page = self._run("search", what, 0, LOOKED_AT_ONCE)

        def pieces() -> Iterator[Piece]:
            found = page
            for start in range(LOOKED_AT_ONCE, int(total) + LOOKED_AT_ONCE, LOOKED_AT_ONCE):
                for send_id, accepted_at in zip(found[::2], found[1::2], strict=True):
                    yield Piece(float(accepted_at), 1, partial(_one, send_id.decode()))
                if start < total:
                    _, *found = self._run("search", what, start, LOOKED_AT_ONCE)

        return int(total), pieces()

    def in_state(self, state: State, *, skip: int = 0, limit: int = 100) -> Found:
        """The sends in a state; those that came into it last, or wait longest, first."""
        if state is State.SENT:
            return self._sent(skip, limit)
        names = [self._key("in", state, lane) for lane in ("transactional", "bulk")] if state in BY_LANE else []
        names = names or [self._key("in", state)]
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.zrevrange(name, 0, skip + limit - 1, withscores=True)
            for name in names:
                pipe.zcard(name)
            pages = pipe.execute()
        scored = [pair for page in pages[: len(names)] for pair in page]
        latest = sorted(scored, key=lambda pair: -pair[1])[skip : skip + limit]
        return Found(ids=tuple(send_id.decode() for send_id, _ in latest), total=sum(pages[len(names) :]))

    def of_account(
        self, state: State, account: str, *, start: int = 0, limit: int = 100
    ) -> tuple[list[str], int | None]:
        """Those in a state that go through one SES account, from the `start`th in that state on; no index has them.

        Looks at `LOOKED_AT` at most; answers, too, from where to go on, None where that was the end.
        """
        ids: list[str] = []
        for first in range(start, start + LOOKED_AT, ACCOUNTS_AT_ONCE):
            page = self.in_state(state, skip=first, limit=ACCOUNTS_AT_ONCE)
            for place, (send_id, of) in enumerate(zip(page.ids, self._accounts(page.ids), strict=True), first + 1):
                if of == account:
                    ids.append(send_id)
                if len(ids) == limit:
                    return ids, place
            if len(page.ids) < ACCOUNTS_AT_ONCE:
                return ids, None
        return ids, start + LOOKED_AT

    def _accounts(self, send_ids: Sequence[str]) -> list[str]:
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for send_id in send_ids:
                pipe.hget(self._key("send", send_id), "account")
            return [(account or b"").decode() or DEFAULT_ACCOUNT for account in pipe.execute()]

    def _sent(self, skip: int, limit: int) -> Found:
        """From the end of the list of those sent; before them are those of former releases."""
        name, former = self._key("sent"), self._key("in", State.SENT)
        with reachable(self._redis):
            count, earlier = self._redis.llen(name), self._redis.zcard(former)
            end = count - skip
            found = cast("list[bytes]", self._redis.lrange(name, max(0, end - limit), end - 1)) if end > 0 else []
            if len(found) < limit:
                start = max(0, -end)
                found = [
                    *cast("list[bytes]", self._redis.zrevrange(former, start, start + limit - len(found) - 1))[::-1],
                    *found,
                ]
        return Found(ids=tuple(send_id.decode() for send_id in reversed(found)), total=count + earlier)

    def recipients(self, send_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The addresses of each send's recipients, of those whose text is still kept: not of what is sent."""
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for send_id in send_ids:
                pipe.hget(self._key("send", send_id), "addresses")
            kept = pipe.execute()
        return {send_id: tuple(text.decode().split("\n")) for send_id, text in zip(send_ids, kept, strict=True) if text}

    def listed(self, send_ids: Sequence[str]) -> list[Listed]:
        """What a list shows of each, in the same order; those that are forgotten are left out."""
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for send_id in send_ids:
                pipe.hmget(self._key("send", send_id), *STATUS_FIELDS, "site", "account", "list", "expires_at")
            rows = pipe.execute()
            known = [(send_id, row) for send_id, row in zip(send_ids, rows, strict=True) if row[0] is not None]
            for send_id, row in known:
                pipe.zscore(self._key("in", State.SCHEDULED, row[1].decode()), send_id)
            due = pipe.execute()
        found: dict[str, Listed] = {}
        for (send_id, row), due_ms in zip(known, due, strict=True):
            site, account, list_name, expires = ((value or b"").decode() for value in row[len(STATUS_FIELDS) :])
            found[send_id] = Listed(
                status=status_of(send_id, row[: len(STATUS_FIELDS)]),
                site=site,
                account=account or DEFAULT_ACCOUNT,
                list=list_name,
                due_at=due_ms / 1000 if due_ms else None,
                expires_at=float(expires) / 1000 if expires else None,
            )
        for send_id, one in self._in_batches.known(each for each in send_ids if each not in found).items():
            found[send_id] = Listed(
                status=one.status,
                site=one.site,
                account=one.status.account,
                list=one.list,
                due_at=None,
                expires_at=one.expires_at,
                batch_id=send_id.rpartition("-")[0],
            )
        return [found[send_id] for send_id in send_ids if send_id in found]

    def facts(self, send_id: str) -> Facts:
        """What a row says besides its status. Raises `UnknownSend`."""
        names = ("state", "lane", "site", "account", "list", "expires_at", "metadata")
        name = self._key("send", send_id)
        of_batch = RECIPIENT_ID.fullmatch(send_id)
        with reachable(self._redis):
            row = cast("list[bytes | None]", self._redis.hmget(name, names))
            if row[0] is None and of_batch:  # what is common to its recipients stands there
                row = cast("list[bytes | None]", self._redis.hmget(self._key("batch", of_batch[1]), names))
            said = {name: (value or b"").decode() for name, value in zip(names, row, strict=True)}
            if not said["state"]:
                raise UnknownSend
            due_ms = self._redis.zscore(self._key("in", State.SCHEDULED, said["lane"]), send_id)
        return Facts(
            site=said["site"],
            account=said["account"] or DEFAULT_ACCOUNT,
            list=said["list"],
            due_at=due_ms / 1000 if due_ms else None,
            expires_at=float(said["expires_at"]) / 1000 if said["expires_at"] else None,
            metadata=tuple(sorted(json.loads(said["metadata"]))) if said["metadata"] else (),
        )


def _one(send_id: str, _skip: int, _limit: int) -> Sequence[str]:
    return (send_id,)
