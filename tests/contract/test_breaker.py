"""The breaker: SES out of order pauses the account's line for the whole fleet, and single calls try it again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sesmail import Client
from sesmail.errors import OutcomeUnknown, SendRejected, SendThrottled, SesError, SesMisconfigured, SesUnavailable
from sesmail.message import Email, Lane
from sesmail.sending.delivery.outcomes import Outcome, Sent, Unknown
from sesmail.sending.throttle import SendThrottle
from sesmail.settings import Settings
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.line.breaker import Breaker, Probed
from sesmail.state.line.line import ACCOUNT, Closure, How, Line
from sesmail.vocabulary import Claim, Postponed, State
from tests.conftest import ClockedScripts


@pytest.fixture
def breaker(clocked_scripts: ClockedScripts) -> Breaker:
    return Breaker(clocked_scripts)


@pytest.fixture
def line(clocked_scripts: ClockedScripts) -> Line:
    return Line(clocked_scripts)


def closure(line: Line) -> Closure:
    (found,) = line.closures()
    return found


def close(breaker: Breaker) -> None:
    assert [breaker.unclear("500") for _ in range(3)] == [False, False, True]


def pause_seconds(line: Line, scripts: ClockedScripts) -> float:
    """How long from now until the line may be tried."""
    next_probe_at = closure(line).next_probe_at
    assert next_probe_at is not None
    return next_probe_at - scripts.now_ms / 1000


def test_three_answers_in_a_row_that_are_not_clear_close_the_line_once(breaker, line) -> None:
    close(breaker)
    assert (closure(line).scope, closure(line).how, closure(line).reason) == (ACCOUNT, How.STOPPED, "500")
    assert not breaker.unclear("a fourth that was on its way"), "it is closed already"


@pytest.mark.parametrize("end", ["sent", "rejected"])
def test_a_clear_answer_between_them_begins_the_count_anew(breaker, line, clocked_scripts, end) -> None:
    ledger = Ledger(clocked_scripts, Settings())
    breaker.unclear("500")
    breaker.unclear("500")
    ledger.accept("a", Email("ann@example.org", "s", "t", from_email="shop@example.com"))
    claim = ledger.claim("a", "worker")
    assert isinstance(claim, Claim)
    ledger.begin(claim)
    ledger.sent(claim, "m") if end == "sent" else ledger.rejected(claim, "no")
    assert not any([breaker.unclear("500"), breaker.unclear("500")])
    assert line.closures() == ()


def test_it_is_tried_at_growing_pauses_of_up_to_half_a_minute(breaker, line, clocked_scripts) -> None:
    close(breaker)
    pauses = [pause_seconds(line, clocked_scripts)]
    for _ in range(7):
        clocked_scripts.advance(pauses[-1])
        breaker.unclear("500", probed=Probed.ACCOUNT)
        pauses.append(pause_seconds(line, clocked_scripts))
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_what_was_on_its_way_when_it_closed_makes_no_pause_longer(breaker, line, clocked_scripts) -> None:
    close(breaker)
    for _ in range(5):
        breaker.unclear("500")
    assert pause_seconds(line, clocked_scripts) == 1


def test_a_clear_answer_to_what_tried_it_opens_it_and_three_more_are_needed_to_close_it(breaker, line) -> None:
    close(breaker)
    assert breaker.clear()
    assert line.closures() == ()
    assert not breaker.clear(), "it was open"
    close(breaker)


def test_what_ses_refuses_stands_in_the_breakers_place_and_is_not_opened_by_it(breaker, line) -> None:
    close(breaker)
    assert line.stop(ACCOUNT, "paused by AWS"), "whoever gets True tells people"
    assert closure(line).reason == "paused by AWS"
    assert not breaker.clear()
    assert not breaker.unclear("500", probed=Probed.EMAIL)
    assert closure(line).reason == "paused by AWS"


def test_an_operators_resume_opens_it(breaker, line) -> None:
    close(breaker)
    assert line.resume(ACCOUNT)
    assert line.closures() == ()


# -- who tries it


def acquire(throttle: SendThrottle, lane: Lane) -> object:
    return throttle.acquire(1, lane)


@pytest.fixture
def throttle(client: Client) -> SendThrottle:
    client.throttle.update_account(rate=1000, quota_24h=-1, sent_24h=0)
    close(client.throttle.breaker)
    return client.throttle


def let_it_be_tried(client: Client, seconds_ago: float = 0.0) -> None:
    """As when the pause is over."""
    redis, name = client.scripts.redis, client.scripts.keys("line")
    _, _, rest = redis.hget(name, "stopped:account").partition(b" ")
    seconds, microseconds = redis.time()
    due_ms = seconds * 1000 + microseconds // 1000 - round(seconds_ago * 1000)
    redis.hset(name, "stopped:account", b"%d " % due_ms + rest)


def test_nobody_is_granted_a_slot_before_it_is_time_and_then_one_alone(client, throttle) -> None:
    assert isinstance(acquire(throttle, Lane.BULK), Postponed)
    let_it_be_tried(client)
    granted = acquire(throttle, Lane.BULK)
    assert granted.asks_account_first  # type: ignore[attr-defined]
    assert isinstance(acquire(throttle, Lane.BULK), Postponed), "one is on its way"
    assert throttle.accepted(granted)  # type: ignore[arg-type]
    assert not isinstance(acquire(throttle, Lane.BULK), Postponed)


def test_an_email_of_bulk_tries_it_where_any_waits_and_any_email_where_none_has_come(client, throttle) -> None:
    client.ledger.accept("bulk", Email("ann@example.org", "s", "t", from_email="shop@example.com", lane="bulk"))
    let_it_be_tried(client)
    assert isinstance(acquire(throttle, Lane.TRANSACTIONAL), Postponed)
    let_it_be_tried(client, seconds_ago=5.5)
    assert not isinstance(acquire(throttle, Lane.TRANSACTIONAL), Postponed)


def test_a_transactional_email_tries_it_at_once_where_no_bulk_waits(client, throttle) -> None:
    let_it_be_tried(client)
    assert not isinstance(acquire(throttle, Lane.TRANSACTIONAL), Postponed)


# -- a worker's part


class Ses:
    """Answers as it is told; the last answer for ever."""

    def __init__(self, *answers: SesError | str, account: SesError | None = None) -> None:
        self.answers, self.account_says = list(answers), account
        self.asked: list[str] = []

    def prepare(self) -> None: ...

    def compose(self, email: Email, *, send_id: str) -> str:
        return send_id

    def account(self) -> object:
        self.asked.append("account")
        if self.account_says:
            raise self.account_says
        return SimpleNamespace()

    def send_composed(self, send_id: str) -> str:
        self.asked.append(send_id)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, SesError):
            raise answer
        return answer


def refusal(kind: type[SesError]) -> SesError:
    error = kind("no", code="no")
    error.is_answer = True
    return error


@pytest.fixture
def work(client: Client) -> Callable[..., Outcome]:
    client.throttle.update_account(rate=1000, quota_24h=-1, sent_24h=0)
    client.turns.take("account", 60)

    def once(send_id: str, ses: Ses) -> Outcome:
        vars(client)["transport"] = ses
        client.ledger.accept(send_id, Email("ann@example.org", "s", "t", from_email="shop@example.com"))
        claim = client.delivery.claim(send_id)
        assert isinstance(claim, Claim)
        return client.delivery.work(claim, None)

    return once


def status(client: Client, send_id: str) -> tuple[State, int]:
    found = client.ledger.status(send_id)
    return found.state, found.attempts


def test_after_three_500s_what_was_not_asked_waits_without_an_attempt(client, work, caplog) -> None:
    ses = Ses(OutcomeUnknown("500", code="InternalFailure"))
    outcomes = [work(f"n{number}", ses) for number in range(6)]
    assert [type(outcome) for outcome in outcomes] == [Unknown] * 3 + [Postponed] * 3
    assert ses.asked == ["n0", "n1", "n2"]
    assert status(client, "n5") == ("scheduled", 0)
    assert [r.message for r in caplog.records if r.levelno == logging.ERROR and "out of order" in r.message]


def test_who_waits_for_its_slot_when_the_line_closes_does_not_ask(client, work, monkeypatch) -> None:
    acquire = client.throttle.acquire

    def acquire_and_then(*arguments: Any, **others: Any) -> object:
        granted = acquire(*arguments, **{**others, "begins": None})  # as where the slot is not due at once
        close(client.throttle.breaker)
        return granted

    monkeypatch.setattr(client.throttle, "acquire", acquire_and_then)
    outcome = work("a", ses := Ses("m"))
    assert (type(outcome), ses.asked) == (Postponed, [])
    assert status(client, "a") == ("scheduled", 0)


def test_ses_out_of_reach_closes_the_line_too_and_costs_nobody_an_attempt(client, work) -> None:
    ses = Ses(SesUnavailable("refused", code="EndpointConnectionError"))
    for number in range(5):
        work(f"n{number}", ses)
    assert ses.asked == ["n0", "n1", "n2"]
    assert {status(client, f"n{number}") for number in range(5)} == {("scheduled", 0)}


def test_what_ses_refuses_in_words_that_nobody_knows_is_an_answer_and_closes_nothing(client, work) -> None:
    for number in range(5):
        work(f"n{number}", Ses(refusal(SesUnavailable)))
    assert client.throttle.line.closures() == ()


def test_get_account_tries_it_first_and_while_it_has_no_answer_no_email_is_asked_for(client, work) -> None:
    for number in range(3):
        work(f"n{number}", Ses(OutcomeUnknown("500")))
    let_it_be_tried(client)
    ses = Ses("m", account=SesUnavailable("no answer"))
    assert isinstance(work("a", ses), Postponed)
    assert ses.asked == ["account"]
    assert status(client, "a") == ("scheduled", 0)
    let_it_be_tried(client)
    assert work("b", ses := Ses("m")) == Sent(message_id="m")
    assert ses.asked == ["account", "b"]
    assert client.throttle.line.closures() == ()


def test_where_get_account_was_never_answered_an_email_tries_it(client, work) -> None:
    client.throttle.update_account(rate=1000, quota_24h=-1, sent_24h=None, source="settings")
    close(client.throttle.breaker)
    let_it_be_tried(client)
    assert work("a", ses := Ses("m", account=SesUnavailable("not implemented"))) == Sent(message_id="m")
    assert ses.asked == ["a"]


@pytest.mark.parametrize("answer", [SendThrottled, SendRejected])
def test_any_clear_answer_opens_it(client, work, answer: type[SesError]) -> None:
    close(client.throttle.breaker)
    let_it_be_tried(client)
    work("a", Ses(refusal(answer), account=refusal(SesMisconfigured)))
    assert client.throttle.line.closures() == ()


def test_an_email_that_tries_it_in_vain_makes_the_pause_longer(client, work) -> None:
    close(client.throttle.breaker)
    let_it_be_tried(client)
    work("a", Ses(OutcomeUnknown("500")))
    found = closure(client.throttle.line)
    assert found.next_probe_at is not None
    seconds, _ = client.scripts.redis.time()
    assert 0 < found.next_probe_at - seconds < 3
    assert status(client, "a") == ("unknown", 1)
