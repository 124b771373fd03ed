"""Passing bounces: several in a row, with no delivery between, opt an address out for a while; nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sesmail.events.processing import EventProcessor
from sesmail.message import Lane
from sesmail.settings import Settings
from sesmail.state.people.memory import MemoryOptOuts
from sesmail.state.people.suppression import OptOut, Passing, Scope, SoftBouncePolicy, SuppressionList
from sesmail.vocabulary import Reason
from tests.contract.events.site_of_events import SiteOfEvents, bounce_of, event_like
from tests.opt_outs import left_out

ANN = "ann@example.org"
POLICY = SoftBouncePolicy(limit=3, window_seconds=10 * 86_400, pause_seconds=20 * 86_400)
TODAY = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(params=["redis", "memory"])
def book(request):
    return SuppressionList(request.getfixturevalue("scripts")) if request.param == "redis" else MemoryOptOuts()


def bounced(book, *days_ago: float) -> int:
    return book.count_passing(POLICY, [passing(days, delivered=False) for days in days_ago])


def delivered(book, days_ago: float) -> None:
    book.count_passing(POLICY, [passing(days_ago, delivered=True)])


def passing(days_ago: float, *, delivered: bool) -> Passing:
    return Passing(address=ANN, delivered=delivered, at=TODAY - timedelta(days=days_ago), source="one")


def test_so_many_in_a_row_opt_out_for_a_while(book) -> None:
    assert bounced(book, 3, 2) == 0
    assert book.find(ANN) == []
    assert bounced(book, 1) == 1
    (entry,) = book.find(ANN)
    assert (entry.reason, entry.scope, entry.until) == (
        Reason.SOFT_BOUNCED,
        Scope(),
        TODAY - timedelta(days=1) + timedelta(days=20),
    )


def test_the_same_bounce_told_again_is_no_second_one(book) -> None:
    assert bounced(book, 2, 2, 2, 2) == 0


def test_a_delivery_between_begins_anew_and_one_afterwards_ends_it(book) -> None:
    bounced(book, 5, 4)
    delivered(book, 3)
    assert bounced(book, 2, 1) == 0
    assert bounced(book, 0.5) == 1
    delivered(book, 0.1)
    assert book.find(ANN) == []


def test_bounces_far_apart_do_not_count_together(book) -> None:
    assert bounced(book, 25, 12, 1) == 0


def test_it_ends_by_itself(book) -> None:
    bounced(book, 30, 29, 28)
    assert book.find(ANN) == []
    assert list(book.read()) == []
    assert book.add(OptOut(address=ANN, scope=Scope(), reason=Reason.UNSUBSCRIBED, since=TODAY))


def test_a_stronger_reason_stays_and_replaces_it(book) -> None:
    bounced(book, 3, 2, 1)
    assert book.add(OptOut(address=ANN, scope=Scope(), reason=Reason.BOUNCED, since=TODAY))
    assert bounced(book, 0.5) == 0
    delivered(book, 0)
    assert [entry.reason for entry in book.find(ANN)] == [Reason.BOUNCED]


def test_bulk_leaves_the_address_out_and_transactional_email_does_not(scripts) -> None:
    bounced(SuppressionList(scripts), 3, 2, 1)
    assert left_out(scripts, [ANN]) == {ANN}
    assert left_out(scripts, [ANN], lane=Lane.TRANSACTIONAL) == set()


def test_one_that_is_over_leaves_nobody_out(scripts) -> None:
    bounced(SuppressionList(scripts), 30, 29, 28)
    assert left_out(scripts, [ANN]) == set()


def test_events_through_the_door_come_to_the_same(redis) -> None:
    site = SiteOfEvents(redis)
    site.processor = EventProcessor(
        "alpha",
        site.store,
        site.suppression,
        site.reputation,
        record_evidence=lambda *_: None,
        metadata=lambda _: {},
        soft_bounces=POLICY,
        hard_bounce_expiry_seconds=86_400,
    )

    def full(days_ago: int) -> dict:
        at = (TODAY - timedelta(days=days_ago)).isoformat()
        email = {"mail__messageId": f"m{days_ago}", "bounce__timestamp": at}
        return bounce_of(ANN, to=[ANN], kind="Transient", sub_type="MailboxFull", **email)

    site.hear(full(4), full(3), full(2))
    assert site.opted_out() == {ANN: "soft-bounced everything"}
    at = (TODAY - timedelta(days=1)).isoformat()
    site.hear(
        event_like("ev_delivery.json", mail__destination=[ANN], delivery__recipients=[ANN], delivery__timestamp=at)
    )
    assert site.opted_out() == {}
    gone = bounce_of("gone@example.org", to=["gone@example.org"], bounce__timestamp=TODAY.isoformat())
    site.hear(gone)
    (entry,) = site.suppression.read()
    assert entry.until == TODAY + timedelta(days=1)


def test_it_can_be_switched_off() -> None:
    from sesmail.client import Client

    assert Client(Settings(redis_url="redis://127.0.0.1:1/0"))._soft_bounces().limit == 5
    assert Client(Settings(redis_url="redis://127.0.0.1:1/0", soft_bounce_limit=0))._soft_bounces() is None
