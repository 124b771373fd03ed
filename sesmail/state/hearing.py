"""Whether SES tells anything of what a site sends: where it does not, nobody hears of a bounce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sesmail.state.trouble import reachable
from sesmail.vocabulary import State

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
            sent = self._sent_since(site, int(heard or 0))
        if len(sent) < FEWEST_SENT or now_ms - sent[0] < LONGEST_SILENCE_SECONDS * 1000:
            return None
        return Silence(sent=len(sent), seconds=(now_ms - sent[0]) / 1000, ever_heard=heard is not None)

    def sites(self) -> set[str]:
        """Those whose events are processed for this ledger."""
        with reachable(self._redis):
            names: Any = self._redis.hkeys(self._key("heard"))
        return {name.decode() for name in names}

    def note_receivers(self, site: str, names: Iterable[str]) -> None:
        """This process of the site has functions for these signals; it is remembered for a day."""
        with reachable(self._redis):
            self._redis.set(self._key("receivers", site), " ".join(sorted(names)), ex=RECEIVERS_REMEMBERED_SECONDS)

    def receivers(self, site: str) -> set[str]:
        """The signals for which some process of the site has functions."""
        with reachable(self._redis):
            names: Any = self._redis.get(self._key("receivers", site))
        return set(names.decode().split()) if names else set()

    def _sent_since(self, site: str, since_ms: int) -> list[float]:
        """When (ms) emails of the site were sent since then, the first of them, in order."""
        found: Any = self._redis.zrange(
            self._key("in", State.SENT),
            f"({since_ms}",
            "+inf",
            byscore=True,
            offset=0,
            num=_MOST_LOOKED_AT,
            withscores=True,
        )
        with self._redis.pipeline(transaction=False) as pipeline:
            for send_id, _ in found:
                pipeline.hget(self._key("send", send_id.decode()), "site")
            sites = pipeline.execute()
        return [at for (_, at), of in zip(found, sites, strict=True) if of is not None and of.decode() == site]
