"""The account's limits on their way from SES to the throttle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sesmail.errors import SesError, SesMisconfigured, SesUnavailable
from sesmail.sending.account import AccountWatch
from sesmail.sending.throttle import SendThrottle
from sesmail.ses.transport import Account, SesTransport
from sesmail.settings import Settings
from sesmail.simulator import Simulator
from sesmail.state.fleet.workers import Turns
from sesmail.state.scripts import Scripts


class Refusing:
    """SES where it may not be asked, or is out of reach."""

    def __init__(self, error: SesError) -> None:
        self.error = error
        self.asked = 0

    def account(self) -> Account:
        self.asked += 1
        raise self.error


@pytest.fixture
def throttle(scripts: Scripts) -> SendThrottle:
    return SendThrottle(scripts)


@pytest.fixture
def turns(scripts: Scripts) -> Turns:
    return Turns(scripts.redis, scripts.keys)


@pytest.fixture(scope="module")
def ses() -> Iterator[Simulator]:
    with Simulator(rate=14, quota=50_000, calls_per_second=None) as simulator:
        yield simulator


def watch(throttle: SendThrottle, turns: Turns, transport: object, **settings: object) -> AccountWatch:
    return AccountWatch(Settings(**settings), throttle, turns, lambda: transport)  # type: ignore[arg-type]


def test_the_limits_are_those_of_the_account_and_followed_without_a_restart(ses, scripts, throttle, turns) -> None:
    account = watch(throttle, turns, SesTransport(endpoint_url=ses.url))
    account.refresh_if_due()
    assert (throttle.snapshot().rate, throttle.snapshot().quota) == (14, 50_000)
    assert throttle.snapshot().source == "ses"
    ses.change(rate=90)
    account.refresh_if_due()
    assert throttle.snapshot().rate == 14, "asked again before it was due"
    scripts.redis.delete("{sesmail}:turn:account")
    account.refresh_if_due()
    assert throttle.snapshot().rate == 90


def test_one_worker_asks_for_the_whole_fleet(throttle, turns) -> None:
    ses = Refusing(SesUnavailable())
    for _ in range(5):
        watch(throttle, turns, ses).refresh_if_due()
    assert ses.asked == 1


def test_a_share_leaves_the_rest_of_the_rate_to_others(ses, throttle, turns) -> None:
    ses.change(rate=10)
    watch(throttle, turns, SesTransport(endpoint_url=ses.url), share=0.5).refresh_if_due()
    snapshot = throttle.snapshot()
    assert (snapshot.rate, snapshot.share) == (10, 0.5), "what SES allows, and what of it is given out"
    assert 4.9 < snapshot.limit <= 5


def test_the_settings_hold_where_ses_may_not_be_asked(throttle, turns) -> None:
    watch(throttle, turns, Refusing(SesMisconfigured(code="AccessDenied")), max_send_rate=7).refresh_if_due()
    assert (throttle.snapshot().rate, throttle.snapshot().source) == (7, "settings")


def test_what_ses_said_holds_while_it_is_out_of_reach(ses, scripts, throttle, turns) -> None:
    ses.change(rate=14)
    watch(throttle, turns, SesTransport(endpoint_url=ses.url)).refresh_if_due()
    scripts.redis.delete("{sesmail}:turn:account")
    watch(throttle, turns, Refusing(SesUnavailable()), max_send_rate=7).refresh_if_due()
    assert throttle.snapshot().rate == 14


def test_without_permission_and_setting_it_is_said_that_the_sandbox_s_rate_holds(throttle, turns, caplog) -> None:
    error = SesMisconfigured(code="AccessDenied")
    error.is_answer = True
    watch(throttle, turns, Refusing(error)).refresh_if_due()
    assert "Allow ses:GetAccount, or set SESMAIL_MAX_SEND_RATE" in caplog.text
    assert throttle.snapshot().source is None


def test_what_keeps_ses_from_being_asked_is_told_and_not_a_permission_that_is_not_missing(
    throttle, turns, caplog, monkeypatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    watch(throttle, turns, SesTransport()).refresh_if_due()
    assert "No Region is named" in caplog.text
    assert "ses:GetAccount" not in caplog.text


def test_the_same_obstacle_is_warned_of_once(scripts, throttle, turns, caplog) -> None:
    account = watch(throttle, turns, Refusing(SesUnavailable(code="EndpointConnectionError")))
    for _ in range(2):
        account.refresh_if_due()
        scripts.redis.delete("{sesmail}:turn:account")
    assert [record.levelname for record in caplog.records if "does not tell" in record.message].count("WARNING") == 1


def test_before_the_first_email_the_limits_are_known_or_nobody_could_learn_them(ses, throttle, turns) -> None:
    ses.change(rate=14)
    watch(throttle, turns, SesTransport(endpoint_url=ses.url)).make_sure()
    assert throttle.snapshot().rate == 14


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({}, "healthy"),
        ({"production_access": False}, "sandbox"),
        ({"enforcement_status": "PROBATION", "sending_enabled": False}, "probation, sending paused"),
        ({"enforcement_status": "SHUTDOWN"}, "shut down"),
    ],
)
def test_the_account_s_standing_is_in_plain_words(changes, standing) -> None:
    usual = {
        "max_send_rate": 14,
        "max_24_hour_send": 50_000,
        "sent_last_24_hours": 0,
        "sending_enabled": True,
        "production_access": True,
        "enforcement_status": "HEALTHY",
    }
    assert Account(**(usual | changes)).standing() == standing
