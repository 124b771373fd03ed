"""Celery's `global_keyprefix` keeps the ledgers of two projects apart; what stands under the former names is taken over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from redis import Redis

from sesmail import Client, Settings, client_of
from sesmail.embedded import EmbeddedRedis
from sesmail.errors import IdempotencyConflict, UnknownSend
from sesmail.events.stores import EventState, StoredEvent
from sesmail.message import Email, Lane
from sesmail.state.keys import Keys
from sesmail.state.ledger.former_names import FormerNames
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import Claim, Reason, State

LETTER = "<p>A long letter.</p>" * 100
HEARD_LONG_AGO = 100.0


def email(**changes: object) -> Email:
    return Email(
        **{"to": "ann@example.org", "subject": "Hello", "html": LETTER, "from_email": "a@example.com", **changes}
    )  # type: ignore[arg-type]


@pytest.fixture
def former(redis: Redis) -> Ledger:
    """As a former release has it, for all projects."""
    return Ledger(Scripts(redis, Keys()), Settings())


@pytest.fixture
def alpha(redis: Redis, redis_server: EmbeddedRedis) -> Iterator[Client]:
    client = Client(Settings(redis_url=redis_server.url, global_key_prefix="alpha:", lease_seconds=0.2))
    yield client
    client.close()


def names(client: Client) -> FormerNames:
    found = client.former_names
    assert found
    return found


def claimed(client: Client, send_id: str) -> Claim:
    claim = client.ledger.claim(send_id, "worker")
    assert isinstance(claim, Claim), claim
    return claim


def app_of(url: str, prefix: str, **conf: object) -> Celery:
    app = Celery(prefix or "none", broker=url, set_as_current=False)
    app.conf.update(broker_transport_options={"global_keyprefix": prefix} if prefix else {}, **conf)
    return app


def test_projects_are_kept_apart_by_celery_s_own_prefix_unless_theirs_is_named(
    redis: Redis, redis_server: EmbeddedRedis
) -> None:
    url = redis_server.url
    bases = [
        client_of(app_of(url, "alpha:")).scripts.keys.base,
        client_of(app_of(url, "beta:")).scripts.keys.base,
        client_of(app_of(url, "")).scripts.keys.base,
        client_of(app_of(url, "alpha:", sesmail_key_prefix="shop")).scripts.keys.base,
        client_of(app_of(url, "alpha:", sesmail_global_key_prefix="other:")).scripts.keys.base,
    ]
    assert bases == ["alpha:{sesmail}:", "beta:{sesmail}:", "{sesmail}:", "{shop}:", "other:{sesmail}:"]
    first, second = (client_of(app_of(url, prefix)) for prefix in ("alpha:", "beta:"))
    first.ledger.accept("a", email())
    assert second.ledger.claim("a", "worker") is None
    assert not redis.keys("{sesmail}:*")


def test_a_send_whose_ticket_comes_through_the_own_queue_is_taken_over_and_sent(
    alpha: Client, former: Ledger, redis: Redis
) -> None:
    former.accept("a", email(metadata={"order": 7}))
    former.accept("b", email())
    claim = claimed(alpha, "a")
    assert claim.email.html == LETTER
    alpha.ledger.begin(claim)
    assert alpha.ledger.sent(claim, "ses-1") is State.SENT
    assert alpha.ledger.status("a").state is State.SENT
    assert alpha.ledger.metadata("a") == {"order": 7}
    with pytest.raises(UnknownSend):
        former.status("a")
    other = former.claim("b", "worker")
    assert isinstance(other, Claim), "its blob is there still"
    assert other.email.html == LETTER
    former.begin(other)
    former.sent(other, "ses-2")
    assert not redis.keys("*blob*")


def test_what_is_taken_over_counts_to_the_emails_an_hour_of_its_address(
    redis: Redis, redis_server: EmbeddedRedis, former: Ledger
) -> None:
    settings = Settings(redis_url=redis_server.url, global_key_prefix="alpha:", hourly_limit_per_address=1)
    former.accept("a", email())
    client = Client(settings)
    try:
        claimed(client, "a")  # before anything has been accepted under the new names
        client.ledger.accept("b", email())
        assert client.ledger.claim("b", "worker") is State.ABANDONED
    finally:
        client.close()


def test_what_is_no_email_takes_no_id_that_an_email_has_under_the_former_names(alpha: Client, former: Ledger) -> None:
    former.accept("a", email())
    assert alpha.ledger.set_aside("a", "no email", "it is none") != "a"
    assert claimed(alpha, "a").email.html == LETTER


def test_what_a_worker_of_the_former_release_holds_is_left_to_it(alpha: Client, former: Ledger) -> None:
    former.accept("a", email())
    former.claim("a", "worker of the former release")
    assert alpha.ledger.claim("a", "worker") is None
    assert former.status("a").state is State.CLAIMED


def test_what_has_no_ticket_waits_for_somebody_s_word_and_workers_say_so(
    alpha: Client, former: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    former.accept("waits", email(send_at=soon))
    former.accept("lost", email(lane="bulk"))
    former.accept("failed", email())
    former.cancel("failed")
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        names(alpha).look()
    assert [alpha.ledger.counts()[state] for state in ("queued", "scheduled")] == [0, 0], (
        "they may be another project's"
    )
    (told,) = [record.getMessage() for record in caplog.records]
    assert "2 emails wait under the names {sesmail}:" in told
    assert "sesmail migrate --all-mine" in told
    names(alpha).say_all_are_mine()
    names(alpha).look()
    assert alpha.ledger.counts()["scheduled:transactional"] == 1
    assert alpha.ledger.counts()["queued:bulk"] == 1
    assert alpha.ledger.ids(State.CANCELLED) == ["failed"]
    assert names(alpha).waiting() == 0
    assert abs(alpha.ledger.status("waits").accepted_at - former_time()) < HEARD_LONG_AGO
    assert alpha.ledger.queue_due(Lane.TRANSACTIONAL) == []


def former_time() -> float:
    return datetime.now(UTC).timestamp()


def test_idempotency_keys_and_ids_of_the_former_names_hold(alpha: Client, former: Ledger) -> None:
    former.accept("a", email(idempotency_key="order-7"), content="1former")
    former.accept("b", email(idempotency_key="order-8"))
    assert alpha.ledger.knows("order-7")
    with pytest.raises(IdempotencyConflict) as conflict:
        alpha.ledger.accept("c", email(idempotency_key="order-7"), content="1another")
    assert (conflict.value.field, conflict.value.send_id) == ("idempotency_key", "a")
    with pytest.raises(IdempotencyConflict):
        alpha.ledger.accept("a", email(), content="1another")
    again = alpha.ledger.accept("c", email(idempotency_key="order-8"), content="1whatever")
    assert (again.send_id, again.new) == ("b", False)
    assert alpha.ledger.accept("c", email(idempotency_key="order-9"), content="1whatever").new


def test_what_is_asked_by_an_id_is_found_under_either_name(alpha: Client, former: Ledger) -> None:
    for send_id in "abcd":
        former.accept(send_id, email())
    assert alpha.ledger.status("a").state is State.QUEUED
    alpha.ledger.cancel("a")
    assert former.status("a").state is State.CANCELLED
    assert alpha.ledger.requeue("a").send_id == "a"
    alpha.ledger.reschedule("b", datetime.now(UTC) + timedelta(hours=1))
    assert alpha.ledger.record_evidence("c", "ses-1") == "settled"
    with pytest.raises(UnknownSend):
        alpha.ledger.cancel("nobody")


def test_who_opted_out_and_what_was_paused_holds_under_the_new_names(
    alpha: Client, redis: Redis, redis_server: EmbeddedRedis
) -> None:
    before = Client(Settings(redis_url=redis_server.url))
    since = datetime.now(UTC)
    before.suppression.add(OptOut(address="ann@example.org", scope=Scope(), reason=Reason.COMPLAINED, since=since))
    before.throttle.line.pause("lane:bulk", "a mailing with a mistake")
    names(alpha).take_over_what_holds_back()
    assert [found.reason for found in alpha.suppression.find("ann@example.org")] == [Reason.COMPLAINED]
    assert [closure.scope for closure in alpha.throttle.snapshot().closures] == ["lane:bulk"]
    alpha.throttle.line.resume("lane:bulk")
    redis.delete("alpha:{sesmail}:former:taken_over:recently")
    names(alpha).take_over_what_holds_back()
    assert alpha.throttle.snapshot().closures == (), "what was resumed stays open"
    before.close()


def test_events_that_nobody_has_processed_are_taken_over_with_all_else(
    alpha: Client, redis: Redis, redis_server: EmbeddedRedis
) -> None:
    before = Client(Settings(redis_url=redis_server.url))
    event = StoredEvent(event_id="e1", source="default", message="{}", received_at=former_time())
    before.event_store.put([event])
    names(alpha).look()
    assert alpha.event_store.counts("default").unprocessed == 0
    names(alpha).say_all_are_mine()
    names(alpha).look()
    assert [one.event_id for one in alpha.event_store.read("default", EventState.UNPROCESSED)] == ["e1"]
    assert before.event_store.counts("default").unprocessed == 0
    before.close()
