"""A site's own tests: email is kept in memory by itself, whatever runs them, with neither Redis nor a broker there."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.acceptance.programs import free_port, run

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def nowhere(site):
    """The environment of a program of which neither Redis nor the broker is there."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    return site.environment | {"CELERY_BROKER_URL": url, "SESMAIL_REDIS_URL": url}


@pytest.fixture
def django(tmp_path):
    shutil.copytree(EXAMPLES / "django_site", tmp_path, dirs_exist_ok=True)
    with (tmp_path / "proj" / "settings.py").open("a") as settings:
        settings.write('INSTALLED_APPS = ["sesmail.contrib.django"]\n')
    with (tmp_path / "proj" / "urls.py").open("a") as urls:
        urls.write(
            "from django.urls import include\n"
            'urlpatterns += [path("sesmail/", include("sesmail.contrib.django.urls"))]\n'
        )
    return tmp_path


EVERYTHING = """
import asyncio
from datetime import UTC, datetime, timedelta
from celery import chain, group
import sesmail
from sesmail import MoveRefused, State, UnknownSend, current_client, send_ses_email

EMAIL = ("ann@example.org", "Hello", "Hi.")

def everything_that_a_site_can_ask():
    before = len(current_client().memory.sends)
    send_id = send_ses_email.delay(*EMAIL).id
    assert sesmail.status(send_id).state is State.QUEUED
    own = send_ses_email.apply_async(EMAIL, task_id=f"my-{before}", countdown=60, queue="special", priority=3)
    assert own.id == f"my-{before}"
    assert sesmail.status(own.id).state is State.SCHEDULED
    sesmail.reschedule(own.id, datetime.now(UTC) + timedelta(days=1))
    sesmail.cancel(own.id)
    assert sesmail.status(own.id).state is State.CANCELLED
    sesmail.requeue(own.id)
    assert sesmail.record_evidence(own.id, "0100") == "settled"
    try:
        sesmail.cancel(own.id)
    except MoveRefused:
        pass
    else:
        raise AssertionError("a sent email was cancelled")
    try:
        sesmail.status("nobody")
    except UnknownSend:
        pass
    else:
        raise AssertionError("an email that there is not has a status")
    assert sesmail.status(send_ses_email.apply_async(EMAIL, eta=datetime.now(UTC), expires=60).id).state == "queued"
    assert sesmail.status(asyncio.run(send_ses_email.adelay(*EMAIL)).id).state == "queued"
    group(send_ses_email.si(*EMAIL), send_ses_email.si(*EMAIL)).apply_async()
    chain(send_ses_email.si(*EMAIL), send_ses_email.si(*EMAIL)).apply_async()
    assert send_ses_email(*EMAIL) == {"state": "queued"}  # called as the function that it is
    assert send_ses_email.apply(EMAIL).get() == {"state": "queued"}
    of_the_chain = 2 if send_ses_email.app.conf.task_always_eager else 1  # nobody works off its first
    assert len(current_client().memory.sends) - before == 8 + of_the_chain
"""

DJANGO_TESTS = (
    EVERYTHING
    + """
import json, logging
from django.core.mail import send_mail
from django.db import transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from sesmail import LedgerUnavailable, email_bounced
from sesmail.testing import SesmailTestMixin, ses_event, sns_post, trusted_sns

class WithoutAnythingOfOurs(TestCase):
    def test_everything(self):
        everything_that_a_site_can_ask()

    def test_a_view(self):
        answer = self.client.post("/order", {"to": "ann@example.org"})
        self.assertEqual(sesmail.status(answer.json()["id"]).state, "queued")

class WithTheMixin(SesmailTestMixin, TestCase):
    def test_a_view(self):
        answer = self.client.post("/order", {"to": "ann@example.org"})
        send = self.ses_outbox.one(to="ann@example.org", subject="Your order")
        self.assertEqual(send.id, answer.json()["id"])
        self.assertEqual(send.email.from_email, "shop@example.com")

    def test_nothing_of_the_other_tests_is_there(self):
        self.ses_outbox.assert_nothing_sent()

    def test_the_options_of_a_ticket(self):
        send_ses_email.apply_async(EMAIL, queue="special", priority=3)
        self.assertEqual(self.ses_outbox.one().options, {"queue": "special", "priority": 3})

    def test_on_commit(self):
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post("/sign-up", {"to": "ann@example.org"})
            self.ses_outbox.assert_nothing_sent()
        self.ses_outbox.assert_sent(subject="Welcome", count=1)

    def test_on_commit_without_a_commit(self):
        self.client.post("/sign-up", {"to": "ann@example.org"})
        self.ses_outbox.assert_nothing_sent()

    def test_redis_away(self):
        with self.ses_outbox.redis_away(), self.assertRaises(LedgerUnavailable):
            send_ses_email.delay(*EMAIL)

    def test_the_webhook(self):
        heard = []
        def on_bounce(site, *, event, metadata):
            heard.append((event.recipient, metadata))
        with email_bounced.connected_to(on_bounce):
            send_ses_email.delay(*EMAIL, metadata={"order": 7})
            post = sns_post(ses_event("Bounce", self.ses_outbox.one()))
            with trusted_sns():
                answer = self.client.post(
                    "/sesmail/events/", post.body, content_type="text/plain; charset=UTF-8", headers=post.headers
                )
            self.assertEqual(answer.status_code, 200)
            self.ses_outbox.process_events()
        self.assertEqual(heard, [("ann@example.org", {"order": 7})])
        self.assertEqual(sesmail.status(self.ses_outbox.one().id).deliveries, {"ann@example.org": "bounced"})

class WithATransaction(SesmailTestMixin, TransactionTestCase):
    def test_on_commit(self):
        self.client.post("/sign-up", {"to": "rolled-back@example.org", "fail": "1"})
        self.client.post("/sign-up", {"to": "ann@example.org"})
        self.ses_outbox.one(to="ann@example.org")
        self.ses_outbox.assert_nothing_sent(to="rolled-back@example.org")

class Async(SesmailTestMixin, SimpleTestCase):
    async def test_adelay(self):
        await send_ses_email.adelay(*EMAIL)
        self.ses_outbox.one()
"""
)


def ran(said: str) -> int:
    return int(re.search(r"^Ran (\d+) tests", said, re.MULTILINE)[1])


@pytest.mark.parametrize("eager", [False, True])
def test_under_django_s_test_runner_email_is_kept_in_memory(django, nowhere, eager):
    (django / "test_shop.py").write_text(DJANGO_TESTS)
    with (django / "proj" / "settings.py").open("a") as settings:
        settings.write(f"CELERY_TASK_ALWAYS_EAGER = {eager}\n")
    done = run(sys.executable, "-W", "error", "manage.py", "test", "-v", "1", folder=django, environment=nowhere)
    assert done.returncode == 0, done.stdout
    assert ran(done.stdout) == DJANGO_TESTS.count("def test_")


def test_an_explicit_no_sends_under_django_s_test_runner_too(django, nowhere):
    (django / "test_shop.py").write_text(
        """
from django.test import TestCase
from sesmail import LedgerUnavailable, send_ses_email
from sesmail.testing import SesmailTestMixin
class Shop(TestCase):
    def test_it_is_sent(self):
        with self.assertRaises(LedgerUnavailable):
            send_ses_email.delay("ann@example.org", "Hello", "Hi.")
class WithTheMixin(SesmailTestMixin, TestCase):
    def test_it_is_not(self):
        send_ses_email.delay("ann@example.org", "Hello", "Hi.")
        self.ses_outbox.one()
"""
    )
    done = run(sys.executable, "manage.py", "test", folder=django, environment=nowhere | {"SESMAIL_SUPPRESS_SEND": "0"})
    assert done.returncode == 0, done.stdout
    assert ran(done.stdout) == 2


def test_in_an_environment_set_up_as_pytest_django_does_email_is_kept_in_memory(django, nowhere):
    script = (
        EVERYTHING
        + """
import logging
import django, proj
django.setup()
from django.test.utils import setup_test_environment, teardown_test_environment
setup_test_environment()
logging.basicConfig(level=logging.INFO, format="%(message)s")
everything_that_a_site_can_ask()
teardown_test_environment()
assert not current_client().is_suppressed
"""
    )
    environment = nowhere | {"DJANGO_SETTINGS_MODULE": "proj.settings"}
    done = run(sys.executable, "-c", script, folder=django, environment=environment)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("nothing is sent to anybody: so says Django's test environment") == 1


FLASK_TESTS = """
import pytest
from app import create_app
from sesmail import LedgerUnavailable, send_ses_email
from sesmail.contrib.flask import SESMail

@pytest.fixture
def app():
    app = create_app()
    SESMail(app)
    app.config["TESTING"] = True
    return app

def test_a_view(app, ses_outbox):
    answer = app.test_client().post("/order", data={"to": "ann@example.org"})
    assert ses_outbox.one(to="ann@example.org", subject="Your order").id == answer.json["id"]

def test_nothing_of_the_other_test_is_there(ses_outbox):
    ses_outbox.assert_nothing_sent()

def test_in_a_context_without_a_fixture_of_ours(app):
    with app.app_context():
        everything_that_a_site_can_ask()

def test_outside_a_context_without_a_fixture_of_ours(app):
    everything_that_a_site_can_ask()

def test_an_explicit_no(app):
    app.config["CELERY"]["sesmail_suppress_send"] = False
    app.extensions["celery"].conf.sesmail_suppress_send = False
    with app.app_context(), pytest.raises(LedgerUnavailable):
        send_ses_email.delay(*EMAIL)
"""


def test_with_testing_in_flask_email_is_kept_in_memory(tmp_path, nowhere):
    shutil.copytree(EXAMPLES / "flask_site", tmp_path, dirs_exist_ok=True)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["sesmail.testing.pytest_plugin"]\n')
    (tmp_path / "test_shop.py").write_text(EVERYTHING + FLASK_TESTS)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"]
    done = run(*command, folder=tmp_path, environment=nowhere)
    assert "5 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("eager", [False, True])
def test_in_plain_python_the_setting_keeps_email_in_memory(tmp_path, nowhere, eager):
    (tmp_path / "celeryconfig.py").write_text(f'sesmail_from_email = "shop@example.com"\ntask_always_eager = {eager}\n')
    script = EVERYTHING + "everything_that_a_site_can_ask()"
    environment = nowhere | {"SESMAIL_SUPPRESS_SEND": "1"}
    done = run(sys.executable, "-W", "error", "-c", script, folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stdout


def test_a_worker_and_a_mailing_refuse_where_email_is_suppressed(site, tmp_path, nowhere):
    (tmp_path / "people.csv").write_text("email\nann@example.org\n")
    (tmp_path / "letter.txt").write_text("Hello")
    suppressed = nowhere | {"SESMAIL_SUPPRESS_SEND": "1", "SESMAIL_FROM_EMAIL": "shop@example.com"}
    letter = ["send", "--csv", "people.csv", "--subject", "News", "--text", "letter.txt"]
    mailing = run("sesmail", *letter, folder=tmp_path, environment=suppressed)
    assert (mailing.returncode, "suppressed here, by SESMAIL_SUPPRESS_SEND" in mailing.stdout) == (78, True), (
        mailing.stdout
    )
    worker = run(sys.executable, "-m", "celery", "-A", "sesmail", "worker", folder=tmp_path, environment=suppressed)
    assert worker.returncode == 78, worker.stdout
    assert "Email is suppressed here" in worker.stdout
    assert "Traceback" not in worker.stdout
