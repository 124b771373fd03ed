"""A lot: several sends under one ticket."""

from __future__ import annotations

from sesmail import runtime
from sesmail.message import Email
from sesmail.tasks import send_lot


def test_when_ses_is_out_of_reach_the_rest_of_a_lot_is_given_back_untried(parts: runtime.Runtime) -> None:
    parts.throttle.update_account(rate=1000, quota_24h=-1, sent_24h=0)
    ids = [f"s{n}" for n in range(5)]
    for send_id in ids:
        email = Email("success@simulator.amazonses.com", "s", "t", from_email="shop@example.com", lane="bulk")
        parts.ledger.accept(send_id, email)
    assert send_lot.apply(kwargs={"send_ids": ids}).get() == {"postponed": 5}
    assert parts.ledger.counts()["scheduled:bulk"] == 5
    assert [parts.ledger.status(send_id).waits for send_id in ids] == [1, 0, 0, 0, 0]
    assert [parts.ledger.status(send_id).attempts for send_id in ids] == [0] * 5
