"""What a caller's own names for an email stand for: its idempotency key, or an id of the caller's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.errors import IdempotencyConflict
from sesmail.state.keys import KeyDigest
from sesmail.state.ledger.queues import PUT
from sesmail.vocabulary import Accepted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sesmail.state.scripts import Scripts

FIELDS = {b"key": "idempotency_key", b"id": "task_id"}
"""By the arguments that callers know: which of them stands for another email."""


def known(scripts: Scripts, site: str, keys: Iterable[str]) -> list[bool]:
    """Of each key whether a site has given it to an email, and it is still remembered; in one round trip.

    Raises `LedgerUnavailable`.
    """
    digests = map(KeyDigest.of, keys)
    answers = scripts.run_each("known", [(site, digest.todays, digest.former) for digest in digests])
    return [bool(answer) for answer in answers]


def accepted(answer: Sequence[bytes]) -> Accepted:
    """What `accept.lua` says of an email that is there now. Raises `IdempotencyConflict`."""
    how, send_id, state_or_what, *ticket = answer
    if how == b"other":
        raise IdempotencyConflict(FIELDS[state_or_what], send_id.decode())
    return Accepted(
        send_id=send_id.decode(),
        state=state_or_what.decode(),
        new=how == b"accepted",
        has_ticket=ticket == [PUT.encode()],
    )
