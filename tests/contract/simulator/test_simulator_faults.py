"""Faults on demand, as boto3 meets them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from tests.contract.simulator.simulator_client import client_for, send

RECORDED = Path(__file__).parents[2] / "fixtures" / "errors"

REFUSALS = {
    "throttle": "v2_rate",
    "daily_quota": "v2_daily",
    "paused": "v2_paused",
    "suspended": "v2_suspended",
    "unverified": "v2_not_verified",
    "mail_from": "v2_mailfrom",
    "expired_token": "v2_expired_token",
    "internal_error": "v2_internal",
    "unavailable": "v2_unavailable",
}


def recorded(name: str) -> tuple[int, str, str]:
    head, _, body = (RECORDED / f"{name}.http").read_text().partition("\n\n")
    code = next(line.split(": ")[1] for line in head.splitlines() if line.startswith("x-amzn-ErrorType"))
    return int(head.split()[1]), code, json.loads(body)["message"]


def error_of(error: ClientError) -> tuple[int, str, str]:
    answer = error.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


@pytest.mark.parametrize(("fault", "name"), REFUSALS.items())
def test_an_injected_refusal_is_what_ses_says(ses, sesv2, fault, name):
    ses.faults(script=[fault])
    with pytest.raises(ClientError) as caught:
        send(sesv2, FromEmailAddress="news@mail.example.com")
    assert error_of(caught.value) == recorded(name)
    assert ses.report()["accepted"]["calls"] == 0
    assert send(sesv2)


def test_an_account_paused_by_aws_answers_as_a_rejected_message(ses, sesv2):
    ses.change(enforcement_status="SHUTDOWN")
    with pytest.raises(
        sesv2.exceptions.MessageRejected, match=re.escape("Sending paused for this account. For more information")
    ):
        send(sesv2)
    assert sesv2.get_account()["EnforcementStatus"] == "SHUTDOWN"


def test_an_account_paused_by_its_owner_answers_so_until_it_is_resumed(ses, sesv2):
    sesv2.put_account_sending_attributes(SendingEnabled=False)
    with pytest.raises(sesv2.exceptions.SendingPausedException):
        send(sesv2)
    assert sesv2.get_account()["SendingEnabled"] is False
    sesv2.put_account_sending_attributes(SendingEnabled=True)
    assert send(sesv2)


@pytest.mark.parametrize(
    ("fault", "accepted"), [("reset_before", 0), ("reset_after", 1)], ids=["not accepted", "accepted all the same"]
)
def test_a_reset_connection_leaves_the_client_without_an_answer(ses, sesv2, fault, accepted):
    ses.faults(script=[fault])
    with pytest.raises(ConnectionClosedError):
        send(sesv2)
    assert ses.report()["accepted"]["calls"] == accepted
    assert send(sesv2)


def test_a_call_that_hangs_after_acceptance_was_accepted(ses):
    client = client_for(ses, read_timeout=0.3)
    ses.faults(script=["hang_after"])
    with pytest.raises(ReadTimeoutError):
        send(client, tag="one")
    assert [message["sesmail_id"] for message in ses.messages()] == ["one"]
    assert send(client)


def test_a_500_after_acceptance_is_accepted(ses, sesv2):
    ses.faults(script=["error_after"])
    with pytest.raises(sesv2.exceptions.ClientError, match="InternalServiceError"):
        send(sesv2)
    assert ses.report()["accepted"]["calls"] == 1


def test_a_slow_call_times_out_at_the_client_although_it_is_accepted(ses):
    ses.faults(rules=[{"fault": "slow", "seconds": 1, "calls": 1}])
    with pytest.raises(ReadTimeoutError):
        send(client_for(ses, read_timeout=0.2))
    assert ses.report()["accepted"]["calls"] == 1


def test_a_fault_after_acceptance_is_not_spent_on_a_call_that_was_refused(ses, sesv2):
    ses.change(rate=1)
    send(sesv2)
    ses.faults(script=["reset_after"])
    with pytest.raises(sesv2.exceptions.TooManyRequestsException):
        send(sesv2)
    ses.change(rate=10)
    with pytest.raises(ConnectionClosedError):
        send(sesv2)


def test_chance_repeats_with_its_seed(ses, sesv2):
    def run() -> list[bool]:
        ses.faults(rules=[{"fault": "throttle", "probability": 0.5}], seed=42)
        outcomes = []
        for _ in range(20):
            try:
                send(sesv2)
                outcomes.append(True)
            except ClientError:
                outcomes.append(False)
        return outcomes

    first = run()
    assert first == run()
    assert {True, False} == set(first)


def test_rules_skip_and_run_out(ses, sesv2):
    ses.faults(rules=[{"fault": "unavailable", "skip": 1, "calls": 2}])
    outcomes = []
    for _ in range(5):
        try:
            send(sesv2)
            outcomes.append("ok")
        except ClientError as error:
            outcomes.append(error.response["Error"]["Code"])
    assert outcomes == ["ok", "ServiceUnavailable", "ServiceUnavailable", "ok", "ok"]


def test_faults_are_for_sending_calls_only(ses, sesv2):
    ses.faults(script=["unavailable"])
    sesv2.get_account()
    with pytest.raises(ClientError):
        send(sesv2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"script": ["explode"]}, "explode"),
        ({"rules": [{"fault": "throttle", "odds": 1}]}, "odds"),
        ({"rules": [{"fault": "throttle", "probability": 2}]}, "between 0 and 1"),
        ({"rule": []}, "rule"),
        ({"rules": [{"fault": "slow", "seconds": "2"}]}, "seconds must be a number"),
        ({"rules": [{"fault": "slow", "seconds": -1}]}, "seconds must be at least 0"),
        ({"rules": [{"fault": "throttle", "calls": "1"}]}, "calls must be a whole number"),
        ([], "a JSON object"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_by_name(ses, given, words):
    with pytest.raises(ValueError, match=words):
        ses.control("PUT", "/_sim/faults", given)
