"""What stands in the mail's way, by the ledger alone: each is made for real, and named before what matters less."""

from __future__ import annotations

import json
import time

import pytest
from redis import Redis

from sesmail import Client, Letter
from sesmail.message import Email, Lane
from sesmail.sending.essence import Obstacle, duration
from sesmail.vocabulary import Claim

MINUTES_AGO_MS = 12 * 60_000


@pytest.fixture
def living(client: Client) -> Client:
    """A worker lives, and has asked SES for the limits."""
    client.ledger.heartbeat("worker", 8)
    client.throttle.update_account(rate=14, quota_24h=50_000, sent_24h=0, standing="healthy")
    return client


def accept(client: Client, send_id: str, lane: Lane = Lane.TRANSACTIONAL, to: object = "ann@example.org") -> None:
    email = Email(to, "Secret subject", "Hi.", from_email="shop@example.com", lane=lane)  # type: ignore[arg-type]
    client.ledger.accept(send_id, email)


def grow_old(redis: Redis, send_id: str) -> None:
    """As if it had been accepted, and its ticket issued, twelve minutes ago."""
    long_ago = round(time.time() * 1000) - MINUTES_AGO_MS
    redis.hset(f"{{sesmail}}:send:{send_id}", "accepted_at", long_ago)
    lane = redis.hget(f"{{sesmail}}:send:{send_id}", "lane").decode()
    redis.zadd(f"{{sesmail}}:in:queued:{lane}", {send_id: long_ago})


def refuse(client: Client, send_id: str, code: str, reason: str) -> None:
    accept(client, send_id)
    claim = client.ledger.claim(send_id, "worker")
    assert isinstance(claim, Claim)
    client.ledger.begin(claim)
    client.ledger.rejected(claim, reason, code)


def names(found: list[Obstacle]) -> list[str]:
    return [each.id if each.lane is None else f"{each.id} {each.lane}" for each in found]


def test_nothing_is_in_the_way_of_a_fleet_that_is_well(living: Client) -> None:
    accept(living, "a")
    assert living.obstacles.look() == []


def test_no_worker_was_ever_there(client: Client) -> None:
    first, *_ = client.obstacles.look()
    assert (first.id, first.what) == ("no-worker", "No worker has been heard on this ledger ever; none waits.")
    assert "celery -A sesmail worker" in first.do


def test_all_workers_have_gone_while_mail_waits(living: Client, redis: Redis) -> None:
    accept(living, "a")
    accept(living, "b", Lane.BULK)
    grow_old(redis, "b")
    redis.hset("{sesmail}:fleet", "heard_at", round(time.time() * 1000) - 180_000)
    (only,) = living.obstacles.look()
    assert only.what == "No worker has been heard on this ledger for 3 min; 2 emails wait, the oldest for 12 min."


def test_an_operator_has_paused_a_lane_and_ses_has_stopped_an_identity(living: Client) -> None:
    living.throttle.line.pause("lane:bulk", "wrong price in the letter")
    living.throttle.line.stop("identity:example.com", "not verified")
    paused, stopped = living.obstacles.look()
    assert names([paused, stopped]) == ["paused bulk", "stopped"]
    assert "lane bulk is paused" in paused.what
    assert "wrong price in the letter" in paused.what
    assert "`sesmail resume --lane bulk`" in paused.do
    assert "not verified" in stopped.what
    assert "`sesmail resume --identity example.com`" in stopped.do


def test_workers_live_but_none_takes_a_lane(living: Client, redis: Redis) -> None:
    accept(living, "a", Lane.BULK)
    grow_old(redis, "a")
    (only,) = living.obstacles.look()
    assert names([only]) == ["not-taken bulk"]
    assert "1 email" in only.what
    assert "12 min" in only.what


def test_a_lane_that_no_living_worker_says_it_takes_is_named_at_once(living: Client) -> None:
    living.fleet.takes_from([living.settings.queue_of(Lane.TRANSACTIONAL)], "one@host")
    assert living.obstacles.look() == [], "nothing waits in it"
    accept(living, "a", Lane.BULK)
    accept(living, "b")
    assert names(living.obstacles.look()) == ["not-taken bulk"]
    living.fleet.takes_from([living.settings.queue_of(Lane.BULK)], "two@host")
    assert living.obstacles.look() == []


def batch(client: Client) -> str:
    letter = Letter(subject="Hello", text="Hi.", from_email="shop@example.com")
    return client.send_batch(letter, ["ann@example.org", "bob@example.org"], key="k", without_unsubscribe=True).id


def test_who_waits_in_a_batch_for_a_worker_or_the_quota_is_counted(client: Client) -> None:
    batch(client)
    assert client.obstacles.look()[0].what == "No worker has been heard on this ledger ever; 2 emails wait."
    client.ledger.heartbeat("worker", 8)
    client.throttle.update_account(rate=14, quota_24h=1000, sent_24h=950, standing="healthy")
    (only,) = client.obstacles.look()
    assert names([only]) == ["quota bulk"]
    assert "; 2 emails wait." in only.what
    assert client.essence().lines()[0] == "1 worker; 2 wait in batches"


def test_a_batch_that_nobody_goes_on_with_is_named_until_it_moves(living: Client, redis: Redis) -> None:
    batch_id = batch(living)
    assert living.obstacles.look() == []
    long_ago = round(time.time() * 1000) - MINUTES_AGO_MS
    redis.hset(f"{{sesmail}}:batch:{batch_id}", mapping={"moved_at": long_ago, "wait_until": long_ago})
    (only,) = living.obstacles.look()
    assert names([only]) == ["batch-not-taken bulk"]
    assert f"the batch {batch_id}: 2 emails wait" in only.what
    assert "sesmail.batches.default" in only.do
    living.throttle.line.pause("lane:bulk", "by Kim")
    assert names(living.obstacles.look()) == ["paused bulk"]


def test_a_paused_batch_and_one_whose_list_was_not_read_to_its_end_are_told(living: Client, redis: Redis) -> None:
    batch_id = batch(living)
    living.batches.pause(batch_id)
    (only,) = living.obstacles.look()
    assert (only.id, only.level) == ("batch-paused", "info")
    assert f"`sesmail batch {batch_id} --resume`" in only.do
    row = {"state": "queueing", "accepted_at": round(time.time() * 1000) - MINUTES_AGO_MS}
    redis.hset(f"{{sesmail}}:batch:{batch_id}", mapping=row)
    (only,) = living.obstacles.look()
    assert only.id == "batch-unread"
    assert "for 12 min" in only.what


def test_a_lane_that_is_paused_is_not_said_to_be_left_alone(living: Client, redis: Redis) -> None:
    accept(living, "a", Lane.BULK)
    grow_old(redis, "a")
    living.throttle.line.pause("account", "by Kim")
    assert names(living.obstacles.look()) == ["paused"]


def test_the_quota_is_used_up_by_others(living: Client) -> None:
    accept(living, "a", Lane.BULK)
    living.throttle.update_account(rate=14, quota_24h=1000, sent_24h=950, standing="healthy")
    (only,) = living.obstacles.look()
    assert names([only]) == ["quota bulk"], "the reserve is left to transactional email"
    assert "950 of 1000 recipients are used, 950 of them by others; 1 email" in only.what
    living.throttle.update_account(rate=14, quota_24h=1000, sent_24h=1000, standing="healthy")
    accept(living, "b")
    assert names(living.obstacles.look()) == ["quota transactional", "quota bulk"]


def test_nobody_has_asked_ses_for_the_limits(client: Client) -> None:
    client.ledger.heartbeat("worker", 8)
    assert client.obstacles.look() == [], "nothing waits for them"
    accept(client, "a")
    (only,) = client.obstacles.look()
    assert (only.id, "sandbox" in only.what, "ses:GetAccount" in only.do) == ("limits", True, True)


def test_an_account_in_the_sandbox_is_named_so(living: Client) -> None:
    living.throttle.update_account(rate=14, quota_24h=200, sent_24h=0, standing="sandbox, sending paused")
    (only,) = living.obstacles.look()
    assert only.what == "SES says of the account: sandbox, sending paused."


def test_a_long_line_waits_for_the_rate_alone(living: Client) -> None:
    living.throttle.update_account(rate=1, quota_24h=-1, sent_24h=0, standing="healthy")
    for n in range(70):
        accept(living, f"a{n}", Lane.BULK)
    (only,) = living.obstacles.look()
    assert only.id == "rate"
    assert only.what.startswith("70 emails wait for the rate of ")
    assert only.do.startswith("Nothing is wrong.")


def test_what_was_refused_is_grouped_by_its_reason(living: Client, redis: Redis) -> None:
    for n in range(3):
        refuse(living, f"a{n}", "MessageRejected", "Email address is not verified.")
    refuse(living, "b", "BadRequestException", "Illegal address")
    refuse(living, "long ago", "MessageRejected", "Before the last hour")
    redis.zadd("{sesmail}:in:rejected", {"long ago": round(time.time() * 1000) - 2 * 3_600_000})
    most, other = living.obstacles.look()
    assert most.what == "3 emails refused in the last hour (MessageRejected): Email address is not verified."
    assert other.what == "1 email refused in the last hour (BadRequestException): Illegal address"


def test_what_is_unknown_is_told_last(living: Client) -> None:
    accept(living, "a")
    claim = living.ledger.claim("a", "worker")
    assert isinstance(claim, Claim)
    living.ledger.begin(claim)
    living.ledger.outcome_unknown(claim, "read timeout", "ReadTimeout")
    living.throttle.line.pause("account", "by Kim")
    assert names(living.obstacles.look()) == ["paused", "unknown"]


def test_nothing_personal_is_told(living: Client, redis: Redis) -> None:
    accept(living, "a", to=["Zyzzyva <zyzzyva@example.org>"])
    grow_old(redis, "a")
    assert "zyzzyva" not in json.dumps([each.what + each.do for each in living.obstacles.look()]).lower()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h"), (-5, "0 s")],
)
def test_a_duration_is_said_in_its_largest_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said
