"""Who takes tickets from which queue, and what is said where nobody does."""

from __future__ import annotations

import json
import os

import pytest

from tests.acceptance.programs import CELERY, run

HOST = """
from celery import Celery
app = Celery("host")
app.config_from_object({
    "broker_url": "REDIS", "imports": ["sesmail.tasks"], "sesmail_from_email": "shop@example.com", MORE
})
app.set_default()
"""
SEND = "import host; from sesmail import send_ses_email; print(send_ses_email.delay('ann@example.org', 's', 't').id)"


@pytest.fixture
def host(new_site):
    def make(more: str = "", **variables: str):
        site = new_site(**variables)
        text = HOST.replace("REDIS", site.variables["CELERY_BROKER_URL"]).replace("MORE", more)
        (site.folder / "host.py").write_text(text)
        return site

    return make


def status(site):
    script = "from sesmail.cli import main; main(['-A', 'host', 'status', '--json'])"
    return json.loads(site.python(script).splitlines()[-1])


def test_a_queue_that_task_routes_name_is_used_by_callers_and_workers(host):
    site = host('"task_routes": {"sesmail.*": {"queue": "mail"}}')
    send_id = site.python(SEND)
    assert (site.redis.llen("mail"), site.redis.llen("sesmail.transactional")) == (1, 0)
    assert status(site)["unattended"] == ["mail"]
    worker = site.start_worker("host", "--pool=threads", "-Q", "celery,mail")
    assert site.received(send_id)
    assert "takes no email" not in worker.output
    other = site.python(SEND)
    assert site.received(other)
    assert status(site)["unattended"] == []


def test_status_says_that_emails_wait_in_a_queue_from_which_nobody_takes(host):
    site = host()
    worker = site.start_worker("host", "--pool=threads", "-Q", "celery")
    assert "this worker takes no email: it consumes neither" in worker.output
    site.python(SEND)
    assert status(site)["unattended"] == ["sesmail.transactional"]


def test_a_worker_names_our_queues_where_missing_ones_are_not_made_up(host):
    site = host('"task_create_missing_queues": False, "task_queues": []')
    site.start_worker("host", "--pool=threads", "-Q", "sesmail.transactional,sesmail.bulk")
    assert site.received(site.python(SEND))


IN_A_TEST = """
import host, time
from celery.contrib.testing.worker import start_worker
from sesmail import send_ses_email, status
for pool in ("solo", "threads"):
    with start_worker(host.app, pool=pool, perform_ping_check=False):
        send_id = send_ses_email.delay("ann@example.org", "s", "t").id
        until = time.monotonic() + 60
        while status(send_id).state != "sent":
            assert time.monotonic() < until, status(send_id)
            time.sleep(0.05)
print("sent")
"""


def test_the_workers_of_celery_s_own_testing_module_send(host):
    site = host()
    assert "sent" in site.python(IN_A_TEST).splitlines()  # Celery may complain of its own end behind it


def test_threads_that_are_to_be_scaled_are_refused_in_words(site):
    command = [*CELERY, "-A", "sesmail", "worker", "--pool=threads", "--autoscale=8,2"]
    done = run(*command, folder=site.folder, environment=site.environment)
    assert (done.returncode, "Celery cannot scale a pool of threads" in done.stdout) == (os.EX_CONFIG, True), (
        done.stdout
    )


def test_a_host_s_default_rate_limit_paces_its_own_tasks_alone(host):
    site = host('"task_default_rate_limit": "1/m"')
    script = "import host, sesmail.tasks; host.app.finalize(); print({t.name: t.rate_limit for t in host.app.tasks.values()})"
    limits = site.python(script)
    assert "'celery.chord_unlock': '1/m'" in limits
    assert all(f"'sesmail.{name}': None" in limits for name in ("send_ses_email", "send_lot", "sweep"))


GROUP = """
import host
from celery import group
from sesmail import InvalidEmail, send_ses_email as S
try:
    group(S.s(to, "s", "t") for to in ("a@example.org", "b@example.org", "wrong", "c@example.org")).apply_async()
except InvalidEmail as error:
    print(error)
"""


def test_a_group_with_a_wrong_address_says_which_are_queued(host):
    site = host()
    assert site.python(GROUP).endswith("Of its group, the 2 before it are queued; nothing else is.")
    assert site.ledger.counts()["queued"] == 2


OFTEN = 'beat_schedule = {"sesmail-sweep": {"task": "sesmail.sweep", "schedule": 0.5}}\n'
BEAT = """
from celery.beat import Scheduler
from django.apps import apps
apps.check_models_ready()

class DatabaseScheduler(Scheduler):
    print("Django is ready", flush=True)
"""


@pytest.mark.parametrize("named", ["-S", "beat_scheduler"])
def test_the_stand_alone_beat_takes_its_schedule_from_django(site, tmp_path, named):
    package = tmp_path / "django_celery_beat"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "schedulers.py").write_text(BEAT)
    (tmp_path / "django_settings.py").write_text('SECRET_KEY = "x"\nINSTALLED_APPS = []')
    scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
    (tmp_path / "celeryconfig.py").write_text(OFTEN if named == "-S" else f"{OFTEN}{named} = {scheduler!r}")
    command = [*CELERY, "-A", "sesmail", "beat", *(["-S", scheduler] if named == "-S" else []), "-l", "INFO"]
    path = f"{tmp_path}{os.pathsep}{site.environment['PYTHONPATH']}"
    with site.start(*command, folder=tmp_path, DJANGO_SETTINGS_MODULE="django_settings", PYTHONPATH=path) as beat:
        beat.wait_for("Django is ready")
        beat.wait_for("Sending due task sesmail-sweep")


def test_the_stand_alone_beat_keeps_its_schedule_in_redis_by_redbeat(site, tmp_path):
    pytest.importorskip("redbeat")
    command = [*CELERY, "-A", "sesmail", "beat", "-S", "redbeat.RedBeatScheduler", "-l", "INFO"]
    (tmp_path / "celeryconfig.py").write_text(OFTEN)
    path = f"{tmp_path}{os.pathsep}{site.environment['PYTHONPATH']}"
    with site.start(*command, folder=tmp_path, PYTHONPATH=path) as beat:
        beat.wait_for("Sending due task sesmail-sweep")
    assert site.redis.exists("redbeat:sesmail-sweep"), "in the Redis that is the broker"
