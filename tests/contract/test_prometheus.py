"""What Prometheus is told, over a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import inf

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from sesmail import Client, Settings
from sesmail.doors import prometheus
from sesmail.embedded import EmbeddedRedis
from sesmail.errors import EventStoreUnavailable, LedgerUnavailable
from sesmail.events.stores import StoredEvent
from sesmail.message import Email, Lane
from sesmail.state.fleet.meters import Meters
from sesmail.state.keys import Keys
from sesmail.vocabulary import Claim

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def client(redis_server: EmbeddedRedis, redis: Redis) -> Iterator[Client]:
    made = Client(Settings(redis_url=redis_server.url, site="shop"))
    yield made
    made.close()


def told(client: Client) -> dict[str, dict[tuple[str, ...], float]]:
    """Name: values of the labels, in the order of their names: value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(prometheus.text(client)):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def accept(client: Client, send_id: str, **more: object) -> None:
    email = Email("zyzzyva@example.org", "zyzzyva", "zyzzyva", from_email="shop@example.com", **more)  # type: ignore[arg-type]
    client.ledger.accept(send_id, email, delay_seconds=60 if send_id == "later" else 0)


def test_sends_are_counted_by_state_and_where_they_wait_by_lane(client: Client) -> None:
    for send_id in ("a", "b", "taken", "taken back"):
        accept(client, send_id, lane="bulk")
    accept(client, "later")
    client.ledger.claim("taken", "worker")
    client.ledger.cancel("taken back")
    counted = {labels: count for labels, count in told(client)["sesmail_sends"].items() if count}
    assert counted == {
        ("bulk", "queued"): 2,
        ("transactional", "scheduled"): 1,
        ("", "claimed"): 1,
        ("", "cancelled"): 1,
    }


def test_sweeps_are_added_up_by_cause_and_causes_that_never_occurred_are_0(client: Client) -> None:
    client.meters.count_sweep({"due": 2})
    client.meters.count_sweep({"due": 1, "became_unknown": 1})
    totals = told(client)["sesmail_sweep_total"]
    assert {cause: total for (cause,), total in totals.items() if total} == {"due": 3, "became_unknown": 1}
    assert totals["tickets_reissued",] == 0


def test_rate_and_quota_are_those_of_the_throttle(client: Client) -> None:
    client.throttle.update_account(rate=14, quota_24h=1000, sent_24h=100, standing="healthy")
    slot = client.throttle.acquire(2, Lane.BULK)
    client.throttle.refused(slot)  # type: ignore[arg-type]
    found = told(client)
    now = client.throttle.snapshot()
    assert found["sesmail_max_send_rate"] == {("default",): 14}
    assert found["sesmail_send_rate_limit"]["default",] == pytest.approx(now.limit, rel=0.01)
    assert found["sesmail_send_rate_margin"]["default",] == pytest.approx(now.margin, rel=0.1)
    assert found["sesmail_recipients_granted_total"] == {("default",): 2}
    assert found["sesmail_recipients_throttled_total"] == {("default",): 2}
    assert found["sesmail_quota_recipients"] == {("default",): 1000}
    assert found["sesmail_quota_used_recipients"] == {("default",): 100}
    assert found["sesmail_quota_left_recipients"] == {("default", "bulk"): 800, ("default", "transactional"): 900}
    assert found["sesmail_account_info"] == {("default", "healthy", "ses"): 1}


def test_what_has_no_limit_is_infinite(client: Client) -> None:
    client.throttle.update_account(rate=-1, quota_24h=-1, sent_24h=0)
    found = told(client)
    names = ("sesmail_max_send_rate", "sesmail_send_rate_limit", "sesmail_quota_recipients")
    assert [found[name] for name in names] == [{("default",): inf}] * 3
    assert set(found["sesmail_quota_left_recipients"].values()) == {inf}


def test_what_is_closed_is_1_and_what_can_always_be_asked_for_is_0(client: Client) -> None:
    client.throttle.line.pause("lane:bulk", "a typo")
    client.throttle.line.stop("configuration-set:news", "SES says: ...")
    closed = told(client)["sesmail_line_closed"]
    assert {labels for labels, value in closed.items() if value} == {
        ("default", "paused", "lane:bulk"),
        ("default", "stopped", "configuration-set:news"),
    }
    assert {closed["default", how, "account"] for how in ("paused", "stopped")} == {0}


def send(client: Client, send_id: str, *, asked_ms_ago: int = 0, accepted_ms_ago: int = 0) -> None:
    accept(client, send_id)
    row = client.scripts.keys("send", send_id)
    client.scripts.redis.hincrby(row, "accepted_at", -accepted_ms_ago)
    claim = client.ledger.claim(send_id, "worker")
    assert isinstance(claim, Claim)
    client.ledger.begin(claim)
    client.scripts.redis.hincrby(row, "moved_at", -asked_ms_ago)
    client.ledger.sent(claim, "m")
    client.ledger.sent(claim, "m")  # as one whose answer was lost asks again


def test_how_long_ses_and_the_whole_way_took_is_counted_once_each(client: Client) -> None:
    send(client, "quick")
    send(client, "slow", asked_ms_ago=4_000, accepted_ms_ago=70_000)
    found = told(client)
    answers = found["sesmail_ses_answer_seconds_bucket"]
    assert [answers["sent", bound] for bound in ("0.5", "2.5", "5.0", "+Inf")] == [1, 1, 2, 2]
    assert found["sesmail_ses_answer_seconds_sum"]["sent",] == pytest.approx(4, abs=1)
    ways = found["sesmail_sent_after_seconds_bucket"]
    assert [ways["transactional", bound] for bound in ("5.0", "60.0", "300.0")] == [1, 1, 2]
    assert found["sesmail_sent_after_seconds_count"] == {("transactional",): 2}


def test_what_was_asked_to_wait_is_not_late_before_its_time(client: Client) -> None:
    accept(client, "later")
    row = client.scripts.keys("send", "later")
    now_ms = int(client.obstacles.waiting.now() * 1000)
    client.scripts.redis.hset(row, "accepted_at", now_ms - 3_600_000)
    client.ledger.reschedule("later", datetime.fromtimestamp(now_ms / 1000 - 2, UTC))
    claim = client.ledger.claim("later", "worker")
    client.ledger.begin(claim)  # type: ignore[arg-type]
    client.ledger.sent(claim, "m")  # type: ignore[arg-type]
    assert told(client)["sesmail_sent_after_seconds_sum"]["transactional",] == pytest.approx(2, abs=1.5)
    assert client.scripts.redis.hget(row, "wanted_at") is None


def test_a_throttle_is_an_answer_and_a_wait_before_asking_is_none(client: Client) -> None:
    for send_id, asks in (("throttled", True), ("paused", False)):
        accept(client, send_id)
        claim = client.ledger.claim(send_id, "worker")
        if asks:
            client.ledger.begin(claim)  # type: ignore[arg-type]
        client.ledger.postpone(claim, 5, "it waits")  # type: ignore[arg-type]
    assert told(client)["sesmail_ses_answer_seconds_count"] == {("put_off",): 1}


def test_answers_of_doors_are_counted_and_kept_while_redis_is_away(client: Client) -> None:
    meters = Meters(Redis.from_url(NOWHERE), Keys())
    meters.count_door_answer(403)
    meters.pass_on()  # in vain
    meters._redis = client.scripts.redis
    meters.count_door_answer(200)
    meters.pass_on()
    assert told(client)["sesmail_webhook_answers_total"] == {("200",): 1, ("403",): 1, ("503",): 0}


def test_bounces_and_complaints_are_told_by_list(client: Client) -> None:
    day = datetime.now(UTC).date()
    for ago, of_list, counts in (
        (0, "a", {"sent": 10, "complained": 1}),
        (6, "a", {"sent": 10}),
        (7, "b", {"sent": 1}),
    ):
        key = client.scripts.keys("rates", "shop", (day - timedelta(days=ago)).isoformat())
        client.scripts.redis.hset(key, mapping={f"{name} {of_list}": number for name, number in counts.items()})
    found = told(client)
    assert found["sesmail_complaint_ratio"] == {("a", "shop"): 0.05}
    assert found["sesmail_bounce_ratio"] == {("a", "shop"): 0}
    assert found["sesmail_week_recipients"]["a", "sent", "shop"] == 20


def test_workers_are_counted_by_the_lanes_whose_tickets_they_take(client: Client) -> None:
    both, bulk = [client.settings.queue_of(lane) for lane in Lane], [client.settings.queue_of(Lane.BULK)]
    client.fleet.takes_from(both, "one@host")
    client.fleet.takes_from(both, "one@host")
    client.fleet.takes_from(bulk, "two@host")
    assert told(client)["sesmail_workers"] == {("transactional",): 1, ("bulk",): 2}
    client.scripts.redis.delete(*(client.scripts.keys("takers", queue) for queue in both))  # of a former release
    assert told(client)["sesmail_workers"] == {("transactional",): 1, ("bulk",): 1}


def test_events_of_this_site_are_counted(client: Client) -> None:
    event = StoredEvent(event_id="one", source="shop", message="{}", received_at=1.0)
    client.event_store.put([event, StoredEvent(event_id="two", source="other", message="{}", received_at=1.0)])
    assert told(client)["sesmail_events"] == {("shop", "unprocessed"): 1, ("shop", "set_aside"): 0}


def test_nothing_of_an_email_nor_the_words_of_an_operator_is_told(client: Client) -> None:
    accept(client, "a", tags={"campaign": "zyzzyva"}, metadata={"customer": "zyzzyva"})
    client.throttle.line.pause("account", "zyzzyva complained")
    assert "zyzzyva" not in prometheus.text(client)


def test_a_collector_is_registered_without_redis_and_then_fails_rather_than_tells_zeroes() -> None:
    default = CollectorRegistry(auto_describe=True)  # as Prometheus' own is
    default.register(prometheus.SesmailCollector(Client(Settings(redis_url=NOWHERE))))
    with pytest.raises(LedgerUnavailable):
        list(default.collect())


def test_a_store_of_events_that_is_away_fails_it_too(redis_server: EmbeddedRedis) -> None:
    with pytest.raises(EventStoreUnavailable):
        prometheus.text(Client(Settings(redis_url=redis_server.url, event_store=NOWHERE)))
