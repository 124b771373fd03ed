"""Sending from applications, each a program of its own: plain Python, Django, Flask, and clients without sesmail."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import time
from pathlib import Path
from urllib.error import HTTPError

import pytest

from sesmail.embedded import EmbeddedRedis
from tests.acceptance.programs import Program, eventually, fetch, free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
CELERYCONFIG = 'sesmail_from_email = "shop@example.com"\n'


@pytest.fixture(scope="module")
def plain(site):
    """A folder with a celeryconfig.py, and a stand-alone worker beside it."""
    (site.folder / "celeryconfig.py").write_text(CELERYCONFIG)
    site.start_worker("sesmail", "-c", "4")
    return site


def delay(site, call: str) -> str:
    """The id that a call on `send_ses_email` answers in a plain Python program."""
    return site.python(f"from sesmail import send_ses_email as task; print(task.{call}.id)")


# Plain Python


def test_the_plain_example_reaches_the_worker(plain):
    send_id = plain.python((EXAMPLES / "plain.py").read_text().replace("sys.argv[1:]", "['ann@example.org']"))
    assert plain.received(send_id)["recipients"] == ["ann@example.org"]
    assert plain.status(send_id, "sent").message_id


def test_every_option_of_apply_async_that_says_when_is_kept(plain):
    script = """
from datetime import UTC, datetime, timedelta
from sesmail import send_ses_email
def send(**options):
    return send_ses_email.apply_async(("ann@example.org", "Hello", "Hi."), **options).id
now = datetime.now(UTC)
print(send(countdown=0.2), send(eta=now + timedelta(seconds=0.2)), send(countdown=0.2, expires=0.1),
      send(eta=now + timedelta(days=1), expires=now + timedelta(days=2)), send(task_id="my-own-id"))
"""
    countdown, eta, too_late, tomorrow, own = plain.python(script).split()
    assert plain.status(countdown, "sent")
    assert plain.status(eta, "sent")
    assert plain.status(too_late, "expired")
    assert plain.status(tomorrow, "scheduled")
    assert plain.status("my-own-id", "sent")
    assert own == "my-own-id"


def test_a_wrong_email_raises_and_nothing_is_queued(plain):
    before = plain.ledger.counts()
    script = """
from sesmail import InvalidEmail, send_ses_email
for arguments in (["ann@example.org\\r\\nBcc: x@example.org", "s", "t"], ["ann@example.org"], [], ["ann", "s", "t"]):
    try:
        send_ses_email.delay(*arguments)
    except InvalidEmail as error:
        print(error.field)
"""
    assert plain.python(script).split() == ["to", "arguments", "arguments", "to"]
    assert plain.ledger.counts() == before


def test_importing_the_task_makes_no_app_and_loads_no_boto3_and_sending_loads_none_either(plain):
    script = """
import sys
import sesmail
assert not {"boto3", "redis", "celery"} & set(sys.modules)
from sesmail import send_ses_email
from celery import _state
send_ses_email.name
assert _state.default_app is None
send_ses_email.delay("ann@example.org", "Hello", "Hi.")
assert not {"boto3", "botocore", "sqlalchemy", "sesmail.events.intake"} & set(sys.modules)
assert _state.default_app is None
"""
    plain.python(script)


@pytest.mark.parametrize("down", ["refusing", "silent"], indirect=True)
def test_with_redis_down_delay_raises_within_a_second(plain, down):
    script = """
import time
from sesmail import LedgerUnavailable, send_ses_email
for _ in range(4):
    started = time.monotonic()
    try:
        send_ses_email.delay("ann@example.org", "Hello", "Hi.")
    except LedgerUnavailable as error:
        print(time.monotonic() - started)
"""
    took = [*map(float, plain.python(script, **down).split())]
    assert len(took) == 4
    assert sorted(took)[1] < 1, "two of four at least: a busy machine may hold up the others"


def test_with_redis_frozen_delay_answers_within_a_second(plain, tmp_path):
    """Its connections are established, and it says no more. Where it only carries tickets, the email is accepted."""
    script = """
import logging, os, signal, time
from sesmail import LedgerUnavailable, send_ses_email

logging.disable()  # it warns of tickets that were not taken

def frozen(pid):
    send_ses_email.delay("ann@example.org", "Hello", "Hi.")
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    try:
        send_ses_email.delay("ann@example.org", "Hello", "Hi.")
        said = "accepted"
    except LedgerUnavailable as error:
        assert "Redis took it and its answer" in str(error)
        said = "unavailable"
    finally:
        took = time.monotonic() - started
        os.kill(pid, signal.SIGCONT)
    return took, said

for name in "LEDGER_PID", "BROKER_PID":
    (took, said), *_ = sorted(frozen(int(os.environ[name])) for _ in range(3))  # the least busy moment
    print(took, said)
send_ses_email.delay("ann@example.org", "Hello", "Hi.")
"""
    with EmbeddedRedis(tmp_path / "ledger") as ledger, EmbeddedRedis(tmp_path / "broker") as broker:
        urls = {"SESMAIL_REDIS_URL": ledger.url, "CELERY_BROKER_URL": broker.url}
        pids = {"LEDGER_PID": str(ledger.pid), "BROKER_PID": str(broker.pid)}
        said = plain.python(script, **urls, **pids).split()
    assert said[1::2] == ["unavailable", "accepted"]
    assert max(map(float, said[::2])) < 1


@pytest.fixture
def down(request):
    """The environment of a program whose Redis is down: nobody at that port, or somebody who never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if request.param == "silent" else free_port()
        url = f"redis://127.0.0.1:{port}/0"
        yield {"CELERY_BROKER_URL": url, "SESMAIL_REDIS_URL": url}


# Django


@pytest.fixture(scope="module")
def django(new_site):
    site = new_site()
    shutil.copytree(EXAMPLES / "django_site", site.folder, dirs_exist_ok=True)
    return site


@pytest.fixture(scope="module")
def django_worker(django):
    return django.start_worker("proj", "-P", "threads", "-c", "2")


@pytest.fixture(scope="module")
def django_url(django):
    address = f"127.0.0.1:{free_port()}"
    django.start(sys.executable, "manage.py", "runserver", "--noreload", "--skip-checks", address).wait_for("Quit the")
    return f"http://{address}"


def test_a_django_request_reaches_the_project_s_own_worker(django, django_url, django_worker):
    send_id = json.loads(fetch(f"{django_url}/order", b"to=ann@example.org"))["id"]
    assert django.received(send_id)["from"] == "shop@example.com"
    assert django.status(send_id, "sent")


def test_in_django_an_email_on_commit_goes_out_with_the_commit_only(django, django_url, django_worker):
    fetch(f"{django_url}/sign-up", b"to=rolled-back@example.org&fail=1")
    fetch(f"{django_url}/sign-up", b"to=welcome@example.org")

    def recipients() -> list[str]:
        return [address for message in django.ses.messages() for address in message["recipients"]]

    eventually(lambda: "welcome@example.org" in recipients())
    assert "rolled-back@example.org" not in recipients()
    assert django.ledger.counts()["queued"] == 0


def test_a_stand_alone_worker_serves_a_django_project_too(django, django_url, django_worker):
    assert django_worker.stop() == 0
    send_id = json.loads(fetch(f"{django_url}/order", b"to=ann@example.org"))["id"]
    assert django.status(send_id, "queued")
    django.start_worker("sesmail")
    assert django.status(send_id, "sent")


@pytest.mark.parametrize("down", ["silent"], indirect=True)
def test_with_redis_down_a_django_request_knows_within_a_second(django, down):
    address = f"127.0.0.1:{free_port()}"
    server = django.start(sys.executable, "manage.py", "runserver", "--noreload", "--skip-checks", address, **down)
    server.wait_for("Quit the")
    assert_fails_within_a_second(f"http://{address}/order")
    assert "LedgerUnavailable" in server.output


def assert_fails_within_a_second(url: str) -> None:
    with pytest.raises(HTTPError, match="404"):
        fetch(f"{url}-of-something-else")  # whatever a server does on its first request, it has done
    took = []
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(HTTPError, match="500"):
            fetch(url, b"to=ann@example.org")
        took.append(time.monotonic() - started)
    assert min(took) < 1, "a busy machine may hold up one or another"


def test_a_wrong_email_on_commit_raises_at_once_so_that_the_transaction_can_be_rolled_back(django):
    script = """
import django, proj
django.setup()
from django.db import transaction
from sesmail import InvalidEmail, send_ses_email
with transaction.atomic():
    try:
        send_ses_email.delay_on_commit("no address", "Hello", "Hi.")
    except InvalidEmail:
        print("refused")
"""
    assert django.python(script, DJANGO_SETTINGS_MODULE="proj.settings") == "refused"


@pytest.mark.parametrize("apps", ['["sesmail"]', '["sesmail.contrib.django"]', '["sesmail", "sesmail.contrib.django"]'])
def test_whichever_of_our_apps_is_installed_celery_finds_the_tasks(django, apps):
    script = """
import django, proj
django.setup()
proj.celery_app.loader.import_default_modules()
print("sesmail.send_ses_email" in proj.celery_app.tasks)
"""
    settings = (EXAMPLES / "django_site" / "proj" / "settings.py").read_text() + f"INSTALLED_APPS = {apps}\n"
    settings += "ROOT_URLCONF = __name__\nurlpatterns = []\n"  # no view imports the task
    (django.folder / "other_settings.py").write_text(settings)
    assert django.python(script, DJANGO_SETTINGS_MODULE="other_settings") == "True"


# Flask


@pytest.fixture(scope="module")
def flask(new_site):
    site = new_site()
    shutil.copytree(EXAMPLES / "flask_site", site.folder, dirs_exist_ok=True)
    return site


def start_flask(site, **environment: str) -> tuple[str, Program]:
    port = free_port()
    server = site.start(sys.executable, "-m", "flask", "run", "--port", str(port), **environment)
    return f"http://127.0.0.1:{port}", server.wait_for("Running on")


def test_a_flask_request_reaches_the_worker_of_the_factory_s_app_once_its_pool_can_send(flask):
    url, _ = start_flask(flask)
    unfit = flask.start_worker("make_celery", "-P", "solo", "-Q", "celery,sesmail.transactional")
    send_id = json.loads(fetch(f"{url}/order", b"to=ann@example.org"))["id"]
    assert "The solo pool cannot send mail: while it waits" in unfit.output
    assert "This worker takes no email." in unfit.output
    assert "exchange=sesmail" not in unfit.output
    assert flask.status(send_id, "queued")
    unfit.stop()

    flask.start_worker("make_celery", "-P", "prefork", "-c", "1")
    assert flask.received(send_id)["from"] == "shop@example.com"
    assert flask.status(send_id, "sent")


@pytest.mark.parametrize("down", ["silent"], indirect=True)
def test_with_redis_down_a_flask_request_knows_within_a_second(flask, down):
    url, server = start_flask(flask, **down)
    assert_fails_within_a_second(f"{url}/order")
    assert "LedgerUnavailable" in server.output


# Clients without sesmail

BY_NAME = """
import os, sys
sys.modules["sesmail"] = None  # as on a machine where it is not installed
from celery import Celery
app = Celery("client", broker=os.environ["CELERY_BROKER_URL"])
def send(email, **options):
    return app.send_task("sesmail.send_ses_email", kwargs=email, queue="sesmail.transactional", **options).id
"""


def test_a_client_without_sesmail_sends_by_the_task_s_name(plain):
    script = BY_NAME + "print(send(dict(to='ann@example.org', subject='Hello', text='Hi.', lane='bulk')))"
    send_id = plain.python(script)
    assert plain.received(send_id)["recipients"] == ["ann@example.org"]
    assert plain.status(send_id, "sent").lane == "bulk"


def test_what_a_client_sends_that_is_no_email_is_set_aside_and_the_worker_goes_on(plain):
    script = (
        BY_NAME
        + """
print(send(dict(to="nobody", subject="Hello", text="Hi.")), send(dict(recipient="ann@example.org")), send({}),
      send(dict(to=1, subject=[], text={})), send(dict(to="ann@example.org", subject="Good", text="Hi.")))
"""
    )
    *broken, good = plain.python(script).split()
    assert plain.status(good, "sent")
    assert {(plain.status(send_id, "abandoned").code) for send_id in broken} == {"broken"}
    reasons = {plain.ledger.status(send_id).reason for send_id in broken}
    assert any("has no argument recipient" in reason for reason in reasons)


# Whose Celery app it is

DJANGO_FIRST = "import django, proj; django.setup()"
THREAD = """
import threading
def in_a_thread(what):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(what()))
    thread.start(); thread.join()
    return answers[0]
"""


def test_importing_the_stand_alone_app_leaves_a_django_project_s_app_the_default_in_every_thread(django):
    script = (
        THREAD
        + """
import sesmail
sesmail.app.conf.broker_url  # even used, and before the project's own
import django, proj; django.setup()
from celery import current_app
print(current_app.main, in_a_thread(lambda: current_app.main), in_a_thread(lambda: sesmail.send_ses_email.app.main))
"""
    )
    assert django.python(script, DJANGO_SETTINGS_MODULE="proj.settings") == "proj proj proj"


def test_touching_the_task_before_the_project_s_app_exists_does_no_harm(django):
    script = (
        THREAD
        + """
from sesmail import send_ses_email
send_ses_email.name
import django, proj; django.setup()
from celery import current_app
print(current_app.main, in_a_thread(lambda: current_app.main), in_a_thread(lambda: send_ses_email.app.main))
"""
    )
    assert django.python(script, DJANGO_SETTINGS_MODULE="proj.settings") == "proj proj proj"


def test_threads_of_an_application_that_never_set_its_default_still_use_its_app(plain):
    script = (
        THREAD
        + """
from celery import Celery, current_app
from sesmail import send_ses_email
host = Celery("host")
in_a_thread(lambda: current_app.main)  # here Celery makes up its own
print(send_ses_email.app.main, in_a_thread(lambda: send_ses_email.app.main))
"""
    )
    assert plain.python(script) == "host host"


def test_a_thread_that_could_belong_to_several_apps_is_told_so(plain):
    script = (
        THREAD
        + """
from celery import Celery
from sesmail import SesmailError, send_ses_email
apps = [Celery("one"), Celery("two")]
def delay():
    try:
        send_ses_email.delay("ann@example.org", "Hello", "Hi.", from_email="shop@example.com")
    except SesmailError as error:
        return error
print(in_a_thread(delay))
"""
    )
    said = plain.python(script)
    assert "(one, two)" in said
    assert "set_default()" in said


def test_a_process_without_an_app_uses_the_stand_alone_one_in_every_thread(plain):
    script = (
        THREAD
        + """
from sesmail import send_ses_email
print(send_ses_email.app.main, in_a_thread(lambda: send_ses_email.app.main))
"""
    )
    assert plain.python(script) == "sesmail sesmail"


# What a host's own settings do


def test_in_a_host_that_runs_tasks_eagerly_the_email_goes_out_at_once(plain):
    script = """
from celery import Celery
from sesmail import send_ses_email
host = Celery("host", broker="redis://127.0.0.1:1")
host.conf.update(task_always_eager=True, sesmail_from_email="host@example.com")
result = send_ses_email.apply_async(("ann@example.org", "Hello", "Hi."), countdown=60)
print(result.id, result.get()["state"])
"""
    send_id, state = plain.python(script, CELERY_BROKER_URL="").split()
    assert state == "sent"
    assert plain.received(send_id)["from"] == "host@example.com"


def test_a_host_that_forbids_queues_it_has_not_defined_can_send_nevertheless(plain):
    script = """
from celery import Celery
from sesmail import send_ses_email
host = Celery("host")
host.conf.update(task_create_missing_queues=False, sesmail_from_email="host@example.com")
print(send_ses_email.delay("ann@example.org", "Hello", "Hi.").id)
"""
    assert plain.status(plain.python(script), "sent")


def test_settings_can_be_given_in_django_s_celery_namespace(django):
    script = """
import django, proj; django.setup()
from sesmail import current_client
print(current_client().settings.max_attempts, current_client().settings.from_email)
"""
    with (django.folder / "proj" / "settings.py").open("a") as settings:
        settings.write("CELERY_SESMAIL_MAX_ATTEMPTS = 7\n")
    assert django.python(script, DJANGO_SETTINGS_MODULE="proj.settings") == "7 shop@example.com"
