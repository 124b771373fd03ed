"""`sesmail loadtest`: what it sends, and what it asks for before."""

from __future__ import annotations

import threading
from collections import Counter
from types import SimpleNamespace

import click
import pytest

from sesmail.cli.loadtest import Run, _emails, _mix, _quantile
from sesmail.errors import SendRejected, SendThrottled, SesError, SesMisconfigured
from sesmail.message import Email
from sesmail.ses.soundings import Soundings


def test_the_mix_is_kept_to_at_every_length() -> None:
    client = SimpleNamespace(settings=SimpleNamespace(from_email="shop@example.com"))
    mix = {"success": 97, "bounce": 2, "complaint": 1}
    made = [*_emails(client, Run(name="loadtest-1"), 300, mix)]
    assert Counter(kind for _, kind in made) == {"success": 291, "bounce": 6, "complaint": 3}
    assert Counter(kind for _, kind in made[:100]) == mix
    assert len({email.to for email, _ in made}) == 300
    assert all(email.to[0].startswith(f"{kind}+") for email, kind in made)
    assert all(email.to[0].endswith("@simulator.amazonses.com") for email, _ in made)


@pytest.mark.parametrize("said", ["", "success", "success=x", "sucess=1", "success=0,bounce=0", "success=1;bounce=1"])
def test_a_mix_that_means_nothing_is_refused(said: str) -> None:
    with pytest.raises(click.BadParameter):
        _mix(None, None, said)  # type: ignore[arg-type]


def test_the_tail_of_few_is_their_longest() -> None:
    assert (_quantile([], 0.5), _quantile([1.0], 0.99), _quantile([1.0, 2.0, 3.0], 1.0)) == (None, 1.0, 3.0)


# -- what only AWS can tell ----------------------------------------------------------------------------------------------


class Aws:
    """Takes so many emails, and throttles the others."""

    def __init__(self, takes: int, *, empty: SesError | None = None, bulk: SesError | None = None) -> None:
        self._left, self._empty, self._bulk = takes, empty, bulk
        self._lock = threading.Lock()

    def prepare(self) -> None: ...

    def compose(self, email: Email, *, send_id: str) -> tuple[Email, str]:
        return email, send_id

    def send(self, email: Email, *, send_id: str) -> str:
        if self._empty:
            raise self._empty
        return send_id

    def send_composed(self, composed: tuple[Email, str]) -> str:
        return self._answer(composed[1])

    def send_bulk(self, letter: Email, request: dict[str, object]) -> list[str | SesError]:
        if self._bulk:
            raise self._bulk
        found: list[str | SesError] = []
        for _ in request["BulkEmailEntries"]:  # type: ignore[attr-defined]
            try:
                found.append(self._answer("id"))
            except SendThrottled as error:
                found.append(error)
        return found

    def _answer(self, said: str) -> str:
        with self._lock:
            self._left -= 1
            if self._left < 0:
                raise SendThrottled
        return said


def settled(aws: Aws, rate: float) -> dict[str, dict[str, object]]:
    return Soundings(aws, rate=rate, from_email="shop@example.com", pause=lambda _: None).take()  # type: ignore[arg-type]


def test_it_is_told_how_many_ses_forgives_and_whether_recipients_of_a_call_for_several_count() -> None:
    found = settled(Aws(takes=10), rate=0.001)
    assert found["burst"]["beyond"] == found["burst"]["taken"] == 10
    assert found["bulk_calls"]["said"] == "each recipient of a call for several counts to the rate"
    assert found["bulk_calls"]["throttled"] == 50
    assert found["empty_body"] == {"said": "SES takes an empty body"}


def test_where_nothing_is_throttled_only_what_that_proves_is_said() -> None:
    slow, fast = settled(Aws(takes=1000), rate=0.001), settled(Aws(takes=1000), rate=1e6)
    assert "none of 20" in str(slow["burst"]["said"])
    assert slow["bulk_calls"]["said"] == "a call for several counts as one, or so many are forgiven"
    assert fast["bulk_calls"]["said"] == "whether calls for several count as one cannot be told at this rate"


def test_what_ses_refuses_is_told_with_its_code() -> None:
    no_right = SesMisconfigured("a right is missing", code="AccessDeniedException")
    found = settled(Aws(takes=1000, empty=SendRejected("no", code="MessageRejected"), bulk=no_right), rate=1.0)
    assert found["empty_body"] == {"said": "SES refuses an empty body", "code": "MessageRejected"}
    assert found["bulk_calls"]["code"] == "AccessDeniedException"
    assert settled(Aws(takes=1000, bulk=SendThrottled()), rate=1.0)["bulk_calls"]["said"] == (
        "SES throttles whole calls for several"
    )


def test_the_price_that_is_asked_for_has_these_emails_in_it() -> None:
    assert Soundings(Aws(0), rate=14.0, from_email=None).most_emails == 50 + 48 + 1  # type: ignore[arg-type]
