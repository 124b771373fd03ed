"""What a caller wants done at an email's end, as it is written down: fixed task ids, plain JSON, and no more than that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from celery import Celery, chain, group
from kombu import Connection

from sesmail import send_ses_email
from sesmail.celery import wishes
from sesmail.errors import InvalidEmail


def follow(*_: object) -> None:
    """A task's body, which nobody runs."""


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery("test", broker="memory://", set_as_current=False) as made:
        made.task(name="mark")(follow)
        made.task(name="email", typing=False)(follow)
        yield made


def composed(app: Celery, **options: object) -> wishes.Composed:
    task = app.tasks["email"]
    return wishes.compose(app, task, "a", {"queue": "q", **options}, Connection("memory://"))


def test_an_email_that_nobody_waits_for_has_nothing_to_keep(app: Celery) -> None:
    made = composed(app)
    assert (made.caller.wishes, made.caller.waits) == ("", False)
    assert made.messages[0][1]["headers"]["ignore_result"] is False


def test_a_result_backend_is_enough_to_wait_for_the_end(app: Celery) -> None:
    app.conf.result_backend = "cache+memory://"
    made = composed(app).caller
    assert (made.waits, made.waits_for_others) == (True, False)
    assert composed(app, ignore_result=True).caller.waits is False
    assert composed(app, task_id="a").caller.waits_for_others, "whoever named the task asks for it"


def test_each_callback_has_its_task_id_from_the_start_and_the_callers_own_signature_none(app: Celery) -> None:
    mark = app.tasks["mark"]
    link = [mark.si(1), group(mark.si(2), mark.si(3)), chain(mark.si(4), mark.si(5)), mark.si(6).set(task_id="mine")]
    made = composed(app, link=link, link_error=mark.s())
    kept = json.loads(made.caller.wishes)
    one, several, steps, named = kept["link"]
    inner = [*several["kwargs"]["tasks"], *steps["kwargs"]["tasks"]]
    ids = [each["options"].get("task_id") for each in (one, *inner, *kept["link_error"])]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    assert named["options"]["task_id"] == "mine"
    assert "task_id" not in link[0].options
    in_the_ticket = made.messages[0][0][2]["callbacks"][0]["options"]["task_id"]
    assert in_the_ticket == one["options"]["task_id"], "the ticket and the row say the same"


def test_headers_that_no_json_can_hold_go_with_the_first_ticket_alone(app: Celery) -> None:
    made = composed(app, headers={"traceparent": "00-17", "odd": object()})
    assert json.loads(made.caller.wishes)["headers"] == {"traceparent": "00-17"}
    assert not made.caller.waits


def test_what_cannot_be_kept_is_refused(app: Celery) -> None:
    mark = app.tasks["mark"]
    for argument in (object(), "x" * wishes.MOST_BYTES):
        with pytest.raises(InvalidEmail, match="link"):
            composed(app, link=mark.si(argument))


def test_what_a_newer_release_has_written_is_not_read() -> None:
    assert wishes.read('{"v":2,"link":"in another form"}') is None
    assert wishes.read('{"v":1,"priority":3}') == {"priority": 3}
    assert wishes.read("") == {}


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -float("inf"), 1e15, timedelta.max])
@pytest.mark.parametrize("option", ["countdown", "expires"])
def test_no_email_is_to_wait_for_a_time_that_never_comes(app: Celery, option: str, seconds: float | timedelta) -> None:
    app.set_default()
    with pytest.raises(InvalidEmail, match=rf"{option}: is no number of seconds within a hundred years"):
        send_ses_email.apply_async(("ann@example.org", "Hello", "Hi."), **{option: seconds})
