"""The ends of sends that receivers want to hear of, until they have been told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sesmail.state.ledger.rows import STATUS_FIELDS, status_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sesmail.state.scripts import Scripts
    from sesmail.vocabulary import Status

LISTENING_SECONDS = 86_400.0
"""How long ends are kept for the receivers of a site after the last of its workers was heard."""

FIELDS = (*STATUS_FIELDS, "metadata", "told_in_vain", "told_in_vain_to")
"""What an ending is made of, as a row has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """A send that has ended, and what its caller gave with the email."""

    status: Status
    metadata: Mapping[str, Any] = field(repr=False)
    tells_failed: int = 0
    """How often telling its receivers failed."""
    failed_receivers: tuple[str, ...] = ()
    """Those that failed last time."""


class Endings:
    """What is to be told, by site. All methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, scripts: Scripts) -> None:
        self._run = scripts.run

    def listen(self, site: str) -> bool:
        """From now on, for a day, note the ends of this site's sends; whether some wait to be told already."""
        return bool(self._run("listen", site, round(LISTENING_SECONDS * 1000)))

    def gather(self, site: str, *, limit: int, lease_seconds: float) -> list[Ending]:
        """Lease ends that nobody has told yet, the longest ended first: nobody else gathers them for so long."""
        found = self._run("gather_untold", site, limit, round(lease_seconds * 1000), *FIELDS)
        size = 1 + len(FIELDS)
        return [_ending(found[first : first + size]) for first in range(0, len(found), size)]

    def told(self, site: str, ending: Ending, *, failed: Iterable[str] = (), again_in_seconds: float = 0.0) -> None:
        """Note that receivers were told of this end, and which of them failed, to be told again then."""
        status = ending.status
        ended_at_ms, again_in_ms = round(status.changed_at * 1000), round(again_in_seconds * 1000)
        self._run("told", site, status.send_id, ended_at_ms, "\n".join(failed), again_in_ms)


def _ending(found: Sequence[bytes]) -> Ending:
    send_id, *row = found
    status = status_of(send_id.decode(), [value or None for value in row[: len(STATUS_FIELDS)]])
    metadata, tells_failed, failed_receivers = row[len(STATUS_FIELDS) :]
    return Ending(
        status=status,
        metadata=json.loads(metadata) if metadata else {},
        tells_failed=int(tells_failed or 0),
        failed_receivers=tuple(failed_receivers.decode().split("\n")) if failed_receivers else (),
    )
