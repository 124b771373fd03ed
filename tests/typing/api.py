"""Uses of the public API that a type checker must accept, and the types that it must see. Nothing here is run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import assert_type

from celery import chain, group

from sesmail import (
    Accepted,
    Attachment,
    Bounced,
    Client,
    Delivery,
    Email,
    InvalidEmail,
    Lane,
    LedgerUnavailable,
    SesmailError,
    Settings,
    State,
    UnknownSend,
    current_client,
    email_bounced,
    send_ses_email,
    status,
    sweep,
)
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
    assert_type(result.id, str)
    assert_type(later.id, str)
    return again.id


def by_keywords_and_positions() -> None:
    send_ses_email.delay(to=["ann@example.org", "Ben <ben@example.org>"], subject="Hello", html="<p>Hi.</p>")
    send_ses_email.delay("ann@example.org", "Hello", message="Hi.", html_message="<p>Hi.</p>", lane=Lane.BULK)
    send_ses_email.delay_on_commit("ann@example.org", "Welcome", "Good to have you.")
    send_ses_email.delay_on_commit(build())
    send_ses_email.apply_async_on_commit((build(),), countdown=60)
    send_ses_email.apply_async(kwargs={"to": "ann@example.org", "subject": "Hello", "text": "Hi."}, priority=3)


def in_canvases() -> None:
    receipt = send_ses_email.si("ann@example.org", "Your receipt", "Thank you.")
    send_ses_email.apply_async((build(),), link=receipt, link_error=[receipt])
    chain(sweep.si(), receipt)()
    chain(sweep.s(), send_ses_email.s("Hello", "Hi."))  # the one before answers whom to write to
    chain(sweep.s(), send_ses_email.s(subject="Hello", text="Hi."))
    group(send_ses_email.s("ann@example.org", "Hello", "Hi."), send_ses_email.signature((build(),), countdown=9))()
    assert_type(send_ses_email.AsyncResult("an-id").id, str)


async def by_async_code() -> str:
    accepted = await Client(Settings(from_email="shop@example.com")).asend(build())
    assert_type(accepted, Accepted)
    one = await send_ses_email.adelay(build())
    other = await send_ses_email.adelay("ann@example.org", "Hello", "Hi.")
    return one.id + other.id + accepted.send_id


def what_became_of_it(send_id: str) -> bool:
    try:
        found = status(send_id)
    except UnknownSend:
        current_client().outbox.cancel(send_id)
        return False
    assert_type(found.deliveries.get("ann@example.org"), Delivery | None)
    return found.state is State.SENT


@email_bounced.connect
def on_bounce(site: str, *, event: Bounced, metadata: dict[str, object]) -> None:
    assert_type(event.permanent, bool)
    assert_type(event.send_id, str | None)
    print(site, metadata.get("order"))


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
