"""Tests of a site that really send, to a local SES: any number of them in a process, none of which sees another."""

from __future__ import annotations

import sys

import pytest

from tests.acceptance.programs import run

A_SITES_TESTS = """
import subprocess, sys, time
from datetime import UTC, datetime
import pytest
from sesmail import Reason, State, current_client, send_ses_email, status
from sesmail.state.people.suppression import OptOut, Scope

def send(**fields):
    return send_ses_email.delay("ann@example.org", "Hello", "Hi.", **fields)

@pytest.mark.parametrize("n", range(3))
def test_each_has_an_ses_of_its_own(ses_simulator, n):
    result = send(idempotency_key="the same in each")
    assert result.state == "SUCCESS", result.result
    assert status(result.id).state is State.SENT
    assert ses_simulator.report()["accepted"] == {"calls": 1, "recipients": 1}
    (message,) = ses_simulator.messages()
    assert message["sesmail_id"] == result.id

@pytest.mark.ses_simulator(rate=3)
def test_one_that_is_slow(ses_simulator):
    assert send().state == "SUCCESS"
    assert current_client().throttle.snapshot().rate == 3

@pytest.mark.ses_simulator(rate=50)
def test_and_one_that_is_not(ses_simulator):
    assert send().state == "SUCCESS"
    assert current_client().throttle.snapshot().rate == 50

def test_one_that_pauses_the_line_and_opts_its_reader_out(ses_simulator):
    current_client().throttle.line.pause("account", "by a test")
    reader = OptOut(address="ann@example.org", scope=Scope(), reason=Reason.MANUAL, since=datetime.now(UTC))
    current_client().suppression.add(reader)
    assert status(send().id).state is State.SUPPRESSED

def test_and_one_that_sends_to_the_same_reader(ses_simulator):
    assert send().state == "SUCCESS"

def test_a_worker_of_its_own_finds_all_of_it(ses_simulator):
    send_ses_email.app.conf.task_always_eager = False
    command = [sys.executable, "-m", "celery", "-A", "sesmail", "worker", "-c", "2", "--without-mingle", "--without-gossip"]
    with subprocess.Popen(command) as worker:
        try:
            send_id = send().id
            end = time.monotonic() + 60
            while status(send_id).state is not State.SENT and time.monotonic() < end:
                time.sleep(0.05)
        finally:
            worker.terminate()
            worker.wait()
    send_ses_email.app.conf.task_always_eager = True
    assert status(send_id).state is State.SENT
    assert [message["sesmail_id"] for message in ses_simulator.messages()] == [send_id]

def test_without_the_fixture_nothing_is_sent():
    assert current_client().is_suppressed
    assert current_client().settings.key_prefix == "sesmail"
"""


def test_the_fixture_works_any_number_of_times_and_leaves_nothing(site, tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["sesmail.simulator.pytest_plugin"]\n')
    (tmp_path / "celeryconfig.py").write_text("task_always_eager = True\n")
    (tmp_path / "test_site.py").write_text(A_SITES_TESTS)
    environment = site.environment | {
        "SESMAIL_FROM_EMAIL": "shop@example.com",
        "SESMAIL_SUPPRESS_SEND": "1",
        "AWS_ENDPOINT_URL_SESV2": "http://127.0.0.1:1",
    }
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_site.py"]
    done = run(*command, folder=tmp_path, environment=environment)
    assert "9 passed" in done.stdout, done.stdout
    assert [key for key in site.redis.scan_iter("*") if b"sesmail-test" in key] == []


TWICE = """
import os
from sesmail import send_ses_email
from sesmail.simulator import Simulator

for n in range(2):
    with Simulator() as ses:
        os.environ["AWS_ENDPOINT_URL_SESV2"] = ses.url
        result = send_ses_email.delay("ann@example.org", f"Number {n}", "Hi.")
        assert result.state == "SUCCESS", result.result
        assert [message["subject"] for message in ses.messages()] == [f"Number {n}"]
"""


def test_one_simulator_after_another_in_a_process_each_gets_its_own(site, tmp_path):
    (tmp_path / "celeryconfig.py").write_text("task_always_eager = True\n")
    environment = site.environment | {"SESMAIL_FROM_EMAIL": "shop@example.com"}
    done = run(sys.executable, "-W", "error", "-c", TWICE, folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("plugins", [["sesmail.testing.pytest_plugin", "sesmail.simulator.pytest_plugin"]])
def test_both_plugins_go_together_and_the_fixture_asked_for_last_decides(site, tmp_path, plugins):
    (tmp_path / "conftest.py").write_text(f"pytest_plugins = {plugins!r}\n")
    (tmp_path / "test_site.py").write_text(
        """
from sesmail import current_client

def test_memory(ses_simulator, ses_outbox):
    assert current_client().is_suppressed

def test_ses(ses_outbox, ses_simulator):
    assert not current_client().is_suppressed
"""
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_site.py"]
    done = run(*command, folder=tmp_path, environment=site.environment)
    assert "2 passed" in done.stdout, done.stdout
