"""Sends are found by address, by list and by state; no address stands in a key, and what is forgotten is not found."""

from __future__ import annotations

import pytest

from sesmail.errors import MoveRefused, UnknownSend
from sesmail.message import Email
from sesmail.settings import Settings
from sesmail.state.ledger.kept import kept_email
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.ledger.search import Search
from sesmail.vocabulary import State

DAY_SECONDS = 86_400


def accept(ledger: Ledger, send_id: str, *to: str, **said) -> None:
    ledger.accept(send_id, Email([*to], "s", said.pop("text", "t"), from_email="f@example.com", **said))


@pytest.fixture
def ledger(clocked_scripts) -> Ledger:
    return Ledger(clocked_scripts, Settings())


@pytest.fixture
def search(clocked_scripts) -> Search:
    return Search(clocked_scripts)


def test_sends_are_found_by_each_recipient_in_any_spelling_the_latest_first(ledger, search, clocked_scripts):
    accept(ledger, "one", "Ann <Ann@Example.ORG>", bcc=["bob@example.org"])
    clocked_scripts.advance(1)
    accept(ledger, "two", "ann@example.org")
    assert search.by_address("ANN@example.org").ids == ("two", "one")
    assert search.by_address("bob@example.org").ids == ("one",)
    assert search.by_address("carl@example.org").ids == ()
    assert search.by_address("ann@example.org", skip=1, limit=1).ids == ("one",)
    assert search.by_address("ann@example.org").total == 2


def test_sends_are_found_by_the_list_of_their_site(ledger, search):
    accept(ledger, "one", "ann@example.org", tags={"sesmail-list": "news"})
    accept(ledger, "two", "ann@example.org")
    assert search.by_list("default", "news").ids == ("one",)
    assert search.by_list("other", "news").ids == ()


def test_no_address_stands_in_the_index_and_its_secret_stays_the_first(ledger, clocked_scripts):
    accept(ledger, "one", "ann@example.org")
    redis = clocked_scripts.redis
    secret = redis.get("{sesmail}:index:secret")
    assert len(secret) == 64
    accept(Ledger(clocked_scripts, Settings()), "two", "ann@example.org")
    assert redis.get("{sesmail}:index:secret") == secret
    (name,) = redis.keys("{sesmail}:index:address:*")
    assert b"ann" not in name
    pseudonym = Search(clocked_scripts).pseudonym("Ann@Example.org")
    assert name.decode().endswith(f":{pseudonym}")
    assert {*redis.zrange(name, 0, -1)} == {b"one", b"two"}


def test_an_index_goes_when_the_last_of_its_sends_may_be_forgotten(ledger, search, clocked_scripts, redis):
    accept(ledger, "one", "ann@example.org")
    (name,) = redis.keys("{sesmail}:index:address:*")
    assert redis.pexpiretime(name) == clocked_scripts.now_ms + 37 * DAY_SECONDS * 1000
    clocked_scripts.advance(37 * DAY_SECONDS + 1)
    accept(ledger, "two", "ann@example.org")
    assert redis.zrange(name, 0, -1) == [b"two"]


def test_a_send_that_is_forgotten_is_not_found(ledger, search, redis):
    accept(ledger, "one", "ann@example.org")
    accept(ledger, "two", "ann@example.org")
    redis.delete("{sesmail}:send:two")
    assert search.by_address("ann@example.org").ids == ("one",)


def test_where_searching_is_switched_off_nothing_is_indexed(clocked_scripts, search, redis):
    accept(Ledger(clocked_scripts, Settings(search_by_address=False)), "one", "ann@example.org")
    assert redis.keys("{sesmail}:index:*") == []
    assert search.by_address("ann@example.org").ids == ()


def test_an_email_that_is_known_already_is_indexed_once(ledger, search):
    accept(ledger, "one", "ann@example.org", idempotency_key="k")
    accept(ledger, "two", "ann@example.org", idempotency_key="k")
    assert search.by_address("ann@example.org").ids == ("one",)


def test_sends_are_listed_by_state_over_both_lanes(ledger, search, clocked_scripts):
    for number, lane in enumerate(["bulk", "transactional", "bulk"]):
        accept(ledger, f"send{number}", "ann@example.org", lane=lane)
        clocked_scripts.advance(1)
    found = search.in_state(State.QUEUED, limit=2)
    assert (found.ids, found.total) == (("send2", "send1"), 3)
    assert search.in_state(State.QUEUED, skip=2).ids == ("send0",)
    ledger.cancel("send1")
    assert search.in_state(State.CANCELLED).ids == ("send1",)


def test_the_sends_of_an_account_are_found_however_far_back_a_part_at_a_time(ledger, search, monkeypatch):
    monkeypatch.setattr("sesmail.state.ledger.search.ACCOUNTS_AT_ONCE", 10)
    monkeypatch.setattr("sesmail.state.ledger.search.LOOKED_AT", 20)
    for number in range(45):
        accept(ledger, f"send{number:02}", "ann@example.org", account="bulk" if number % 40 < 3 else None)
        ledger.cancel(f"send{number:02}")
    found, start = [], 0
    while start is not None:
        page, start = search.of_account(State.CANCELLED, "bulk", start=start, limit=2)
        found.append(page)
    assert found == [["send42", "send41"], ["send40"], ["send02", "send01"], ["send00"]]
    assert len(search.of_account(State.CANCELLED, "default", limit=100)[0]) == 17  # of the first twenty


def test_those_sent_are_listed_the_latest_first_and_those_of_former_releases_last(ledger, search, redis):
    for number in range(4):
        accept(ledger, f"send{number}", "ann@example.org")
        claim = ledger.claim(f"send{number}", "worker")
        ledger.begin(claim)
        ledger.sent(claim, f"mid{number}")
    redis.zadd("{sesmail}:in:sent", {"former0": 1, "former1": 2})
    pages = [search.in_state(State.SENT, skip=skip, limit=3) for skip in (0, 3, 6)]
    assert [page.ids for page in pages] == [("send3", "send2", "send1"), ("send0", "former1", "former0"), ()]
    assert {page.total for page in pages} == {6}


def test_the_text_of_a_send_is_there_until_ses_has_it(ledger, search, clocked_scripts):
    accept(ledger, "one", "ann@example.org", text="long " * 1000, metadata={"order": 17})
    assert kept_email(clocked_scripts, "one").text == "long " * 1000
    assert search.recipients(["one", "nosuch"]) == {"one": ("ann@example.org",)}
    facts = search.facts("one")
    assert (facts.site, facts.account, facts.list, facts.metadata) == ("default", "default", "", ("order",))
    assert facts.due_at is None
    claim = ledger.claim("one", "worker")
    ledger.begin(claim)
    ledger.sent(claim, "mid")
    with pytest.raises(MoveRefused, match="not kept any more"):
        kept_email(clocked_scripts, "one")
    assert search.recipients(["one"]) == {}
    for asked in (lambda: kept_email(clocked_scripts, "nosuch"), lambda: search.facts("nosuch")):
        with pytest.raises(UnknownSend):
            asked()
