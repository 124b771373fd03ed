"""What both ledgers do with a send, the one in Redis and the one in memory, each by the test's clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from sesmail.client import NoBroker
from sesmail.errors import IdempotencyConflict, LedgerUnavailable, MoveRefused, StaleClaim, UnknownSend
from sesmail.message import Email, Lane
from sesmail.sending.memory import Memory
from sesmail.sending.memory_ledger import MemoryLedger
from sesmail.sending.outbox import Outbox
from sesmail.settings import Settings
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.people.memory import MemoryOptOuts, MemoryReputation
from sesmail.state.people.reputation import Reputation
from sesmail.state.people.suppression import OptOut, Scope, SuppressionList
from sesmail.vocabulary import Claim, Delivery, Reason, State, Ticket
from tests.conftest import ClockedScripts

SETTINGS = Settings(max_age_seconds=7 * 86_400, idempotency_seconds=3600)
ANN, BOB = "ann@example.org", "bob@example.org"


def email(**changes: object) -> Email:
    return Email(**{"to": ANN, "subject": "Hello", "text": "Hi.", "from_email": "shop@example.com", **changes})  # type: ignore[arg-type]


@dataclass
class Book:
    """A ledger with what stands beside it, and its clock."""

    ledger: Ledger | MemoryLedger
    opt_outs: SuppressionList | MemoryOptOuts
    reputation: Reputation | MemoryReputation
    advance: Callable[[float], None]
    now: Callable[[], float]

    def claimed(self, send_id: str = "a") -> Claim:
        claim = self.ledger.claim(send_id, "worker")
        assert isinstance(claim, Claim), claim
        return claim

    def begun(self, send_id: str = "a") -> Claim:
        self.ledger.begin(claim := self.claimed(send_id))
        return claim

    def state(self, send_id: str = "a") -> State:
        return self.ledger.status(send_id).state


def over_redis(scripts: ClockedScripts, settings: Settings = SETTINGS) -> Book:
    return Book(
        Ledger(scripts, settings),
        SuppressionList(scripts),
        Reputation(scripts),
        scripts.advance,
        lambda: scripts.now_ms / 1000,
    )


def in_memory(settings: Settings = SETTINGS) -> Book:
    memory = StoppedMemory()
    return Book(MemoryLedger(memory, settings), memory.opt_outs, memory.reputation, memory.time_passes, memory.now)


class StoppedMemory(Memory):
    """A memory in which time passes only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._ms = ClockedScripts.START_MS

    def now(self) -> float:
        return self._ms / 1000

    def time_passes(self, seconds: float) -> None:
        self._ms += round(seconds * 1000)


@pytest.fixture(params=["redis", "memory"])
def book(request: pytest.FixtureRequest) -> Book:
    return in_memory() if request.param == "memory" else over_redis(request.getfixturevalue("clocked_scripts"))


def test_an_accepted_email_is_queued_claimed_begun_and_sent(book: Book) -> None:
    accepted = book.ledger.accept("a", email())
    assert (accepted.send_id, accepted.state, accepted.new) == ("a", "queued", True)
    claim = book.claimed()
    assert claim.email == email()
    assert book.state() is State.CLAIMED
    book.ledger.begin(claim)
    assert (book.state(), book.ledger.status("a").attempts) == (State.SENDING, 1)
    assert book.ledger.sent(claim, "ses-1") is State.SENT
    status = book.ledger.status("a")
    assert (status.message_id, status.reason, status.recipients, status.lane) == ("ses-1", None, 1, "transactional")


def test_a_second_delivery_of_a_ticket_finds_the_send_taken(book: Book) -> None:
    book.ledger.accept("a", email())
    claim = book.claimed()
    assert book.ledger.claim("a", "other") is State.CLAIMED
    book.ledger.begin(claim)
    assert book.ledger.claim("a", "other") is State.SENDING
    book.ledger.sent(claim, "ses-1")
    assert book.ledger.claim("a", "other") is State.SENT


def test_a_ticket_without_a_send_is_nothing(book: Book) -> None:
    assert book.ledger.claim("nobody", "worker") is None
    with pytest.raises(UnknownSend):
        book.ledger.status("nobody")
    assert book.ledger.metadata("nobody") == {}


def test_accepting_the_same_id_twice_changes_nothing(book: Book) -> None:
    book.ledger.accept("a", email(subject="First"))
    again = book.ledger.accept("a", email(subject="Second"))
    assert (again.new, again.send_id, again.state) == (False, "a", "queued")
    assert book.claimed().email.subject == "First"


def test_an_idempotency_key_leads_to_the_first_send_for_as_long_as_it_is_remembered(book: Book) -> None:
    assert book.ledger.accept("a", email(idempotency_key="invoice-7")).new
    second = book.ledger.accept("b", email(idempotency_key="invoice-7"))
    assert (second.send_id, second.new) == ("a", False)
    assert book.ledger.claim("b", "worker") is None
    assert book.ledger.accept("c", email(idempotency_key="invoice-8")).new


def test_a_send_with_a_time_is_not_to_be_had_before_it(book: Book) -> None:
    when = datetime.fromtimestamp(book.now() + 60, UTC)
    assert book.ledger.accept("a", email(send_at=when)).state == "scheduled"
    assert book.ledger.claim("a", "worker") is State.SCHEDULED
    assert book.ledger.queue_due(Lane.TRANSACTIONAL) == []
    book.advance(60)
    assert book.ledger.queue_due(Lane.BULK) == []
    assert book.ledger.queue_due(Lane.TRANSACTIONAL) == [Ticket(send_id="a", lane=Lane.TRANSACTIONAL)]
    book.claimed()


def test_a_countdown_is_by_the_ledger_s_clock(book: Book) -> None:
    book.ledger.accept("a", email(), delay_seconds=5)
    book.advance(4.9)
    assert book.ledger.queue_due(Lane.TRANSACTIONAL) == []
    book.advance(0.1)
    assert len(book.ledger.queue_due(Lane.TRANSACTIONAL)) == 1


def test_an_expired_send_is_not_sent(book: Book) -> None:
    book.ledger.accept("a", email(), expires_in_seconds=10)
    book.advance(10)
    assert book.ledger.claim("a", "worker") is State.EXPIRED
    assert "expiry" in (book.ledger.status("a").reason or "")


def test_a_send_that_waits_past_its_expiry_is_found_at_its_expiry(book: Book) -> None:
    book.ledger.accept("a", email(), expires_in_seconds=10)
    book.ledger.postpone(book.claimed(), 3600, "quota")
    book.advance(10)
    book.ledger.queue_due(Lane.TRANSACTIONAL)
    assert book.ledger.claim("a", "worker") is State.EXPIRED


def test_a_send_older_than_the_greatest_age_is_abandoned(book: Book) -> None:
    book.ledger.accept("a", email())
    book.advance(8 * 86_400)
    assert book.ledger.claim("a", "worker") is State.ABANDONED


def test_who_has_opted_out_is_left_out_and_an_email_to_nobody_else_is_suppressed(book: Book) -> None:
    since = datetime.fromtimestamp(book.now(), UTC)
    book.opt_outs.add(OptOut(address=ANN, scope=Scope(), reason=Reason.COMPLAINED, since=since))
    book.ledger.accept("a", email())
    book.ledger.accept("b", email(to=[ANN, BOB]))
    assert book.ledger.claim("a", "worker") is State.SUPPRESSED
    assert book.ledger.status("a").code == "complained"
    assert book.claimed("b").email.recipients == (BOB,)
    assert book.reputation.deliveries("b") == {ANN: Delivery.SUPPRESSED}


def test_transactional_email_goes_to_who_left_a_list_and_bulk_does_not(book: Book) -> None:
    since = datetime.fromtimestamp(book.now(), UTC)
    book.opt_outs.add(OptOut(address=ANN, scope=Scope("default", "news"), reason=Reason.UNSUBSCRIBED, since=since))
    tags = {"sesmail-list": "news"}
    book.ledger.accept("a", email(tags=tags))
    book.ledger.accept("b", email(tags=tags, lane="bulk"))
    book.ledger.accept("c", email(tags={"sesmail-list": "other"}, lane="bulk"))
    assert book.claimed("a").email.recipients == (ANN,)
    assert book.ledger.claim("b", "worker") is State.SUPPRESSED
    assert book.claimed("c").lane is Lane.BULK


def test_evidence_settles_an_unknown_send(book: Book) -> None:
    book.ledger.accept("a", email())
    assert book.ledger.outcome_unknown(book.begun(), "read timeout", "ReadTimeout") is State.UNKNOWN
    assert (book.ledger.status("a").reason, book.ledger.status("a").code) == ("read timeout", "ReadTimeout")
    assert book.ledger.record_evidence("a", "ses-1") == "settled"
    assert (book.state(), book.ledger.status("a").reason) == (State.SENT, None)
    assert book.ledger.record_evidence("a", "ses-1") == "known"
    assert book.ledger.record_evidence("a", "ses-2") == "copy"
    assert book.ledger.record_evidence("nobody", "ses-3") == "gone"


@pytest.mark.parametrize("code", ["RenderingFailure", "Reject"])
def test_what_ses_took_and_dropped_is_rejected_after_all_whatever_it_tells_again(book: Book, code: str) -> None:
    book.ledger.accept("a", email())
    book.ledger.sent(book.begun(), "ses-1")
    assert book.ledger.record_dropped("a", "ses-2", code, "no name") == "copy"
    assert book.state() is State.SENT
    assert book.ledger.record_dropped("a", "ses-1", code, "no name") == "rejected"
    status = book.ledger.status("a")
    assert (status.state, status.reason, status.code) == (State.REJECTED, "no name", code)
    assert (status.message_id, status.attempts, status.account) == ("ses-1", 1, "default")
    assert [move.state for move in status.moves][-1] is State.REJECTED
    assert book.ledger.record_dropped("a", "ses-1", code, "no name") == "known"
    assert book.ledger.record_evidence("a", "ses-1") == "known"
    assert book.state() is State.REJECTED
    assert book.ledger.record_dropped("nobody", "ses-1", code, "no name") == "gone"


@pytest.mark.parametrize("code", ["RenderingFailure", "Reject"])
def test_that_ses_dropped_it_may_be_told_before_its_answer_is_written_down(book: Book, code: str) -> None:
    book.ledger.accept("a", email())
    claim = book.begun()
    assert book.ledger.record_dropped("a", "ses-1", code, "no name") == "kept"
    assert book.ledger.sent(claim, "ses-1") is State.SENT
    assert (book.state(), book.ledger.status("a").code) == (State.REJECTED, code)
    book.ledger.accept("b", email())
    claim = book.begun("b")
    book.ledger.record_dropped("b", "ses-1", code, "no name")
    book.ledger.sent(claim, "ses-2")
    assert book.state("b") is State.SENT


@pytest.mark.parametrize(("first", "second"), [("ses-1", "ses-2"), ("ses-2", "ses-1")])
def test_of_what_ses_took_twice_and_dropped_twice_no_late_word_says_that_it_went_out(
    book: Book, first: str, second: str
) -> None:
    book.ledger.accept("a", email())
    book.ledger.sent(book.begun(), "ses-1")
    for message_id in (first, second):
        book.ledger.record_dropped("a", message_id, "Reject", "Bad content")
    assert book.state() is State.REJECTED
    for message_id in (first, second):
        assert book.ledger.record_evidence("a", message_id) == "known"
    assert book.state() is State.REJECTED
    assert book.ledger.record_evidence("a", "ses-3") == "settled", "a third copy, of which nothing else is known"


def test_what_an_operator_sends_again_is_not_settled_by_what_ses_told_of_the_one_that_it_dropped(book: Book) -> None:
    book.ledger.accept("a", email())
    assert book.ledger.outcome_unknown(book.begun(), "read timeout", "ReadTimeout") is State.UNKNOWN
    assert book.ledger.record_dropped("a", "ses-1", "Reject", "Bad content") == "rejected"
    book.ledger.requeue("a")
    assert book.ledger.record_evidence("a", "ses-1") == "known"
    claim = book.begun()
    assert book.ledger.record_evidence("a", "ses-1") == "known"
    assert book.ledger.record_dropped("a", "ses-1", "Reject", "Bad content") == "known"
    assert book.ledger.outcome_unknown(claim, "read timeout", "ReadTimeout") is State.UNKNOWN


def test_evidence_that_comes_before_the_answer_is_kept_for_it(book: Book) -> None:
    book.ledger.accept("a", email())
    claim = book.begun()
    assert book.ledger.record_evidence("a", "ses-1") == "kept"
    assert book.ledger.record_evidence("a", "ses-2") == "kept"
    assert book.ledger.outcome_unknown(claim, "read timeout") is State.SENT
    assert book.ledger.status("a").message_id == "ses-1"


def test_the_late_yes_to_a_send_that_another_has_by_now_still_counts(book: Book) -> None:
    book.ledger.accept("a", email())
    late = book.begun()
    book.ledger.outcome_unknown(late, "read timeout")
    book.ledger.requeue("a")
    claim = book.claimed()
    with pytest.raises(StaleClaim):
        book.ledger.sent(late, "ses-1")
    assert (book.state(), book.ledger.status("a").message_id) == (State.SENT, "ses-1")
    with pytest.raises(StaleClaim):
        book.ledger.begin(claim)


def test_waiting_is_not_trying(book: Book) -> None:
    book.ledger.accept("a", email())
    for _ in range(10):
        book.ledger.postpone(book.begun(), 1, "throttled", backs_off=True)
        assert book.ledger.status("a").reason == "throttled"
        book.advance(1)
        book.ledger.queue_due(Lane.TRANSACTIONAL)
    status = book.ledger.status("a")
    assert (status.attempts, status.waits) == (0, 10)
    assert book.claimed().waits == 10


def test_a_lost_reply_can_be_asked_for_again(book: Book) -> None:
    book.ledger.accept("a", email())
    first = book.ledger.claim("a", "worker", token="t")
    assert isinstance(book.ledger.claim("a", "worker", token="t"), Claim)
    assert isinstance(first, Claim)
    book.ledger.begin(first)
    book.ledger.begin(first)
    assert book.ledger.status("a").attempts == 1
    book.ledger.sent(first, "ses-1")
    assert book.ledger.sent(first, "ses-1") is State.SENT


def test_a_cancelled_send_is_refused_to_the_worker_that_waits_with_it(book: Book) -> None:
    book.ledger.accept("a", email())
    claim = book.claimed()
    book.ledger.cancel("a")
    book.ledger.cancel("a")
    with pytest.raises(StaleClaim):
        book.ledger.begin(claim)
    assert book.ledger.claim("a", "worker") is State.CANCELLED


def test_what_ses_may_have_can_be_neither_cancelled_nor_given_another_time(book: Book) -> None:
    book.ledger.accept("a", email())
    book.begun()
    with pytest.raises(MoveRefused, match="sending: it cannot be cancelled"):
        book.ledger.cancel("a")
    with pytest.raises(MoveRefused, match="sending: it cannot be rescheduled"):
        book.ledger.reschedule("a", datetime.now(UTC))
    with pytest.raises(MoveRefused, match="sending: it cannot be sent again"):
        book.ledger.requeue("a")


@pytest.mark.parametrize("wish", ["cancel", "requeue"])
def test_who_asks_for_a_send_that_there_is_not_is_told_so(book: Book, wish: str) -> None:
    with pytest.raises(UnknownSend):
        getattr(book.ledger, wish)("nobody")


def test_a_waiting_send_can_be_given_another_time(book: Book) -> None:
    book.ledger.accept("a", email())
    book.ledger.reschedule("a", datetime.fromtimestamp(book.now() + 60, UTC))
    assert book.ledger.claim("a", "worker") is State.SCHEDULED
    book.advance(60)
    book.ledger.queue_due(Lane.TRANSACTIONAL)
    book.claimed()


def test_a_rejected_send_keeps_its_text_and_can_be_sent_again_with_all_its_attempts(book: Book) -> None:
    book.ledger.accept("a", email(lane="bulk"), expires_in_seconds=60)
    book.ledger.postpone(book.begun(), 0, "throttled", backs_off=True)
    book.ledger.rejected(book.begun(), "SES's words", "MessageRejected")
    assert (book.state(), book.ledger.status("a").code) == (State.REJECTED, "MessageRejected")
    book.advance(100)
    assert book.ledger.requeue("a") == Ticket(send_id="a", lane=Lane.BULK)
    assert book.ledger.requeue("a") == Ticket(send_id="a", lane=Lane.BULK), "asked for twice"
    status = book.ledger.status("a")
    assert (status.attempts, status.waits, status.reason, status.code) == (0, 0, None, None)
    assert status.accepted_at == book.now()
    claim = book.claimed()
    assert (claim.email.text, claim.express) == ("Hi.", True)
    with pytest.raises(MoveRefused):
        book.ledger.requeue("a")


def test_metadata_is_kept_with_the_send(book: Book) -> None:
    book.ledger.accept("a", email(metadata={"order": 7}))
    assert book.ledger.metadata("a") == {"order": 7}


def test_during_an_outage_every_call_says_so(book: Book) -> None:
    away: Ledger | MemoryLedger
    if isinstance(book.ledger, MemoryLedger):
        memory = Memory()
        memory.outage.is_on = True
        away = MemoryLedger(memory, SETTINGS)
    else:
        from redis import Redis

        from sesmail.state.keys import Keys
        from sesmail.state.scripts import Scripts

        away = Ledger(Scripts(Redis(host="127.0.0.1", port=1, retry=None), Keys()), SETTINGS)
    with pytest.raises(LedgerUnavailable, match="Nothing was accepted"):
        away.accept("a", email())
    calls = (
        lambda: away.claim("a", "worker"),
        lambda: away.status("a"),
        lambda: away.cancel("a"),
        lambda: away.reschedule("a", datetime.now(UTC)),
        lambda: away.requeue("a"),
        lambda: away.record_evidence("a", "ses-1"),
        lambda: away.metadata("a"),
        lambda: away.queue_due(Lane.BULK),
    )
    for call in calls:
        with pytest.raises(LedgerUnavailable):
            call()


# -- one key, one email -----------------------------------------------------------------------------------------------


def outbox_of(book: Book, **said: object) -> Outbox:
    settings = Settings(from_email="shop@example.com", idempotency_seconds=3600, **said)  # type: ignore[arg-type]
    ledger = book.ledger
    if isinstance(ledger, MemoryLedger):
        of_site: Ledger | MemoryLedger = MemoryLedger(ledger._memory, settings)
    else:
        of_site = Ledger(ledger._scripts, settings)
    return Outbox(settings, NoBroker(), of_site, book.reputation)


OTHERS = [
    {"to": BOB},
    {"to": [ANN, BOB]},
    {"to": ANN, "cc": BOB},
    {"subject": "Goodbye"},
    {"text": "Bye."},
    {"html": "<p>Hi.</p>"},
    {"from_email": "billing@example.com"},
    {"reply_to": "help@example.com"},
    {"attachments": [("a.txt", "1", "text/plain")]},
]
THE_SAME = [
    {"to": "Ann <ann@EXAMPLE.org>"},
    {"send_at": datetime(2031, 1, 1, tzinfo=UTC)},
    {"expires_at": datetime(2031, 1, 1, tzinfo=UTC)},
    {"headers": {"X-Request-Id": "another"}},
    {"metadata": {"try": 2}},
    {"lane": "bulk"},
]


@pytest.mark.parametrize("other", OTHERS)
def test_another_email_under_a_known_key_or_id_is_refused_by_name_and_changes_nothing(
    book: Book, other: dict[str, object]
) -> None:
    outbox = outbox_of(book)
    first = outbox.send(email(idempotency_key="invoice-7"), send_id="a")
    with pytest.raises(IdempotencyConflict, match=r"idempotency_key: .* the send a .*Nothing was queued") as by_key:
        outbox.send(email(idempotency_key="invoice-7", **other))
    assert (by_key.value.field, by_key.value.send_id) == ("idempotency_key", first.send_id)
    with pytest.raises(IdempotencyConflict) as by_id:
        outbox.send(email(**other), send_id="a")
    assert (by_id.value.field, by_id.value.send_id) == ("task_id", "a")
    assert book.claimed().email == email(idempotency_key="invoice-7")


@pytest.mark.parametrize("again", THE_SAME)
def test_the_same_email_said_in_another_way_is_the_first_send(book: Book, again: dict[str, object]) -> None:
    outbox = outbox_of(book)
    outbox.send(email(idempotency_key="invoice-7"), send_id="a")
    for send_id in (None, "a"):
        accepted = outbox.send(email(idempotency_key="invoice-7", **again), send_id=send_id)
        assert (accepted.send_id, accepted.new) == ("a", False)


def test_settings_that_change_between_two_tries_make_no_other_email(book: Book) -> None:
    outbox_of(book).send(email(from_email=None, idempotency_key="invoice-7"), send_id="a")
    later = outbox_of(book, configuration_set="new", text_from_html=True, redirect_to=["staging@example.com"])
    assert not later.send(email(from_email=None, idempotency_key="invoice-7")).new


def test_a_key_is_its_sites(book: Book) -> None:
    first, second = outbox_of(book, site="alpha"), outbox_of(book, site="beta")
    first.send(email(idempotency_key="invoice-7"), send_id="a")
    assert second.send(email(subject="Another", idempotency_key="invoice-7"), send_id="b").new
    assert first.send(email(idempotency_key="invoice-7")).send_id == "a"
    assert second.send(email(subject="Another", idempotency_key="invoice-7")).send_id == "b"


def test_a_key_that_is_forgotten_may_stand_for_another_email(book: Book) -> None:
    outbox = outbox_of(book)
    outbox.send(email(idempotency_key="invoice-7"), send_id="a")
    forget_keys(book)
    assert outbox.send(email(subject="Another", idempotency_key="invoice-7")).new


def forget_keys(book: Book) -> None:
    """As when they expire: the test's clock is not Redis' own."""
    book.advance(3601)
    if isinstance(book.ledger, Ledger):
        book.ledger._redis.delete(*book.ledger._redis.keys("*idempotency*"))
