"""When an email is to go out, in all of Celery's ways of saying it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sesmail import InvalidEmail, send_ses_email, status
from sesmail.testing import outbox

ARGUMENTS = ("ann@example.org", "Hello", "Hi.")
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture(autouse=True)
def _kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SESMAIL_FROM_EMAIL", "shop@example.com")
    with outbox():
        yield


@pytest.mark.parametrize(
    "when",
    [
        {"countdown": 3600},
        {"countdown": timedelta(hours=1)},
        {"eta": TOMORROW},
        {"eta": TOMORROW.isoformat()},
        {"eta": TOMORROW, "expires": timedelta(days=2)},
        {"eta": TOMORROW, "expires": (TOMORROW + timedelta(days=1)).isoformat()},
    ],
    ids=["seconds", "timedelta", "datetime", "text", "both", "both, a text"],
)
def test_a_time_may_be_seconds_a_timedelta_a_datetime_or_its_text(when):
    assert status(send_ses_email.apply_async(ARGUMENTS, **when).id).state == "scheduled"


@pytest.mark.parametrize(
    "when", [{"eta": "tomorrow"}, {"countdown": b"3"}, {"expires": object()}], ids=["word", "bytes", "thing"]
)
def test_what_is_no_time_is_refused_at_the_call(when):
    (field,) = when
    with pytest.raises(InvalidEmail) as refused:
        send_ses_email.apply_async(ARGUMENTS, **when)
    assert refused.value.field == field
