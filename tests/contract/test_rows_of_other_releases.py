"""What a newer release wrote is left for it, whatever a worker or a sweep of this one meets; what an older one wrote is used."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime

import pytest
from redis import Redis

from sesmail.errors import MoveRefused
from sesmail.message import LIST_TAG, Email, Lane
from sesmail.message.content import content_digest
from sesmail.sending.sweeper import Sweeper
from sesmail.settings import Settings
from sesmail.state.fleet.meters import Meters
from sesmail.state.ledger.answering import Callers
from sesmail.state.ledger.former import former_rows
from sesmail.state.ledger.ledger import RECORD_VERSION, Ledger
from sesmail.state.line.line import Line
from sesmail.state.people.suppression import OptOut, Scope, SuppressionList
from sesmail.vocabulary import WAITING, Claim, Reason, State
from tests.conftest import ClockedScripts
from tests.tickets import Broker

LETTER = "<p>A long letter.</p>" * 100
MONTHS = 90 * 86_400
UNTOUCHED = ("state", "attempts", "waits", "email", "blobs", "v", "site", "account")


@pytest.fixture
def ledger(clocked_scripts: ClockedScripts) -> Ledger:
    return Ledger(clocked_scripts, Settings(evidence_window_seconds=100, max_attempts=1, site="alpha"))


def accept(ledger: Ledger, send_id: str = "a", **changes: object) -> str:
    email = Email("ann@example.org", "Hello", "Hi.", LETTER, **{"from_email": "shop@example.com", **changes})  # type: ignore[arg-type]
    ledger.accept(send_id, email)
    return send_id


def claimed(ledger: Ledger, send_id: str = "a") -> Claim:
    claim = ledger.claim(send_id, "worker")
    assert isinstance(claim, Claim), claim
    return claim


def row(redis: Redis, send_id: str = "a") -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in redis.hgetall(f"{{sesmail}}:send:{send_id}").items()}


def write(redis: Redis, send_id: str = "a", **fields: str) -> None:
    redis.hset(f"{{sesmail}}:send:{send_id}", mapping=fields)


def by_a_newer_release(redis: Redis, send_id: str = "a") -> None:
    write(redis, send_id, v="3")


def by_a_newer_record(redis: Redis, send_id: str = "a") -> None:
    record = json.loads(row(redis, send_id)["email"])
    write(redis, send_id, email=json.dumps(record | {"v": RECORD_VERSION + 1, "email": {"quite": "different"}}))


def for_another_account(redis: Redis, send_id: str = "a") -> None:
    write(redis, send_id, account="second")


every_reason = pytest.mark.parametrize("make", [by_a_newer_release, by_a_newer_record, for_another_account])


def test_a_row_says_its_version_and_whose_it_is(ledger: Ledger, redis: Redis) -> None:
    accept(ledger)
    ledger.set_aside("b", "no email", "it cannot be read")
    for send_id in "ab":
        assert {name: row(redis, send_id)[name] for name in ("v", "site", "account")} == {
            "v": "2",
            "site": "alpha",
            "account": "default",
        }


# -- what this worker cannot take ------------------------------------------------------------------------------------------


@every_reason
def test_a_send_that_this_worker_cannot_take_waits_a_few_seconds_for_one_that_can(
    ledger: Ledger, redis: Redis, clocked_scripts: ClockedScripts, make
) -> None:
    accept(ledger)
    before = row(redis)
    make(redis)
    written = row(redis)
    assert ledger.claim("a", "worker") is State.SCHEDULED
    status = ledger.status("a")
    assert (status.state, status.attempts, status.waits) == (State.SCHEDULED, 0, 0)
    assert status.reason
    assert {name: row(redis)[name] for name in ("email", "v", "account")} == {
        name: written[name] for name in ("email", "v", "account")
    }
    assert ledger.queue_due(Lane.TRANSACTIONAL) == []
    clocked_scripts.advance(5)
    (ticket,) = ledger.queue_due(Lane.TRANSACTIONAL)
    write(redis, **{name: before[name] for name in ("email", "v", "account")})  # as for a worker that knows it
    assert claimed(ledger, ticket.send_id).email.html == LETTER


@pytest.mark.parametrize("make", [by_a_newer_release, for_another_account])
def test_a_send_that_this_worker_cannot_take_is_not_ended_by_it_for_its_age_or_expiry_or_an_opt_out(
    ledger: Ledger, redis: Redis, clocked_scripts: ClockedScripts, make
) -> None:
    make(redis, accept(ledger, "old"))
    make(redis, accept(ledger, "expired", expires_at=datetime.fromtimestamp(clocked_scripts.now_ms / 1000 + 1, UTC)))
    clocked_scripts.advance(MONTHS)
    make(redis, accept(ledger, "opted out", lane="bulk"))
    opt_out(clocked_scripts, "alpha")
    for send_id in ("old", "expired", "opted out"):
        assert ledger.claim(send_id, "worker") is State.SCHEDULED
        assert ledger.status(send_id).state is State.SCHEDULED


@every_reason
def test_it_waits_longer_each_time_and_a_minute_at_most_so_that_many_of_them_keep_nobody_busy(
    ledger: Ledger, redis: Redis, clocked_scripts: ClockedScripts, make
) -> None:
    accept(ledger)
    make(redis)
    waits = []
    for _ in range(15):
        ledger.claim("a", "worker")
        due_ms = redis.zscore("{sesmail}:in:scheduled:transactional", "a")
        waits.append(round(due_ms - clocked_scripts.now_ms) / 1000)
        clocked_scripts.advance(waits[-1])
        assert len(ledger.queue_due(Lane.TRANSACTIONAL)) == 1
    assert waits == [*range(5, 60, 5), 60, 60, 60, 60]


@every_reason
def test_people_are_told_once_a_minute_what_is_left_and_why(
    ledger: Ledger, redis: Redis, caplog: pytest.LogCaptureFixture, make
) -> None:
    for send_id in "abc":
        make(redis, accept(ledger, send_id))
        ledger.claim(send_id, "worker")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "wait" in record.getMessage()
    assert "newer release" in record.getMessage() or "account second" in record.getMessage()
    assert "example" not in record.getMessage()


def test_a_second_ticket_of_a_send_that_waits_for_another_worker_says_nothing(
    ledger: Ledger, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    accept(ledger)
    claimed(ledger)
    by_a_newer_release(redis)
    write(redis, state="in a state of its own")
    assert ledger.claim("a", "another") is State.SCHEDULED
    assert row(redis)["state"] == "in a state of its own"
    assert not caplog.records


@pytest.mark.parametrize("version", ["3", "10", "2.1", "a word"])
def test_whatever_version_is_not_known_is_a_newer_ones(ledger: Ledger, redis: Redis, version: str) -> None:
    write(redis, accept(ledger), v=version)
    assert ledger.claim("a", "worker") is State.SCHEDULED
    assert ledger.status("a").state is State.SCHEDULED


# -- sweeps and operators --------------------------------------------------------------------------------------------------


def bring_to(ledger: Ledger, send_id: str, state: State) -> None:
    if state in (State.QUEUED, State.SCHEDULED):
        return
    claim = claimed(ledger, send_id)
    if state in (State.SENDING, State.UNKNOWN):
        ledger.begin(claim)
    if state is State.UNKNOWN:
        ledger.outcome_unknown(claim, "500")
    if state is State.REJECTED:
        ledger.rejected(claim, "no")
    if state is State.CANCELLED:
        ledger.cancel(send_id)


def sweep(ledger: Ledger, scripts: ClockedScripts) -> list[str]:
    """Sweep all there is to sweep, with everybody dead; the tickets that were issued."""
    broker = Broker()
    line, meters = Line(scripts), Meters(scripts.redis, scripts.keys)
    for _ in range(3):  # the first forgives a silence, the next finds the dead
        scripts.advance(ledger._settings.lease_seconds)
        Sweeper(ledger, line, meters, Callers(scripts), broker).sweep()
    return broker.ids


SWEPT = (State.CLAIMED, State.SENDING, State.UNKNOWN, State.REJECTED, State.CANCELLED)


@pytest.mark.parametrize("state", SWEPT)
def test_no_sweep_changes_what_a_newer_release_has_whatever_state_it_is_in(
    ledger: Ledger, redis: Redis, clocked_scripts: ClockedScripts, state: State
) -> None:
    ledger.heartbeat("worker", 1)
    for send_id in ("theirs", "ours"):
        bring_to(ledger, accept(ledger, send_id), state)
    by_a_newer_release(redis, "theirs")
    before = row(redis, "theirs")
    clocked_scripts.advance(MONTHS)
    sweep(ledger, clocked_scripts)
    assert row(redis, "theirs") == before
    assert row(redis, "ours").get("state") != state
    redis.hset("{sesmail}:send:theirs", "v", "2")
    sweep(ledger, clocked_scripts)
    assert row(redis, "theirs").get("state") != state


def test_whether_an_email_of_another_account_is_sent_again_or_given_up_is_for_those_who_serve_it(
    ledger: Ledger, redis: Redis, clocked_scripts: ClockedScripts
) -> None:
    bring_to(ledger, accept(ledger), State.UNKNOWN)
    for_another_account(redis)
    clocked_scripts.advance(MONTHS)
    assert ledger.queue_unproven() == ([], 0)
    assert ledger.status("a").state is State.UNKNOWN


def test_unknown_sends_are_not_held_up_by_many_that_a_newer_release_has_before_them(
    clocked_scripts: ClockedScripts, redis: Redis
) -> None:
    ledger = Ledger(clocked_scripts, Settings(evidence_window_seconds=100))
    for n in range(10):
        bring_to(ledger, accept(ledger, f"s{n}"), State.UNKNOWN)
        clocked_scripts.advance(1)
        if n < 7:
            by_a_newer_release(redis, f"s{n}")
    clocked_scripts.advance(100)
    found = [ticket.send_id for _ in range(3) for ticket in ledger.queue_unproven(2)[0]]
    assert found == ["s7", "s8", "s9"]


def test_tickets_are_issued_for_whatever_is_due_or_was_lost(
    ledger: Ledger, redis: Redis, clocked_scripts: ClockedScripts
) -> None:
    """They tell nothing; the worker that takes one may be of the newer release."""
    accept(ledger, "queued")
    accept(ledger, "due", send_at=datetime.fromtimestamp(clocked_scripts.now_ms / 1000 + 5, UTC))
    for send_id in ("queued", "due"):
        by_a_newer_release(redis, send_id)
    clocked_scripts.advance(20)
    broker = Broker(empty=True)
    parts = Line(clocked_scripts), Meters(redis, clocked_scripts.keys), Callers(clocked_scripts)
    Sweeper(ledger, *parts, broker).sweep()
    assert sorted(broker.ids) == ["due", "queued"]


@pytest.mark.parametrize(
    ("state", "act"),
    [
        (State.QUEUED, lambda ledger: ledger.cancel("a")),
        (State.QUEUED, lambda ledger: ledger.reschedule("a", datetime.now(UTC))),
        (State.REJECTED, lambda ledger: ledger.requeue("a")),
    ],
    ids=["cancel", "reschedule", "requeue"],
)
def test_an_operator_of_this_release_is_told_that_the_send_is_a_newer_ones(
    ledger: Ledger, redis: Redis, state: State, act
) -> None:
    bring_to(ledger, accept(ledger), state)
    by_a_newer_release(redis)
    before = row(redis)
    with pytest.raises(MoveRefused, match="of a newer release: it cannot be"):
        act(ledger)
    assert row(redis) == before


def test_evidence_for_a_send_of_a_newer_release_is_kept_and_keeps_the_second_copy_back(
    ledger: Ledger, redis: Redis, clocked_scripts: ClockedScripts
) -> None:
    bring_to(ledger, accept(ledger), State.UNKNOWN)
    by_a_newer_release(redis)
    assert ledger.record_evidence("a", "ses-1") == "kept"
    assert ledger.status("a").state is State.UNKNOWN
    write(redis, v="2")  # as for the release that knows it
    clocked_scripts.advance(100)
    assert ledger.queue_unproven() == ([], 0)
    assert (ledger.status("a").state, ledger.status("a").message_id) == (State.SENT, "ses-1")


# -- whose it is -----------------------------------------------------------------------------------------------------------


def opt_out(scripts: ClockedScripts, site: str) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    SuppressionList(scripts).add(
        OptOut(address="ann@example.org", scope=Scope(site), reason=Reason.UNSUBSCRIBED, since=when)
    )


@pytest.mark.parametrize(("left", "state"), [("alpha", State.SUPPRESSED), ("beta", State.CLAIMED)])
def test_a_worker_of_another_site_screens_an_email_by_the_site_that_it_is_of(
    clocked_scripts: ClockedScripts, left: str, state: State
) -> None:
    alpha, beta = (Ledger(clocked_scripts, Settings(site=site)) for site in ("alpha", "beta"))
    opt_out(clocked_scripts, left)
    accept(alpha, lane="bulk")
    beta.claim("a", "worker of beta")
    assert beta.status("a").state is state


@pytest.mark.parametrize(("site", "state"), [("alpha", State.SUPPRESSED), ("beta", State.CLAIMED)])
def test_a_row_of_an_older_release_is_sent_and_screened_by_the_worker_s_own_site(
    clocked_scripts: ClockedScripts, redis: Redis, site: str, state: State
) -> None:
    ledger = Ledger(clocked_scripts, Settings(site=site))
    accept(ledger, lane="bulk")
    write(redis, v="1")
    redis.hdel("{sesmail}:send:a", "site", "account")
    opt_out(clocked_scripts, "alpha")
    ledger.claim("a", "worker")
    assert ledger.status("a").state is state


# -- what is still in a former form ----------------------------------------------------------------------------------------


def test_rows_of_a_former_form_are_counted_by_state_as_long_as_they_may_go_out(
    ledger: Ledger, redis: Redis, clocked_scripts: ClockedScripts
) -> None:
    assert former_rows(clocked_scripts) == {}
    for state in (*WAITING, State.REJECTED):
        for version in ("1", "2", "3"):
            send_id = accept(ledger, f"{state}-{version}", **({"lane": "bulk"} if version == "1" else {}))
            bring_to(ledger, send_id, state)
            write(redis, send_id, v=version)
    ledger.reschedule("scheduled-2", datetime(2030, 1, 1, tzinfo=UTC))
    write(redis, "scheduled-1", v="2")
    ledger.reschedule("scheduled-1", datetime(2030, 1, 1, tzinfo=UTC))
    write(redis, "scheduled-1", v="1")
    assert former_rows(clocked_scripts) == dict.fromkeys(WAITING, 1)


def test_more_rows_than_a_page_are_counted(ledger: Ledger, redis: Redis, clocked_scripts: ClockedScripts) -> None:
    for n in range(1100):
        ledger.accept(f"s{n}", Email("ann@example.org", "s", "t", from_email="shop@example.com"))
        if n % 2:
            write(redis, f"s{n}", v="1")
    assert former_rows(clocked_scripts) == {State.QUEUED: 550}


# -- idempotency keys ------------------------------------------------------------------------------------------------------

KEY, SHA256 = "invoice-7", hashlib.sha256(b"invoice-7").hexdigest()


def test_a_key_of_an_older_release_stands_for_its_email_whatever_is_said_now(ledger: Ledger, redis: Redis) -> None:
    accept(ledger)
    redis.set(f"{{sesmail}}:idempotency:{SHA256}", "a")
    assert ledger.knows(KEY)
    email = Email("bob@example.org", "Another", "t", from_email="shop@example.com", idempotency_key=KEY)
    again = ledger.accept("b", email, content=content_digest(email))
    assert (again.send_id, again.new) == ("a", False)


@pytest.mark.parametrize(("site", "new"), [("alpha", False), ("beta", True)])
def test_a_key_of_an_older_release_is_the_sites_whose_send_it_stands_for(
    ledger: Ledger, clocked_scripts: ClockedScripts, redis: Redis, site: str, new: bool
) -> None:
    accept(ledger)
    redis.set(f"{{sesmail}}:idempotency:{SHA256}", "a")
    asking = Ledger(clocked_scripts, Settings(site=site))
    assert asking.knows(KEY) is not new
    email = Email("ann@example.org", "Hello", "Hi.", from_email="shop@example.com", idempotency_key=KEY)
    assert asking.accept("b", email).new is new


def test_a_key_whose_send_an_older_release_made_and_is_forgotten_still_stands_for_it(
    ledger: Ledger, redis: Redis
) -> None:
    redis.set(f"{{sesmail}}:idempotency:{SHA256}", "gone")
    email = Email("ann@example.org", "Hello", "Hi.", from_email="shop@example.com", idempotency_key=KEY)
    again = ledger.accept("b", email, content=content_digest(email))
    assert (again.send_id, again.state, again.new) == ("gone", "gone", False)


def test_callers_of_an_older_release_find_todays_keys_for_a_day(ledger: Ledger, redis: Redis) -> None:
    accept(ledger, idempotency_key=KEY)
    former = f"{{sesmail}}:idempotency:{SHA256}"
    assert redis.get(former) == b"a", "the id alone is what they look for"
    assert 86_000_000 < redis.pttl(former) <= 86_400_000


def test_a_content_digest_of_another_form_is_not_compared(ledger: Ledger, redis: Redis) -> None:
    accept(ledger)
    write(redis, content="2something")
    email = Email("ann@example.org", "Hello", "Hi.", from_email="shop@example.com")
    assert not ledger.accept("a", email, content=content_digest(email)).new


# -- sent rows ---------------------------------------------------------------------------------------------------------


def test_a_sent_row_keeps_what_is_asked_of_it_in_a_small_form(ledger: Ledger, redis: Redis) -> None:
    accept(ledger, metadata={"order": 7}, idempotency_key="order-7", tags={LIST_TAG: "monthly"})
    claim = claimed(ledger)
    ledger.begin(claim)
    assert ledger.sent(claim, "ses-1") is State.SENT
    assert ledger.sent(claim, "ses-1") is State.SENT, "repeated, as where an answer was lost"
    status = ledger.status("a")
    assert (status.message_id, status.attempts, status.waits, status.recipients) == ("ses-1", 1, 0, 1)
    assert ledger.metadata("a") == {"order": 7}
    assert (ledger.record_evidence("a", "ses-1"), ledger.record_evidence("a", "ses-2")) == ("known", "copy")
    assert ledger.counts()["sent"] == 1
    assert ledger.ids(State.SENT) == ["a"]
    with pytest.raises(MoveRefused):
        ledger.requeue("a")
    assert redis.object("encoding", "{sesmail}:send:a") == b"listpack"
    assert redis.memory_usage("{sesmail}:send:a") < 360
    assert {"email", "addresses", "owner", "token"}.isdisjoint(row(redis))


def test_what_another_release_keeps_with_a_sent_row_stays_with_it(ledger: Ledger, redis: Redis) -> None:
    accept(ledger)
    write(redis, callbacks="of a later release")
    ledger.record_evidence("a", "ses-1")
    assert row(redis)["callbacks"] == "of a later release"
    assert ledger.status("a").attempts == 0, "SES was not asked by this ledger"


def test_what_an_older_release_has_sent_is_counted_listed_and_forgotten(
    ledger: Ledger, redis: Redis, clocked_scripts: ClockedScripts
) -> None:
    ledger.record_evidence(accept(ledger, "ours"), "ses-1")
    redis.zadd("{sesmail}:in:sent", {"theirs": clocked_scripts.now_ms})
    assert ledger.counts()["sent"] == 2
    assert set(ledger.ids(State.SENT)) == {"ours", "theirs"}
    clocked_scripts.advance(8 * 86_400)
    redis.delete("{sesmail}:send:ours")  # as it expires by Redis' own clock
    ledger.forget_old()
    assert ledger.counts()["sent"] == 0
