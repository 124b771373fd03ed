"""An email's way out, where several parts must work together."""

from __future__ import annotations

import pytest

from sesmail.errors import SesUnavailable
from sesmail.message import Email, Lane
from sesmail.runtime import Runtime
from sesmail.sending.mailer import SendPostponed
from sesmail.state.ledger import Claim


def claimed(parts: Runtime, send_id: str) -> Claim:
    claim = parts.mailer.claim(send_id)
    assert isinstance(claim, Claim)
    return claim


def test_bulk_that_an_operator_sends_again_does_not_wait_for_its_turn_behind_bulk(parts: Runtime) -> None:
    """With a slot every second and one just given, the next lies too far ahead for bulk."""
    email = Email("success@simulator.amazonses.com", "s", "t", from_email="shop@example.com", lane="bulk")
    for send_id in ("in-turn", "again"):
        parts.ledger.accept(send_id, email)
    parts.ledger.cancel("again")
    parts.ledger.requeue("again")
    assert parts.transport, "boto3 is loaded"
    parts.throttle.update_account(rate=1, quota_24h=-1, sent_24h=0)
    parts.throttle.acquire(1, Lane.BULK)
    with pytest.raises(SendPostponed):
        parts.mailer.deliver(claimed(parts, "in-turn"), "worker")
    with pytest.raises(SesUnavailable):
        parts.mailer.deliver(claimed(parts, "again"), "worker")
