"""What waits in the ledger, as people ask for it: since when, for what; and why some were refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import DEFAULT_ACCOUNT, State

if TYPE_CHECKING:
    from sesmail.message import Lane
    from sesmail.state.scripts import Scripts

LATEST = 200
"""How many of those that were refused last are looked at where only what is new matters."""
MOST = 10_000
"""How many are looked at where all matter."""
SAMPLE = 200
"""How many, taken at random, tell of all that are in a state; up to as many are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusals:
    """Emails that SES, or we, refused for one reason."""

    code: str
    reason: str
    emails: int
    last_at: float
    """Epoch seconds."""


class Waiting:
    """Reads what waits. Methods raise `LedgerUnavailable`."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis: Any = scripts.redis
        self._key = scripts.keys

    def now(self) -> float:
        """Epoch seconds by Redis' clock, which all times of the ledger are of."""
        with reachable(self._redis):
            seconds, microseconds = self._redis.time()
        return float(seconds + microseconds / 1e6)

    def oldest_at(self, lane: Lane) -> float | None:
        """When the one was accepted that has had a ticket for longest in a lane; None where none waits for a worker."""
        with reachable(self._redis):
            ids = self._redis.zrange(self._key("in", "queued", lane), 0, 0)
            accepted_at = self._redis.hget(self._key("send", ids[0].decode()), "accepted_at") if ids else None
        return float(accepted_at) / 1000 if accepted_at else None

    def next_at(self, lane: Lane) -> float | None:
        """When the first of those in a lane is due that wait for a time; None where none does."""
        with reachable(self._redis):
            found = self._redis.zrange(self._key("in", "scheduled", lane), 0, 0, withscores=True)
        return float(found[0][1]) / 1000 if found else None

    def by_account(self, state: State, lane: Lane | None = None) -> Counter[str]:
        """How many sends in a state, and lane, go through each SES account; of more than `SAMPLE` about how many."""
        key = self._key(*filter(None, ("in", state, lane)))
        with reachable(self._redis):
            total = self._redis.zcard(key)
            ids = self._redis.zrandmember(key, SAMPLE) if total > SAMPLE else self._redis.zrange(key, 0, -1)
            with self._redis.pipeline(transaction=False) as pipe:
                for send_id in ids:
                    pipe.hget(self._key("send", send_id.decode()), "account")
                found = Counter((account or DEFAULT_ACCOUNT.encode()).decode() for account in pipe.execute())
        return Counter({account: round(total * count / len(ids)) for account, count in found.items()})

    def refusals(self, since: float) -> list[Refusals]:
        """What was rejected since a time (epoch seconds), of the latest two hundred, by reason: the commonest first."""
        return self.reasons(State.REJECTED, since=since, most=LATEST)

    def reasons(self, state: State, *, since: float = 0.0, most: int = MOST) -> list[Refusals]:
        """Why sends came into a state since a time (epoch seconds), of the latest, by reason: the commonest first."""
        with reachable(self._redis):
            found = self._redis.zrange(self._key("in", state), 0, most - 1, desc=True, withscores=True)
            latest = [(send_id.decode(), at / 1000) for send_id, at in found if at / 1000 >= since]
            with self._redis.pipeline(transaction=False) as pipe:
                for send_id, _ in latest:
                    pipe.hmget(self._key("send", send_id), "code", "reason")
                rows = pipe.execute()
        said = [tuple((text or b"").decode() for text in row) for row in rows]
        last_at: dict[tuple[str, ...], float] = {}
        for words, (_, at) in zip(said, latest, strict=True):
            last_at.setdefault(words, at)
        return [
            Refusals(code=words[0], reason=words[1], emails=emails, last_at=last_at[words])
            for words, emails in Counter(said).most_common()
        ]
