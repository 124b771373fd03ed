"""`sesmail metrics` as Prometheus meets it, while Redis comes and goes; and `sesmail page` as a browser does."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email
from sesmail.settings import Settings
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.scripts import Scripts
from tests.acceptance.programs import Program, eventually, fetch, run

SESMAIL = str(Path(sys.executable).with_name("sesmail"))
Environment = dict[str, str]


@pytest.fixture
def environment(redis_server: EmbeddedRedis, redis: object) -> Environment:
    return os.environ | {"SESMAIL_REDIS_URL": redis_server.url, "PYTHONUNBUFFERED": "1"}


def swept(text: str) -> dict[str, float]:
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return {sample.labels["cause"]: sample.value for sample in families["sesmail_sweep"].samples}


def claim_by_a_dead_worker(redis: EmbeddedRedis) -> None:
    with Redis.from_url(redis.url) as client:
        ledger = Ledger(Scripts(client, Keys()), Settings())
        ledger.accept("a", Email("ann@example.org", "Hello", "Hi.", from_email="shop@example.com"))
        ledger.claim("a", "dead")


def answered(what: Callable[[], str]) -> tuple[int, str]:
    try:
        return 200, what()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_what_a_sweep_did_is_scraped_and_a_scrape_fails_while_redis_is_away(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis:
        environment = os.environ | {"SESMAIL_REDIS_URL": redis.url, "PYTHONUNBUFFERED": "1"}
        with Program(SESMAIL, "metrics", "--port", "0", "--json", folder=tmp_path, environment=environment) as program:
            url = json.loads(program.wait_for("}").output.splitlines()[-1])["url"]
            assert url.startswith("http://127.0.0.1:")
            assert set(swept(fetch(url)).values()) == {0}
            claim_by_a_dead_worker(redis)
            assert run(SESMAIL, "sweep", folder=tmp_path, environment=environment).returncode == 0
            assert swept(fetch(url))["requeued_from_dead_workers"] == 1
            redis.kill()
            status, said = answered(lambda: fetch(url))
            assert (status, "Redis cannot be reached" in said) == (503, True)
            redis.start()
            eventually(lambda: answered(lambda: fetch(url))[0] == 200)
            assert swept(fetch(url))["requeued_from_dead_workers"] == 1
            assert program.stop() == 0
            assert "Traceback" not in program.output


def test_the_live_page_is_served_on_loopback_until_it_is_told(environment: Environment, tmp_path: Path) -> None:
    with Program(SESMAIL, "page", "--port", "0", "--json", folder=tmp_path, environment=environment) as program:
        url = json.loads(program.wait_for("}").output.splitlines()[-1])["url"]
        assert url.startswith("http://127.0.0.1:")
        assert "<main>" in fetch(url)
        assert json.loads(fetch(f"{url}figures"))["workers"] == 0
        assert program.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told(environment: Environment, tmp_path: Path, number: signal.Signals) -> None:
    with Program(SESMAIL, "metrics", "--port", "0", folder=tmp_path, environment=environment) as program:
        program.wait_for("Prometheus may scrape http://127.0.0.1:")
        assert program.stop(number) == 0


def test_it_is_printed_once_as_text_or_json(environment: Environment, tmp_path: Path) -> None:
    done = run(SESMAIL, "metrics", folder=tmp_path, environment=environment)
    head, _, figures = done.stdout.partition("\n")
    assert (done.returncode, head[:7], swept(figures)["due"]) == (0, "ledger ", 0)
    done = run(SESMAIL, "metrics", "--json", folder=tmp_path, environment=environment)
    assert {"labels": {"cause": "due"}, "value": 0} in json.loads(done.stdout.splitlines()[-1])["sesmail_sweep_total"]


def test_without_redis_it_says_so_and_that_it_may_be_tried_again(environment: Environment, tmp_path: Path) -> None:
    away = environment | {"SESMAIL_REDIS_URL": "redis://127.0.0.1:1/0"}
    done = run(SESMAIL, "metrics", folder=tmp_path, environment=away)
    assert (done.returncode, "Redis cannot be reached" in done.stdout) == (75, True)
    assert "sesmail_" not in done.stdout


def test_a_port_that_is_taken_is_an_error_without_a_traceback(environment: Environment, tmp_path: Path) -> None:
    with Program(SESMAIL, "metrics", "--port", "0", "--json", folder=tmp_path, environment=environment) as program:
        port = json.loads(program.wait_for("}").output.splitlines()[-1])["url"].rpartition(":")[2].partition("/")[0]
        done = run(SESMAIL, "metrics", "--port", port, folder=tmp_path, environment=environment)
    assert (done.returncode, f"Cannot listen on 127.0.0.1:{port}" in done.stdout) == (78, True)
    assert "Traceback" not in done.stdout
