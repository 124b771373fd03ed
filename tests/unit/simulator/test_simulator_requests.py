"""Whatever JSON a caller sends, the answer is a valid email or a refusal, never an accident."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seslocal.account.account import Account, Changes
from seslocal.api.call import Call
from seslocal.api.operations.sending import send_email
from seslocal.api.requests.submissions import parse_send_email
from seslocal.errors import Kind, Refused
from seslocal.options import Options
from seslocal.ses import Ses

VALID = {
    "FromEmailAddress": "News <news@example.com>",
    "Destination": {"ToAddresses": ["reader@example.org"]},
    "Content": {"Simple": {"Subject": {"Data": "x"}, "Body": {"Text": {"Data": "y"}}}},
    "EmailTags": [{"Name": "a", "Value": "b"}],
}
PATHS = [
    ("FromEmailAddress",),
    ("Destination",),
    ("Destination", "ToAddresses"),
    ("ReplyToAddresses",),
    ("EmailTags",),
    ("ConfigurationSetName",),
    ("Content",),
    ("Content", "Raw"),
    ("Content", "Simple"),
    ("Content", "Template"),
    ("Content", "Simple", "Subject"),
    ("Content", "Simple", "Body"),
    ("Content", "Simple", "Body", "Html"),
    ("Content", "Simple", "Headers"),
    ("Content", "Simple", "Attachments"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Data",
                    "Name",
                    "Value",
                    "FileName",
                    "RawContent",
                    "TemplateName",
                    "TemplateData",
                    "ToAddresses",
                    "Text",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def changed(request: dict, path: tuple[str, ...], value) -> dict:
    if not path:
        return value
    return request | {path[0]: changed(request.get(path[0], {}), path[1:], value)}


def call(body) -> Call:
    return Call(action="SendEmail", handler=send_email, body=body)


@given(st.sampled_from(PATHS), json_values)
def test_any_value_anywhere_is_taken_or_refused(path, value):
    ses = Ses(Options())
    try:
        submission = parse_send_email(ses.account, call(changed(VALID, path, value)))
    except Refused as refused:
        kind = refused.kind
    else:
        kind = None
        assert submission.recipients
    assert kind in {None, Kind.INVALID, Kind.TEMPLATE_MISSING}


@given(st.binary(max_size=300))
def test_any_bytes_as_a_mime_message_are_taken_or_refused(raw):
    import base64

    body = VALID | {"Content": {"Raw": {"Data": base64.b64encode(raw).decode()}}}
    try:
        submission = parse_send_email(Account(Options()), call(body))
    except Refused:
        return
    assert submission.recipients == ("reader@example.org",)


def test_an_account_counts_what_it_takes_by_its_own_limits():
    async def scenario() -> None:
        ses = Ses(Options(rate=1, quota=5))
        ses.set_up()
        ses.send(parse_send_email(ses.account, call(VALID)))
        with pytest.raises(Refused, match="sending rate"):
            ses.send(parse_send_email(ses.account, call(VALID)))
        ses.account.change(Changes(rate=100, sent_last_24_hours=5))
        with pytest.raises(Refused, match="Daily message quota exceeded"):
            ses.send(parse_send_email(ses.account, call(VALID)))
        await ses.publisher.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"burst": -1},
        {"quota": -2},
        {"time_scale": 0},
        {"latency_seconds": (2, 1)},
        {"signature_version": "3"},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)
