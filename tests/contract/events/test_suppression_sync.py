"""Our opt-outs and SES's own list, kept in step against the local SES."""

from __future__ import annotations

from datetime import UTC, datetime

import boto3
import pytest

from seslocal import Simulator
from sesmail.sending.list_sync import ListSync
from sesmail.ses.suppression import SesListUnavailable, SesSuppressionList
from sesmail.state.people.suppression import OptOut, Scope, SuppressionList
from sesmail.vocabulary import Reason
from tests.conftest import MADE_UP_CREDENTIALS

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def simulator():
    with Simulator(calls_per_second=None, latency_seconds=(0, 0)) as running:
        yield running


@pytest.fixture
def client(simulator):
    names = {name.lower(): value for name, value in MADE_UP_CREDENTIALS.items() if "KEY" in name}
    client = boto3.client("sesv2", endpoint_url=simulator.url, region_name="us-east-1", **names)
    yield client
    for one in client.list_suppressed_destinations()["SuppressedDestinationSummaries"]:
        client.delete_suppressed_destination(EmailAddress=one["EmailAddress"])
    client.close()


@pytest.fixture
def theirs(client):
    return SesSuppressionList(client, sleep=lambda _: None)


@pytest.fixture
def ours(scripts):
    return SuppressionList(scripts)


def at_ses(client) -> dict[str, str]:
    found = client.list_suppressed_destinations()["SuppressedDestinationSummaries"]
    return {one["EmailAddress"]: one["Reason"] for one in found}


def opt_out(address: str, reason: Reason, scope: Scope | None = None) -> OptOut:
    return OptOut(address=address, scope=scope or Scope(), reason=reason, since=LONG_AGO, source="event")


def test_what_ses_has_comes_here_and_our_bounces_and_complaints_go_there(scripts, ours, theirs, client) -> None:
    client.put_suppressed_destination(EmailAddress="theirs@example.org", Reason="BOUNCE")
    client.put_suppressed_destination(EmailAddress="spam@example.org", Reason="COMPLAINT")
    ours.add(opt_out("bounced@example.org", Reason.BOUNCED))
    ours.add(opt_out("complained@example.org", Reason.COMPLAINED))
    ours.add(opt_out("left@example.org", Reason.UNSUBSCRIBED))
    ours.add(opt_out("by.hand@example.org", Reason.MANUAL))
    ours.add(opt_out("one.list@example.org", Reason.BOUNCED, Scope("alpha", "news")))
    synced = ListSync(scripts, ours, theirs).run()
    assert (synced.read, synced.added_here, synced.added_at_ses) == (2, 2, 2)
    assert {one.address: one.reason for one in ours.read()} | {
        "theirs@example.org": Reason.SES_LIST,
        "spam@example.org": Reason.COMPLAINED,
    } == {one.address: one.reason for one in ours.read()}
    assert at_ses(client) == {
        "theirs@example.org": "BOUNCE",
        "spam@example.org": "COMPLAINT",
        "bounced@example.org": "BOUNCE",
        "complained@example.org": "COMPLAINT",
    }


def test_a_run_that_was_interrupted_goes_on_where_it_was(scripts, ours, client, monkeypatch) -> None:
    monkeypatch.setattr("sesmail.ses.suppression.PAGE", 2)
    for number in range(5):
        client.put_suppressed_destination(EmailAddress=f"{number}@example.org", Reason="BOUNCE")
    for number in range(3):
        ours.add(opt_out(f"ours{number}@example.org", Reason.BOUNCED))
    calls = []

    class Interrupted:
        """Breaks off at some call, whatever it is."""

        def __init__(self, after: int) -> None:
            self.left = after

        def __getattr__(self, name):
            def call(**arguments):
                if self.left == 0:
                    raise KeyboardInterrupt
                self.left -= 1
                calls.append(name)
                return getattr(client, name)(**arguments)

            return call

    for after in (1, 2, 1, 99):
        try:
            ListSync(scripts, ours, SesSuppressionList(Interrupted(after), sleep=lambda _: None)).run()
        except KeyboardInterrupt:
            continue
    assert calls.count("list_suppressed_destinations") == 3
    assert calls.count("put_suppressed_destination") == 3
    assert len(at_ses(client)) == 8


def test_one_call_a_second_is_asked_of_ses(client) -> None:
    pauses = []
    theirs = SesSuppressionList(client, sleep=pauses.append)
    for number in range(3):
        theirs.put(f"{number}@example.org", "BOUNCE")
    assert len(pauses) == 2
    assert all(0.5 < pause <= 1.0 for pause in pauses)


def test_an_address_is_taken_off_ses_s_list_and_one_that_is_not_there_is_told(theirs, client) -> None:
    client.put_suppressed_destination(EmailAddress="bob@example.org", Reason="BOUNCE")
    assert (theirs.delete("bob@example.org"), theirs.delete("bob@example.org")) == (True, False)


def test_an_account_in_the_sandbox_is_told_what_is_missing() -> None:
    with Simulator(calls_per_second=None, sandbox=True, latency_seconds=(0, 0)) as running:
        names = {name.lower(): value for name, value in MADE_UP_CREDENTIALS.items() if "KEY" in name}
        client = boto3.client("sesv2", endpoint_url=running.url, region_name="us-east-1", **names)
        with pytest.raises(SesListUnavailable, match="sandbox"):
            SesSuppressionList(client, sleep=lambda _: None).put("a@example.org", "BOUNCE")
        client.close()
