"""What a test finds in its outbox, and what it is told when that is not what it expects."""

from __future__ import annotations

import re
import subprocess
import sys
import unittest
from datetime import UTC, datetime, timedelta

import pytest

from sesmail import Client, Email, InvalidEmail, LedgerUnavailable, Settings, State
from sesmail.testing import SesmailTestMixin, outbox
from tests.unit.testing.conftest import NOWHERE


def send(client: Client, to="ann@example.org", subject="Welcome", text="Your secret link.", **fields) -> str:
    return client.send(Email(to, subject, text, **fields)).send_id


def test_what_is_sent_is_kept_in_order_completed_by_the_settings(client, ses_outbox):
    first = send(client)
    second = send(client, "Bob <bob@example.org>", "Receipt", tags={"list": "orders"})
    assert [each.id for each in ses_outbox.sends] == [first, second]
    assert [each.subject for each in ses_outbox.emails] == ["Welcome", "Receipt"]
    assert ses_outbox.emails[0].from_email == "Shop <shop@example.com>"
    assert ses_outbox.sends[1].site == "shop"


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ({}, [0, 1, 2]),
        ({"to": "ann@example.org"}, [0, 2]),
        ({"to": "ANN@Example.ORG"}, [0, 2]),
        ({"to": "Ann <ann@example.org>"}, [0, 2]),
        ({"to": "carol@example.org"}, [2]),
        ({"to": "nobody@example.org"}, []),
        ({"subject": "Welcome"}, [0]),
        ({"subject": "Welcom"}, []),
        ({"subject": re.compile("^Wel")}, [0, 1]),
        ({"tag": "list"}, [1, 2]),
        ({"tag": {"list": "orders"}}, [1]),
        ({"tag": {"list": "orders", "kind": "x"}}, []),
        ({"to": "ann@example.org", "tag": "list"}, [2]),
    ],
    ids=str,
)
def test_emails_are_found_by_recipient_subject_and_tag(client, ses_outbox, which, found):
    send(client, "Ann <ann@example.org>")
    send(client, "bob@example.org", "Welcome, Bob", tags={"list": "orders"})
    send(client, "dave@example.org", "News", cc="ann@example.org", bcc="Carol <carol@example.org>", tags=["list"])
    sends = ses_outbox.sends
    assert [each.id for each in ses_outbox.find(**which)] == [sends[number].id for number in found]


def test_an_assertion_that_holds_answers_the_sends(client, ses_outbox):
    ses_outbox.assert_nothing_sent()
    send_id = send(client)
    assert [each.id for each in ses_outbox.assert_sent(subject="Welcome")] == [send_id]
    assert ses_outbox.assert_sent(subject="News", count=0) == []
    assert ses_outbox.one(to="ann@example.org").id == send_id
    ses_outbox.assert_nothing_sent(to="bob@example.org")


FAILING = {
    "Expected at least one email with to='bob@example.org', subject='News', but there is none.": lambda box: (
        box.assert_sent(to="bob@example.org", subject="News")
    ),
    "Expected 1 email with tag='orders', but there are 2.": lambda box: box.one(tag="orders"),
    "Expected 3 emails, but there are 2.": lambda box: box.assert_sent(count=3),
    "Expected no email, but there are 2.": lambda box: box.assert_nothing_sent(),
    "Expected no email with subject='Wel', but there is 1.": lambda box: box.assert_nothing_sent(
        subject=re.compile("Wel")
    ),
    "No send 'x' was accepted in this test.": lambda box: box.delivered("x"),
}


@pytest.mark.parametrize("message", FAILING)
def test_one_that_does_not_hold_says_what_was_expected_and_what_is_there_but_no_body(client, ses_outbox, message):
    send(client, tags={"orders": "1"})
    send(client, "bob@example.org", "Receipt", tags={"orders": "1"})
    with pytest.raises(AssertionError) as failure:
        FAILING[message](ses_outbox)
    first, *listed = str(failure.value).splitlines()
    assert first == message
    assert listed == [
        "In the outbox:",
        "  1. to ann@example.org: 'Welcome', tags {'orders': '1'} (queued)",
        "  2. to bob@example.org: 'Receipt', tags {'orders': '1'} (queued)",
    ]


def test_a_full_outbox_is_not_shown_whole_and_an_empty_one_is_said_to_be(client, ses_outbox):
    with pytest.raises(AssertionError, match="In the outbox:\n  nothing"):
        ses_outbox.assert_sent()
    for number in range(25):
        send(client, subject=f"Number {number}")
    with pytest.raises(AssertionError, match=r"'Number 19' \(queued\)\n  ... and 5 more$"):
        ses_outbox.assert_nothing_sent()


def test_a_misspelt_criterion_is_an_error_and_not_every_email(client, ses_outbox):
    send(client)
    with pytest.raises(TypeError, match="recipient"):
        ses_outbox.find(recipient="nobody@example.org")


def test_an_address_shows_in_no_repr(client, ses_outbox):
    send(client)
    assert "ann" not in repr(ses_outbox.sends) + repr(ses_outbox)


def test_clearing_forgets_everything(client, ses_outbox):
    ses_outbox.bounced(send(client, idempotency_key="one"))
    ses_outbox.reject()
    ses_outbox.clear()
    ses_outbox.assert_nothing_sent()
    send(client, idempotency_key="one")
    ses_outbox.deliver()
    assert ses_outbox.one().status.state is State.SENT


def test_each_outbox_is_its_own_and_the_innermost_gets_what_is_sent(client):
    with outbox() as outer:
        send(client, subject="Outer")
        with outbox() as inner:
            send(client, subject="Inner")
            inner.one(subject="Inner")
        send(client, subject="Outer again")
    assert [email.subject for email in outer.emails] == ["Outer", "Outer again"]
    with outbox() as another:
        another.assert_nothing_sent()
    with pytest.raises(LedgerUnavailable):
        send(client)


def test_outboxes_that_end_in_another_order_than_they_began_leave_nothing_behind(client):
    first, second = outbox(), outbox()
    first.__enter__()
    box = second.__enter__()
    first.__exit__(None, None, None)
    send(client)
    box.one()
    second.__exit__(None, None, None)
    assert not client.is_suppressed


def test_one_outbox_gets_what_all_clients_send_each_by_its_own_settings(client, ses_outbox):
    other = Client(Settings(redis_url=NOWHERE, from_email="news@example.net", site="news"))
    send(client)
    send(other, subject="News")
    assert [(each.site, each.email.sender_domain) for each in ses_outbox.sends] == [
        ("shop", "example.com"),
        ("news", "example.net"),
    ]


def test_an_explicit_outbox_counts_although_the_settings_say_that_email_is_sent(ses_outbox):
    client = Client(Settings(redis_url=NOWHERE, from_email="shop@example.com", suppress_send=False))
    send(client)
    ses_outbox.one()


def test_what_is_asked_about_a_send_is_answered_as_by_the_ledger(client, ses_outbox):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    send_id = send(client, send_at=tomorrow, idempotency_key="one")
    assert client.outbox.status(send_id).state is State.SCHEDULED
    assert send(client, idempotency_key="one") == send_id
    client.outbox.reschedule(send_id, datetime.now(UTC))
    client.outbox.cancel(send_id)
    assert ses_outbox.one().status.state is State.CANCELLED
    client.outbox.requeue(send_id)
    assert ses_outbox.one().status == client.outbox.status(send_id)
    assert ses_outbox.one().status.state is State.QUEUED


def test_a_wrong_email_is_refused_as_ever(client, ses_outbox):
    with pytest.raises(InvalidEmail):
        send(client, "nobody")
    ses_outbox.assert_nothing_sent()


def test_redis_can_be_away_for_a_while(client, ses_outbox):
    send_id = send(client)
    with ses_outbox.redis_away():
        for call in (
            lambda: send(client),
            lambda: client.outbox.status(send_id),
            lambda: client.outbox.cancel(send_id),
            ses_outbox.deliver,
        ):
            with pytest.raises(LedgerUnavailable):
                call()
    ses_outbox.one()


def test_the_mixin_gives_each_test_of_a_class_an_outbox_of_its_own(client):
    class Case(SesmailTestMixin, unittest.TestCase):
        def test_first(self) -> None:
            send(client)
            self.ses_outbox.one()

        test_second = test_first

    result = unittest.TestResult()
    for name in ("test_first", "test_second"):
        Case(name).run(result)
    assert (result.testsRun, result.errors, result.failures) == (2, [], [])
    assert not client.is_suppressed


def test_it_needs_no_extra_and_loads_neither_celery_nor_boto3():
    absent = ("seslocal", "celery", "boto3", "pytest", "uvicorn", "starlette", "sqlalchemy", "django", "flask")
    script = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import sesmail.testing"
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
