"""How things stand, in three lines of 80 columns: by `Client.essence`, `sesmail status` and `sesmail top`."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from sesmail import Client
from sesmail.cli import main
from sesmail.message import Email, Lane
from sesmail.sending.essence import COLUMNS, Level
from sesmail.vocabulary import State, state_of


@pytest.fixture
def sesmail(client: Client, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command, in this process, on the test's ledger."""
    monkeypatch.setattr("sesmail.cli.site.load_application", lambda *_: "a test")
    monkeypatch.setattr("sesmail.celery.current.current_client", lambda: client)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, catch_exceptions=False)

    return run


def accept(client: Client, send_id: str, lane: Lane = Lane.BULK) -> None:
    client.ledger.accept(send_id, Email("ann@example.org", "s", "t", from_email="shop@example.com", lane=lane))


def live(client: Client, standing: str = "healthy") -> None:
    client.ledger.heartbeat("worker", 30)
    client.throttle.update_account(rate=14, quota_24h=50_000, sent_24h=123, standing=standing)


def test_a_fleet_that_is_well_is_told_in_three_lines(client: Client, sesmail: Any) -> None:
    live(client)
    essence = client.essence()
    assert essence.lines() == (
        "1 worker; none waits for a worker",
        "0/s of 13.8/s; 123 of 50,000 in 24 hours; account healthy",
        "line open",
    )
    assert (essence.is_well, essence.states) == (True, {})
    assert essence.figures_age_seconds is not None
    assert 0 <= essence.figures_age_seconds < 60
    done = sesmail("status", "--check")
    assert (done.exit_code, done.stdout.splitlines()[:3]) == (0, list(essence.lines()))


def test_who_waits_and_what_is_in_the_way_are_told_and_checked(client: Client, redis: Redis, sesmail: Any) -> None:
    accept(client, "a")
    redis.hset("{sesmail}:send:a", "accepted_at", round(time.time() * 1000) - 12 * 60_000)
    client.throttle.line.pause("lane:bulk", "wrong price in the letter " * 5)
    who, how_fast, line = client.essence().lines()
    assert who == "NO WORKER; oldest waiting: bulk 12 min (1)"
    assert how_fast.endswith("account not asked yet")
    assert line.startswith("lane:bulk PAUSED: wrong price in the letter")
    assert len(line) == COLUMNS, "it is cut to a terminal as it is opened"
    assert sesmail("status", "--check").exit_code == 1
    assert sesmail("status").exit_code == 0
    data = json.loads(sesmail("status", "--json").stdout)
    assert data["essence"]["oldest_seconds"]["bulk"] > 700
    assert [each["id"] for each in data["essence"]["obstacles"]][:2] == ["no-worker", "paused"]


def test_only_states_that_hold_something_are_shown(client: Client, sesmail: Any) -> None:
    live(client)
    accept(client, "a")
    client.ledger.cancel("a")
    shown = sesmail("status").stdout
    assert "cancelled  1" in shown
    assert "queued" not in shown
    assert "rejected" not in shown


def test_an_account_in_the_sandbox_or_a_full_rate_is_nothing_to_see_to(client: Client) -> None:
    live(client, standing="sandbox")
    essence = client.essence()
    assert ([each.level for each in essence.obstacles], essence.is_well) == ([Level.INFO], True)
    assert "account sandbox" in essence.lines()[1]
    live(client, standing="sandbox, sending paused")
    assert not client.essence().is_well


@pytest.mark.parametrize("command", [["top", "--times", "1"], ["status"]], ids=" ".join)
def test_top_and_status_show_the_same_three_lines(client: Client, sesmail: Any, command: list[str]) -> None:
    live(client)
    accept(client, "a")
    shown = sesmail(*command).stdout
    assert "oldest waiting: bulk" in shown
    assert "account healthy" in shown
    assert "line open" in shown


def test_events_that_are_not_heard_are_in_the_way(client: Client, redis: Redis) -> None:
    """By rows as the ledger itself leaves them."""
    live(client)
    for number in range(100):
        accept(client, f"a{number}")
        client.ledger.record_evidence(f"a{number}", f"ses-{number}")
        redis.hset(f"{{sesmail}}:send:a{number}", "moved_at", round(time.time() * 1000) - 2 * 3_600_000)
    (unheard,) = client.obstacles.look()
    assert (unheard.id, unheard.level) == ("unheard", Level.WARNING)
    assert "100 emails or more" in unheard.what


def test_a_redis_that_is_nearly_full_comes_first(client: Client, redis: Redis) -> None:
    live(client)
    used = redis.info("memory")["used_memory"]
    redis.config_set("maxmemory", round(used * 1.05))
    try:
        first, *_ = client.obstacles.look()
    finally:
        redis.config_set("maxmemory", 0)
    assert (first.id, first.level) == ("redis-full", Level.ERROR)


def test_a_state_that_a_newer_release_has_goes_by_its_name(client: Client, redis: Redis, sesmail: Any) -> None:
    accept(client, "a")
    redis.hset("{sesmail}:send:a", "state", "parked")
    status = client.ledger.status("a")
    assert (str(status.state), status.state in [*State]) == ("parked", False)
    assert status.state == "parked"
    assert "parked" in sesmail("status", "a").stdout
    assert json.loads(sesmail("status", "a", "--json").stdout)["state"] == "parked"
    assert state_of("sent") is State.SENT
