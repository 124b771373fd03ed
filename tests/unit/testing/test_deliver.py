"""What becomes of what is in a test's outbox: SES says yes, or what the test laid ready."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sesmail import Client, Email, Settings, State, email_bounced, email_failed, email_sent
from sesmail.errors import DailyQuotaExceeded, SendingPaused, SesUnavailable
from sesmail.vocabulary import Delivery, Reason
from tests.unit.testing.conftest import NOWHERE
from tests.unit.testing.test_outbox import send


def states(box) -> list[str]:
    return [each.status.state.value for each in box.sends]


def test_what_is_due_is_sent_under_a_message_id_of_its_own(client, ses_outbox):
    for number in range(2):
        send(client, subject=str(number))
    assert [each.email.subject for each in ses_outbox.deliver()] == ["0", "1"]
    assert states(ses_outbox) == ["sent", "sent"]
    ids = {each.status.message_id for each in ses_outbox.sends}
    assert len(ids) == 2
    assert ses_outbox.deliver() == []


def test_transactional_email_is_asked_about_before_bulk(client, ses_outbox):
    send(client, subject="News", lane="bulk")
    send(client, subject="Receipt")
    assert [each.email.subject for each in ses_outbox.deliver()] == ["Receipt", "News"]


def test_an_email_for_later_goes_out_when_its_time_has_come(client, ses_outbox):
    send(client, send_at=datetime.now(UTC) + timedelta(hours=1))
    assert ses_outbox.deliver() == []
    ses_outbox.time_passes(3601)
    assert len(ses_outbox.deliver()) == 1
    assert states(ses_outbox) == ["sent"]


def test_an_email_that_has_expired_is_not_sent(client, ses_outbox):
    send(client, expires_at=datetime.now(UTC) + timedelta(hours=1))
    ses_outbox.time_passes(3601)
    ses_outbox.deliver()
    assert states(ses_outbox) == ["expired"]


def test_a_throttled_email_waits_and_goes_out_with_the_next_try(client, ses_outbox):
    send(client)
    ses_outbox.throttle()
    ses_outbox.deliver()
    status = ses_outbox.one().status
    assert (status.state, status.attempts, status.waits) == (State.SCHEDULED, 0, 1)
    assert "rate is exceeded" in (status.reason or "")
    ses_outbox.time_passes(600)
    ses_outbox.deliver()
    assert states(ses_outbox) == ["sent"]


def test_a_rejected_email_says_why_and_can_be_sent_again(client, ses_outbox):
    send_id = send(client)
    ses_outbox.reject("Email address is not verified.")
    ses_outbox.deliver()
    status = client.outbox.status(send_id)
    assert (status.state, status.reason, status.code) == (
        State.REJECTED,
        "Email address is not verified.",
        "MessageRejected",
    )
    client.outbox.requeue(send_id)
    ses_outbox.deliver()
    assert states(ses_outbox) == ["sent"]


def test_an_email_of_unknown_outcome_is_settled_by_an_event(client, ses_outbox):
    send_id = send(client)
    ses_outbox.unknown()
    ses_outbox.deliver()
    assert states(ses_outbox) == ["unknown"]
    (event,) = ses_outbox.delivered(send_id)
    assert (states(ses_outbox), ses_outbox.one().status.message_id) == (["sent"], event.message_id)


@pytest.mark.parametrize("error", [DailyQuotaExceeded, SesUnavailable, SendingPaused])
def test_any_answer_of_ses_can_be_laid_ready_for_as_many_emails_as_is_said(client, ses_outbox, error):
    for _ in range(3):
        send(client)
    ses_outbox.answer_with(error(), times=2)
    ses_outbox.deliver()
    assert states(ses_outbox) == ["scheduled", "scheduled", "sent"]
    assert ses_outbox.sends[0].status.reason == str(error())


def test_an_answer_is_for_the_emails_that_fit(client, ses_outbox):
    for name in ("ann", "bob", "carol"):
        send(client, f"{name}@example.org", tags={"who": name})
    ses_outbox.reject(to="bob@example.org")
    ses_outbox.unknown(tag={"who": "carol"})
    ses_outbox.throttle(subject="Another")
    ses_outbox.deliver()
    assert states(ses_outbox) == ["sent", "rejected", "unknown"]


def test_who_has_bounced_or_complained_is_left_out_of_what_is_sent_after_that(client, ses_outbox):
    ses_outbox.complained(send(client))
    send(client, subject="Again")
    send(client, ["ann@example.org", "bob@example.org"], "Both")
    ses_outbox.deliver()
    assert ses_outbox.one(subject="Again").status.state is State.SUPPRESSED
    assert ses_outbox.one(subject="Again").status.code == Reason.COMPLAINED
    both = ses_outbox.one(subject="Both").status
    assert (both.state, both.deliveries) == (State.SENT, {"ann@example.org": Delivery.SUPPRESSED})


def test_who_left_a_list_gets_its_letters_no_more(client, ses_outbox):
    letter = {"tags": {"sesmail-list": "monthly"}, "lane": "bulk"}
    ses_outbox.unsubscribed(send(client, **letter), topics=["monthly"])
    send(client, subject="December", **letter)
    send(client, subject="Receipt", tags={"sesmail-list": "monthly"})
    ses_outbox.deliver()
    assert ses_outbox.one(subject="December").status.state is State.SUPPRESSED
    assert ses_outbox.one(subject="Receipt").status.state is State.SENT


def test_each_site_keeps_its_own_opt_outs(client, ses_outbox):
    news = Client(Settings(redis_url=NOWHERE, from_email="news@example.net", site="news"))
    ses_outbox.unsubscribed(send(client, lane="bulk"))
    send(news, subject="News", lane="bulk")
    send(client, subject="Shop", lane="bulk")
    ses_outbox.deliver()
    assert ses_outbox.one(subject="News").status.state is State.SENT
    assert ses_outbox.one(subject="Shop").status.state is State.SUPPRESSED


def test_a_receiver_may_send_itself(client, ses_outbox, listen):
    listen(email_bounced, lambda site, *, event, metadata: client.send(Email("staff@example.com", "Bounced", "!")))
    ses_outbox.bounced(send(client))
    ses_outbox.one(subject="Bounced")


@pytest.fixture
def told(listen):
    """What receivers hear of the ends of sends."""
    heard: list[tuple] = []
    for signal in (email_sent, email_failed):
        listen(signal, lambda site, *, status, metadata, name=signal.name: heard.append((name, site, status, metadata)))
    return heard


def test_receivers_hear_how_each_send_has_ended_once(client, ses_outbox, told):
    first = send(client, metadata={"order": 7})
    send(client, "bob@example.org", send_at=datetime.now(UTC) + timedelta(hours=1))
    last = send(client, "carol@example.org")
    ses_outbox.reject("no", to="carol@example.org")
    assert told == []
    ses_outbox.deliver()
    assert told == [
        ("email_sent", "shop", client.outbox.status(first), {"order": 7}),
        ("email_failed", "shop", client.outbox.status(last), {}),
    ]
    ses_outbox.deliver()
    assert len(told) == 2


def test_receivers_hear_of_what_was_cancelled_and_not_of_what_is_sent_again(client, ses_outbox, told):
    cancelled, again = send(client), send(client)
    client.outbox.cancel(cancelled)
    client.outbox.cancel(again)
    client.outbox.requeue(again)
    ses_outbox.deliver()
    assert [(name, status.send_id, status.state) for name, _, status, _ in told] == [
        ("email_failed", cancelled, "cancelled"),
        ("email_sent", again, "sent"),
    ]


def test_an_event_that_settles_an_unknown_send_tells_that_it_was_sent(client, ses_outbox, told):
    send_id = send(client)
    ses_outbox.unknown()
    ses_outbox.deliver()
    assert told == []
    ses_outbox.delivered(send_id)
    assert [(name, status.send_id) for name, _, status, _ in told] == [("email_sent", send_id)]


def test_a_receiver_may_be_async_and_what_it_raises_reaches_the_test(client, ses_outbox, listen):
    heard = []

    async def after(site, *, status, metadata):
        heard.append(status.send_id)
        raise KeyError("order")

    listen(email_sent, after)
    ids = [send(client), send(client)]
    with pytest.raises(KeyError, match="order"):
        ses_outbox.deliver()
    assert heard == ids
    assert states(ses_outbox) == ["sent", "sent"]
