"""Who has opted out gets nothing, also of what was queued before; the others get it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from sesmail.message import Email, Lane
from sesmail.settings import Settings
from sesmail.settings.knobs import SuppressionReason
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.people.reputation import Reputation
from sesmail.state.people.suppression import OptOut, Scope, SuppressionList
from sesmail.vocabulary import Claim, Delivery, Reached, Reason, State

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVERYTHING = Scope()


@pytest.fixture
def ledger(scripts) -> Ledger:
    return Ledger(scripts, Settings(site="alpha"))


@pytest.fixture
def opt_out(scripts):
    def add(address: str, reason: Reason = Reason.UNSUBSCRIBED, scope: Scope = EVERYTHING) -> None:
        SuppressionList(scripts).add(OptOut(address=address, scope=scope, reason=reason, since=NOW))

    return add


def accept(ledger: Ledger, *to: str, lane: Lane = Lane.BULK, **fields) -> None:
    ledger.accept("one", Email(to, "s", "t", from_email="news@example.com", lane=lane, **fields))


def test_an_opt_out_holds_for_email_that_was_queued_before_it(ledger, opt_out, scripts) -> None:
    accept(ledger, "Ann <Ann@example.org>")
    opt_out("ann@example.org", Reason.BOUNCED)
    assert ledger.claim("one", "worker") is State.SUPPRESSED
    status = ledger.status("one")
    assert (status.state, status.code, ledger.counts()["suppressed"]) == (State.SUPPRESSED, "bounced", 1)
    assert Reputation(scripts).deliveries("one") == {"ann@example.org": Delivery.SUPPRESSED}


def test_an_opt_out_holds_however_an_international_domain_is_written(ledger, opt_out) -> None:
    accept(ledger, "Ann <ann@bücher.example>")
    opt_out("Ann@BÜCHER.example")
    assert ledger.claim("one", "worker") is State.SUPPRESSED


def test_an_email_goes_to_those_who_remain(ledger, opt_out, scripts) -> None:
    accept(ledger, "Ann <ann@Example.org>", "bob@example.org", cc=["Cy <CY@example.org>"], bcc=["di@example.org"])
    opt_out("ann@example.org")
    opt_out("cy@example.org")
    claim = ledger.claim("one", "worker")
    assert isinstance(claim, Claim)
    assert claim.email.recipients == ("bob@example.org", "di@example.org")
    assert Reputation(scripts).deliveries("one") == dict.fromkeys(
        ["ann@example.org", "cy@example.org"], Delivery.SUPPRESSED
    )


@pytest.mark.parametrize(
    ("scope", "list_name", "held"),
    [
        (Scope("alpha"), "", True),
        (Scope("beta"), "", False),
        (Scope("alpha", "monthly"), "monthly", True),
        (Scope("alpha", "monthly"), "weekly", False),
        (Scope("alpha", "monthly"), "", False),
    ],
)
def test_an_opt_out_reaches_as_far_as_its_scope(ledger, opt_out, scope, list_name, held) -> None:
    accept(ledger, "ann@example.org", tags={"sesmail-list": list_name} if list_name else {})
    opt_out("ann@example.org", scope=scope)
    assert (ledger.claim("one", "worker") is State.SUPPRESSED) is held


@pytest.mark.parametrize("reason", Reason)
def test_transactional_email_ignores_an_unsubscribe_and_passing_bounces_and_nothing_else(
    ledger, opt_out, reason
) -> None:
    accept(ledger, "ann@example.org", lane=Lane.TRANSACTIONAL)
    opt_out("ann@example.org", reason)
    assert isinstance(ledger.claim("one", "worker"), Claim) is (reason in {Reason.UNSUBSCRIBED, Reason.SOFT_BOUNCED})


def test_transactional_email_ignores_a_complaint_where_the_setting_names_it(scripts, opt_out) -> None:
    ledger = Ledger(scripts, Settings(transactional_ignores=["complained"]))
    opt_out("ann@example.org", Reason.COMPLAINED)
    opt_out("bob@example.org", Reason.UNSUBSCRIBED)
    accept(ledger, "ann@example.org", "bob@example.org", lane=Lane.TRANSACTIONAL)
    claim = ledger.claim("one", "worker")
    assert isinstance(claim, Claim)
    assert claim.email.recipients == ("ann@example.org",)


def test_a_suppressed_send_can_be_sent_again_once_its_reader_is_let_in(ledger, opt_out, scripts) -> None:
    opt_out("ann@example.org")
    accept(ledger, "ann@example.org")
    assert ledger.claim("one", "worker") is State.SUPPRESSED
    SuppressionList(scripts).remove("ann@example.org", Scope())
    ledger.requeue("one")
    claim = ledger.claim("one", "worker")
    assert isinstance(claim, Claim)
    accepted = Reached(at=1.0, recipient="ann@example.org", delivery=Delivery.ACCEPTED)
    Reputation(scripts).progress([("one", accepted)])
    assert Reputation(scripts).deliveries("one") == {"ann@example.org": Delivery.ACCEPTED}


def test_a_claim_whose_answer_was_lost_is_answered_alike_again(ledger, opt_out) -> None:
    accept(ledger, "ann@example.org", "bob@example.org")
    opt_out("ann@example.org")
    first, second = (ledger.claim("one", "worker", token="t") for _ in range(2))
    assert first == second


def test_the_addresses_go_with_the_text_and_the_metadata_stays(ledger, redis, scripts) -> None:
    accept(ledger, "ann@example.org", metadata={"order": 17})
    claim = ledger.claim("one", "worker")
    assert isinstance(claim, Claim)
    ledger.begin(claim)
    ledger.sent(claim, "ses-1")
    assert not any(b"ann@" in value for value in redis.hvals(scripts.keys("send", "one")))
    assert ledger.metadata("one") == {"order": 17}
    assert ledger.metadata("unheard of") == {}


def test_the_setting_knows_every_reason() -> None:
    assert set(get_args(SuppressionReason)) == set(map(str, Reason))
