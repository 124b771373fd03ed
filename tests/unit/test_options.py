"""What a caller says to `apply_async`, besides the email, is checked before anything is accepted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from celery import Celery, chord, group
from kombu import Queue

from sesmail.celery.options import checked_options, moment_until, seconds_until
from sesmail.errors import InvalidEmail

APP = Celery("options", set_as_current=False)
LINK = APP.signature("proj.mark")


@pytest.mark.parametrize(
    "options",
    [
        {"priority": True},
        {"priority": "high"},
        {"priority": 2.5},
        {"priority": -1},
        {"priority": 256},
        {"queue": 5},
        {"queue": ["mail"]},
        {"queue": True},
        {"headers": "trace"},
        {"headers": ["trace"]},
        {"headers": {1: "one"}},
        {"link": "proj.mark"},
        {"link": True},
        {"link": [LINK, 5]},
        {"link": {"task": 5}},
        {"link_error": [5]},
    ],
    ids=str,
)
def test_what_no_ticket_could_carry_is_refused_with_its_name(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(InvalidEmail, match="Nothing was queued") as refused:
        checked_options(options)
    assert refused.value.field == name


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"priority": 0, "queue": "mail", "headers": {"trace": "1"}},
        {"queue": Queue("mail")},
        {"priority": None, "queue": None, "headers": None, "link": None},
        {"link": LINK, "link_error": [LINK, dict(LINK)]},
        {"link": group(LINK, LINK), "link_error": LINK | LINK},
        {"link": chord([LINK], LINK, app=APP)},
        {"group_id": "g", "stamped_headers": ["tenant"], "tenant": "a"},
    ],
    ids=str,
)
def test_what_celery_takes_is_taken_as_it_is(options: dict[str, Any]) -> None:
    assert checked_options(options) == options


def test_how_a_ticket_is_written_and_how_long_it_may_take_is_no_choice_of_a_caller() -> None:
    of_tickets = {"serializer": "pickle", "compression": "gzip", "soft_time_limit": 1, "time_limit": 2}
    assert checked_options({**of_tickets, "priority": 3}) == {"priority": 3}


@pytest.mark.parametrize("wrong", [True, False, "5", float("nan"), float("inf"), 4e9, [5]], ids=str)
def test_seconds_that_are_none_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidEmail, match="countdown"):
        seconds_until("countdown", wrong, APP)


@pytest.mark.parametrize("wrong", [True, 5, 1.9e9, ""], ids=str)
def test_a_time_that_is_a_number_is_refused_as_it_may_be_meant_in_two_ways(wrong: Any) -> None:
    with pytest.raises(InvalidEmail, match="eta"):
        moment_until("eta", wrong, APP)


def test_seconds_a_timedelta_and_a_time_say_the_same() -> None:
    assert seconds_until("countdown", timedelta(minutes=1), APP) == seconds_until("countdown", 60, APP) == 60
    assert moment_until("eta", None, APP) is None
    in_a_minute = datetime.now().astimezone() + timedelta(minutes=1)
    assert moment_until("eta", in_a_minute.isoformat(), APP) == pytest.approx(60, abs=5)
