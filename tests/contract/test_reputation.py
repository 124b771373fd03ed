"""What became of the emails: counted once, in whatever order and however often it is told; in Redis and in memory."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import permutations

import pytest

from sesmail.state.keys import CATALOGUE
from sesmail.state.people.memory import MemoryReputation
from sesmail.state.people.reputation import Counter, Fact, Reputation, Sight
from sesmail.vocabulary import Delivery, Reached

DAY = date(2026, 11, 20)


@pytest.fixture(params=["redis", "memory"])
def reputation(request):
    return MemoryReputation() if request.param == "memory" else Reputation(request.getfixturevalue("scripts"))


def fact(key="message-1\nsent\nann@example.org", told_by="event-1", counter=Counter.SENT, **fields) -> Fact:
    defaults = {"happened_on": DAY, "site": "alpha", "list": "monthly", "sent_on": DAY}
    return Fact(key=key, told_by=told_by, counter=counter, **{**defaults, **fields})


def told(recipient: str, delivery: Delivery, at: float = 1_800_000_000.0, why: str = "") -> Reached:
    return Reached(at=at, recipient=recipient, delivery=delivery, why=why)


def counts(reputation, site="alpha", first=DAY, last=DAY) -> dict:
    return {rates.list: dict(rates.counts) for rates in reputation.rates(site, first, last)}


def test_a_fact_counts_once_whoever_tells_of_it_and_however_often(reputation) -> None:
    assert reputation.count([fact()]) == [Sight.FIRST]
    assert reputation.count([fact()]) == [Sight.AGAIN]
    assert reputation.count([fact(told_by="event-2")]) == [Sight.TWIN]
    assert counts(reputation) == {"monthly": {Counter.SENT: 1}}


def test_twins_in_one_batch_count_once(reputation) -> None:
    batch = [fact(), fact(told_by="event-2"), fact(key="other")]
    assert reputation.count(batch) == [Sight.FIRST, Sight.TWIN, Sight.FIRST]
    assert counts(reputation) == {"monthly": {Counter.SENT: 2}}


def test_counts_are_kept_by_site_list_and_day_of_sending(reputation) -> None:
    yesterday = DAY - timedelta(days=1)
    reputation.count(
        [
            fact("1"),
            fact("2", list=""),
            fact("3", site="beta"),
            fact("4", counter=Counter.BOUNCED_PERMANENT, sent_on=yesterday),
        ]
    )
    assert counts(reputation) == {"monthly": {Counter.SENT: 1}, "": {Counter.SENT: 1}}
    assert counts(reputation, site="beta") == {"monthly": {Counter.SENT: 1}}
    assert [rates.day for rates in reputation.rates("alpha", yesterday, DAY)] == [yesterday, DAY, DAY]


def test_what_is_not_counted_is_still_known(reputation) -> None:
    assert reputation.count([fact(counter=None)]) == [Sight.FIRST]
    assert reputation.count([fact(counter=None, told_by="event-2")]) == [Sight.TWIN]
    assert not counts(reputation)


def test_rates_are_those_that_aws_judges_by(reputation) -> None:
    facts = [fact(f"sent {n}") for n in range(200)]
    facts += [fact(f"hard {n}", counter=Counter.BOUNCED_PERMANENT) for n in range(10)]
    facts += [fact(f"soft {n}", counter=Counter.BOUNCED_TRANSIENT) for n in range(50)]
    facts += [fact(f"listed {n}", counter=Counter.BOUNCED_SUPPRESSED) for n in range(50)]
    facts += [fact("complaint", counter=Counter.COMPLAINED)]
    reputation.count(facts)
    (rates,) = reputation.rates("alpha", DAY, DAY)
    assert (rates.bounce_rate, rates.complaint_rate) == (0.05, 0.005)
    assert rates.as_dict()["opened"] == 0


def test_rates_without_sends_are_zero(reputation) -> None:
    reputation.count([fact(counter=Counter.COMPLAINED)])
    (rates,) = reputation.rates("alpha", DAY, DAY)
    assert rates.complaint_rate == 0.0


def test_a_status_goes_only_forward_in_whatever_order_events_come(reputation) -> None:
    statuses = [Delivery.ACCEPTED, Delivery.DELIVERED, Delivery.UNDELIVERED, Delivery.BOUNCED]
    for number, order in enumerate(permutations(statuses)):
        for status in order:
            reputation.progress([(f"send-{number}", told("ann@example.org", status))])
        assert reputation.deliveries(f"send-{number}") == {"ann@example.org": Delivery.BOUNCED}


def test_what_was_told_of_each_recipient_is_kept_with_its_first_time_and_why_in_order(reputation) -> None:
    ann, bob = "ann@example.org", '"b  c"@example.org'
    delayed = told(ann, Delivery.DELAYED, 1_800_000_009, "MailboxFull")
    first, last = told(ann, Delivery.ACCEPTED, 1_800_000_001), told(bob, Delivery.COMPLAINED, 1_800_000_020, "abuse")
    delivered = told(ann, Delivery.DELIVERED, 1_800_000_009)
    reputation.progress([("send", delivered), ("send", last), ("send", delayed)])
    reputation.progress([("send", told(ann, Delivery.DELAYED, 1_800_000_015)), ("send", first), ("send", delivered)])
    assert reputation.reached("send") == (first, delayed, delivered, last)
    assert reputation.deliveries("send") == {ann: Delivery.DELIVERED, bob: Delivery.COMPLAINED}
    assert reputation.reached("never seen") == ()


def test_an_out_of_office_answer_does_not_undo_a_delivery(reputation) -> None:
    reputation.progress(
        [("send", told("a@example.org", Delivery.DELIVERED)), ("send", told("a@example.org", Delivery.UNDELIVERED))]
    )
    assert reputation.deliveries("send") == {"a@example.org": Delivery.DELIVERED}


def test_each_recipient_has_a_status_of_its_own(reputation) -> None:
    reputation.progress(
        [("send", told("a@example.org", Delivery.DELIVERED)), ("send", told("b@example.org", Delivery.BOUNCED))]
    )
    assert reputation.deliveries("send") == {"a@example.org": Delivery.DELIVERED, "b@example.org": Delivery.BOUNCED}
    assert reputation.deliveries("never seen") == {}


def test_nothing_told_changes_nothing(redis, scripts) -> None:
    reputation = Reputation(scripts)
    reputation.progress([])
    assert reputation.count([]) == []
    assert not redis.keys()


def test_what_is_kept_goes_by_itself_and_is_in_the_catalogue(redis, scripts) -> None:
    reputation = Reputation(scripts)
    reputation.count([fact()])
    reputation.progress([("send", told("a@example.org", Delivery.DELIVERED))])
    assert all(redis.ttl(key) > 0 for key in redis.scan_iter())
    first_parts = {key.decode().removeprefix(scripts.keys.base).partition(":")[0] for key in redis.scan_iter()}
    assert first_parts <= {key.pattern.partition(":")[0] for key in CATALOGUE}
