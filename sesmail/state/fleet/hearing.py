"""Whether SES tells anything of what a site sends: where it does not, nobody hears of a bounce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sesmail.state.scripts import Scripts

FEWEST_SENT = 100
LONGEST_SILENCE_SECONDS = 3600.0
RECEIVERS_REMEMBERED_SECONDS = 86_400
_MOST_LOOKED_AT = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Silence:
    """So many emails of a site were sent since the last event of it was heard, the first so long ago."""

    sent: int
    seconds: float
    ever_heard: bool


class Hearing:
    """When events of each site were last heard, in Redis. Raises `LedgerUnavailable` when it cannot be reached."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._key = scripts.keys

    def silence(self, site: str) -> Silence | None:
        """What is suspicious: a hundred emails or more, and no event for an hour. None where all is well."""
        with reachable(self._redis):
            time: Any = self._redis.time()
            now_ms = time[0] * 1000 + time[1] // 1000
            heard: Any = self._redis.hget(self._key("heard"), site)
            heard_ms, longest_ms = int(heard or 0), LONGEST_SILENCE_SECONDS * 1000
            if now_ms - heard_ms < longest_ms:
                return None
            sent = self._sent_since(site, heard_ms)
        if len(sent) < FEWEST_SENT or now_ms - sent[0] < longest_ms:
            return None
        return Silence(sent=len(sent), seconds=(now_ms - sent[0]) / 1000, ever_heard=heard is not None)

    def sites(self) -> set[str]:
        """Those whose events are processed for this ledger."""
        with reachable(self._redis):
            names: Any = self._redis.hkeys(self._key("heard"))
        return {name.decode() for name in names}

    def heard_at(self, site: str) -> float | None:
        """When (epoch seconds) the last event of a site was processed; None where none ever was."""
        with reachable(self._redis):
            heard: Any = self._redis.hget(self._key("heard"), site)
        return int(heard) / 1000 if heard else None

    def delay_seconds(self, site: str) -> float | None:
        """How long SES's first word of an email of a site takes of late, on average; None where none ever came."""
        with reachable(self._redis):
            delay_ms: Any = self._redis.hget(self._key("delay_of_events"), site)
        return int(delay_ms) / 1000 if delay_ms else None

    def note_receivers(self, site: str, names: Iterable[str]) -> None:
        """This process of the site has functions for these signals; it is remembered for a day."""
        with reachable(self._redis):
            self._redis.set(self._key("receivers", site), " ".join(sorted(names)), ex=RECEIVERS_REMEMBERED_SECONDS)

    def receivers(self, site: str) -> set[str]:
        """The signals for which some process of the site has functions."""
        with reachable(self._redis):
            names: Any = self._redis.get(self._key("receivers", site))
        return set(names.decode().split()) if names else set()

    def _sent_since(self, site: str, since_ms: int) -> list[int]:
        """When (ms) emails of the site were sent since then, the first of them, in order."""
        first = self._first_sent_since(since_ms)
        ids: Any = self._redis.lrange(self._key("sent"), first, first + _MOST_LOOKED_AT - 1)
        with self._redis.pipeline(transaction=False) as pipeline:
            for send_id in ids:
                pipeline.hmget(self._key("send", send_id.decode()), "site", "moved_at")
            rows = pipeline.execute()
        return [int(at) for of, at in rows if at is not None and (of or b"").decode() == site]

    def _first_sent_since(self, since_ms: int) -> int:
        """The place of the first in the list of those sent, which is in the order of time: halved until it is found."""
        lowest, highest = 0, self._redis.llen(self._key("sent"))
        while lowest < highest:
            middle = (lowest + highest) // 2
            ids: Any = self._redis.lrange(self._key("sent"), middle, middle)
            at: Any = self._redis.hget(self._key("send", ids[0].decode()), "moved_at") if ids else None
            if int(at or 0) <= since_ms:  # those without a row are forgotten, and so the oldest
                lowest = middle + 1
            else:
                highest = middle
        return lowest
