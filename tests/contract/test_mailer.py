"""An email's way out, where several parts must work together."""

from __future__ import annotations

import boto3
import pytest

from sesmail.errors import SesUnavailable
from sesmail.message import Email, Lane
from sesmail.runtime import Runtime
from sesmail.sending.mailer import SendPostponed
from sesmail.state.ledger import Claim


def accept(parts: Runtime, *send_ids: str) -> None:
    email = Email("success@simulator.amazonses.com", "s", "t", from_email="shop@example.com", lane="bulk")
    for send_id in send_ids:
        parts.ledger.accept(send_id, email)


def claimed(parts: Runtime, send_id: str) -> Claim:
    claim = parts.mailer.claim(send_id)
    assert isinstance(claim, Claim)
    return claim


def test_a_process_makes_its_client_before_it_takes_a_slot_so_that_its_first_emails_do_not_arrive_together(
    parts: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(parts, "first")
    parts.throttle.update_account(rate=1000, quota_24h=-1, sent_24h=0)
    parts.turns.take("account", 60)  # another worker asks for the limits
    steps = []
    acquire, session = parts.throttle.acquire, boto3.Session
    monkeypatch.setattr(parts.throttle, "acquire", lambda *a, **k: steps.append("slot") or acquire(*a, **k))
    monkeypatch.setattr(boto3, "Session", lambda **k: steps.append("client") or session(**k))
    with pytest.raises(SesUnavailable):
        parts.mailer.deliver(claimed(parts, "first"), "worker")
    assert steps == ["client", "slot"]


def test_a_worker_that_cannot_ask_ses_at_all_gives_the_email_back_and_says_why(
    parts: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept(parts, "first")
    monkeypatch.setattr("sesmail.sending.ses._request_with_everything", lambda: {"NewerThanBotocore": "-"})
    with pytest.raises(SendPostponed, match="does not know NewerThanBotocore"):
        parts.mailer.deliver(claimed(parts, "first"), "worker")
    assert parts.ledger.status("first").state == "claimed", "the caller postpones it; nobody may think that SES has it"
    assert "no email is sent by this worker: botocore" in caplog.text


def test_bulk_that_an_operator_sends_again_does_not_wait_for_its_turn_behind_bulk(parts: Runtime) -> None:
    """With a slot every second and one just given, the next lies too far ahead for bulk."""
    accept(parts, "in-turn", "again")
    parts.ledger.cancel("again")
    parts.ledger.requeue("again")
    parts.throttle.update_account(rate=1, quota_24h=-1, sent_24h=0)
    parts.throttle.acquire(1, Lane.BULK)
    with pytest.raises(SendPostponed):
        parts.mailer.deliver(claimed(parts, "in-turn"), "worker")
    with pytest.raises(SesUnavailable):
        parts.mailer.deliver(claimed(parts, "again"), "worker")
