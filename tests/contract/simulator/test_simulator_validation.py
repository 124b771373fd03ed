"""What SendEmail refuses, with which code."""

from __future__ import annotations

import json
import re

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from sesmail.simulator import Simulator
from tests.contract.simulator.simulator_client import client_for, send, simple


def headers(*pairs):
    return simple(Headers=[{"Name": name, "Value": value} for name, value in pairs])


BAD = {
    "an address without a domain": ({"to": "reader"}, "Missing final '@domain'"),
    "an address without a name": ({"to": "@example.org"}, "Missing local name"),
    "an address without anything after the @": ({"to": "reader@"}, "Missing domain"),
    "a space in an address": ({"to": "a reader@example.org"}, "Local address contains control or whitespace"),
    "an illegal domain": ({"to": "reader@exa_mple.org"}, "Domain contains illegal character"),
    "a line break in an address": ({"to": "reader@example.org\r\nBcc: other@example.org"}, "control or whitespace"),
    "a name of 65 letters": ({"to": "x" * 65 + "@example.org"}, "longer than"),
    "letters that are not ASCII": ({"to": "jürgen@example.org"}, "Illegal address"),
    "a name that makes an address longer than 320 bytes": (
        {"to": f"{'N' * 310} <reader@example.org>"},
        "Address length is more than 320 characters long: 'NNN",
    ),
    "a long name in a raw message": (
        {"Content": {"Raw": {"Data": b"From: " + b"N" * 310 + b" <news@example.com>\r\nTo: a@example.org\r\n\r\nHi."}}},
        "Address length is more than 320 characters long: 'NNN",
    ),
    "a file that might be run": (
        {"Content": simple(Attachments=[{"FileName": "a.EXE", "RawContent": b"x"}])},
        "Illegal filename 'a.EXE'.",
    ),
    "a file that might be run in a raw message": (
        {
            "Content": {
                "Raw": {
                    "Data": b"From: news@example.com\r\nContent-Type: text/plain\r\n"
                    b'Content-Disposition: attachment; filename="c.js"\r\n\r\nHi.'
                }
            }
        },
        "Illegal filename 'c.js'.",
    ),
    "a file's name with a letter that Windows has for folders": (
        {"Content": simple(Attachments=[{"FileName": "2026/11.pdf", "RawContent": b"x"}])},
        "Illegal filename '2026/11.pdf'.",
    ),
    "a header twice in a raw message": (
        {"Content": {"Raw": {"Data": b"From: news@example.com\r\nSubject: a\r\nsubject: b\r\n\r\nHi."}}},
        "Duplicate header 'subject'.",
    ),
    "no recipient": ({"to": []}, "at least one recipient"),
    "51 recipients": ({"to": [f"r{n}@example.org" for n in range(51)]}, "Recipient count exceeds 50."),
    "a dot in a tag": ({"tag": "two.words"}, "Tag value <two.words> is not valid"),
    "a tag of 257 characters": ({"tag": "x" * 257}, "at most 256"),
    "16 headers": ({"Content": headers(*[(f"X-{n}", "v") for n in range(16)])}, "less than or equal to 15"),
    "a colon in a header's name": ({"Content": headers(("X:A", "v"))}, "regular expression pattern"),
    "a line break in a header": ({"Content": headers(("X-A", "v\r\nBcc: other@example.org"))}, "regular expression"),
    "a header of 996 characters": ({"Content": headers(("X", "v" * 996))}, "between 1 and 995"),
    "a header that SES writes": (
        {"Content": headers(("Message-ID", "<1@example.com>"))},
        "<Message-ID> is not allowed",
    ),
    "List-Unsubscribe twice": (
        {
            "Content": headers(
                ("List-Unsubscribe", "<https://example.com/1>"), ("list-unsubscribe", "<https://example.com/2>")
            )
        },
        "only once",
    ),
    "a bad sender": ({"FromEmailAddress": "News"}, "Missing final '@domain'"),
    "a bad reply address": ({"ReplyToAddresses": ["nobody"]}, "Missing final '@domain'"),
    "a bad feedback address": ({"FeedbackForwardingEmailAddress": "nobody"}, "Missing final '@domain'"),
    "a line break in an attachment's name": (
        {"Content": simple(Attachments=[{"FileName": "a\r\nb", "RawContent": b"x"}])},
        "FileName contains a line break",
    ),
    "an encoding that there is not": (
        {"Content": simple(Attachments=[{"FileName": "a", "RawContent": b"x", "ContentTransferEncoding": "ZIP"}])},
        "enum value set",
    ),
    "half of a surrogate pair": ({"Content": simple(subject="\ud83d")}, "not valid JSON"),
    "neither text nor HTML": ({"Content": {"Simple": {"Subject": {"Data": "x"}, "Body": {}}}}, "Text, Html or both"),
    "two contents": ({"Content": simple() | {"Raw": {"Data": b"x"}}}, "exactly one of"),
    "an odd configuration set": ({"ConfigurationSetName": "a b"}, "Configuration set name <a b> is not valid"),
    "a MIME message without a sender": (
        {"FromEmailAddress": "", "Content": {"Raw": {"Data": b"Subject: x\r\n\r\nx"}}},
        "Missing required header 'From'",
    ),
}


@pytest.mark.parametrize(("request_parts", "words"), BAD.values(), ids=BAD.keys())
def test_a_request_that_breaks_a_rule_is_refused_for_good(ses, sesv2, request_parts, words):
    with pytest.raises(sesv2.exceptions.BadRequestException, match=re.escape(words)):
        send(sesv2, **request_parts)
    assert ses.report()["accepted"]["calls"] == 0
    assert ses.report()["refused"] == {"invalid": 1}


def test_everything_at_its_limit_is_accepted(ses, sesv2):
    send(
        sesv2,
        to=[f"r{n}@example.org" for n in range(50)],
        tag="x" * 256,
        Content=headers(
            *[(f"X-{n:02}", "v" * 992) for n in range(14)], ("List-Unsubscribe", "<https://example.com/u>")
        ),
    )
    assert ses.report()["accepted"] == {"calls": 1, "recipients": 50}


def test_one_bad_recipient_fails_the_whole_call(ses, sesv2):
    with pytest.raises(ClientError):
        send(sesv2, to=["reader@example.org", "bad"])
    assert ses.messages() == []


def test_an_unknown_configuration_set_is_named(ses, sesv2):
    with pytest.raises(sesv2.exceptions.NotFoundException, match="<alpha-events> does not exist"):
        send(sesv2, ConfigurationSetName="alpha-events")


def test_a_mime_message_says_itself_what_the_call_does_not(ses, sesv2):
    raw = (
        b"From: News <news@example.com>\r\nTo: A <a@example.org>, b@example.org\r\nCc: c@example.org\r\n"
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX-SES-CONFIGURATION-SET: simulator\r\n"
        b"X-SES-MESSAGE-TAGS: sesmail-id=one, kind=news\r\n\r\nHello"
    )
    sesv2.send_email(Content={"Raw": {"Data": raw}})
    (message,) = ses.messages()
    assert message["recipients"] == ["a@example.org", "b@example.org", "c@example.org"]
    assert message["subject"] == "Grüße"
    assert message["tags"] == {"sesmail-id": "one", "kind": "news"}
    assert message["configuration_set"] == "simulator"


def test_tags_of_the_call_replace_those_of_the_message(ses, sesv2):
    raw = b"From: news@example.com\r\nTo: a@example.org\r\nX-SES-MESSAGE-TAGS: a=1\r\n\r\nHello"
    sesv2.send_email(Content={"Raw": {"Data": raw}}, EmailTags=[{"Name": "b", "Value": "2"}])
    assert ses.messages()[0]["tags"] == {"b": "2"}


def test_a_call_without_a_signature_is_refused(ses):
    unsigned = boto3.client(
        "sesv2", endpoint_url=ses.url, region_name="us-east-1", config=Config(signature_version=UNSIGNED)
    )
    with pytest.raises(ClientError, match="MissingAuthenticationToken"):
        unsigned.get_account()


def test_signatures_are_checked_when_secrets_are_known():
    def client_with(key: str, secret: str):
        return boto3.client(
            "sesv2", endpoint_url=ses.url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
        )

    with Simulator(credentials=(("AKIDEXAMPLE", "right"),), calls_per_second=None) as ses:
        assert send(client_with("AKIDEXAMPLE", "right"))
        assert client_with("AKIDEXAMPLE", "right").list_email_templates(PageSize=5)["TemplatesMetadata"] == []
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            send(client_with("AKIDEXAMPLE", "wrong"))
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            send(client_with("AKIDSTRANGER", "right"))


def test_a_body_that_is_not_json_is_refused(ses):
    with pytest.raises(ValueError, match="Missing Authentication"):
        ses.control("POST", "/v2/email/outbound-emails", json.loads('"x"'))


def test_only_verified_senders_may_send_when_identities_are_given():
    with Simulator(identities=("example.com", "one@example.net"), calls_per_second=None) as ses:
        client = client_for(ses)
        assert send(client, FromEmailAddress="news@mail.example.com")
        assert send(client, FromEmailAddress="One@example.net")
        with pytest.raises(client.exceptions.MessageRejected) as caught:
            send(client, FromEmailAddress="News <two@example.net>")
        assert caught.value.response["Error"]["Message"] == (
            "Email address is not verified. The following identities failed the check in region US-EAST-1: News <two@example.net>"
        )


def test_the_sandbox_takes_verified_recipients_and_the_mailbox_simulator_only():
    with Simulator(sandbox=True, identities=("example.com",), calls_per_second=None, rate=10) as ses:
        client = client_for(ses)
        assert send(client, to="reader@example.com")
        assert send(client, to="bounce+x@simulator.amazonses.com")
        with pytest.raises(client.exceptions.MessageRejected, match="reader@example"):
            send(client, to="reader@example.org")
        with pytest.raises(ClientError, match="AccessDenied"):
            client.put_suppressed_destination(EmailAddress="a@example.org", Reason="BOUNCE")
        assert client.get_account()["ProductionAccessEnabled"] is False
