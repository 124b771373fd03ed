"""What Prometheus is told, over a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
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
