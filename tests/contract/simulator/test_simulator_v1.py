"""SES version 1 through boto3."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.contract.simulator.simulator_client import client_for


def send_v1(client, **more):
    request = {
        "Source": "News <news@example.com>",
        "Destination": {"ToAddresses": ["a@example.org"], "BccAddresses": ["b@example.org"]},
        "Message": {"Subject": {"Data": "Grüße"}, "Body": {"Text": {"Data": "a & b"}, "Html": {"Data": "<p>a</p>"}}},
    } | more
    return client.send_email(**request)["MessageId"]


@pytest.fixture
def ses_v1(ses):
    return client_for(ses, "ses")


def test_send_email(ses, ses_v1):
    message_id = send_v1(ses_v1, Tags=[{"Name": "sesmail-id", "Value": "one"}])
    (message,) = ses.messages()
    assert message["message_id"] == message_id
    assert message["recipients"] == ["a@example.org", "b@example.org"]
    assert message["tags"] == {"sesmail-id": "one"}
    assert ses.control("GET", f"/_sim/messages/{message_id}")["text"] == "a & b"


def test_send_raw_email(ses, ses_v1):
    raw = b"From: news@example.com\r\nTo: a@example.org\r\nSubject: x\r\n\r\nHello + & = %"
    ses_v1.send_raw_email(RawMessage={"Data": raw}, Destinations=["only@example.org"])
    (message,) = ses.messages()
    assert message["recipients"] == ["only@example.org"]
    assert ses.control("GET", f"/_sim/messages/{message['message_id']}")["text"].strip() == "Hello + & = %"


def test_get_send_quota(ses, ses_v1):
    send_v1(ses_v1)
    quota = ses_v1.get_send_quota()
    assert (quota["Max24HourSend"], quota["MaxSendRate"], quota["SentLast24Hours"]) == (50_000, 1000, 2)
    assert ses_v1.get_account_sending_enabled()["Enabled"] is True


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ("throttle", "Throttling", "Maximum sending rate exceeded."),
        ("daily_quota", "Throttling", "Daily message quota exceeded."),
        ("internal_error", "InternalFailure", "The request processing has failed because of an unknown error."),
    ],
)
def test_refusals_have_version_1s_codes(ses, ses_v1, fault, code, message):
    ses.faults(script=[fault])
    with pytest.raises(ClientError) as caught:
        send_v1(ses_v1)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"] == message
    assert caught.value.response["Error"]["Type"] == ("Receiver" if fault == "internal_error" else "Sender")


def test_a_bad_address_and_a_missing_configuration_set_have_version_1s_codes(ses_v1):
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*Missing final '@domain'"):
        send_v1(ses_v1, Destination={"ToAddresses": ["nobody"]})
    with pytest.raises(ses_v1.exceptions.ConfigurationSetDoesNotExistException):
        send_v1(ses_v1, ConfigurationSetName="nope")


def test_both_versions_share_one_limit(ses, ses_v1, sesv2):
    ses.change(rate=2)
    send_v1(ses_v1)
    with pytest.raises(sesv2.exceptions.TooManyRequestsException):
        sesv2.send_email(Content={"Raw": {"Data": b"From: a@example.com\r\nTo: b@example.org\r\n\r\nx"}})


def test_an_unknown_action_is_named(ses, ses_v1):
    with pytest.raises(ClientError, match=r"InvalidAction.*VerifyDomainDkim"):
        ses_v1.verify_domain_dkim(Domain="example.com")
