"""SesTransport against programs that play SES: our simulator, and moto as far as it goes."""

from __future__ import annotations

from itertools import count

import boto3
import pytest
from hypothesis import given, settings
from moto import mock_aws

from sesmail.errors import SesMisconfigured
from sesmail.message import Email
from sesmail.ses.transport import SesTransport
from sesmail.simulator import Simulator
from tests.emails import constructed, keywords


@pytest.fixture(scope="module")
def ses():
    with Simulator(rate=100_000, quota=-1, calls_per_second=None, kept_bodies=1) as ses:
        boto3.client("sesv2", endpoint_url=ses.url).create_configuration_set(ConfigurationSetName="events")
        yield ses


@pytest.fixture
def simulator(ses):
    return SesTransport(endpoint_url=ses.url)


@pytest.fixture
def moto():
    with mock_aws():
        boto3.client("sesv2").create_email_identity(EmailIdentity="example.com")
        yield SesTransport()


@pytest.fixture(params=["simulator", "moto"])
def transport(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("headers", [{"X-A": "ä"}, {f"X-{n}": "raw content" for n in range(15)}])
def test_a_full_email_gets_a_message_id(transport, headers):
    email = Email(
        ["Jürg <juerg@example.org>", "bob@example.org"],
        "Grüße",
        "Hallo",
        "<p>Hallo",
        from_email="News <news@example.com>",
        cc="carol@example.org",
        headers=headers,
        attachments=[("a.pdf", b"%PDF", "application/pdf")],
        tags={"campaign": "spring"},
    )
    assert transport.send(email, send_id="id-1")


def test_an_unverified_sender_stops_the_line_of_its_domain(moto):
    with pytest.raises(SesMisconfigured) as caught:
        moto.send(Email("a@example.org", "", "Hi", from_email="news@example.net"), send_id="id-1")
    assert caught.value.scope == "identity:example.net"


def test_whatever_an_email_lets_through_the_simulator_accepts_and_counts_alike(ses, simulator):
    ids = count()

    @settings(max_examples=200)
    @given(keywords)
    def hunt(values):
        if email := constructed(values | ({"configuration_set": "events"} if values.get("configuration_set") else {})):
            check(email.with_defaults(from_email="News <news@example.com>"), f"send-{next(ids)}")

    def check(email: Email, send_id: str) -> None:
        simulator.send(email, send_id=send_id)
        (seen,) = ses.messages(after=ses.report()["accepted"]["calls"] - 1)
        assert seen["tags"] == {**email.tags, "sesmail-id": send_id}
        assert seen["recipients"] == [*email.recipients]

    hunt()
    assert next(ids) > 30


def test_the_simulators_account_is_read(simulator):
    account = simulator.account()
    assert (account.max_send_rate, account.max_24_hour_send) == (100_000, -1)
    assert (account.sending_enabled, account.production_access, account.enforcement_status) == (True, True, "HEALTHY")
