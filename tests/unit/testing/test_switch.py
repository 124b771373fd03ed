"""Who has email kept in memory although no test has an outbox open, and what is said of it."""

from __future__ import annotations

import logging

import pytest
from flask import Flask

from sesmail import Client, ConfigurationError, Email, LedgerUnavailable, Settings, State
from sesmail.contrib.flask import SESMail
from sesmail.sending.memory import MOST_SENDS, Memory, switch
from tests.unit.testing.conftest import NOWHERE
from tests.unit.testing.test_outbox import send


def client_of(**said: object) -> Client:
    return Client(Settings(redis_url=NOWHERE, from_email="shop@example.com", **said))  # type: ignore[arg-type]


@pytest.fixture
def flask():
    """Makes Flask applications with the extension."""
    made = []

    def make(*, testing: bool) -> Flask:
        app = Flask("site")
        app.config["TESTING"] = testing
        SESMail(app)
        made.append(app)
        return app

    yield make
    made.clear()


@pytest.mark.parametrize(("said", "suppressed"), [(True, True), (False, False), (None, False)])
def test_the_setting_decides(said, suppressed):
    client = client_of(suppress_send=said)
    assert client.is_suppressed is suppressed
    if suppressed:
        assert client.outbox.status(send(client)).state is State.QUEUED
    else:
        with pytest.raises(LedgerUnavailable):
            send(client)


@pytest.mark.parametrize(("said", "suppressed"), [(None, True), (False, False)])
def test_django_s_test_environment_decides_where_the_setting_says_nothing(monkeypatch, said, suppressed):
    from django.core import mail

    client = client_of(suppress_send=said)
    assert not client.is_suppressed
    monkeypatch.setattr(mail, "outbox", [], raising=False)  # as `django.test.utils.setup_test_environment` does
    assert client.is_suppressed is suppressed


def test_a_flask_application_s_testing_decides_within_its_context(flask):
    client, testing, live = client_of(), flask(testing=True), flask(testing=False)
    with testing.app_context():
        assert client.is_suppressed
        with live.app_context():
            assert not client.is_suppressed
    with testing.app_context():
        assert not client_of(suppress_send=False).is_suppressed
        testing.config["TESTING"] = False
        assert not client.is_suppressed


def test_outside_of_a_context_an_application_that_tests_makes_it_a_process_of_tests(flask):
    client = client_of()
    flask(testing=False)
    assert not client.is_suppressed
    flask(testing=True)
    assert client.is_suppressed


def test_a_test_with_a_real_worker_has_the_last_word():
    client = client_of(suppress_send=True)
    with switch(None):
        assert not client.is_suppressed
        with switch(Memory()):
            assert client.is_suppressed
    assert client.is_suppressed


def test_it_is_said_once_and_without_an_address(caplog):
    client = client_of(suppress_send=True)
    with caplog.at_level(logging.INFO, "sesmail"):
        send(client)
        send(client)
    (record,) = caplog.records
    assert "nothing is sent to anybody: so says SESMAIL_SUPPRESS_SEND" in record.getMessage()
    assert record.levelno == logging.INFO


def test_an_outbox_that_a_test_opened_itself_is_not_worth_a_line(client, ses_outbox, caplog):
    with caplog.at_level(logging.INFO, "sesmail"):
        send(client)
    assert caplog.records == []


def test_what_nobody_looks_at_does_not_grow_without_bound():
    client = client_of(suppress_send=True)
    first = send(client, idempotency_key="first")
    for _ in range(MOST_SENDS):
        send(client)
    assert len(client.memory.sends) == MOST_SENDS
    assert send(client, idempotency_key="first") != first


def test_programs_that_are_there_to_send_refuse_and_say_why():
    client_of().check_not_suppressed()
    with pytest.raises(ConfigurationError, match=r"suppressed here, by SESMAIL_SUPPRESS_SEND.*Nothing was queued"):
        client_of(suppress_send=True).check_not_suppressed()


def test_two_clients_that_are_suppressed_by_settings_share_nothing():
    one, other = client_of(suppress_send=True), client_of(suppress_send=True)
    send_id = send(one)
    assert list(one.memory.sends) == [send_id]
    assert not other.memory.sends


def test_what_is_never_suppressed_is_the_outbox_over_redis():
    client = client_of(suppress_send=True)
    with pytest.raises(LedgerUnavailable):
        client.real_outbox.send(Email("ann@example.org", "s", "t"))
    client.close()
