"""Who called for a send is answered at its end: by one worker, again where that one died, and then no more."""

from __future__ import annotations

import pytest

from sesmail.message import Email, Lane
from sesmail.settings import Settings
from sesmail.state.ledger.answering import LEASE_SECONDS, MOST_LAST_TICKETS, Callers
from sesmail.state.ledger.ledger import Ledger
from sesmail.vocabulary import Caller, Claim, State, Ticket
from tests.conftest import ClockedScripts

WISHES = '{"v":1,"link":["what follows"]}'


@pytest.fixture
def ledger(clocked_scripts: ClockedScripts) -> Ledger:
    return Ledger(clocked_scripts, Settings())


@pytest.fixture
def callers(clocked_scripts: ClockedScripts) -> Callers:
    return Callers(clocked_scripts)


def caller(task_id: str, **changes: object) -> Caller:
    return Caller(**{"task_id": task_id, "wishes": WISHES, "waits": True, "waits_for_others": True} | changes)


def accept(ledger: Ledger, send_id: str = "a", **changes: object) -> str:
    email = Email("ann@example.org", "s", "t", from_email="shop@example.com", idempotency_key="order-17")
    return ledger.accept(send_id, email, caller=caller(send_id, **changes)).send_id


def fields(clocked_scripts: ClockedScripts, send_id: str = "a") -> set[str]:
    return {name.decode() for name in clocked_scripts.redis.hkeys(clocked_scripts.keys("send", send_id))}


def send(ledger: Ledger, send_id: str = "a") -> None:
    claim = ledger.claim(send_id, "worker")
    assert isinstance(claim, Claim)
    ledger.begin(claim)
    ledger.sent(claim, "ses-1")


def test_every_ticket_issued_again_brings_what_its_caller_gave(clocked_scripts: ClockedScripts, ledger: Ledger) -> None:
    accept(ledger)
    ledger.heartbeat("worker", 1)
    claim = ledger.claim("a", "worker")
    assert isinstance(claim, Claim)
    assert claim.callers == ("a",)
    ledger.postpone(claim, 5, "throttled")
    clocked_scripts.advance(5)
    again = [Ticket(send_id="a", lane=Lane.TRANSACTIONAL, wishes=WISHES)]
    assert ledger.queue_due(Lane.TRANSACTIONAL) == again
    clocked_scripts.advance(60)
    assert next(iter(ledger.queue_lost(Lane.TRANSACTIONAL, grace_seconds=1, queue_is_empty=True))) == again
    ledger.cancel("a")
    assert [ledger.requeue("a")] == again


def test_a_caller_is_answered_by_one_worker_and_then_no_more(
    clocked_scripts: ClockedScripts, ledger: Ledger, callers: Callers
) -> None:
    accept(ledger)
    assert callers.take("a", "a") is None, "it has not ended"
    send(ledger)
    answer = callers.take("a", "a", "mine")
    assert answer is not None
    assert (answer.state, answer.message_id, answer.wishes) == (State.SENT, "ses-1", WISHES)
    assert callers.take("a", "a", "mine") == answer, "the same call again, whose answer was lost"
    assert callers.take("a", "a", "another's") is None
    callers.answered(answer)
    assert callers.take("a", "a") is None
    clocked_scripts.advance(LEASE_SECONDS * 2)
    assert callers.last_tickets() == []
    assert fields(clocked_scripts) <= {"state", "moved_at", "accepted_at", "lane", "recipients", "message_id", "site"}
    assert ledger.status("a").attempts == 1
    assert clocked_scripts.redis.pttl(clocked_scripts.keys("send", "a")) > 0


def test_what_something_other_than_a_worker_ends_gets_one_last_ticket(
    clocked_scripts: ClockedScripts, ledger: Ledger, callers: Callers
) -> None:
    accept(ledger)
    ledger.cancel("a")
    clocked_scripts.advance(2)
    last = Ticket(send_id="a", lane=Lane.TRANSACTIONAL, wishes=WISHES, task_id="a")
    assert callers.last_tickets() == [last]
    assert callers.last_tickets() == []
    clocked_scripts.advance(LEASE_SECONDS)
    assert callers.last_tickets() == [last], "it may have been lost"


def test_what_a_worker_was_answering_when_it_died_is_answered_by_another(
    clocked_scripts: ClockedScripts, ledger: Ledger, callers: Callers
) -> None:
    accept(ledger)
    send(ledger)
    assert callers.take("a", "a")
    clocked_scripts.advance(LEASE_SECONDS + 1)
    assert [ticket.task_id for ticket in callers.last_tickets()] == ["a"]
    assert callers.take("a", "a")


def test_what_could_not_be_published_is_tried_again_then(
    clocked_scripts: ClockedScripts, ledger: Ledger, callers: Callers
) -> None:
    accept(ledger)
    send(ledger)
    answer = callers.take("a", "a")
    assert answer
    callers.put_back(answer, 30)
    assert callers.last_tickets() == []
    clocked_scripts.advance(31)
    assert len(callers.last_tickets()) == 1


def test_unknown_is_no_end_and_what_settles_it_is(
    clocked_scripts: ClockedScripts, ledger: Ledger, callers: Callers
) -> None:
    accept(ledger)
    claim = ledger.claim("a", "worker")
    assert isinstance(claim, Claim)
    ledger.begin(claim)
    ledger.outcome_unknown(claim, "no answer")
    clocked_scripts.advance(5)
    assert callers.take("a", "a") is None
    assert callers.last_tickets() == []
    ledger.record_evidence("a", "ses-2")
    clocked_scripts.advance(2)
    assert len(callers.last_tickets()) == 1
    answer = callers.take("a", "a")
    assert answer
    assert answer.message_id == "ses-2"


def test_a_send_that_goes_on_before_its_end_was_told_is_answered_when_it_ends_anew(
    clocked_scripts: ClockedScripts, ledger: Ledger, callers: Callers
) -> None:
    accept(ledger)
    ledger.cancel("a")
    ledger.requeue("a")
    clocked_scripts.advance(2)
    assert callers.last_tickets() == []
    assert callers.take("a", "a") is None
    send(ledger)
    answer = callers.take("a", "a")
    assert answer
    assert answer.state is State.SENT


def test_who_calls_later_under_the_same_key_is_answered_too(
    clocked_scripts: ClockedScripts, ledger: Ledger, callers: Callers
) -> None:
    accept(ledger)
    assert accept(ledger, "b") == "a"
    assert accept(ledger, "c", waits_for_others=False) == "a", "nobody knows this id"
    send(ledger)
    assert accept(ledger, "d") == "a"
    clocked_scripts.advance(2)
    assert sorted(str(ticket.task_id) for ticket in callers.last_tickets()) == ["a", "b", "d"]
    for task_id in "abd":
        answer = callers.take("a", task_id)
        assert answer
        callers.answered(answer)
    assert not {name for name in fields(clocked_scripts) if "caller" in name}
    assert not clocked_scripts.redis.exists(clocked_scripts.keys("unanswered"))


def test_what_is_for_tickets_alone_goes_with_the_end(clocked_scripts: ClockedScripts, ledger: Ledger) -> None:
    accept(ledger, waits=False)
    send(ledger)
    assert not {name for name in fields(clocked_scripts) if "caller" in name}
    assert not clocked_scripts.redis.exists(clocked_scripts.keys("unanswered"))


def test_a_caller_whom_no_ticket_helps_is_given_up_and_people_are_told(
    clocked_scripts: ClockedScripts, ledger: Ledger, callers: Callers, caplog: pytest.LogCaptureFixture
) -> None:
    accept(ledger)
    ledger.cancel("a")
    for _ in range(MOST_LAST_TICKETS + 1):
        clocked_scripts.advance(LEASE_SECONDS * 64)
        callers.last_tickets()
    assert callers.last_tickets() == []
    assert callers.take("a", "a") is None
    (record,) = (each for each in caplog.records if each.levelname == "ERROR")
    assert record.action == "answering_given_up"  # type: ignore[attr-defined]
