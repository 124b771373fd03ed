"""What a Lambda function is called with: SQS, SNS and EventBridge are taken, the rest is refused in words."""

from __future__ import annotations

import json

import pytest

from sesmail.doors.aws_lambda import lambda_handler
from sesmail.errors import EventNotStored, NotificationRefused
from sesmail.events.intake import Intake
from sesmail.events.sns import Certificates, SnsVerifier
from sesmail.events.stores import EventState
from tests.signing import TOPIC, Signer, fixture_json

SIGNER = Signer()
BY_EVENTBRIDGE = fixture_json("eventbridge_bounce.json")


def handler(store, raw_site="alpha"):
    return lambda_handler(Intake(SnsVerifier({TOPIC: "alpha"}, Certificates(SIGNER.fetch)), store, raw_site=raw_site))


def stored(store) -> int:
    return sum(1 for _ in store.read("alpha", EventState.UNPROCESSED))


def test_an_event_by_eventbridge_is_taken_once_however_often_lambda_calls(sqlite_store) -> None:
    for _ in range(2):
        assert handler(sqlite_store)(BY_EVENTBRIDGE, None) is None
    assert stored(sqlite_store) == 1


def test_an_event_by_eventbridge_of_no_site_comes_again(sqlite_store) -> None:
    with pytest.raises(EventNotStored):
        handler(sqlite_store, raw_site=None)(BY_EVENTBRIDGE, None)
    assert stored(sqlite_store) == 0


OTHERS = {
    "the console's test event": {"key1": "value1", "key2": "value2", "key3": "value3"},
    "Firehose": {"invocationId": "i", "deliveryStreamArn": "arn:aws:firehose:...", "records": [{"data": "e30="}]},
    "Kinesis": {"Records": [{"kinesis": {"data": "e30="}, "eventSource": "aws:kinesis"}]},
    "S3": {"Records": [{"eventSource": "aws:s3", "s3": {}}]},
    "a function URL": {"version": "2.0", "requestContext": {"http": {"method": "POST"}}, "body": "{}"},
    "another event of EventBridge": {"source": "aws.ec2", "detail-type": "EC2 state change", "detail": {}},
    "a text": "hello",
    "nothing": None,
    "records that are none": {"Records": [None]},
}


@pytest.mark.parametrize("event", OTHERS.values(), ids=OTHERS)
def test_what_is_not_for_this_function_is_refused_in_words(sqlite_store, event) -> None:
    with pytest.raises(NotificationRefused, match="SQS, SNS or EventBridge"):
        handler(sqlite_store)(event, None)
    assert stored(sqlite_store) == 0


def test_no_records_are_no_failure(sqlite_store) -> None:
    assert handler(sqlite_store)({"Records": []}, None) == {"batchItemFailures": []}


def test_a_record_that_is_not_stored_is_named_to_sqs(sqlite_store) -> None:
    records = [{"messageId": "one", "body": json.dumps(SIGNER.notification("{}"))}, {"messageId": "two", "body": "x"}]
    assert handler(sqlite_store)({"Records": records}, None) == {"batchItemFailures": [{"itemIdentifier": "two"}]}
