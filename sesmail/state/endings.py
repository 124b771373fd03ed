"""The ends of sends that receivers want to hear of, until they have been told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sesmail.message import Lane
from sesmail.state.rows import attempts_of
from sesmail.vocabulary import Status, state_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sesmail.state.scripts import Scripts

LISTENING_SECONDS = 86_400.0
"""How long ends are kept for the receivers of a site after the last of its workers was heard."""

FIELDS_OF_AN_ENDING = 14
"""As many as `lua/gather_untold.lua` answers for each."""


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
        found = self._run("gather_untold", site, limit, round(lease_seconds * 1000))
        return [_ending(each) for each in _rows(found)]

    def told(self, site: str, ending: Ending, *, failed: Iterable[str] = (), again_in_seconds: float = 0.0) -> None:
        """Note that receivers were told of this end, and which of them failed, to be told again then."""
        status = ending.status
        ended_at_ms, again_in_ms = round(status.changed_at * 1000), round(again_in_seconds * 1000)
        self._run("told", site, status.send_id, ended_at_ms, "\n".join(failed), again_in_ms)


def _rows(found: Sequence[bytes]) -> Iterable[list[str]]:
    for first in range(0, len(found), FIELDS_OF_AN_ENDING):
        yield [value.decode() for value in found[first : first + FIELDS_OF_AN_ENDING]]


def _ending(row: list[str]) -> Ending:
    send_id, state, lane, recipients, accepted_at, ended_at, attempts, waits, *texts = row
    message_id, reason, code, metadata, tells_failed, failed_receivers = texts
    status = Status(
        send_id=send_id,
        state=state_of(state),
        lane=Lane(lane),
        recipients=int(recipients),
        accepted_at=float(accepted_at) / 1000,
        changed_at=float(ended_at) / 1000,
        attempts=attempts_of(state, attempts),
        waits=int(waits or 0),
        message_id=message_id or None,
        reason=reason or None,
        code=code or None,
    )
    return Ending(
        status=status,
        metadata=json.loads(metadata) if metadata else {},
        tells_failed=int(tells_failed or 0),
        failed_receivers=tuple(failed_receivers.split("\n")) if failed_receivers else (),
    )
