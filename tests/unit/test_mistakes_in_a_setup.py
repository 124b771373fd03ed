"""Mistakes in a set-up, as people meet them: what is told names the setting, who said it, and what is meant."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from celery import Celery
from click.testing import CliRunner
from kombu.exceptions import OperationalError

from sesmail import Client
from sesmail.celery.broker import CeleryBroker
from sesmail.cli import main
from sesmail.errors import InvalidEmail
from sesmail.message import Email, Lane
from sesmail.ses.answers import what_happens_next
from sesmail.settings import Settings, load
from sesmail.vocabulary import Ticket


@pytest.mark.parametrize(
    ("region", "told"),
    [
        ("eu-wset-1", ", of which botocore knows no eu-wset-1: is eu-west-1 meant?,"),
        ("moon-1", ", of which botocore knows no moon-1,"),
        ("eu-west-1", "AWS_REGION) is right"),
    ],
)
def test_a_region_that_botocore_does_not_know_is_told_with_the_one_that_is_most_likely_meant(region, told):
    error = EndpointConnectionError(endpoint_url=f"https://email.{region}.amazonaws.com/v2/email/account")
    said = str(what_happens_next(error))
    assert f"at email.{region}.amazonaws.com" in said
    assert told in said


def test_a_sender_that_is_no_address_is_told_with_the_setting_that_says_it(monkeypatch):
    monkeypatch.setenv("SESMAIL_FROM_EMAIL", "shop at example.com")
    monkeypatch.setenv("SESMAIL_REDIS_URL", "redis://127.0.0.1:1/0")
    client = Client(load())
    with pytest.raises(InvalidEmail, match="so says SESMAIL_FROM_EMAIL in the environment"):
        client.real_outbox.completed(Email("ann@example.org", "Hi", "Hi."))
    with pytest.raises(InvalidEmail) as of_the_email:
        client.real_outbox.completed(Email("ann@example.org", "Hi", "Hi.", from_email="shop at example.com"))
    assert "so says" not in str(of_the_email.value)


@pytest.mark.parametrize(
    ("error", "level", "words"),
    [
        (
            OperationalError("Error 111 connecting to 127.0.0.1:1. Connection refused."),
            "WARNING",
            "OperationalError: Err",
        ),
        (ValueError("with something of the caller's"), "ERROR", "took no ticket (ValueError);"),
    ],
)
def test_a_broker_that_takes_no_ticket_is_named_without_its_password(caplog, monkeypatch, error, level, words):

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with Celery("shop", broker="redis://:s3cr3t@127.0.0.1:1/4", set_as_current=False) as app:
        broker = CeleryBroker(app, Settings())
        monkeypatch.setattr(broker, "_publish", fail)
        with caplog.at_level(logging.WARNING, "sesmail"):
            broker.issue([Ticket(send_id="a", lane=Lane.BULK)])
    (line,) = [each for each in caplog.records if "took no ticket" in each.getMessage()]
    assert (line.levelname, words in line.getMessage()) == (level, True)
    assert "the broker redis://127.0.0.1:1/4 took" in line.getMessage()
    assert "s3cr3t" not in line.getMessage()


def test_a_misspelt_command_is_told_with_the_one_that_is_meant():
    assert "Is `status` meant?" in CliRunner().invoke(main, ["stauts"]).output
    assert "No such command 'xyzzy'." in CliRunner().invoke(main, ["xyzzy"]).output


def test_what_is_neither_an_address_nor_a_list_of_them_is_told_what_to_give():
    with pytest.raises(InvalidEmail, match="of type int: give an address, or a list of them"):
        Email(5, "Hi", "Hi.")  # type: ignore[arg-type]


@pytest.mark.parametrize("local", ["ann.", "a..b", "a..b.c"])
def test_an_address_with_a_dot_too_many_is_told_how_it_can_be_written(local):
    with pytest.raises(InvalidEmail, match="double quotes"):
        Email(f"{local}@example.org", "Hi", "Hi.")
    assert Email(f'"{local}"@example.org', "Hi", "Hi.").to == (f'"{local}"@example.org',)
