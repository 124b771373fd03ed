"""deploy/ses-events.yaml: valid, and in agreement with the code that it serves."""

from __future__ import annotations

from pathlib import Path

import pytest
from cfnlint.api import lint_file
from cfnlint.decode import decode

from sesmail.events.stores import dynamodb

TEMPLATE = Path(__file__).parents[3] / "deploy" / "ses-events.yaml"


@pytest.fixture(scope="module")
def resources() -> dict:
    template, problems = decode(str(TEMPLATE))
    assert not problems
    return template["Resources"]


def test_the_template_passes_cfn_lint() -> None:
    assert not lint_file(TEMPLATE)


def test_notifications_are_signed_with_sha256_and_never_delivered_raw(resources) -> None:
    assert resources["Topic"]["Properties"]["SignatureVersion"] == "2"
    subscriptions = [part["Properties"] for part in resources.values() if part["Type"] == "AWS::SNS::Subscription"]
    assert [subscription["RawMessageDelivery"] for subscription in subscriptions] == [False, False]
    assert all("RedrivePolicy" in subscription for subscription in subscriptions)


def test_the_webhooks_retries_stay_within_the_hour_that_sns_allows(resources) -> None:
    policy = resources["WebhookSubscription"]["Properties"]["DeliveryPolicy"]["healthyRetryPolicy"]
    in_between = policy["numRetries"] - policy["numMinDelayRetries"] - policy["numMaxDelayRetries"]
    longest = policy["numMinDelayRetries"] * policy["minDelayTarget"]
    longest += (in_between + policy["numMaxDelayRetries"]) * policy["maxDelayTarget"]
    assert longest <= 3600


def test_the_table_is_the_one_that_the_store_uses(resources) -> None:
    table = resources["Table"]["Properties"]
    (index,) = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == dynamodb.INDEX
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["pending", "due_at"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_the_queue_hides_a_message_six_times_as_long_as_the_function_may_take(resources) -> None:
    visibility = resources["Queue"]["Properties"]["VisibilityTimeout"]
    assert visibility >= 6 * resources["Function"]["Properties"]["Timeout"]
    mapping = resources["QueueToFunction"]["Properties"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
