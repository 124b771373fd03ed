"""Letters to many, over a real Redis; SES is a function that takes or refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from docs.source import moves_in_batches
from sesmail import Client, Letter, Settings, signals
from sesmail.doors import prometheus
from sesmail.embedded import EmbeddedRedis
from sesmail.errors import (
    ConfigurationError,
    IdempotencyConflict,
    InvalidEmail,
    MoveRefused,
    OutcomeUnknown,
    SendRejected,
    SendThrottled,
    UnknownSend,
)
from sesmail.events.consequences import fact_of
from sesmail.events.stores import StoredEvent
from sesmail.message import Email, Lane
from sesmail.sending.batches import queueing, sending
from sesmail.sending.batches.sending import ChunkWorker
from sesmail.state.batches.chunks import Held, unpacked
from sesmail.state.people.reputation import Counter, Fact
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.vocabulary import BatchState, Reason, State
from tests.tickets import Broker

LETTER = Letter(subject="Hello {{name}}", html="<p>{{name}}: {{email}}, {{unsubscribe_url}}</p>", text="{{name}}")
SAID = {
    "from_email": "shop@example.com",
    "unsubscribe_url": "https://example.com/u/",
    "unsubscribe_secrets": ["s" * 20],
}


class Ses:
    """Takes all, unless it is told otherwise."""

    def __init__(self) -> None:
        self.emails: dict[str, Email] = {}
        self.before: Callable[[str], None] = lambda _id: None

    def prepare(self) -> None: ...

    def compose(self, email: Email, *, send_id: str) -> Any:
        return SimpleNamespace(email=email, send_id=send_id)

    def send_composed(self, composed: Any) -> str:
        self.before(composed.send_id)
        assert composed.send_id not in self.emails, "it went out twice"
        self.emails[composed.send_id] = composed.email
        return f"ses-{composed.send_id}"

    @property
    def readers(self) -> list[str]:
        return sorted(email.to[0] for email in self.emails.values())


@pytest.fixture(autouse=True)
def no_ticket_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a chunk is worked through under one ticket."""
    monkeypatch.setattr(sending, "HOLD_SECONDS", 600.0)


@pytest.fixture
def ses() -> Ses:
    return Ses()


@pytest.fixture
def client(redis: Redis, redis_server: EmbeddedRedis, ses: Ses) -> Iterator[Client]:
    made = Client(Settings(redis_url=redis_server.url, region="us-east-1", **SAID), Broker())
    vars(made)["transport"] = ses
    made.turns.take("account", 600)  # nobody asks for the limits
    made.throttle.update_account(rate=-1, quota_24h=-1, sent_24h=0)
    yield made
    made.close()


def readers(*numbers: int) -> Iterator[tuple[str, dict[str, object]]]:
    return ((f"reader{n}@example.org", {"name": f"N<{n}>"}) for n in numbers)


def work(client: Client) -> int:
    """As workers do, until nothing is left."""
    return sum(done for done in iter(lambda: client.chunk_worker.work(Lane.BULK, None), None))


def opt_out(client: Client, address: str, scope: Scope | None = None) -> None:
    why = OptOut(address=address, scope=scope or Scope(), reason=Reason.MANUAL, since=datetime(2026, 1, 1, tzinfo=UTC))
    client.suppression.add(why)


def worker_dies(client: Client) -> None:
    """In the middle of a chunk, while it asks SES."""
    held = client.batches.claim(Lane.BULK, "a-dead-worker", "its-token")
    assert held
    assert begins(client, held, held.numbers("queued")[0]) == "sending"


def begins(client: Client, held: Held, number: int) -> str:
    (answer,), _ = client.batches.begin(held, {number: f"reader{number}@example.org"}, tries=False)
    return answer


# -- queueing -----------------------------------------------------------------------------------------------------------


def test_each_recipient_gets_the_letter_with_its_own_values_and_its_own_way_out(client: Client, ses: Ses) -> None:
    batch = client.send_batch(LETTER, readers(*range(230)), key="may", list="news")
    assert (batch.queued, batch.known, batch.opted_out) == (230, 0, 0)
    assert work(client) == 230
    assert ses.readers == sorted(f"reader{n}@example.org" for n in range(230))
    email = ses.emails[f"{batch.id}-7"]
    assert email.subject == "Hello N<7>"
    link = email.headers["List-Unsubscribe"].strip("<>")
    assert email.html == f"<p>N&lt;7&gt;: reader7@example.org, {link}</p>"
    assert email.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert email.tags["sesmail-list"] == "news"
    assert client.unsubscribe_links.read(link.rpartition("/")[2]).recipient == "reader7@example.org"
    assert client.real_outbox.status(f"{batch.id}-7").state is State.SENT


def test_a_call_that_was_cut_off_goes_on_under_its_key_whatever_order_the_rows_come_in(
    client: Client, ses: Ses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "BLOCK", 100)

    def cut_off() -> Iterator[tuple[str, dict[str, object]]]:
        yield from readers(*range(150))
        raise RuntimeError("the program is killed")

    with pytest.raises(RuntimeError):
        client.send_batch(LETTER, cut_off(), key="may", list="news")
    assert work(client) == 0, "nothing goes out before the list was read to its end"
    batch = client.send_batch(LETTER, readers(*reversed(range(160))), key="may", list="news")
    assert (batch.queued, batch.known) == (60, 100)
    assert work(client) == 160
    again = client.send_batch(LETTER, readers(3, 170), key="may", list="news")
    assert (again.id, again.queued, again.known) == (batch.id, 1, 1)
    assert work(client) == 1
    assert len(ses.emails) == 161


def test_a_call_that_goes_on_may_say_anew_when_it_begins_and_how_fast_it_goes(client: Client, ses: Ses) -> None:
    def cut_off() -> Iterator[tuple[str, dict[str, object]]]:
        yield from readers(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.send_batch(LETTER, cut_off(), key="may", list="news", rate="5/s", ramp=10)
    later = datetime(2100, 1, 1, tzinfo=UTC)
    batch = client.send_batch(LETTER, readers(1, 2), key="may", list="news", send_at=later, rate="7/s")
    status = batch.status()
    assert (status.waits_until, status.rate, status.ramp) == (later.timestamp(), 7.0, None)
    assert work(client) == 0
    client.send_batch(LETTER, readers(3), key="may", list="news")  # it has begun: steer it by its own commands
    assert batch.status().waits_until == later.timestamp()


def test_an_address_that_stands_twice_however_it_is_spelt_gets_it_once(client: Client, ses: Ses) -> None:
    people = ["ann@example.org", "Ann <ANN@example.org>", '"ann"@example.org', "bob@example.org"]
    batch = client.send_batch(Letter(subject="Hello", text="Hi."), people, key="k", list="news")
    assert (batch.queued, batch.known) == (2, 2)
    work(client)
    assert len(ses.emails) == 2


@pytest.mark.parametrize(
    ("recipient", "said"),
    [
        ("no address", "recipients[1].address"),
        (("zoe@example.org", {}), "context['name']"),
        (("zoe@example.org", {"name": None}), "context['name']"),
        (("zoe@example.org", {"name": "a\nb"}), "subject"),
        (("zoe@example.org", {"name": "a" * 1000}), "subject"),
        (("zoe@example.org",), "recipient"),
    ],
)
def test_a_bad_row_is_named_by_its_place_and_nothing_goes_out(
    client: Client, ses: Ses, recipient: Any, said: str
) -> None:
    with pytest.raises(InvalidEmail) as refused:
        client.send_batch(LETTER, [*readers(1), recipient], key="k", list="news")
    assert said in str(refused.value)
    assert "recipients[1]" in str(refused.value)
    assert "zoe@" not in str(refused.value)
    assert work(client) == 0
    batch = client.send_batch(LETTER, [*readers(1), recipient, *readers(2)], key="k", list="news", skip_bad=True)
    assert (batch.queued, batch.bad) == (2, 1)


def test_what_readers_could_not_leave_is_refused_unless_it_is_said_by_name(client: Client, ses: Ses) -> None:
    letter = Letter(subject="Hello", text="Hi.")
    with pytest.raises(ConfigurationError, match="no list= is named"):
        client.send_batch(letter, ["ann@example.org"], key="k")
    client.send_batch(letter, ["ann@example.org"], key="k", without_unsubscribe=True)
    work(client)
    assert not next(iter(ses.emails.values())).headers
    with pytest.raises(ConfigurationError, match="unsubscribe_url"):
        client.send_batch(LETTER, readers(1), key="l", without_unsubscribe=True)


def test_a_key_stands_for_one_letter(client: Client) -> None:
    client.send_batch(LETTER, readers(1), key="k", list="news")
    with pytest.raises(IdempotencyConflict):
        client.send_batch(Letter(subject="Another", text="Hi."), readers(1), key="k", list="news")
    with pytest.raises(IdempotencyConflict):
        client.send_batch(LETTER, readers(1), key="k", list="another")


def test_two_that_queue_under_one_key_do_not_queue_anybody_twice(
    client: Client, ses: Ses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "BLOCK", 100)

    def slow() -> Iterator[tuple[str, dict[str, object]]]:
        yield from readers(*range(100))
        client.send_batch(LETTER, readers(*range(120)), key="k", list="news")
        yield from readers(*range(100, 130))

    with pytest.raises(MoveRefused, match="Somebody else"):
        client.send_batch(LETTER, slow(), key="k", list="news")
    assert work(client) == 120
    assert len(ses.emails) == 120


def test_nobody_can_give_a_send_the_id_of_a_recipient(client: Client) -> None:
    batch = client.send_batch(LETTER, readers(1), key="k", list="news")
    with pytest.raises(InvalidEmail):
        client.outbox.send(Email("ann@example.org", "s", "t", from_email="a@example.com"), send_id=f"{batch.id}-0")


# -- opt-outs, times, steering -------------------------------------------------------------------------------------------


def test_who_opts_out_in_the_middle_of_a_run_gets_nothing_if_it_has_not_begun(client: Client, ses: Ses) -> None:
    opt_out(client, "reader1@example.org", Scope("default", "news"))
    batch = client.send_batch(LETTER, readers(*range(6)), key="k", list="news")
    assert batch.opted_out == 1
    opt_out(client, "reader2@example.org")  # before its chunk is claimed

    def one_more(send_id: str) -> None:
        if send_id.endswith("-3"):
            opt_out(client, "reader5@example.org")  # after

    ses.before = one_more
    work(client)
    assert ses.readers == [f"reader{n}@example.org" for n in (0, 3, 4)]
    assert client.real_outbox.status(f"{batch.id}-5").state is State.SUPPRESSED
    assert batch.status().counts == {"sent": 3, "suppressed": 3}


def test_a_batch_is_paused_goes_on_and_is_taken_back(client: Client, ses: Ses) -> None:
    batch = client.send_batch(LETTER, readers(*range(150)), key="k", list="news")
    ses.before = lambda send_id: batch.pause() if send_id.endswith("-2") else None
    work(client)
    assert batch.status().counts == {"sent": 3, "queued": 147}
    assert batch.status().state is BatchState.PAUSED
    client.real_outbox.cancel(f"{batch.id}-140")
    with pytest.raises(MoveRefused):
        client.real_outbox.cancel(f"{batch.id}-0")
    ses.before = lambda send_id: batch.cancel() if send_id.endswith("-60") else None
    batch.resume()
    work(client)
    assert batch.status().counts == {"sent": 61, "cancelled": 89}
    assert batch.status().state is BatchState.CANCELLED
    with pytest.raises(MoveRefused, match="cancelled"):
        client.send_batch(LETTER, readers(1), key="k", list="news")


def test_a_batch_that_is_too_late_expires_as_a_whole_and_one_for_later_waits(client: Client, ses: Ses) -> None:
    late = client.send_batch(LETTER, readers(*range(150)), key="k", list="news", expires_at="2020-01-01T00:00:00Z")
    later = client.send_batch(LETTER, readers(1), key="l", list="news", send_at="2100-01-01T00:00:00Z")
    work(client)
    assert (late.status().counts, later.status().counts) == ({"expired": 150}, {"queued": 1})
    assert not ses.emails


def test_batches_share_in_turns_by_weight_so_that_a_small_list_does_not_wait(client: Client, ses: Ses) -> None:
    large = client.send_batch(LETTER, readers(*range(900)), key="k", list="news")
    client.chunk_worker.work(Lane.BULK, None)
    small = client.send_batch(LETTER, readers(*range(50)), key="l", list="news", weight=3)
    client.chunk_worker.work(Lane.BULK, None)
    client.chunk_worker.work(Lane.BULK, None)
    assert small.status().counts == {"sent": 50}
    assert large.status().counts["sent"] == 200


def test_who_gives_back_its_only_chunk_goes_behind_those_who_wait(client: Client) -> None:
    batches = [client.send_batch(LETTER, readers(*range(30)), key=key, list="news") for key in "abc"]
    turns = []
    for turn in range(9):
        held = client.batches.claim(Lane.BULK, client.lease.owner(), f"t{turn}")
        turns.append(held.batch_id)
        client.batches.release(held)
    assert [turns.count(batch.id) for batch in batches] == [3, 3, 3]
    fresh = client.send_batch(LETTER, readers(1), key="d", list="news")
    assert fresh.id in [client.batches.claim(Lane.BULK, client.lease.owner(), f"more{n}").batch_id for n in range(4)]


def test_who_comes_while_the_others_chunks_are_held_makes_up_for_nothing(client: Client) -> None:
    old = client.send_batch(LETTER, readers(*range(30)), key="a", list="news")
    for turn in range(20):
        client.batches.release(client.batches.claim(Lane.BULK, client.lease.owner(), f"t{turn}"))
    held = client.batches.claim(Lane.BULK, client.lease.owner(), "held")
    new = client.send_batch(LETTER, readers(*range(30)), key="b", list="news")
    client.batches.release(held)
    turns = []
    for turn in range(6):
        held = client.batches.claim(Lane.BULK, client.lease.owner(), f"then{turn}")
        turns.append(held.batch_id)
        client.batches.release(held)
    assert turns.count(old.id) in (2, 3), "it had the turn before"
    assert turns.count(new.id) == len(turns) - turns.count(old.id)


def test_a_ticket_of_one_lane_takes_no_batch_of_the_other(client: Client, ses: Ses) -> None:
    urgent = Letter(subject="Hello", text="Hi.", lane="transactional")
    batch = client.send_batch(urgent, ["ann@example.org"], key="k")
    assert client.broker.tickets == [("batches transactional", False)]
    assert work(client) == 0, "that was one of bulk"
    assert client.chunk_worker.work(Lane.TRANSACTIONAL, None) == 1
    assert batch.status().counts == {"sent": 1}


def test_there_are_no_more_tickets_than_the_rate_is_worth(client: Client) -> None:
    client.throttle.update_account(rate=20, quota_24h=-1, sent_24h=0)
    client.send_batch(LETTER, readers(*range(900)), key="k", list="news")
    assert client.broker.tickets == [("batches bulk", False)] * 3
    client.sweeper.sweep()
    assert len(client.broker.tickets) == 3, "they are on their way"


# -- what goes wrong -----------------------------------------------------------------------------------------------------


def test_no_clear_answer_makes_a_row_that_evidence_settles_and_a_refusal_one_that_can_be_sent_again(
    client: Client, ses: Ses
) -> None:
    def answer(send_id: str) -> None:
        if send_id.endswith("-1"):
            raise OutcomeUnknown("SES answered 500", code="InternalFailure")
        if send_id.endswith("-2"):
            raise SendRejected("Address is not valid.", code="MessageRejected")

    ses.before = answer
    batch = client.send_batch(LETTER, readers(*range(4)), key="k", list="news")
    work(client)
    assert batch.status().counts == {"sent": 2, "unknown": 1, "rejected": 1}
    assert client.ledger.ids(State.UNKNOWN) == [f"{batch.id}-1"]
    refused = client.real_outbox.status(f"{batch.id}-2")
    assert (refused.state, refused.code) == (State.REJECTED, "MessageRejected")
    assert client.ledger.record_evidence(f"{batch.id}-1", "ses-1") == "settled"
    ses.before = lambda _id: None
    client.real_outbox.requeue(f"{batch.id}-2")
    client.sweeper.sweep()
    assert batch.status().state is BatchState.RUNNING, "one is open"
    claim = client.delivery.claim(f"{batch.id}-2")
    client.delivery.work(claim, None)
    assert "List-Unsubscribe" in ses.emails[f"{batch.id}-2"].headers
    client.sweeper.sweep()
    assert batch.status().counts == {"sent": 4}
    assert batch.status().state is BatchState.FINISHED


def test_a_throttle_makes_the_batch_wait_and_uses_no_attempt(client: Client, ses: Ses) -> None:
    refusals = iter([True])

    def throttles(_id: str) -> None:
        if next(refusals, False):
            raise SendThrottled("Maximum sending rate exceeded.", code="TooManyRequestsException")

    ses.before = throttles
    batch = client.send_batch(LETTER, readers(*range(3)), key="k", list="news")
    assert client.chunk_worker.work(Lane.BULK, None) == 0
    assert batch.status().counts == {"queued": 3}
    client.scripts.redis.hset(client.scripts.keys("batch", batch.id), "wait_until", 0)  # the wait is over
    assert work(client) == 3


def test_a_single_throttle_among_others_makes_nobody_else_wait_and_a_second_in_a_row_does(
    client: Client, ses: Ses
) -> None:
    """The throttle itself has slowed the whole fleet down by then; only a storm is waited for."""
    asked = iter(["", "throttled", "", "", "throttled", "throttled"])

    def throttles(_id: str) -> None:
        if next(asked, ""):
            raise SendThrottled("Maximum sending rate exceeded.", code="TooManyRequestsException")

    ses.before = throttles
    batch = client.send_batch(LETTER, readers(*range(8)), key="k", list="news")
    name = client.scripts.keys("batch", batch.id)
    assert client.chunk_worker.work(Lane.BULK, None) == 3
    assert batch.status().counts == {"sent": 3, "queued": 5}
    assert float(client.scripts.redis.hget(name, "wait_until")) > 0
    assert client.scripts.redis.hget(name, "waits") is None, "it got on, so its next wait is no longer one"
    client.scripts.redis.hset(name, "wait_until", 0)  # the wait is over
    assert work(client) == 5
    assert batch.status().counts == {"sent": 8}


def test_what_a_dead_worker_asked_ses_is_unknown_and_the_rest_of_its_chunk_goes_on(client: Client, ses: Ses) -> None:
    batch = client.send_batch(LETTER, readers(*range(3)), key="k", list="news")
    worker_dies(client)
    assert work(client) == 0
    report = client.sweeper.sweep()
    assert (report.became_unknown, report.requeued_from_dead_workers) == (1, 1)
    assert work(client) == 2
    assert batch.status().counts == {"sent": 2, "unknown": 1}


class Killed(BaseException):
    """Ends a worker wherever it is: nothing catches it."""


def killed_at(client: Client, ses: Ses, monkeypatch: pytest.MonkeyPatch, step: int, *, done: bool) -> bool:
    """Work as a process that is killed before, or right after, so many steps: what Redis or SES is asked.

    Whether it came so far.
    """
    steps = iter(range(step))

    def struck(act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            is_last = next(steps, None) is None
            if is_last and not done:
                raise Killed
            answer = act(*arguments)
            if is_last:
                raise Killed
            return answer

        return call

    dead = SimpleNamespace(owner=lambda: f"dead-{step}-{done}")
    worker = ChunkWorker(client.batches, client.ledger, client.delivery, dead, client._letters)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(client.scripts, "_execute", struck(client.scripts._execute))
        patch.setattr(ses, "send_composed", struck(ses.send_composed))
        try:
            worker.work(Lane.BULK, None)
        except Killed:
            return True
    return False


@pytest.mark.parametrize("done", [False, True])
def test_a_worker_killed_between_any_two_steps_of_a_chunk_leaves_one_in_doubt_at_most(
    client: Client, ses: Ses, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    monkeypatch.setattr(sending, "HOLD_SECONDS", 600.0)
    step = 0
    while True:
        ses.emails.clear()
        batch = client.send_batch(LETTER, readers(*range(4)), key=f"k{step}", list="news")
        if not killed_at(client, ses, monkeypatch, step, done=done):
            break
        client.sweeper.sweep()
        work(client)
        counts = batch.status().counts
        assert counts.get("unknown", 0) <= 1
        assert counts.get("sent", 0) + counts.get("unknown", 0) == 4, f"step {step}: {counts}"
        for send_id in client.ledger.ids(State.UNKNOWN):
            if send_id in ses.emails:
                assert client.ledger.record_evidence(send_id, f"ses-{send_id}") == "settled"
        assert len(ses.emails) >= 3
        step += 1
    assert step >= 8, "it has looked at each step"


def test_that_ses_took_one_is_written_down_in_the_act_that_begins_the_next(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = client.send_batch(LETTER, readers(*range(40)), key="k", list="news")
    calls: list[str] = []
    run = client.batches._run_at
    monkeypatch.setattr(
        client.batches, "_run_at", lambda account, name, *rest: calls.append(name) or run(account, name, *rest)
    )
    assert work(client) == 40
    assert batch.status().counts == {"sent": 40}
    assert calls.count("batch_begin") == 40
    assert "batch_leave" not in calls


def test_an_event_that_comes_while_ses_is_asked_goes_before_what_ses_says(client: Client, ses: Ses) -> None:
    def comes_and_fails(send_id: str) -> None:
        if send_id.endswith("-0"):
            assert client.ledger.record_evidence(send_id, "ses-0") == "kept"
            raise OutcomeUnknown("SES answered 500", code="InternalFailure")

    ses.before = comes_and_fails
    batch = client.send_batch(LETTER, readers(*range(2)), key="k", list="news")
    work(client)
    assert batch.status().counts == {"sent": 2}
    assert client.ledger.record_evidence(f"{batch.id}-0", "ses-0") == "known"
    assert client.ledger.record_evidence(f"{batch.id}-77", "ses-0") == "gone"


def test_a_worker_that_was_given_up_cannot_begin_or_settle_any_more(client: Client) -> None:
    client.send_batch(LETTER, readers(*range(3)), key="k", list="news")
    held = client.batches.claim(Lane.BULK, "slow", "old")
    assert held
    assert begins(client, held, 0) == "sending"
    assert begins(client, held, 0) == "sending", "repeated"
    assert client.batches.take_over("new")
    assert begins(client, held, 1) == "stale"
    assert client.batches.settle(held, [0], "sent") == [None]


def test_two_workers_at_once_send_each_of_a_batch_once(client: Client, ses: Ses) -> None:
    client.send_batch(LETTER, readers(*range(240)), key="k", list="news")
    threads = [threading.Thread(target=work, args=(client,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ses.emails) == 240


def test_a_chunk_that_redis_has_lost_is_counted_as_refused_not_as_sent(client: Client, ses: Ses) -> None:
    batch = client.send_batch(LETTER, readers(*range(3)), key="k", list="news")
    client.scripts.redis.delete(client.scripts.keys("batch", batch.id, "chunks"))
    work(client)
    assert batch.status().counts == {"rejected": 3}


# -- the end -------------------------------------------------------------------------------------------------------------


def test_the_end_of_a_batch_is_told_once_and_little_is_left_of_it(client: Client) -> None:
    heard = []
    tells = signals.batch_finished.connect(lambda _site, *, status: heard.append(status))
    try:
        batch = client.send_batch(LETTER, readers(*range(150)), key="k", list="news")
        work(client)
        client.sweeper.sweep()
        client.sweeper.sweep()
        assert client.batch_teller.has_something_to_tell()
        assert client.batch_teller.tell_what_ended() == 1
        assert client.batch_teller.tell_what_ended() == 0
    finally:
        signals.batch_finished.disconnect(tells)
    assert [(status.batch_id, status.counts) for status in heard] == [(batch.id, {"sent": 150})]
    redis, keys = client.scripts.redis, client.scripts.keys
    assert not redis.exists(keys("batch", batch.id, "chunks")), "addresses are not kept for longer than needed"
    assert 0 < redis.pttl(keys("batch", batch.id)) <= 7 * 86_400_000
    assert redis.pttl(keys("batch", batch.id, "states")) > 0


def test_what_is_unknown_is_told_so(client: Client) -> None:
    with pytest.raises(UnknownSend):
        client.batches.status("batch_0000000000000000")
    with pytest.raises(UnknownSend):
        client.batch_office.pause("batch_0000000000000000")


def test_the_memory_of_a_queued_recipient_is_small(client: Client) -> None:
    redis = client.scripts.redis
    letter = Letter(subject="Hello {{name}}", text="Hi {{name}}.")
    client.send_batch(letter, [("first@example.org", {"name": "x"})], key="before", list="news")
    before = redis.info("memory")["used_memory"]
    people = ((f"reader.number{n * 7919 % 10**6}@mail{n % 40}.example", {"name": f"N{n % 100}"}) for n in range(10_000))
    client.send_batch(letter, people, key="k", list="news")
    assert (redis.info("memory")["used_memory"] - before) / 10_000 < 64


def test_every_move_of_a_recipient_that_the_scripts_say_is_one_that_tests_make_or_tell() -> None:
    states = {"nothing", "queued", "sending", "sent", "suppressed", "expired", "cancelled", "rejected", "unknown"}
    states |= {"abandoned", "scheduled", "claimed"}  # of one that has a row by now
    assert {state for move in moves_in_batches() for state in (*move.origins, move.to)} == states


def test_in_memory_each_recipient_is_an_email_of_the_outbox() -> None:
    quiet = Client(Settings(suppress_send=True, **SAID))
    batch = quiet.send_batch(LETTER, readers(*range(3), 2), key="k", list="news")
    assert (batch.queued, batch.known) == (3, 1)
    emails = [kept.email for kept in quiet.memory.sends.values()]
    assert [email.subject for email in emails] == ["Hello N<0>", "Hello N<1>", "Hello N<2>"]
    assert all("List-Unsubscribe" in email.headers for email in emails)
    with pytest.raises(UnknownSend):
        batch.status()


def test_a_worker_holds_a_ticket_for_no_longer_than_two_seconds(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "HOLD_SECONDS", 0.0)
    batch = client.send_batch(LETTER, readers(*range(3)), key="k", list="news")
    assert client.chunk_worker.work(Lane.BULK, None) == 1
    assert batch.status().counts == {"sent": 1, "queued": 2}


def test_who_is_erased_gets_nothing_and_stands_in_no_chunk(client: Client, ses: Ses) -> None:
    batch = client.send_batch(LETTER, readers(*range(3)), key="k", list="news")
    assert client.erase("reader1@example.org", dry_run=True).waiting_email == 1
    assert client.erase("reader1@example.org").waiting_email == 1
    chunk = client.scripts.redis.hget(client.scripts.keys("batch", batch.id, "chunks"), "0")
    assert "reader1" not in str(unpacked(chunk))
    work(client)
    assert batch.status().counts == {"sent": 2, "cancelled": 1}


# -- as people look for them ------------------------------------------------------------------------------------------


def test_recipients_are_found_by_state_and_by_page_and_their_addresses_while_anybody_of_their_chunk_waits(
    client: Client, ses: Ses
) -> None:
    def refuses(send_id: str) -> None:
        if send_id.endswith("-3"):
            raise SendRejected("no", code="MessageRejected")

    opt_out(client, "reader5@example.org")
    ses.before = refuses
    batch = client.send_batch(LETTER, readers(*range(150)), key="k", list="news").id
    client.batches.pause(batch)
    of = client.recipients.of
    assert of(batch, limit=1000) == [f"{batch}-{n}" for n in range(150)]
    assert of(batch, State.QUEUED, skip=100, limit=2) == [f"{batch}-100", f"{batch}-101"]
    assert client.recipients.addresses([f"{batch}-{n}" for n in (0, 149, 150)] + ["other"]) == {
        f"{batch}-0": "reader0@example.org",
        f"{batch}-149": "reader149@example.org",
    }
    client.batches.resume(batch)
    work(client)
    assert of(batch, State.REJECTED) == [f"{batch}-3"]
    assert of(batch, State.SUPPRESSED) == [f"{batch}-5"]
    assert len(of(batch, State.SENT, limit=1000)) == 148
    assert of(batch, State.QUEUED) == of(batch, State.UNKNOWN) == of("batch_0000000000000000") == []
    assert client.recipients.addresses([f"{batch}-0"]) == {}
    assert (client.search.facts(f"{batch}-0").list, client.search.facts(f"{batch}-3").list) == ("news", "news")
    assert [(move.state, move.why) for move in client.ledger.status(f"{batch}-3").moves] == [
        (State.REJECTED, "MessageRejected")
    ]


def test_batches_under_way_are_those_that_have_not_ended_the_latest_first(client: Client, ses: Ses) -> None:
    first, other = (client.send_batch(LETTER, readers(1, 2), key=key, list="news").id for key in ("a", "b"))
    assert [each.batch_id for each in client.batches.under_way()] == [other, first]
    client.batches.cancel(other)
    assert client.batches.finish() == [other]
    (left,) = client.batches.under_way()
    assert left == client.batches.status(first)
    assert (left.batch_id, left.recipients, left.done, left.site, left.account) == (first, 2, 0, "default", "default")
    assert client.batches.latest(1, skip=1) == [first]


# -- letters -------------------------------------------------------------------------------------------------------------


def test_an_email_to_nobody_goes_to_many_with_all_that_it_says(client: Client, ses: Ses) -> None:
    letter = Email(None, "Hello {{name}}", "Hi {{name|there}}", alternatives=[("<x/>", "text/xml")], tags={"a": "1"})
    batch = client.send_batch(letter, [("ann@example.org", {"name": ""})], key="k", list="news")
    work(client)
    email = ses.emails[f"{batch.id}-0"]
    assert (email.subject, email.text, email.to, email.lane) == ("Hello ", "Hi there", ("ann@example.org",), Lane.BULK)
    assert (email.tags["a"], len(email.alternatives)) == ("1", 1)
    with pytest.raises(InvalidEmail, match="recipients or an idempotency key"):
        client.send_batch(letter.replace(to="bob@example.org"), [], key="l", list="news")
    with pytest.raises(ConfigurationError, match="ulr"):
        client.send_batch(letter.replace(text="{{email|ulr}}"), [], key="l", list="news")


def test_a_letter_in_jinja_is_rendered_by_the_worker_and_its_rows_are_tried_before(client: Client, ses: Ses) -> None:
    letter = Letter(subject="{{ n }}", text="{% for o in orders %}{{ o.name }} {% endfor %}{{ email }}", jinja=True)
    people: list[Any] = [("ann@example.org", {"n": 1, "orders": [{"name": "Tea"}]})]
    for context in ({"n": 1}, {"n": 1, "orders": [{}]}, {"n": 1, "orders": [object()]}):
        with pytest.raises(InvalidEmail, match=r"recipients\[1\]"):
            client.send_batch(letter, [*people, ("bob@example.org", context)], key="k", list="news")
    batch = client.send_batch(letter, people, key="k", list="news")
    work(client)
    email = ses.emails[f"{batch.id}-0"]
    assert (email.subject, email.text) == ("1", "Tea ann@example.org")
    with pytest.raises(IdempotencyConflict):
        client.send_batch(Letter(subject="{{ n }}", text="{{email}}"), people, key="k", list="news")


def test_a_recipient_has_tags_headers_and_metadata_of_its_own_beside_the_letter_s(client: Client, ses: Ses) -> None:
    letter = Letter(subject="s", text="t", tags={"a": "1"}, headers={"X-Shop": "us"}, metadata={"run": 1, "user": 0})
    own = {"tags": {"b": 2}, "headers": {"X-Shop": "you", "X-Number": 7}, "metadata": {"user": 7}}
    batch = client.send_batch(letter, [("ann@example.org", {}, own), "bob@example.org"], key="k", list="news")
    work(client)
    ann, bob = (ses.emails[f"{batch.id}-{n}"] for n in (0, 1))
    assert (dict(ann.tags), ann.headers["X-Shop"]) == ({"a": "1", "sesmail-list": "news", "b": "2"}, "you")
    assert (ann.headers["X-Number"], bob.headers["X-Shop"]) == ("7", "us")
    assert client.ledger.metadata(f"{batch.id}-0") == {"run": 1, "user": 7}
    assert client.ledger.metadata(f"{batch.id}-1") == {"run": 1, "user": 0}
    for wrong in ({"tags": {"a b": 1}}, {"headers": {"Subject": "x"}}, {"subject": "x"}):
        with pytest.raises(InvalidEmail, match=r"recipients\[0\]"):
            client.send_batch(letter, [("zoe@example.org", {}, wrong)], key="l", list="news")


def test_metadata_of_a_recipient_is_there_where_the_send_failed_and_goes_with_who_is_erased(
    client: Client, ses: Ses
) -> None:
    def refuses(send_id: str) -> None:
        raise SendRejected("Address is not valid.", code="MessageRejected")

    ses.before = refuses
    people: list[Any] = [(f"reader{n}@example.org", {}, {"metadata": {"user": n}}) for n in range(2)]
    batch = client.send_batch(Letter(subject="s", text="t"), people, key="k", list="news")
    client.erase("reader1@example.org")
    work(client)
    assert client.scripts.redis.hget(client.scripts.keys("send", f"{batch.id}-0"), "metadata") == b'{"user": 0}'
    assert client.ledger.metadata(f"{batch.id}-1") == {}


def test_a_recipient_s_email_is_seen_before_anything_is_queued(client: Client) -> None:
    email = client.composer.preview(LETTER, ("ann@example.org", {"name": "Ann"}), list="news")
    assert (email.subject, email.to) == ("Hello Ann", ("ann@example.org",))
    assert email.headers["List-Unsubscribe"].strip("<>") in str(email.html)
    assert client.batches.latest() == []
    assert client.send(email.replace(to="me@example.com")).new


def test_a_template_that_ses_keeps_is_a_letter_by_its_name(client: Client, ses: Ses) -> None:
    templates = {"spring": {"subject": "Hi {{name}}", "html": "<p>{{name}}</p>"}}
    vars(client)["transport"].template = templates.__getitem__
    batch = client.send_batch("spring", [("ann@example.org", {"name": "<Ann>"})], key="k", list="news")
    work(client)
    assert ses.emails[f"{batch.id}-0"].html == "<p>&lt;Ann&gt;</p>"


DROPS: dict[str, dict[str, Any]] = {
    "RenderingFailure": {
        "eventType": "Rendering Failure",
        "failure": {"errorMessage": "no name", "templateName": "spring"},
    },
    "Reject": {"eventType": "Reject", "reject": {"reason": "Bad content, no name"}},
}


def dropped(client: Client, send_id: str, code: str, message_id: str = "ses-1") -> None:
    """SES tells that it took an email, and then dropped it."""
    mail = {"messageId": message_id, "tags": {"sesmail-id": [send_id]}, "destination": ["reader@example.org"]}
    mail |= {"timestamp": "2026-01-01T00:00:00Z", "source": "shop@example.com"}
    message = json.dumps({"mail": mail, **DROPS[code]})
    event = StoredEvent(event_id=f"of-{send_id}", source=client.settings.site, message=message, received_at=1.0)
    client.event_store.put([event])
    client.event_processor.process()


@pytest.mark.parametrize("code", DROPS)
def test_whose_email_ses_took_and_dropped_is_rejected_told_and_counted_also_where_the_batch_has_ended(
    client: Client, ses: Ses, code: str
) -> None:
    told: list[Any] = []

    def hear(_site: str, *, status: Any, metadata: Any) -> None:
        told.append((status.send_id, status.code, metadata))

    with signals.email_failed.connected_to(hear):
        client.teller.listen()
        rows = [(f"reader{n}@example.org", {"name": "N"}, {"metadata": {"user": n}}) for n in range(3)]
        batch = client.send_batch(LETTER, rows, key="k", list="news")
        ses.before = lambda send_id: (
            dropped(client, send_id, code) if send_id.endswith("-1") else None
        )  # SES is being asked
        work(client)
        client.batches.finish()
        assert batch.status().counts == {"sent": 2, "rejected": 1}
        assert batch.status().finished_at is not None
        dropped(client, f"{batch.id}-2", code)
        assert batch.status().counts == {"sent": 1, "rejected": 2}
        client.teller.tell_what_ended()
    assert sorted(told) == [(f"{batch.id}-{n}", code, {"user": n}) for n in (1, 2)]
    status = client.real_outbox.status(f"{batch.id}-2")
    assert (status.state, status.message_id) == (State.REJECTED, "ses-1")
    assert "no name" in (status.reason or "")
    dropped(client, f"{batch.id}-2", code)
    client.ledger.record_evidence(f"{batch.id}-2", "ses-1")
    assert batch.status().counts == {"sent": 1, "rejected": 2}
    with pytest.raises(MoveRefused, match="gone"):
        client.real_outbox.requeue(f"{batch.id}-2")


# -- how fast ------------------------------------------------------------------------------------------------------------


def test_a_batch_keeps_to_a_rate_of_its_own_and_another_beside_it_does_not(client: Client, ses: Ses) -> None:
    slow = client.send_batch(LETTER, readers(*range(150)), key="k", list="news", rate="36/h")
    quick = client.send_batch(LETTER, readers(*range(120)), key="l", list="news")
    assert slow.status().rate == 0.01
    work(client)  # the slow one's second recipient has to wait for minutes, which no worker does
    assert (slow.status().counts["sent"], quick.status().counts) == (1, {"sent": 120})
    slow.slow(rate=None)
    client.scripts.redis.hset(client.scripts.keys("batch", slow.id), "wait_until", 0)  # until then it has waited
    work(client)
    assert (slow.status().rate, slow.status().counts) == (None, {"sent": 150})


def test_no_more_workers_take_chunks_of_a_slow_batch_than_its_rate_is_worth(client: Client) -> None:
    client.send_batch(LETTER, readers(*range(900)), key="k", list="news", rate="9/s")
    assert len(client.broker.tickets) == 2
    held = [client.batches.claim(Lane.BULK, "a-worker", f"token-{n}") for n in range(3)]
    assert [each and each.rate for each in held] == [9.0, 9.0, None]


def test_a_ramp_lets_twice_as_many_go_on_each_day_and_none_more(client: Client, ses: Ses) -> None:
    batch = client.send_batch(LETTER, readers(*range(120)), key="k", list="news", ramp=5)
    redis, name, day_ms = client.scripts.redis, client.scripts.keys("batch", batch.id), 86_400_000
    sent = []
    for day in range(4):
        work(client)
        sent.append(batch.status().counts["sent"])
        tomorrow_ms = int(redis.hget(name, "ramp_from")) + (day + 1) * day_ms
        assert batch.status().waits_until == tomorrow_ms / 1000
        redis.hincrby(name, "ramp_from", -(day + 1) * day_ms + day * day_ms)
        redis.hset(name, "wait_until", 0)
    assert sent == [5, 15, 35, 75]
    batch.slow(ramp=None)
    work(client)
    assert batch.status().counts == {"sent": 120}


def test_who_was_not_sent_on_a_day_of_a_ramp_does_not_count_to_it(client: Client, ses: Ses) -> None:
    refusals = iter([True, True])

    def throttles(_id: str) -> None:
        if next(refusals, False):
            raise SendThrottled("Maximum sending rate exceeded.", code="TooManyRequestsException")

    ses.before = throttles
    batch = client.send_batch(LETTER, readers(*range(9)), key="k", list="news", ramp=5)
    for _ in range(3):
        client.chunk_worker.work(Lane.BULK, None)
        client.scripts.redis.hset(client.scripts.keys("batch", batch.id), "wait_until", 0)  # the back-off is over
    assert batch.status().counts == {"sent": 5, "queued": 4}


@pytest.mark.parametrize("limit", [{"rate": "quick"}, {"rate": 0}, {"rate": "-1/s"}, {"ramp": 0}, {"ramp": "5"}])
def test_what_is_no_limit_is_refused_by_its_name(client: Client, limit: dict[str, Any]) -> None:
    with pytest.raises(InvalidEmail, match=next(iter(limit))):
        client.send_batch(LETTER, readers(1), key="k", list="news", **limit)
    batch = client.send_batch(LETTER, readers(1), key="k", list="news")
    with pytest.raises(InvalidEmail, match=next(iter(limit))):
        batch.slow(**limit)


# -- what SES tells of it ------------------------------------------------------------------------------------------------


def fact(batch_id: str, counter: Counter, told_by: str) -> Fact:
    today = datetime(2026, 1, 1, tzinfo=UTC).date()
    what = {"key": f"{counter}-1", "told_by": told_by, "happened_on": today, "sent_on": today, "counter": counter}
    return Fact(site="default", list="news", batch=batch_id, **what)


def test_bounces_and_unsubscribes_of_a_batch_are_counted_once_each(client: Client) -> None:
    batch = client.send_batch(LETTER, readers(*range(3)), key="k", list="news")
    client.reputation.count([fact(batch.id, Counter.BOUNCED_PERMANENT, "a"), fact("", Counter.DELIVERED, "b")])
    client.reputation.count([fact(batch.id, Counter.BOUNCED_PERMANENT, "another notification of the same")])
    client.reputation.count(
        [fact(batch.id, Counter.UNSUBSCRIBED, "c"), fact("batch_0000000000000000", Counter.SENT, "d")]
    )
    assert batch.status().events == {"bounced_permanent": 1, "unsubscribed": 1}
    assert not client.scripts.redis.exists(client.scripts.keys("batch", "batch_0000000000000000"))
    shown = prometheus.text(client)
    assert f'sesmail_batch_recipients{{batch="{batch.id}",list="news",state="queued"}} 3.0' in shown
    assert f'sesmail_batch_events{{batch="{batch.id}",event="unsubscribed",list="news"}} 1.0' in shown


def test_an_event_of_a_recipient_names_its_batch_and_one_of_another_send_none() -> None:
    said = {"occurred_at": datetime(2026, 1, 1, tzinfo=UTC), "sent_at": datetime(2026, 1, 1, tzinfo=UTC)}
    for send_id, batch_id in (("batch_0123456789abcdef-7", "batch_0123456789abcdef"), ("7", ""), (None, "")):
        event = SimpleNamespace(key="k", site="s", list="", counter=None, recipient="", send_id=send_id, **said)
        assert fact_of(event, "a").batch == batch_id  # type: ignore[arg-type]


def test_who_has_had_too_many_emails_within_the_hour_is_set_aside_and_can_be_sent_again(
    redis: Redis, redis_server: EmbeddedRedis, ses: Ses
) -> None:
    guarded = Client(
        Settings(redis_url=redis_server.url, region="us-east-1", hourly_limit_per_address=2, **SAID), Broker()
    )
    vars(guarded)["transport"] = ses
    guarded.turns.take("account", 600)
    guarded.throttle.update_account(rate=-1, quota_24h=-1, sent_24h=0)
    for key in "abc":
        batch = guarded.send_batch(LETTER, readers(1, *((2,) if key == "c" else ())), key=key, list="news")
        work(guarded)
    assert batch.status().counts == {"abandoned": 1, "sent": 1}
    held_back = guarded.real_outbox.status(f"{batch.id}-0")
    assert (held_back.state, held_back.code) == (State.ABANDONED, "too-many")
    assert guarded.meters.held_back() == 1
    guarded.ledger.accept("one of no batch", Email("reader1@example.org", "s", "t", from_email="a@example.com"))
    assert guarded.ledger.claim("one of no batch", "worker") is State.ABANDONED, "no matter what came first of all"
    guarded.real_outbox.requeue(f"{batch.id}-0")
    guarded.delivery.work(guarded.delivery.claim(f"{batch.id}-0"), None)
    assert len(ses.emails) == 4
    guarded.close()


def test_who_waits_for_the_next_day_of_a_ramp_has_had_nothing_yet(
    redis: Redis, redis_server: EmbeddedRedis, ses: Ses
) -> None:
    guarded = Client(
        Settings(redis_url=redis_server.url, region="us-east-1", hourly_limit_per_address=1, **SAID), Broker()
    )
    vars(guarded)["transport"] = ses
    guarded.turns.take("account", 600)
    guarded.throttle.update_account(rate=-1, quota_24h=-1, sent_24h=0)
    batch = guarded.send_batch(LETTER, readers(1, 2), key="k", list="news", ramp=1)
    work(guarded)
    assert batch.status().counts == {"queued": 1, "sent": 1}
    for number in (1, 2):
        guarded.ledger.accept(f"s{number}", Email(f"reader{number}@example.org", "s", "t", from_email="a@example.com"))
    had = [guarded.ledger.claim(f"s{number}", "worker") is State.ABANDONED for number in (1, 2)]
    assert sorted(had) == [False, True]
    guarded.close()


def later(redis: Redis) -> None:
    """Until Redis' clock shows another millisecond, by which what is found is ordered."""
    now: Any = redis.time()
    while (shown := redis.time()) and (shown[0], shown[1] // 1000) == (now[0], now[1] // 1000):  # type: ignore[index]
        pass


def found(client: Client, address: str) -> tuple[str, ...]:
    return client.search.by_address(address).ids


def test_the_sends_of_batches_to_an_address_are_found_the_latest_first_however_much_of_them_has_gone(
    client: Client, ses: Ses, redis: Redis
) -> None:
    first = client.send_batch(LETTER, readers(*range(1234)), key="k", list="news")
    client.send_batch(LETTER, readers(7, *range(2000, 2150)), key="k", list="news")  # behind a chunk that is not full
    later(redis)
    second = client.send_batch(LETTER, readers(7), key="l", list="news")
    later(redis)
    client.real_outbox.send(Email("reader7@example.org", "Hi", "Hi."), send_id="alone")
    by_number = {7: f"{first.id}-7", 1233: f"{first.id}-1233", 2000: f"{first.id}-1300", 2149: f"{first.id}-1449"}
    for _ in range(2):
        assert {number: found(client, f"Reader{number}@example.org")[-1] for number in by_number} == by_number
        assert found(client, "reader7@example.org") == ("alone", f"{second.id}-0", f"{first.id}-7")
        assert found(client, "reader1500@example.org") == ()
        work(client)  # the chunks are gone
    assert [each.status.state for each in client.search.listed(found(client, "reader7@example.org"))][1:] == [
        "sent"
    ] * 2
    assert client.search.by_address("reader7@example.org", skip=1, limit=1).ids == (f"{second.id}-0",)
    handle = client.search.handle("reader7@example.org")
    assert client.search.by_handle(handle).total == 3
    assert client.search.by_handle(handle[:20]).ids == ("alone",)  # a link of a former release


def test_in_a_batch_that_a_former_release_has_queued_an_address_is_found_while_its_chunk_is_there(
    client: Client, ses: Ses, redis: Redis
) -> None:
    batch = client.send_batch(LETTER, readers(*range(300)), key="k", list="news")
    seen = client.scripts.keys("batch", batch.id, "seen")
    redis.hdel(seen, *[field for field in redis.hkeys(seen) if field.startswith(b"from ")])
    assert found(client, "reader207@example.org") == (f"{batch.id}-207",)
    work(client)
    assert client.search.by_address("reader207@example.org").batches == (batch.id,)
    assert found(client, "reader207@example.org") == ()


def test_who_was_erased_is_not_found_in_batches_from_before(client: Client, ses: Ses, redis: Redis) -> None:
    client.send_batch(LETTER, readers(7), key="k", list="news")
    work(client)
    assert client.erase("reader7@example.org", why="asked").dry_run is False
    assert found(client, "reader7@example.org") == ()
    later(redis)
    new = client.send_batch(LETTER, readers(7), key="l", list="news")
    assert found(client, "reader7@example.org") == (f"{new.id}-0",)


def test_the_recipients_of_batches_to_a_list_are_found_among_its_other_sends_and_by_state(
    client: Client, ses: Ses, redis: Redis
) -> None:
    first = client.send_batch(LETTER, readers(*range(130)), key="k", list="news")
    work(client)
    later(redis)
    client.real_outbox.send(Email("ann@example.org", "Hi", "Hi.", tags={"sesmail-list": "news"}), send_id="between")
    later(redis)
    second = client.send_batch(LETTER, readers(1, 2), key="l", list="news")
    client.send_batch(LETTER, readers(3), key="m", list="other")
    page = client.search.by_list("default", "news", limit=4)
    assert page.ids == (f"{second.id}-0", f"{second.id}-1", "between", f"{first.id}-0")
    assert page.total == 133
    assert client.search.by_list("default", "news", skip=131, limit=9).ids == (f"{first.id}-128", f"{first.id}-129")
    waiting = client.search.by_list("default", "news", of_batches=[State.QUEUED]).ids
    assert waiting == (f"{second.id}-0", f"{second.id}-1", "between")
    assert [(each.list, each.account) for each in client.search.listed(waiting[:2])] == [("news", "default")] * 2
