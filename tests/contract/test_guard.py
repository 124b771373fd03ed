"""No more than so many emails an hour to one address, where that is wished; what comes beyond is set aside, not lost."""

from __future__ import annotations

import logging

import pytest

from sesmail.message import Email, Lane
from sesmail.settings import Settings
from sesmail.state.fleet.meters import Meters
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.people.suppression import OptOut, Scope, SuppressionList
from sesmail.vocabulary import Claim, Reason, State
from tests.contract.test_claims_heed_opt_outs import NOW

ADMIN = "admin@example.org"
HOUR_SECONDS = 3600


@pytest.fixture
def ledger(clocked_scripts) -> Ledger:
    return Ledger(clocked_scripts, Settings(hourly_limit_per_address=2, hourly_limit_exempt=["Archive@example.org"]))


def claimed(ledger: Ledger, send_id: str, *to: str, lane: Lane = Lane.TRANSACTIONAL):
    ledger.accept(send_id, Email(to or (ADMIN,), "s", "t", from_email="shop@example.com", lane=lane))
    return ledger.claim(send_id, "worker")


def test_what_is_beyond_the_limit_is_set_aside_and_counted_and_said_once(ledger, clocked_scripts, caplog) -> None:
    with caplog.at_level(logging.ERROR, "sesmail"):
        outcomes = [claimed(ledger, f"{n}", "Admin@Example.org") for n in range(5)]
    assert [type(one) for one in outcomes] == [Claim, Claim, State, State, State]
    assert outcomes[2] is State.ABANDONED
    status = ledger.status("2")
    assert (status.state, status.code) == (State.ABANDONED, "too-many")
    assert "2 emails an hour" in (status.reason or "")
    assert ledger.ids(State.ABANDONED) == ["2", "3", "4"]
    assert Meters(clocked_scripts.redis, clocked_scripts.keys).held_back() == 3
    (said,) = [record for record in caplog.records if getattr(record, "action", "") == "hourly_limit_reached"]
    assert ADMIN not in said.getMessage().lower()


def test_an_hour_later_emails_pass_again(ledger, clocked_scripts) -> None:
    for n in range(3):
        claimed(ledger, f"{n}")
    clocked_scripts.advance(HOUR_SECONDS + 1)
    assert isinstance(claimed(ledger, "later"), Claim)


def test_an_email_that_waits_and_is_claimed_again_counts_once(ledger, clocked_scripts) -> None:
    for _ in range(4):
        claim = claimed(ledger, "one")
        assert isinstance(claim, Claim)
        ledger.postpone(claim, 0.0, "the rate")
        clocked_scripts.advance(1)
    assert isinstance(claimed(ledger, "two"), Claim)
    assert claimed(ledger, "three") is State.ABANDONED


def test_an_operator_sends_it_all_the_same(ledger) -> None:
    for n in range(3):
        claimed(ledger, f"{n}")
    ledger.requeue("2")
    assert isinstance(ledger.claim("2", "worker"), Claim)


def test_each_recipient_is_counted_but_those_exempt_and_those_left_out(ledger, clocked_scripts) -> None:
    gone = OptOut(address="gone@example.org", scope=Scope(), reason=Reason.BOUNCED, since=NOW)
    SuppressionList(clocked_scripts).add(gone)
    others = "archive@example.org", "gone@example.org"
    for n in range(4):
        assert isinstance(claimed(ledger, f"to {n}", f"reader{n}@example.org", *others), Claim)
    for n in range(2):
        claimed(ledger, f"{n}")
    assert claimed(ledger, "both", "fresh@example.org", ADMIN, lane=Lane.BULK) is State.ABANDONED
    assert isinstance(claimed(ledger, "alone", "fresh@example.org"), Claim)


def test_without_the_setting_any_number_passes_and_nothing_is_kept(clocked_scripts) -> None:
    ledger = Ledger(clocked_scripts, Settings())
    assert all(isinstance(claimed(ledger, f"{n}"), Claim) for n in range(30))
    assert clocked_scripts.redis.keys("*lately*") == []
