"""The demo's verdict: it must not say that all went well when it did not."""

from __future__ import annotations

from typing import Any

import pytest

from demo.__main__ import settings, verdict

GOOD = {
    "accepted": {"calls": 10, "recipients": 10},
    "duplicates": {"ids": 0, "extra_messages": 0},
    "max_recipients_in_any_second": 5,
    "refused_calls": 0,
    "first_accepted_at": 100.0,
    "last_accepted_at": 102.0,
}


def judged(**changes: Any) -> int:
    return verdict(GOOD | changes, expected=10, rate=5)


def test_all_rows_once_and_no_faster_than_allowed_is_a_success(capsys):
    assert judged() == 0
    assert "10 accepted of 10 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"accepted": {"calls": 9}}, "NOT  9 accepted of 10 rows"),
        ({"accepted": {"calls": 11}}, "NOT  11 accepted of 10 rows"),
        ({"duplicates": {"extra_messages": 1}}, "NOT  1 sent twice"),
        ({"max_recipients_in_any_second": 6}, "NOT  6 at most in any second; the limit is 5"),
    ],
)
def test_anything_that_does_not_hold_is_marked_and_makes_the_exit_code_1(changes, line, capsys):
    assert judged(**changes) == 1
    assert line in capsys.readouterr().out


def test_throttling_is_told_but_is_no_failure(capsys):
    assert judged(refused_calls=3) == 0
    assert "3 throttled" in capsys.readouterr().out


def test_one_email_alone_has_no_rate_to_divide_by():
    assert verdict(GOOD | {"accepted": {"calls": 1}, "last_accepted_at": 100.0}, expected=1, rate=5) == 0


def test_an_empty_list_is_mailed_at_once():
    nothing = {"accepted": {"calls": 0}, "first_accepted_at": None, "last_accepted_at": None}
    assert verdict(GOOD | nothing, expected=0, rate=5) == 0


def test_nothing_that_is_started_can_reach_aws_or_the_developer_s_own_redis(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "SESMAIL_MAX_SEND_RATE", "CELERY_BROKER_URL"):
        monkeypatch.setenv(name, "the developer's own")
    environment = settings("redis://127.0.0.1:1/0", "http://127.0.0.1:2")
    assert "the developer's own" not in environment.values()
    assert environment["SESMAIL_REDIS_URL"] == "redis://127.0.0.1:1/0"
    assert environment["AWS_ENDPOINT_URL_SESV2"] == "http://127.0.0.1:2"
