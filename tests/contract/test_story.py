"""How a send came where it is: which moves are noted, and what is told of them; over a real Redis."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis

from sesmail.message import Email, Lane
from sesmail.sending.story import WHY, story
from sesmail.settings import Settings
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.vocabulary import Cause, Claim, Delivery, Reached, State
from tests.conftest import ClockedScripts

SAID = Settings(evidence_window_seconds=60, max_age_seconds=10_000, lease_seconds=10)


@pytest.fixture
def scripts(redis: Redis) -> ClockedScripts:
    return ClockedScripts(redis, Keys())


@pytest.fixture
def ledger(scripts: ClockedScripts) -> Ledger:
    return Ledger(scripts, SAID)


def accepted(ledger: Ledger, send_id: str = "a", **how: Any) -> None:
    ledger.accept(send_id, Email("ann@example.org", "Hello", "Hi.", from_email="shop@example.com"), **how)


def claimed(ledger: Ledger, owner: str = "ann:1:aa") -> Claim:
    claim = ledger.claim("a", owner)
    assert isinstance(claim, Claim)
    return claim


def asked(ledger: Ledger, owner: str = "ann:1:aa") -> Claim:
    claim = claimed(ledger, owner)
    ledger.begin(claim)
    return claim


def noted(ledger: Ledger) -> list[tuple[str, str, str, int]]:
    return [(move.state, move.why, move.worker, move.times) for move in ledger.status("a").moves]


def in_words(ledger: Ledger) -> list[str]:
    return [what for _, what in story(ledger.status("a"))]


def let_die(scripts: ClockedScripts, ledger: Ledger) -> None:
    """Time in which others live, so that Redis was plainly there."""
    for _ in range(4):
        scripts.advance(4)
        ledger.heartbeat("another", 10)


def test_the_common_road_leaves_no_moves(ledger: Ledger, scripts: ClockedScripts, redis: Redis) -> None:
    accepted(ledger)
    assert in_words(ledger) == ["accepted, queued"]
    scripts.advance(1)
    ledger.sent(asked(ledger), "ses-1")
    assert noted(ledger) == []
    assert redis.hexists("{sesmail}:send:a", "moves") is False
    assert in_words(ledger) == ["accepted", "sent"]


def test_a_send_whose_worker_died_while_ses_was_asked_tells_all_of_it(ledger: Ledger, scripts: ClockedScripts) -> None:
    accepted(ledger)
    ledger.heartbeat("ann:1:aa", 10)
    asked(ledger)
    let_die(scripts, ledger)
    ledger.take_back(State.SENDING)
    scripts.advance(61)
    ledger.queue_unproven()
    assert noted(ledger) == [("unknown", "worker-gone", "ann:1:aa", 1), ("queued", "no-evidence", "", 1)]
    times = [at for at, _ in story(ledger.status("a"))]
    assert times == sorted(times)
    ledger.sent(asked(ledger, "bob:2:bb"), "ses-1")
    assert in_words(ledger) == [
        "accepted",
        f"unknown: {WHY['worker-gone']}",
        f"queued: {WHY['no-evidence']}",
        "sent",
    ]


def test_waits_tell_why_and_are_counted_where_they_follow_each_other(ledger: Ledger, scripts: ClockedScripts) -> None:
    accepted(ledger)
    for owner, why in (("ann:1:aa", "throttled"), ("bob:2:bb", "throttled"), ("bob:2:bb", "quota")):
        ledger.postpone(asked(ledger, owner), 5.0, "words", why=why)
        scripts.advance(6)
    assert noted(ledger) == [("scheduled", "throttled", "bob:2:bb", 2), ("scheduled", "quota", "bob:2:bb", 1)]
    assert "2 times in a row" in in_words(ledger)[1]
    assert "(worker bob:2:bb)" in in_words(ledger)[1]


def test_what_waited_for_its_turn_alone_has_no_moves_once_it_is_sent(ledger: Ledger, scripts: ClockedScripts) -> None:
    accepted(ledger)
    ledger.postpone(claimed(ledger), 5.0, "many wait", why=Cause.RATE)
    assert noted(ledger) == [("scheduled", "rate", "ann:1:aa", 1)]
    scripts.advance(6)
    ledger.postpone(claimed(ledger), 5.0, "one before it", why="")  # of its lot: tells nothing
    scripts.advance(6)
    ledger.sent(asked(ledger), "ses-1")
    assert noted(ledger) == []


def test_ten_moves_are_kept_and_few_without_workers_once_it_is_sent(
    ledger: Ledger, scripts: ClockedScripts, redis: Redis
) -> None:
    accepted(ledger)
    for number in range(13):
        ledger.postpone(asked(ledger), 1.0, "words", why=("throttled", "unreachable")[number % 2])
        scripts.advance(2)
    moves = ledger.status("a").moves
    assert len(moves) == 10
    assert moves[-1].why == "throttled"
    ledger.sent(asked(ledger), "ses-1")
    kept = redis.hget("{sesmail}:send:a", "moves")
    assert kept is not None
    assert len(kept) <= 64
    assert [move.why for move in ledger.status("a").moves] == ["unreachable", "throttled"]
    assert redis.object("encoding", "{sesmail}:send:a") == b"listpack"


def test_what_an_operator_sends_again_remembers_its_acceptance_and_its_refusal(
    ledger: Ledger, scripts: ClockedScripts
) -> None:
    accepted(ledger)
    accepted_at = ledger.status("a").accepted_at
    ledger.rejected(asked(ledger), "Email address is not verified.", "MessageRejected")
    scripts.advance(60)
    ledger.requeue("a")
    assert noted(ledger) == [
        ("queued", "accepted", "", 1),
        ("rejected", "MessageRejected", "ann:1:aa", 1),
        ("queued", "requeued", "", 1),
    ]
    assert story(ledger.status("a"))[0] == (accepted_at // 1, "accepted")
    ledger.cancel("a")
    ledger.requeue("a")
    assert [move.why for move in ledger.status("a").moves] == [
        "accepted",
        "MessageRejected",
        "requeued",
        "",
        "requeued",
    ]


def test_other_ways_off_the_road_are_noted(ledger: Ledger, scripts: ClockedScripts) -> None:
    accepted(ledger)
    ledger.reschedule("a", datetime.fromtimestamp(scripts.now_ms / 1000 + 5, UTC))
    scripts.advance(6)
    ledger.queue_due(Lane.TRANSACTIONAL)  # as everybody knew that it would be
    ledger.heartbeat("ann:1:aa", 10)
    claimed(ledger)
    let_die(scripts, ledger)
    ledger.take_back(State.CLAIMED)
    scripts.advance(100)
    list(ledger.queue_lost(Lane.TRANSACTIONAL, grace_seconds=15, queue_is_empty=True))
    assert noted(ledger) == [
        ("scheduled", "rescheduled", "", 1),
        ("queued", "worker-gone", "ann:1:aa", 1),
        ("queued", "ticket-lost", "", 1),
    ]


def test_moves_of_a_newer_release_that_are_written_otherwise_are_passed_over(ledger: Ledger, redis: Redis) -> None:
    accepted(ledger)
    redis.hset("{sesmail}:send:a", "moves", "in another way\n1795766481 parked because ann:1:aa and more")
    ((state, why, worker, _),) = noted(ledger)
    assert (state, why, worker) == ("parked", "because", "ann:1:aa")


def test_each_cause_to_wait_that_is_noted_has_words() -> None:
    assert {*Cause} - {*WHY} == {Cause.LOT}


def test_what_ses_told_stands_in_the_story_at_its_time_and_names_recipients_where_there_are_several(
    ledger: Ledger, scripts: ClockedScripts
) -> None:
    accepted(ledger)
    scripts.advance(1)
    ledger.sent(asked(ledger), "ses-1")
    status = ledger.status("a")
    late = status.changed_at + 60
    events = tuple(
        Reached(at=at, recipient="ann@example.org", delivery=delivery, why=why)
        for at, delivery, why in (
            (status.changed_at // 1, Delivery.ACCEPTED, ""),
            (late, Delivery.DELAYED, "MailboxFull"),
            (late + 5, Delivery.DELIVERED, ""),
        )
    )
    assert story(replace(status, reached=events)) == [
        (status.accepted_at, "accepted"),
        (status.changed_at, "sent"),
        (status.changed_at // 1, "SES says: accepted"),
        (late, "SES says: delayed (MailboxFull)"),
        (late + 5, "SES says: delivered"),
    ]
    hidden = story(replace(status, recipients=2, reached=events[-1:]), lambda address: address.partition("@")[2])
    assert hidden[-1] == (late + 5, "SES says: delivered, example.org")
