"""The alerts and the dashboard that come with sesmail: they ask for what is told, and go off when they should."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from promql_parser import AggregateExpr, BinaryExpr, NumberLiteral, ParenExpr, VectorSelector, parse, walk
from redis import Redis

from sesmail import Client, Letter, Settings
from sesmail.doors import prometheus
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email, Lane
from tests.documents import ROOT

RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
PANELS = json.loads((ROOT / "deploy" / "grafana" / "sesmail.json").read_text())["panels"]
ALERTS = {rule["alert"]: rule["expr"] for rule in RULES}
QUERIES = ALERTS | {f"{panel['title']} {each['refId']}": each["expr"] for panel in PANELS for each in panel["targets"]}
OF_PROMETHEUS = {"up": {"job", "instance"}}
DEFAULT = {"account": "default"}
Vector = dict[frozenset[tuple[str, str]], float]


@pytest.fixture
def client(redis_server: EmbeddedRedis, redis: Redis) -> Iterator[Client]:
    made = Client(Settings(redis_url=redis_server.url, site="shop"))
    yield made
    made.close()


def samples(client: Client) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in prometheus.registry(client).collect():
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def selectors(query: str) -> list[VectorSelector]:
    found: list[VectorSelector] = []

    def note(node: Any) -> bool:
        if isinstance(node, VectorSelector):
            found.append(node)
        return True

    walk(parse(query), note)
    return found


# -- a small evaluator, for the instant vectors that most alerts are --------------------------------------------------

OPERATORS: dict[str, Callable[[float, float], Any]] = {
    "==": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<=": operator.le,
    "/": lambda a, b: a / b if b else float("nan"),
}


def value_of(node: Any, told: list[tuple[str, dict[str, str], float]]) -> Vector | float:
    if isinstance(node, ParenExpr):
        return value_of(node.expr, told)
    if isinstance(node, NumberLiteral):
        return float(node.val)
    if isinstance(node, VectorSelector):
        wanted = {each.name: each.value for each in node.matchers.matchers}
        return {
            frozenset(labels.items()): value
            for name, labels, value in told
            if name == node.name and wanted.items() <= labels.items()
        }
    if isinstance(node, AggregateExpr):
        added: Vector = {}
        for labels, value in value_of(node.expr, told).items():  # type: ignore[union-attr]
            key = frozenset(pair for pair in labels if pair[0] in node.modifier.labels)
            added[key] = added.get(key, 0.0) + value
        return added
    assert isinstance(node, BinaryExpr), node
    left, right = value_of(node.lhs, told), value_of(node.rhs, told)
    assert isinstance(left, dict)
    if str(node.op) == "and":
        assert isinstance(right, dict)
        on = set(node.modifier.matching.labels) if node.modifier and node.modifier.matching else None
        there = {key_on(labels, on) for labels in right}
        return {labels: value for labels, value in left.items() if key_on(labels, on) in there}
    act = OPERATORS[str(node.op)]
    pairs = {
        labels: (value, right if isinstance(right, float) else right.get(labels)) for labels, value in left.items()
    }
    done = {labels: (a, act(a, b)) for labels, (a, b) in pairs.items() if b is not None}
    if str(node.op) == "/":
        return {labels: result for labels, (_, result) in done.items()}
    return {labels: a for labels, (a, result) in done.items() if result}


def key_on(labels: frozenset[tuple[str, str]], names: set[str] | None) -> frozenset[tuple[str, str]]:
    return frozenset(pair for pair in labels if names is None or pair[0] in names)


def fires(alert: str, client: Client) -> list[dict[str, str]]:
    found = value_of(parse(ALERTS[alert]), list(samples(client)))
    assert isinstance(found, dict)
    return [dict(labels) for labels in found]


# -- what is asked ----------------------------------------------------------------------------------------------------


def test_every_query_asks_for_what_is_told_by_labels_that_it_has(client: Client) -> None:
    send(client, "one")
    client.meters.count_door_answer(200)
    client.meters.pass_on()
    count(client, "sent", 1)
    letter = Letter(subject="Hello", text="Hi.", from_email="shop@example.com")
    client.send_batch(letter, ["ann@example.org"], key="k", without_unsubscribe=True)
    told: dict[str, set[str]] = {**OF_PROMETHEUS}
    for name, labels, _ in samples(client):
        told.setdefault(name, set()).update(labels)
    asked = {
        (title, each.name): {one.name for one in each.matchers.matchers}
        for title, query in QUERIES.items()
        for each in selectors(query)
    }
    assert len(asked) > 30
    assert {(title, name) for title, name in asked if name not in told} == set()
    assert {(title, *labels - told[name]) for (title, name), labels in asked.items() if labels - told[name]} == set()


def test_every_alert_says_what_it_is_how_bad_and_what_to_do() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["for"]


# -- when they go off -------------------------------------------------------------------------------------------------


def email(lane: str = "transactional") -> Email:
    return Email("ann@example.org", "Hello", "Hi.", from_email="shop@example.com", lane=lane)


def send(client: Client, send_id: str) -> None:
    client.ledger.accept(send_id, email())
    claim = client.ledger.claim(send_id, "worker")
    client.ledger.begin(claim)  # type: ignore[arg-type]
    client.ledger.sent(claim, f"message-{send_id}")  # type: ignore[arg-type]


def count(client: Client, counter: str, number: int, of_list: str = "monthly") -> None:
    today = datetime.now(UTC).date().isoformat()
    client.scripts.redis.hincrby(client.scripts.keys("rates", "shop", today), f"{counter} {of_list}", number)


def take(client: Client) -> None:
    client.fleet.takes_from([client.settings.queue_of(lane) for lane in Lane], "one@host")


def backdate(client: Client, *names: str, seconds: int) -> None:
    """Have the times of some hash's fields lie so much earlier."""
    key, *fields = names
    for field in fields:
        client.scripts.redis.hincrby(client.scripts.keys(*key.split("/")), field, -seconds * 1000)


def test_no_worker_goes_off_by_lane_until_one_takes_its_tickets(client: Client) -> None:
    assert fires("SesmailNoWorker", client) == [{"lane": "transactional"}, {"lane": "bulk"}]
    client.fleet.takes_from([client.settings.queue_of(Lane.BULK)], "one@host")
    assert fires("SesmailNoWorker", client) == [{"lane": "transactional"}]
    take(client)
    assert fires("SesmailNoWorker", client) == []


def test_line_stopped_goes_off_while_it_is(client: Client) -> None:
    assert fires("SesmailLineStopped", client) == []
    client.throttle.line.stop("account", "SES says no")
    client.throttle.line.pause("lane:bulk", "a typo")
    client.brake._books.close("list:shop/weekly", "6 % hard bounces", client.brake._trial, [])
    assert fires("SesmailLineStopped", client) == [{"account": "default", "scope": "account", "how": "stopped"}]
    assert fires("SesmailBraked", client) == [{"account": "default", "scope": "list:shop/weekly", "how": "braked"}]
    assert fires("SesmailLinePaused", client) == [{"account": "default", "scope": "lane:bulk", "how": "paused"}]


def test_oldest_waiting_goes_off_when_one_is_late(client: Client) -> None:
    client.ledger.accept("old", email())
    client.ledger.accept("bulk", email("bulk"))
    assert fires("SesmailTransactionalWaits", client) == []
    backdate(client, "send/old", "accepted_at", seconds=200)
    backdate(client, "send/bulk", "accepted_at", seconds=200)
    assert fires("SesmailTransactionalWaits", client) == [{"lane": "transactional"}]
    assert fires("SesmailBulkWaits", client) == []


def test_quota_goes_off_before_it_is_used_up_and_then(client: Client) -> None:
    client.throttle.update_account(rate=14, quota_24h=1000, sent_24h=800)
    assert fires("SesmailQuotaNearlyUsed", client) == []
    client.throttle.update_account(rate=14, quota_24h=1000, sent_24h=950)
    assert fires("SesmailQuotaNearlyUsed", client) == [DEFAULT]
    assert fires("SesmailQuotaUsedUp", client) == []
    client.throttle.update_account(rate=14, quota_24h=1000, sent_24h=1000)
    assert fires("SesmailQuotaUsedUp", client) == [DEFAULT | {"lane": "transactional"}]
    client.throttle.update_account(rate=14, quota_24h=-1, sent_24h=1000)
    assert fires("SesmailQuotaNearlyUsed", client) == fires("SesmailQuotaUsedUp", client) == []


def test_complaints_go_off_for_the_whole_site_where_enough_was_sent(client: Client) -> None:
    count(client, "sent", 900)
    count(client, "complained", 1)
    assert fires("SesmailComplaints", client) == []
    count(client, "sent", 900, "weekly")
    assert fires("SesmailComplaints", client) == [{"site": "shop"}]
    assert fires("SesmailBounces", client) == []
    count(client, "bounced_permanent", 50)
    assert fires("SesmailBounces", client) == [{"site": "shop"}]


def test_events_unheard_goes_off_an_hour_after_a_hundred_were_sent_until_one_is_heard(client: Client) -> None:
    for number in range(100):
        send(client, f"s{number}")
    assert fires("SesmailEventsUnheard", client) == []
    for number in range(100):
        backdate(client, f"send/s{number}", "moved_at", seconds=3700)
    assert fires("SesmailEventsUnheard", client) == [{"site": "shop"}]
    seconds, _ = client.scripts.redis.time()
    client.scripts.redis.hset(client.scripts.keys("heard"), "shop", seconds * 1000)
    assert fires("SesmailEventsUnheard", client) == []


def test_the_accounts_figures_are_old_when_nobody_has_read_them(client: Client) -> None:
    assert fires("SesmailAccountUnread", client) == [DEFAULT]
    client.throttle.update_account(rate=14, quota_24h=1000, sent_24h=1)
    assert fires("SesmailAccountUnread", client) == []
