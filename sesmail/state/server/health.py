"""Whether the ledger's Redis keeps what it is given: what it says of itself in INFO, as CONFIG is often forbidden."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import NoPermissionError

from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import FAILED, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

    from sesmail.state.keys import Keys

log = logging.getLogger("sesmail")

KEEPS_ALL = "noeviction"
SAMPLES = 20
LIST_ENTRY_BYTES, INDEX_ENTRY_BYTES, KEY_BYTES = 42, 120, 32
"""What Redis needs for the places of a send beside its row."""
MEANT = "Where that is meant, say SESMAIL_REDIS_MAY_FORGET=1."


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """What Redis says of itself; None and empty where it does not."""

    used_bytes: int | None
    most_bytes: int | None
    """0 where there is no bound but the machine's."""
    policy: str
    """What it does when it is full: `noeviction`, or how it throws keys away."""
    append_only_file: bool | None
    evicted_keys: int | None
    """How many it has thrown away since it was started."""

    def warnings(self) -> list[str]:
        """What puts accepted email at risk, what that means, and what to do."""
        found = []
        if self.policy and self.policy != KEEPS_ALL:
            full = "It is not bounded now, but would" if self.most_bytes == 0 else "When it is full, it will"
            found.append(
                f"Redis' maxmemory-policy is {self.policy}. {full} throw away emails that were accepted, or what keeps "
                "them from being sent twice, and tell nobody. Set it to noeviction (at hosted ones, in the parameter "
                f"group). {MEANT}"
            )
        if self.append_only_file is False:
            found.append(
                "Redis' append-only file is off: when it is restarted, emails that were accepted since its last "
                f"snapshot are lost. Set `appendonly yes`. {MEANT}"
            )
        return found

    def in_short(self) -> str:
        """In a line: memory, policy, file."""
        used = "? MB" if self.used_bytes is None else f"{self.used_bytes / 1e6:.1f} MB"
        most = f" of {self.most_bytes / 1e6:.0f} MB" if self.most_bytes else ""
        file = {True: "append-only file on", False: "append-only file OFF", None: "append-only file not told"}
        evicted = f", {self.evicted_keys} keys EVICTED" if self.evicted_keys else ""
        return f"{used}{most}, {self.policy or 'policy not told'}, {file[self.append_only_file]}{evicted}"


class RedisHealth:
    """Asks Redis. All methods raise `LedgerUnavailable` when it cannot be reached."""

    def __init__(self, redis: Redis, keys: Keys, *, may_forget: bool) -> None:
        """`may_forget`: a site means it so, and wants no warning."""
        self._redis = redis
        self._key = keys
        self._may_forget = may_forget
        self._warned_of: list[str] = []
        self._evicted: int | None = None

    def read(self) -> Health:
        """What it says by now."""
        memory, disk, stats = (self.info(section) for section in ("memory", "persistence", "stats"))
        file = disk.get("aof_enabled")
        return Health(
            used_bytes=memory.get("used_memory"),
            most_bytes=memory.get("maxmemory"),
            policy=str(memory.get("maxmemory_policy", "")),
            append_only_file=None if file is None else bool(file),
            evicted_keys=stats.get("evicted_keys"),
        )

    def info(self, section: str) -> Mapping[str, Any]:
        """A section of INFO; empty where the user may not ask."""
        with reachable(self._redis):
            try:
                said: dict[str, Any] = self._redis.info(section)
            except NoPermissionError:
                return {}
        first = next(iter(said.values()), None)
        return first if isinstance(first, dict) and "evicted_keys" not in said and len(said) == 1 else said

    def answers_in_seconds(self) -> float:
        """How long it takes to answer at its best: one answer that is late says nothing."""
        taken = []
        with reachable(self._redis):
            for _ in range(3):
                started_at = time.monotonic()
                self._redis.ping()
                taken.append(time.monotonic() - started_at)
        return min(taken)

    def warnings(self) -> list[str]:
        """As `Health.warnings`, unless they are not wanted."""
        return [] if self._may_forget else self.read().warnings()

    def look(self) -> None:
        """For workers, now and then: log what puts email at risk, once each, and what has been thrown away."""
        if self._may_forget:
            return
        health = self.read()
        found = health.warnings()
        for warning in found:
            if warning not in self._warned_of:
                log.warning("%s", warning, extra={"action": "redis_may_forget"})
        self._warned_of = found
        if health.evicted_keys is not None and (new := self._newly_evicted(health.evicted_keys)):
            log.error(
                "Redis was full and has thrown away %d keys by its maxmemory-policy %s: emails that were accepted may "
                "be lost, others may go out twice. What is lost cannot be told from Redis; compare with what your "
                "application has queued. Give it more memory, and set maxmemory-policy to noeviction.",
                new,
                health.policy,
                extra={"action": "redis_evicted", "evicted_keys": new},
            )

    def _newly_evicted(self, evicted: int) -> int:
        """How many since any worker looked last; the count begins anew where Redis was restarted."""
        with reachable(self._redis):
            said = cast("bytes | None", self._redis.set(self._key("evicted"), evicted, get=True))
        before = int(said) if said else self._evicted  # what we have noted may be thrown away, too
        self._evicted = evicted
        return evicted if before is None or before > evicted else evicted - before

    # -- what is kept -----------------------------------------------------------------------------------------------

    def kept_bytes(self, counts: Mapping[str, int]) -> dict[str, int]:
        """About how much memory the sent sends take for as long as they are remembered, and those that were not sent.

        By a sample of their rows; `counts` are the ledger's.
        """
        failed = {state: counts[state] for state in FAILED}
        of_failed = [self._key("in", state) for state, count in failed.items() if count]
        with reachable(self._redis):
            latest = self._redis.lrange(self._key("sent"), -SAMPLES, -1)
            others = [self._redis.zrange(name, -SAMPLES, -1) for name in of_failed]
        return {
            "sent": self._mean([latest], counts[State.SENT], LIST_ENTRY_BYTES),
            "not_sent": self._mean(others, sum(failed.values()), INDEX_ENTRY_BYTES),
        }

    def _mean(self, pages: list[Any], count: int, place_bytes: int) -> int:
        ids = [send_id.decode() for page in pages for send_id in page][:SAMPLES]
        if not ids or not count:
            return 0
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for send_id in ids:
                pipe.memory_usage(self._key("send", send_id), 0)
            sizes = [size for size in pipe.execute(raise_on_error=False) if isinstance(size, int)]
        mean = sum(sizes) / len(sizes) if sizes else 0
        return round(count * (mean + KEY_BYTES + place_bytes))
