"""The ledger on a real Redis, by the test's clock: what it does beside what `test_sends_book.py` asks of both."""

from __future__ import annotations

from math import ceil

import pytest
from redis import Redis

from sesmail.errors import LedgerUnavailable, MoveRefused, StaleClaim, UnknownSend
from sesmail.message import Email, Lane
from sesmail.settings import Settings
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import Claim, State, Ticket
from tests.conftest import ClockedScripts

LEASE_SECONDS = Settings().lease_seconds
LETTER = "<p>A long letter.</p>" * 100


def email(**changes: object) -> Email:
    return Email("success@simulator.amazonses.com", "Hello", "Hi.", **{"from_email": "shop@example.com", **changes})  # type: ignore[arg-type]


@pytest.fixture
def ledger(clocked_scripts: ClockedScripts) -> Ledger:
    return Ledger(clocked_scripts, Settings(evidence_window_seconds=1800, max_attempts=2))


def claimed(ledger: Ledger, send_id: str = "a", owner: str = "worker") -> Claim:
    claim = ledger.claim(send_id, owner)
    assert isinstance(claim, Claim), claim
    return claim


def time_passes(ledger: Ledger, clocked_scripts: ClockedScripts, seconds: float) -> None:
    """Time in which Redis was there, as the heartbeats of some other worker show."""
    for _ in range(ceil(seconds)):
        ledger.heartbeat("another", LEASE_SECONDS)
        clocked_scripts.advance(1)


def lost(ledger: Ledger, lane: Lane, *, queue_is_empty: bool) -> list[Ticket]:
    pages = ledger.queue_lost(lane, grace_seconds=15, queue_is_empty=queue_is_empty)
    return [ticket for page in pages for ticket in page]


def blobs(redis: Redis) -> list[bytes]:
    return list(redis.scan_iter("{sesmail}:blob:*"))


def test_accepting_the_same_id_twice_changes_nothing(ledger: Ledger, redis: Redis) -> None:
    ledger.accept("a", email(html=LETTER))
    again = ledger.accept("a", email(html=LETTER))
    assert not again.new
    ledger.begin(claim := claimed(ledger))
    ledger.sent(claim, "ses-1")
    assert blobs(redis) == []


def test_whether_a_key_is_known_can_be_asked_without_accepting_anything(ledger: Ledger) -> None:
    assert not ledger.knows("invoice-7")
    ledger.accept("a", email(idempotency_key="invoice-7"))
    assert ledger.knows("invoice-7")
    assert not ledger.knows("invoice-8")


def test_an_idempotency_key_is_not_readable_in_redis(ledger: Ledger, redis: Redis) -> None:
    ledger.accept("a", email(idempotency_key="ann@example.org"))
    assert not [key for key in redis.scan_iter("*") if b"ann" in key]


def test_a_large_body_is_stored_once_and_freed_with_its_last_send(ledger: Ledger, redis: Redis) -> None:
    for send_id in "ab":
        ledger.accept(send_id, email(html=LETTER))
    assert len(blobs(redis)) == 1
    for send_id, left in (("a", 1), ("b", 0)):
        claim = claimed(ledger, send_id)
        assert claim.email.html == LETTER
        ledger.begin(claim)
        ledger.sent(claim, "ses")
        assert len(blobs(redis)) == left


def test_a_blob_that_this_process_stored_but_redis_no_longer_has_is_stored_again(ledger: Ledger) -> None:
    ledger.accept("a", email(html=LETTER))
    ledger.begin(claim := claimed(ledger))
    ledger.sent(claim, "ses")
    ledger.accept("b", email(html=LETTER))
    assert claimed(ledger, "b").email.html == LETTER


def test_a_claim_of_a_dead_worker_goes_to_another_and_its_late_begin_is_refused(
    ledger: Ledger, clocked_scripts: ClockedScripts
) -> None:
    ledger.accept("a", email())
    ledger.heartbeat("first", 10)
    frozen = claimed(ledger, owner="first")
    assert ledger.take_back(State.CLAIMED) == ([], 0, 0)
    time_passes(ledger, clocked_scripts, 10)
    assert ledger.take_back(State.CLAIMED) == ([Ticket(send_id="a", lane=Lane.TRANSACTIONAL)], 0, 0)
    second = claimed(ledger, owner="second")
    with pytest.raises(StaleClaim):
        ledger.begin(frozen)
    ledger.begin(second)
    with pytest.raises(StaleClaim):
        ledger.rejected(frozen, "no")
    assert ledger.status("a").state is State.SENDING


def test_what_a_dead_worker_was_sending_becomes_unknown_and_its_late_yes_still_counts(
    ledger: Ledger, clocked_scripts: ClockedScripts
) -> None:
    ledger.accept("a", email())
    ledger.heartbeat("first", 10)
    ledger.begin(frozen := claimed(ledger, owner="first"))
    time_passes(ledger, clocked_scripts, 11)
    assert ledger.take_back(State.SENDING) == ([], 0, 1)
    clocked_scripts.advance(1800)
    assert ledger.queue_unproven() == ([Ticket(send_id="a", lane=Lane.TRANSACTIONAL)], 0)
    second = claimed(ledger, owner="second")
    with pytest.raises(StaleClaim):
        ledger.sent(frozen, "ses-1")
    assert ledger.status("a").state is State.SENT
    with pytest.raises(StaleClaim):
        ledger.begin(second)


def test_sending_ends_as_unknown_past_its_hard_end_even_under_a_living_worker(
    ledger: Ledger, clocked_scripts: ClockedScripts
) -> None:
    ledger.accept("a", email())
    ledger.heartbeat("worker", 10_000)
    ledger.begin(claimed(ledger))
    time_passes(ledger, clocked_scripts, Settings().asking_seconds + 1)
    assert ledger.take_back(State.SENDING) == ([], 0, 1)


def test_a_claim_that_a_living_worker_forgot_is_taken_back_in_the_end(
    ledger: Ledger, clocked_scripts: ClockedScripts
) -> None:
    """A bug between claim and begin must not keep the send for as long as the worker lives."""
    ledger.accept("a", email())
    ledger.heartbeat("worker", 10_000)
    claimed(ledger)
    time_passes(ledger, clocked_scripts, Settings().patience_seconds)
    assert ledger.take_back(State.CLAIMED) == ([], 0, 0)
    time_passes(ledger, clocked_scripts, Settings().asking_seconds + 1)
    assert len(ledger.take_back(State.CLAIMED)[0]) == 1


@pytest.mark.parametrize("first_back", ["the other worker", "a sweep"])
def test_workers_are_not_taken_for_dead_because_redis_was_away(
    ledger: Ledger, clocked_scripts: ClockedScripts, first_back: str
) -> None:
    for send_id, owner in (("a", "living"), ("b", "dead")):
        ledger.heartbeat(owner, LEASE_SECONDS)
        ledger.accept(send_id, email())
        claimed(ledger, send_id, owner)
    clocked_scripts.advance(60)
    if first_back == "the other worker":
        ledger.heartbeat("another", LEASE_SECONDS)
    assert ledger.take_back(State.CLAIMED)[0] == []
    clocked_scripts.advance(LEASE_SECONDS / 4)
    assert ledger.heartbeat("living", LEASE_SECONDS)
    clocked_scripts.advance(LEASE_SECONDS / 4)
    assert [t.send_id for t in ledger.take_back(State.CLAIMED)[0]] == ["b"]


def test_when_every_worker_is_dead_their_claims_are_taken_back_all_the_same(
    ledger: Ledger, clocked_scripts: ClockedScripts
) -> None:
    ledger.accept("a", email())
    ledger.heartbeat("worker", LEASE_SECONDS)
    claimed(ledger)
    clocked_scripts.advance(60)
    assert ledger.take_back(State.CLAIMED)[0] == []
    clocked_scripts.advance(LEASE_SECONDS / 2)
    assert len(ledger.take_back(State.CLAIMED)[0]) == 1


def test_many_claims_are_taken_back_page_by_page(ledger: Ledger) -> None:
    for n in range(25):
        ledger.accept(f"s{n}", email())
        claimed(ledger, f"s{n}", owner="dead" if n % 2 else "alive")
    ledger.heartbeat("alive", 60)
    tickets, _, _ = ledger.take_back(State.CLAIMED, page=4)
    assert {t.send_id for t in tickets} == {f"s{n}" for n in range(1, 25, 2)}
    assert ledger.counts()["claimed"] == 13


def test_unknown_sends_are_given_up_after_the_last_attempt(ledger: Ledger, clocked_scripts: ClockedScripts) -> None:
    ledger.accept("a", email())
    for expected in ((1, 0), (0, 1)):
        ledger.begin(claim := claimed(ledger))
        ledger.outcome_unknown(claim, "500")
        clocked_scripts.advance(1800)
        tickets, abandoned = ledger.queue_unproven()
        assert (len(tickets), abandoned) == expected
    assert ledger.status("a").state is State.ABANDONED


def unknown(ledger: Ledger, send_id: str, lane: str = "transactional") -> None:
    ledger.accept(send_id, email(lane=lane))
    ledger.begin(claim := claimed(ledger, send_id))
    ledger.outcome_unknown(claim, "500")


def queued_unproven(ledger: Ledger) -> list[str]:
    return [ticket.send_id for ticket in ledger.queue_unproven()[0]]


def test_a_password_reset_waits_a_minute_for_evidence_and_a_letter_half_an_hour(
    clocked_scripts: ClockedScripts,
) -> None:
    ledger = Ledger(clocked_scripts, Settings())
    for lane in ("bulk", "transactional"):
        unknown(ledger, lane, lane)
    found = []
    for seconds in (59, 2, 1738, 2):
        clocked_scripts.advance(seconds)
        found.append(queued_unproven(ledger))
    assert found == [[], ["transactional"], [], ["bulk"]]


def test_those_whose_window_is_not_over_hide_no_others(clocked_scripts: ClockedScripts) -> None:
    ledger = Ledger(clocked_scripts, Settings())
    for number in range(5):
        unknown(ledger, f"bulk-{number}", "bulk")
    clocked_scripts.advance(1)
    for number in range(3):
        unknown(ledger, f"reset-{number}")
    clocked_scripts.advance(60)
    tickets, _ = ledger.queue_unproven(page=2)
    tickets += ledger.queue_unproven(page=2)[0]
    assert [ticket.send_id for ticket in tickets] == ["reset-0", "reset-1", "reset-2"]


def hear(ledger: Ledger, scripts: ClockedScripts, after_seconds: float, times: int = 50) -> None:
    """SES's first word of so many emails comes so late."""
    for number in range(times):
        name = f"{after_seconds}-{number}"
        ledger.accept(name, email())
        ledger.begin(claim := claimed(ledger, name))
        ledger.sent(claim, f"m-{name}")
        scripts.advance(after_seconds)
        assert ledger.record_first_word(name, f"m-{name}") == "known"


def test_where_events_come_late_a_password_reset_waits_longer_for_them_and_never_shorter(
    clocked_scripts: ClockedScripts,
) -> None:
    ledger = Ledger(clocked_scripts, Settings(sent_retention_seconds=10**6))
    hear(ledger, clocked_scripts, 0.5)
    unknown(ledger, "quick")
    clocked_scripts.advance(59)
    assert queued_unproven(ledger) == [], "not below a minute"
    clocked_scripts.advance(2)
    assert queued_unproven(ledger) == ["quick"]
    hear(ledger, clocked_scripts, 100)
    unknown(ledger, "late")
    clocked_scripts.advance(240)
    assert queued_unproven(ledger) == [], "three times what they take"
    clocked_scripts.advance(90)
    assert queued_unproven(ledger) == ["late"]
    hear(ledger, clocked_scripts, 100_000, times=3)
    unknown(ledger, "never")
    clocked_scripts.advance(1801)
    assert queued_unproven(ledger) == ["never"], "not above half an hour, however late some came"


def test_a_window_that_is_set_holds_however_late_events_come(clocked_scripts: ClockedScripts) -> None:
    ledger = Ledger(clocked_scripts, Settings(evidence_window_seconds=20, sent_retention_seconds=10**6))
    hear(ledger, clocked_scripts, 100)
    for lane in ("bulk", "transactional"):
        unknown(ledger, lane, lane)
    clocked_scripts.advance(21)
    assert queued_unproven(ledger) == ["bulk", "transactional"]


def test_on_unknown_hold_leaves_the_send_to_an_operator(clocked_scripts: ClockedScripts) -> None:
    ledger = Ledger(clocked_scripts, Settings(on_unknown="hold"))
    ledger.accept("a", email())
    ledger.begin(claim := claimed(ledger))
    ledger.outcome_unknown(claim, "500")
    clocked_scripts.advance(1_000_000)
    assert ledger.queue_unproven() == ([], 0)
    assert ledger.status("a").state is State.UNKNOWN


def test_a_rejected_send_keeps_its_text_and_can_be_sent_again(ledger: Ledger) -> None:
    ledger.accept("a", email(html=LETTER))
    ledger.begin(claim := claimed(ledger))
    ledger.rejected(claim, "SES's words", "MessageRejected")
    assert ledger.ids(State.REJECTED) == ["a"]
    assert ledger.requeue("a") == Ticket(send_id="a", lane=Lane.TRANSACTIONAL)
    assert claimed(ledger).email.html == LETTER
    with pytest.raises(MoveRefused):
        ledger.requeue("a")


def test_failed_sends_are_forgotten_with_their_text_after_their_retention(
    ledger: Ledger, clocked_scripts: ClockedScripts, redis: Redis
) -> None:
    ledger.accept("a", email(html=LETTER))
    ledger.begin(claim := claimed(ledger))
    ledger.rejected(claim, "no")
    clocked_scripts.advance(30 * 86_400 - 1)
    assert ledger.forget_old() == 0
    clocked_scripts.advance(2)
    assert ledger.forget_old() == 1
    assert blobs(redis) == []
    with pytest.raises(UnknownSend):
        ledger.status("a")


def test_a_row_that_cannot_be_read_is_set_aside_with_its_bytes(ledger: Ledger, redis: Redis) -> None:
    ledger.accept("a", email())
    redis.hset("{sesmail}:send:a", "email", "{broken")
    assert ledger.claim("a", "worker") is State.ABANDONED
    assert ledger.status("a").code == "broken"
    assert redis.hget("{sesmail}:send:a", "email") == b"{broken"


def test_an_overtaken_ticket_is_issued_again_within_twice_its_grace(
    ledger: Ledger, clocked_scripts: ClockedScripts
) -> None:
    ledger.accept("lost", email(lane="bulk"))
    clocked_scripts.advance(1)
    ledger.accept("later", email(lane="bulk"))
    claimed(ledger, "later")
    found: list[Ticket] = []
    for _ in range(10):
        clocked_scripts.advance(3)
        found += lost(ledger, Lane.BULK, queue_is_empty=False)
    assert found == [Ticket(send_id="lost", lane=Lane.BULK)]


def test_a_long_honest_backlog_is_not_taken_for_loss(ledger: Ledger, clocked_scripts: ClockedScripts) -> None:
    """A ticket that was issued again goes ahead of the backlog; that must not make the backlog look overtaken."""
    for n in range(30):
        ledger.accept(f"s{n}", email(lane="bulk"))
        clocked_scripts.advance(1)
    claimed(ledger, "s0", owner="dead")
    found: list[Ticket] = []
    for n in range(1, 30):
        clocked_scripts.advance(5)
        for ticket in ledger.take_back(State.CLAIMED)[0]:
            claimed(ledger, ticket.send_id, owner="living")
        ledger.heartbeat("living", 60)
        found += lost(ledger, Lane.BULK, queue_is_empty=False)
        claimed(ledger, f"s{n}", owner="living")
    assert found == []


def test_an_express_ticket_that_is_lost_is_found_although_its_lane_has_a_long_backlog(
    ledger: Ledger, clocked_scripts: ClockedScripts
) -> None:
    """It was in the transactional queue, so it is that queue which shows its loss."""
    for n in range(50):
        ledger.accept(f"s{n}", email(lane="bulk"))
        clocked_scripts.advance(1)
    claimed(ledger, "s0", owner="dead")
    assert [t.send_id for t in ledger.take_back(State.CLAIMED)[0]] == ["s0"]
    clocked_scripts.advance(16)
    claimed(ledger, "s1")
    assert lost(ledger, Lane.BULK, queue_is_empty=False) == []
    found = lost(ledger, Lane.TRANSACTIONAL, queue_is_empty=True)
    assert found == [Ticket(send_id="s0", lane=Lane.BULK)]


def test_a_claim_knows_that_its_ticket_was_issued_again(ledger: Ledger, clocked_scripts: ClockedScripts) -> None:
    ledger.accept("a", email(lane="bulk"))
    assert not claimed(ledger, "a", owner="dead").express
    ledger.take_back(State.CLAIMED)
    assert claimed(ledger, "a").express


def test_an_express_ticket_is_overtaken_by_transactional_ones(ledger: Ledger, clocked_scripts: ClockedScripts) -> None:
    ledger.accept("lost", email(lane="bulk"))
    claimed(ledger, "lost", owner="dead")
    ledger.take_back(State.CLAIMED)
    clocked_scripts.advance(1)
    ledger.accept("later", email())
    claimed(ledger, "later")
    found: list[Ticket] = []
    for _ in range(10):
        clocked_scripts.advance(3)
        found += lost(ledger, Lane.TRANSACTIONAL, queue_is_empty=False)
    assert found == [Ticket(send_id="lost", lane=Lane.BULK)]


def test_an_empty_broker_means_that_all_old_tickets_are_lost(ledger: Ledger, clocked_scripts: ClockedScripts) -> None:
    for n in range(5):
        ledger.accept(f"s{n}", email(lane="bulk"))
    assert lost(ledger, Lane.BULK, queue_is_empty=True) == []
    clocked_scripts.advance(16)
    assert [len(page) for page in ledger.queue_lost(Lane.BULK, grace_seconds=15, queue_is_empty=True, page=2)] == [
        2,
        2,
        1,
    ]


def test_tickets_that_take_long_to_be_issued_again_are_not_taken_for_lost_meanwhile(
    ledger: Ledger, clocked_scripts: ClockedScripts
) -> None:
    """A broker that lost a hundred thousand takes a minute or more to be given them anew."""
    for n in range(6):
        ledger.accept(f"s{n}", email(lane="bulk"))
    clocked_scripts.advance(16)
    found: list[Ticket] = []
    for page in ledger.queue_lost(Lane.BULK, grace_seconds=15, queue_is_empty=True, page=2):
        clocked_scripts.advance(20)
        found += page
    assert [ticket.send_id for ticket in found] == [f"s{n}" for n in range(6)]


def test_a_full_redis_takes_no_new_email_but_what_was_sent_is_written_down(ledger: Ledger, redis: Redis) -> None:
    """Were it another error than being away, workers would drop what they hold."""
    for send_id in "ab":
        ledger.accept(send_id, email())
    ledger.begin(claim := claimed(ledger))
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(LedgerUnavailable):
            ledger.accept("c", email())
        with pytest.raises(LedgerUnavailable):
            ledger.claim("b", "worker")
        assert ledger.sent(claim, "ses-1") is State.SENT
    finally:
        redis.config_set("maxmemory", 0)


def test_an_unreachable_redis_is_said_in_our_words() -> None:
    nowhere = Redis(host="127.0.0.1", port=1, retry=None)
    ledger = Ledger(Scripts(nowhere, Keys()), Settings())
    with pytest.raises(LedgerUnavailable, match="Nothing was accepted"):
        ledger.accept("a", email())
    with pytest.raises(LedgerUnavailable):
        ledger.counts()
