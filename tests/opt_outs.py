"""Who gets no email, found out as a worker does: by claiming one."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

from sesmail.message import LIST_TAG, Email, Lane
from sesmail.sending.memory import Memory
from sesmail.sending.memory_ledger import MemoryLedger
from sesmail.settings import Settings
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import State


def left_out(
    where: Scripts | Memory,
    addresses: Iterable[str],
    *,
    site: str = "default",
    list_name: str = "",
    lane: Lane = Lane.BULK,
) -> set[str]:
    """Those of the addresses to which an email of this site and list does not go."""
    settings = Settings(site=site)
    ledger = MemoryLedger(where, settings) if isinstance(where, Memory) else Ledger(where, settings)

    def is_left_out(address: str) -> bool:
        send_id, tags = uuid4().hex, {LIST_TAG: list_name} if list_name else {}
        ledger.accept(send_id, Email(address, "s", "t", from_email="news@example.com", lane=lane, tags=tags))
        return ledger.claim(send_id, "worker") is State.SUPPRESSED

    return {*filter(is_left_out, addresses)}
