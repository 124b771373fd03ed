"""The task as Celery's users call it beside `delay`, and brokers that do not take its tickets."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.programs import eventually
from tests.services import absent

ENVIRONMENT = {"SESMAIL_FROM_EMAIL": "shop@example.com"}


def test_called_as_a_function_it_sends_here_and_now_and_answers_as_the_task_would(new_site):
    site = new_site(**ENVIRONMENT)
    script = """
import json
from sesmail import InvalidEmail, LedgerUnavailable, send_ses_email, status
print(json.dumps(send_ses_email("ann@example.org", "Hello", "Hi.")))
try:
    send_ses_email("nobody", "Hello", "Hi.")
except InvalidEmail as error:
    print(error.field)
"""
    answer, field = site.python(script).splitlines()
    assert json.loads(answer)["state"] == "sent"
    assert field == "to"
    assert site.ledger.counts()["sent"] == 1
    assert site.redis.llen("sesmail.transactional") == 0, "no ticket was issued"


def test_called_as_a_function_without_redis_it_says_so_as_delay_does(new_site):
    site = new_site(**ENVIRONMENT)
    script = """
from sesmail import LedgerUnavailable, send_ses_email
try:
    send_ses_email("ann@example.org", "Hello", "Hi.")
except LedgerUnavailable as error:
    print(type(error).__name__)
"""
    assert site.python(script, SESMAIL_REDIS_URL="redis://127.0.0.1:1/0").split() == ["LedgerUnavailable"]


def test_called_as_a_function_while_the_line_is_closed_it_says_that_the_email_waits(new_site):
    site = new_site(**ENVIRONMENT)
    script = """
from sesmail import current_client, send_ses_email
from sesmail.errors import SendPostponed
current_client().throttle.line.pause("account", "by an operator")
try:
    send_ses_email("ann@example.org", "Hello", "Hi.")
except SendPostponed as error:
    print(error)
"""
    assert "by an operator" in site.python(script)
    assert site.ledger.counts()["scheduled"] == 1


def test_map_starmap_and_chunks_send_each_email_once(new_site):
    site = new_site(**ENVIRONMENT)
    site.start_worker("sesmail", "-c", "2")
    script = """
from sesmail import send_ses_email
rows = [(f"success+{n}@simulator.amazonses.com", "Hello", "Hi.") for n in range(6)]
send_ses_email.starmap(rows[:3]).apply_async(queue="sesmail.transactional")
send_ses_email.chunks(rows[3:], 2).apply_async(queue="sesmail.transactional")
"""
    site.python(script)
    eventually(lambda: site.ledger.counts()["sent"] == 6)
    assert sum(site.ledger.counts()[state] for state in ("queued", "scheduled", "unknown", "abandoned")) == 0


def test_a_broker_of_no_known_kind_is_refused_before_anything_is_accepted(new_site):
    site = new_site(**ENVIRONMENT)
    script = """
from sesmail import ConfigurationError, send_ses_email
try:
    send_ses_email.delay("ann@example.org", "Hello", "Hi.")
except ConfigurationError as error:
    print(error)
"""
    assert "redi" in site.python(script, CELERY_BROKER_URL="redi://127.0.0.1/0")
    assert site.ledger.counts()["queued"] == 0


def test_whatever_a_broker_answers_once_an_email_is_accepted_nobody_is_told_to_call_again(new_site):
    """A password that is refused is no OperationalError to kombu."""
    rabbitmq()
    site = new_site(**ENVIRONMENT)
    script = """
import logging
logging.basicConfig(format="%(levelname)s %(message)s")
from sesmail import send_ses_email
for _ in range(2):
    print(send_ses_email.delay("ann@example.org", "Hello", "Hi.").id)
"""
    said = site.python(script, CELERY_BROKER_URL="amqp://guest:wrong@127.0.0.1:5672//").splitlines()
    assert site.ledger.counts()["queued"] == 2
    told = "ERROR the broker amqp://guest:**@127.0.0.1:5672 took no ticket (AccessRefused: "
    assert sum(line.startswith(told) and "Login was refused" in line for line in said) == 1, said


def rabbitmq() -> None:
    from kombu import Connection

    with Connection("amqp://guest:guest@127.0.0.1:5672//", connect_timeout=1) as connection:
        try:
            connection.connect()
        except connection.connection_errors:
            absent("there is no RabbitMQ with the usual guest account on 127.0.0.1:5672")


@pytest.mark.parametrize("serializer", ["pickle", "msgpack", "yaml"])
def test_tickets_are_json_whatever_the_host_s_serializer(new_site, serializer):
    site = new_site(**ENVIRONMENT)
    script = f"""
import os
from celery import Celery
from sesmail import send_ses_email
host = Celery("host", broker=os.environ["CELERY_BROKER_URL"])
host.conf.task_serializer = {serializer!r}
send_ses_email.delay("ann@example.org", "Hello", "Hi.")
"""
    site.python(script)
    (ticket,) = site.redis.lrange("sesmail.transactional", 0, -1)
    assert json.loads(ticket)["content-type"] == "application/json"
