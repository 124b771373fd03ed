"""Rate and quota as a client meets them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from sesmail.simulator import Simulator
from tests.contract.simulator.simulator_client import client_for, send


def refusal_of(call, *arguments, **keywords):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **keywords)
    error = caught.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]


RATE = (429, "TooManyRequestsException", "Maximum sending rate exceeded.")
DAILY = (429, "TooManyRequestsException", "Daily message quota exceeded.")


def test_the_call_beyond_the_rate_is_refused_in_awss_words(ses, sesv2):
    ses.change(rate=2)
    send(sesv2)
    send(sesv2)
    assert refusal_of(send, sesv2) == RATE
    assert ses.report()["refused"] == {"rate": 1}


def test_a_call_is_accepted_while_any_budget_is_left(ses, sesv2):
    ses.change(rate=2)
    send(sesv2)
    send(sesv2, to=[f"r{n}@example.org" for n in range(10)])
    assert refusal_of(send, sesv2) == RATE
    assert ses.report()["accepted"] == {"calls": 2, "recipients": 11}


def test_the_daily_quota_is_refused_with_the_same_code_and_other_words(ses, sesv2):
    ses.change(quota=3)
    for _ in range(3):
        send(sesv2)
    assert refusal_of(send, sesv2) == DAILY
    send(sesv2, to="success+label@simulator.amazonses.com")
    quota = {"Max24HourSend": 3.0, "MaxSendRate": 1000.0, "SentLast24Hours": 3.0}
    assert sesv2.get_account()["SendQuota"] == quota


def test_mailbox_simulator_addresses_count_against_the_rate(ses, sesv2):
    ses.change(rate=1)
    send(sesv2, to="success@simulator.amazonses.com")
    assert refusal_of(send, sesv2) == RATE


def test_actions_that_do_not_send_are_limited_to_one_call_a_second():
    with Simulator() as ses:
        client = client_for(ses)
        client.get_account()
        assert refusal_of(client.get_account) == (400, "ThrottlingException", "Rate exceeded")


def test_sns_is_not_under_sess_limit_on_calls():
    with Simulator() as ses:
        sns = client_for(ses, "sns")
        topics = [sns.create_topic(Name=name)["TopicArn"] for name in ("one", "two")]
        assert [topic["TopicArn"] for topic in sns.list_topics()["Topics"]] == topics
        with pytest.raises(sns.exceptions.InvalidParameterException):
            sns.subscribe(TopicArn=topics[0], Protocol="carrier-pigeon", Endpoint="coop")


def test_a_simulator_that_cannot_start_says_so(capfd):
    with pytest.raises(RuntimeError, match="did not start"):
        Simulator(lambda_handler="nowhere:handle").start()
    assert "no function 'nowhere:handle'" in capfd.readouterr().err


@pytest.mark.parametrize(
    "switches",
    [
        {"rate": 0},
        {"rate": "7"},
        {"rate": float("inf")},
        {"quota": -7},
        {"quota": 1.5},
        {"latency_seconds": [1]},
        {"latency_seconds": [2, 1]},
        {"latency_seconds": ["1", "2"]},
        {"sending_enabled": "no"},
        {"enforcement_status": "CLOSED"},
        {"sent_last_24_hours": -1},
        {"speed": 3},
    ],
)
def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(ses, switches):
    before = ses.report()
    with pytest.raises(ValueError, match=next(iter(switches))):
        ses.change(**switches)
    assert ses.report() == before


def test_the_account_can_be_changed_while_it_runs(ses, sesv2):
    ses.change(rate=50, quota=1000, sent_last_24_hours=990)
    quota = {"Max24HourSend": 1000.0, "MaxSendRate": 50.0, "SentLast24Hours": 990.0}
    assert sesv2.get_account()["SendQuota"] == quota


def test_eight_connections_at_twice_the_limit_never_pass_it_in_any_rolling_second():
    seconds, limit = 10, 40
    with Simulator(rate=limit, latency_seconds=(0.0, 0.02), seed=3) as ses:
        client = client_for(ses, max_pool_connections=8)
        deadline = time.monotonic() + seconds

        def flood(_connection: int) -> list[tuple[int, str, str]]:
            refusals = []
            while time.monotonic() < deadline:
                started = time.monotonic()
                try:
                    send(client)
                except ClientError as error:
                    answer = error.response
                    refusals.append(
                        (
                            answer["ResponseMetadata"]["HTTPStatusCode"],
                            answer["Error"]["Code"],
                            answer["Error"]["Message"],
                        )
                    )
                time.sleep(max(0.0, started + 8 / (2 * limit) - time.monotonic()))
            return refusals

        with ThreadPoolExecutor(8) as pool:
            refusals = [one for some in pool.map(flood, range(8)) for one in some]
        report = ses.report()
        times = [message["time"] for message in ses.messages()]

    assert set(refusals) == {RATE}
    assert report["refused"] == {"rate": len(refusals)}
    assert report["max_recipients_in_any_second"] <= limit
    assert max(sum(moment <= other < moment + 1.0 for other in times) for moment in times) <= limit
    assert report["accepted"]["calls"] >= limit * (seconds - 1)
