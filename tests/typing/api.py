"""Uses of the public API that a type checker must accept, and the types that it must see. Nothing here is run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import assert_type

from sesmail import Attachment, Email, InvalidEmail, Lane, LedgerUnavailable, SesmailError, send_ses_email, sweep
from sesmail.testing import Send, outbox


def build() -> Email:
    email = Email(
        "Ann <ann@example.org>",
        "Your receipt",
        "Thank you.",
        "<p>Thank you.</p>",
        from_email="shop@example.com",
        cc=["ben@example.org"],
        headers={"List-Id": "receipts"},
        attachments=[
            Attachment("receipt.pdf", b"%PDF", "application/pdf"),
            ("terms.txt", "Be kind."),
            Path("logo.png"),
        ],
        tags=["receipt"],
        metadata={"order": 7},
        lane="bulk",
        send_at=datetime.now(UTC) + timedelta(hours=1),
        idempotency_key="order-7",
    )
    assert_type(email.to, tuple[str, ...])
    assert_type(email.lane, Lane)
    assert_type(email.recipient_count, int)
    return email


def queue() -> str:
    try:
        result = send_ses_email.delay("ann@example.org", "Your receipt", "Thank you.")
        later = send_ses_email.apply_async(("ann@example.org", "Hello", "Hi."), countdown=60, task_id="my-own-id")
        again = send_ses_email.delay(build())
    except InvalidEmail as error:
        assert_type(error.field, str)
        assert_type(error.limit, str | None)
        raise
    except LedgerUnavailable as error:
        raise SystemExit(str(error)) from error
    return f"{result.id} {later.id} {again.id}"


def whatever_goes_wrong(error: SesmailError) -> str:
    return str(error)


sweep.delay()


def test_a_new_member_is_welcomed() -> None:
    with outbox() as box:
        box.reject("no", to="ann@example.org", times=2)
        assert_type(box.assert_sent(subject="Welcome", count=1), list[Send])
        assert_type(box.one(tag={"kind": "welcome"}).email, Email)
        box.find(recipient="ann@example.org")  # type: ignore[call-arg]
        with box.redis_away():
            box.bounced(send_ses_email.delay("ann@example.org", "Hello", "Hi."))
