"""What an operator does with single sends, by the commands as they are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email
from sesmail.settings import Settings
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import Claim, State

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def ledger(scripts: Scripts) -> Ledger:
    return Ledger(scripts, Settings())


@pytest.fixture
def sesmail(redis_server: EmbeddedRedis, tmp_path: Any) -> Any:
    def run(*arguments: str, redis_url: str = redis_server.url) -> tuple[int, Any, str]:
        environment = os.environ | {"SESMAIL_REDIS_URL": redis_url}
        command = [str(Path(sys.executable).with_name("sesmail")), *arguments, "--json"]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, json.loads(done.stdout or "null"), done.stderr

    return run


def accept(ledger: Ledger, send_id: str) -> None:
    ledger.accept(send_id, Email("ann@example.org", "Secret subject", "Hi.", from_email="shop@example.com"))


def begun(ledger: Ledger, send_id: str) -> Claim:
    accept(ledger, send_id)
    claim = ledger.claim(send_id, "worker")
    assert isinstance(claim, Claim)
    ledger.begin(claim)
    return claim


def test_an_operator_decides_about_unknown_sends(ledger: Ledger, redis: Redis, sesmail: Any) -> None:
    for send_id in ("a", "b"):
        ledger.outcome_unknown(begun(ledger, send_id), "read timeout", "ReadTimeout")
    code, found, _ = sesmail("unknown")
    assert (code, found["total"], [s["send_id"] for s in found["sends"]]) == (0, {"unknown": 2}, ["a", "b"])
    assert "Secret" not in json.dumps(found)
    assert "ann@" not in json.dumps(found)
    code, done, _ = sesmail("unknown", "--resend", "a", "--settle", "b", "ses-1", "--resend", "nobody")
    assert (code, done["done"], done["refused"]) == (1, 2, 1)
    assert ledger.status("a").state is State.QUEUED
    assert ledger.status("b").message_id == "ses-1"
    assert redis.llen("sesmail.transactional") == 1
    assert sesmail("unknown", "--resend", "b")[0] == 1
    code, done, _ = sesmail("unknown", "--settle", "nobody", "ses-2")
    assert (code, done["done"], done["refused"]) == (1, 0, 1)


def test_failed_sends_are_listed_with_ses_s_words_and_sent_again(ledger: Ledger, redis: Redis, sesmail: Any) -> None:
    for send_id in ("a", "b", "c"):
        ledger.rejected(begun(ledger, send_id), "Email address is not verified.", "MessageRejected")
    _, found, _ = sesmail("failed")
    assert {s["reason"] for s in found["sends"]} == {"Email address is not verified."}
    assert sesmail("failed", "--requeue", "a")[:2] == (0, {"done": 1, "refused": 0, "sends": {"a": "done"}})
    assert sesmail("failed", "--requeue", "--all")[1]["done"] == 2
    assert redis.llen("sesmail.transactional") == 3
    assert sesmail("failed", "--requeue")[0] == 2


def test_sends_are_taken_back_or_given_another_time(ledger: Ledger, sesmail: Any) -> None:
    for send_id in ("a", "b"):
        accept(ledger, send_id)
    ledger.sent(begun(ledger, "gone"), "ses-1")
    code, done, _ = sesmail("cancel", "a", "gone")
    assert (code, done["done"], "cannot be cancelled" in done["sends"]["gone"]) == (1, 1, True)
    assert ledger.status("a").state is State.CANCELLED
    assert sesmail("reschedule", "b", "2099-01-01T00:00Z")[0] == 0
    assert ledger.status("b").state is State.SCHEDULED
    for unclear in ("2099-01-01T00:00", "2099-01-01", "2099-01-01+01:00"):
        code, _, words = sesmail("reschedule", "b", unclear)
        assert code == 2
        assert sesmail("reschedule", "b", words.split()[-1])[0] == 0
    assert sesmail("reschedule", "a", "now")[0] == 1


def test_a_sweep_by_hand_says_what_it_did(ledger: Ledger, redis: Redis, sesmail: Any) -> None:
    accept(ledger, "a")
    ledger.claim("a", "dead")
    code, done, _ = sesmail("sweep")
    assert (code, done["requeued_from_dead_workers"]) == (0, 1)
    assert redis.llen("sesmail.transactional") == 1


def test_a_check_before_an_upgrade_fails_while_an_email_waits_in_a_former_form(
    ledger: Ledger, redis: Redis, sesmail: Any
) -> None:
    accept(ledger, "a")
    assert sesmail("migrate", "--check")[:2] == (0, {"former": 0, "sends": {}})
    redis.hset("{sesmail}:send:a", "v", "1")
    assert sesmail("migrate", "--check")[:2] == (1, {"former": 1, "sends": {"queued": 1}})
    assert sesmail("migrate")[0] == 0
    ledger.sent(begun(ledger, "a"), "ses-1")
    assert sesmail("migrate", "--check")[0] == 0


def test_a_redis_that_is_away_has_an_exit_code_of_its_own(sesmail: Any) -> None:
    code, _, words = sesmail("unknown", redis_url=NOWHERE)
    assert code == 75
    assert "Redis cannot be reached" in words


def test_find_lists_the_sends_to_an_address_or_to_a_list(ledger, sesmail):
    accept(ledger, "one")
    assert [send["send_id"] for send in sesmail("find", "Ann@example.org")[1]] == ["one"]
    assert sesmail("find", "--list", "news")[1] == []
    assert sesmail("find")[0] == 2


def test_why_says_what_is_in_the_way_of_all_and_of_one(ledger: Ledger, redis: Redis, sesmail: Any) -> None:
    accept(ledger, "a")
    code, found, _ = sesmail("why")
    assert (code, [each["id"] for each in found["obstacles"]]) == (1, ["no-worker", "limits"])
    ledger.heartbeat("worker", 3600)
    code, found, _ = sesmail("why", "a")
    assert (code, found["said"].startswith("It is queued for ")) == (1, True)
    assert [each["id"] for each in found["obstacles"]] == ["limits"]
    ledger.cancel("a")
    code, found, _ = sesmail("why", "a")
    assert (code, found["obstacles"], found["said"].startswith("It is cancelled for ")) == (0, [], True)
    code, found, _ = sesmail("why")
    assert (code, found["said"]) == (0, "Nothing is in the way. Nothing waits for a worker.")
