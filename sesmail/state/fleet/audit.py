"""What operators did: paused, resumed, sent again, let an address in again. The ledger keeps the last ten thousand.

An address never stands in it: of an opt-out that was removed, a digest tells whether it was this one.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sesmail.message.addresses import normal_address
from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.state.scripts import Scripts

MOST_KEPT = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """One thing that somebody did. `at` is in epoch seconds, by Redis' clock."""

    at: float
    who: str
    """The user and the host, as the operating system names them."""
    what: str
    """`pause`, `resume`, `requeue`, `erase` or `opt-out removed`."""
    about: str
    """The scope, the ids of sends (the first of them), or the digest of an address."""
    why: str


class Audit:
    """The trail, in Redis. All methods raise `LedgerUnavailable` when it cannot be reached."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._name = scripts.keys("audit")

    def note(self, what: str, about: str, why: str) -> None:
        """Somebody did this."""
        with reachable(self._redis):
            time: Any = self._redis.time()
            act = Act(at=time[0] + time[1] / 1e6, who=_who(), what=what, about=about, why=why)
            with self._redis.pipeline() as pipeline:
                pipeline.rpush(self._name, json.dumps(asdict(act)))
                pipeline.ltrim(self._name, -MOST_KEPT, -1)
                pipeline.execute()

    def read(self, limit: int) -> Iterator[Act]:
        """The last acts, the latest first."""
        with reachable(self._redis):
            rows: Any = self._redis.lrange(self._name, -limit, -1)
        for row in reversed(rows):
            said = json.loads(row)
            yield Act(**{name: said.get(name, "") for name in Act.__dataclass_fields__})


def digest_of(address: str) -> str:
    """What the trail calls an address."""
    return f"address {hashlib.sha256(normal_address(address).encode()).hexdigest()[:16]}"


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
