"""The promise of the intake: no yes without a row, and no no that loses an event."""

from __future__ import annotations

import json
import logging
import threading
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesmail.errors import EventNotStored, EventStoreUnavailable
from sesmail.events.intake import Intake, answer_to, confirm_later
from sesmail.events.sns import Certificates, Confirmation, SnsVerifier
from tests.signing import OTHER_TOPIC, TOPIC, Signer

SIGNER = Signer()


class Rows:
    """The two methods of a store that the intake uses."""

    def __init__(self) -> None:
        self.rows: dict[str, object] = {}
        self.trouble: Exception | None = None
        self.writes = 0

    def put(self, events) -> int:
        self.writes += 1
        if self.trouble:
            raise self.trouble
        before = len(self.rows)
        for event in events:
            self.rows.setdefault(event.event_id, event)
        return len(self.rows) - before

    def get(self, event_id: str):
        return self.rows.get(event_id)


def intake_for(rows: Rows, fetch=SIGNER.fetch, **options) -> Intake:
    return Intake(SnsVerifier({TOPIC: "alpha"}, Certificates(fetch)), rows, **options)


def post(intake: Intake, envelope: dict, **headers: str) -> int:
    return intake.answer(json.dumps(envelope).encode(), headers).status


def test_what_is_believed_is_stored_under_its_id_for_its_site_and_then_acknowledged() -> None:
    rows = Rows()
    envelope = SIGNER.notification("hello")
    assert post(intake_for(rows, clock=lambda: 7.0), envelope) == 200
    (event,) = rows.rows.values()
    assert (event.event_id, event.source, event.message) == (envelope["MessageId"], "alpha", "hello")
    assert (event.topic_arn, event.received_at) == (TOPIC, 7.0)


def test_a_replayed_notification_is_acknowledged_and_kept_once() -> None:
    rows = Rows()
    intake, envelope = intake_for(rows), SIGNER.notification("hello")
    assert [post(intake, envelope) for _ in range(3)] == [200, 200, 200]
    assert len(rows.rows) == 1


def test_what_is_refused_is_not_stored() -> None:
    rows = Rows()
    assert post(intake_for(rows), SIGNER.notification("hello", TopicArn=OTHER_TOPIC)) == 403
    assert not rows.writes


@pytest.mark.parametrize(
    "trouble",
    [EventStoreUnavailable(), RuntimeError("a bug"), MemoryError(), OSError("disk full"), KeyError("x")],
    ids=lambda trouble: type(trouble).__name__,
)
def test_any_trouble_of_the_store_asks_for_another_delivery(trouble) -> None:
    rows = Rows()
    rows.trouble = trouble
    intake, envelope = intake_for(rows), SIGNER.notification("hello")
    assert post(intake, envelope) == 503
    assert intake.take({"a": json.dumps(envelope)}) == {"a"}
    rows.trouble = None
    assert post(intake, envelope) == 200
    assert len(rows.rows) == 1


def test_a_certificate_that_cannot_be_fetched_asks_for_another_delivery() -> None:
    def fetch(url):
        raise EventNotStored

    assert post(intake_for(Rows(), fetch), SIGNER.notification("hello")) == 503


def test_raw_http_delivery_is_refused_with_what_to_do() -> None:
    answer = intake_for(Rows()).answer(b'{"eventType":"Send"}', {"x-amz-sns-rawdelivery": "true"})
    assert answer.status == 400
    assert "Turn it off" in answer.text


def test_an_answer_and_a_log_line_hold_no_address(caplog) -> None:
    rows = Rows()
    rows.trouble = RuntimeError("reader@example.org")
    intake = intake_for(rows)
    answer = intake.answer(json.dumps(SIGNER.notification("reader@example.org")).encode(), {})
    assert "reader" not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text
    assert "test_intake.py" in caplog.text


def test_nul_does_not_reach_a_store_that_could_not_hold_it() -> None:
    rows = Rows()
    assert post(intake_for(rows), SIGNER.notification("a\0b")) == 200
    assert [event.message for event in rows.rows.values()] == ["a\ufffdb"]


@given(st.binary(max_size=200) | st.text().map(str.encode) | st.just(b"[" * 100_000))
def test_no_body_gets_a_yes_without_a_row(body) -> None:
    rows = Rows()
    assert 400 <= intake_for(rows).answer(body, {}).status < 500
    assert intake_for(rows, raw_site=None).take({"a": body.decode("utf-8", "replace")}) == {"a"}
    assert not rows.rows


@given(st.text())
def test_every_message_in_a_signed_envelope_is_stored_whatever_it_says(message) -> None:
    rows = Rows()
    assert post(intake_for(rows), SIGNER.notification(message)) == 200
    assert len(rows.rows) == 1


# -- queues


def test_a_queues_messages_are_stored_in_one_write_and_the_bad_ones_named() -> None:
    rows = Rows()
    good = {str(number): json.dumps(SIGNER.notification("hello")) for number in range(8)}
    bad = {"forged": json.dumps({**SIGNER.notification("hello"), "Message": "x"}), "nonsense": "{not json"}
    assert intake_for(rows).take({**good, **bad}) == {"forged", "nonsense"}
    assert (rows.writes, len(rows.rows)) == (1, 8)


def test_the_same_raw_message_twice_is_kept_once() -> None:
    rows = Rows()
    intake = intake_for(rows, raw_site="alpha")
    assert intake.take({"a": '{"eventType":"Send"}', "b": '{"eventType":"Send"}', "c": '{"eventType":"Open"}'}) == set()
    assert len(rows.rows) == 2


def test_without_verification_a_queue_still_takes_only_our_topics() -> None:
    rows = Rows()
    intake = intake_for(rows, fetch=None, verify_queues=False)
    envelope = {**SIGNER.notification("hello"), "Signature": "none"}
    foreign = {**envelope, "TopicArn": OTHER_TOPIC, "MessageId": "other"}
    assert intake.take({"ours": json.dumps(envelope), "foreign": json.dumps(foreign)}) == {"foreign"}


def test_verification_switched_off_for_queues_stays_on_for_http() -> None:
    envelope = {**SIGNER.notification("hello"), "Signature": "AAAA"}
    assert post(intake_for(Rows(), verify_queues=False), envelope) == 403


# -- subscriptions


class FakeSns:
    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble, self.tokens = trouble, []

    def confirm_subscription(self, **arguments: str) -> None:
        if self.trouble:
            raise self.trouble
        self.tokens.append(arguments["Token"])


def test_a_subscription_is_stored_with_its_token_and_confirmed() -> None:
    rows, sns = Rows(), FakeSns()
    envelope = SIGNER.confirmation()
    assert post(intake_for(rows, confirm=Confirmation(lambda region: sns)), envelope) == 200
    assert sns.tokens == [envelope["Token"]]
    assert envelope["Token"] in rows.rows[envelope["MessageId"]].message


def test_a_subscription_that_cannot_be_confirmed_is_asked_for_again_and_an_operator_told(caplog) -> None:
    sns = FakeSns(RuntimeError())
    intake = intake_for(Rows(), confirm=Confirmation(lambda region: sns))
    envelope = SIGNER.confirmation()
    assert post(intake, envelope) == 503
    assert f"sesmail confirm {envelope['MessageId']}" in caplog.text
    assert intake.take({"a": json.dumps(envelope)}) == {"a"}
    sns.trouble = None
    assert post(intake, envelope) == 200
    assert sns.tokens == [envelope["Token"]]


def test_a_subscription_to_a_foreign_topic_is_never_confirmed() -> None:
    sns = FakeSns()
    intake = intake_for(Rows(), confirm=Confirmation(lambda region: sns))
    assert post(intake, SIGNER.confirmation(TopicArn=OTHER_TOPIC)) == 403
    assert not sns.tokens


def test_a_forged_subscription_is_never_confirmed() -> None:
    sns = FakeSns()
    intake = intake_for(Rows(), confirm=Confirmation(lambda region: sns))
    assert post(intake, {**SIGNER.confirmation(), "Token": "other"}) == 403
    assert not sns.tokens


def test_without_credentials_a_subscription_waits_for_an_operator_who_is_told(caplog) -> None:
    rows, sns = Rows(), FakeSns()
    intake, envelope = intake_for(rows), SIGNER.confirmation()
    assert post(intake, envelope) == 200
    assert f"sesmail confirm {envelope['MessageId']}" in caplog.text
    confirm_later(envelope["MessageId"], rows, intake.verifier, Confirmation(lambda region: sns))
    assert sns.tokens == [envelope["Token"]]


def test_what_is_no_subscription_cannot_be_confirmed() -> None:
    rows = Rows()
    intake, envelope = intake_for(rows), SIGNER.notification("hello")
    post(intake, envelope)
    for event_id in (envelope["MessageId"], "unknown"):
        with pytest.raises(LookupError):
            confirm_later(event_id, rows, intake.verifier, Confirmation(lambda region: FakeSns()))


def test_being_unsubscribed_raises_an_alarm_and_subscribes_nobody(caplog) -> None:
    rows, sns = Rows(), FakeSns()
    intake = intake_for(rows, confirm=Confirmation(lambda region: sns))
    assert post(intake, SIGNER.confirmation("UnsubscribeConfirmation")) == 200
    assert [(record.levelno, record.action) for record in caplog.records] == [(logging.CRITICAL, "sns_unsubscribed")]
    assert not sns.tokens
    assert len(rows.rows) == 1


# -- arrival


def test_arrival_is_announced_for_each_site_once_a_second_and_not_for_each_event() -> None:
    told = SimpleQueue()
    intake = intake_for(Rows(), announce=told.put)
    for _ in range(20):
        post(intake, SIGNER.notification("hello"))
    assert told.get(timeout=30) == "alpha"
    assert told.empty()


def test_a_broker_that_hangs_holds_up_no_answer() -> None:
    answered, in_time = threading.Event(), SimpleQueue()
    intake = intake_for(Rows(), announce=lambda site: in_time.put(answered.wait(30)))
    assert post(intake, SIGNER.notification("hello")) == 200
    answered.set()
    assert in_time.get(timeout=60)


def test_an_arrival_that_cannot_be_announced_is_stored_and_acknowledged_all_the_same() -> None:
    def announce(site):
        raise ConnectionError

    assert post(intake_for(Rows(), announce=announce), SIGNER.notification("hello")) == 200


def test_nothing_is_announced_that_was_not_stored() -> None:
    rows, told = Rows(), []
    rows.trouble = EventStoreUnavailable()
    post(intake_for(rows, announce=told.append), SIGNER.notification("hello"))
    assert not told


def test_an_unforeseen_error_without_a_traceback_is_answered_too() -> None:
    assert answer_to(RuntimeError()).status == 503
