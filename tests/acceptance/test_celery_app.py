"""The stand-alone app as Celery's own commands see it: `celery -A sesmail worker`, beat, inspect, flower and the rest."""

from __future__ import annotations

import json
import socket
import sys
from contextlib import ExitStack, suppress
from dataclasses import replace
from urllib.error import URLError
from uuid import uuid4

import pytest
from kombu import Connection

from sesmail.embedded import EmbeddedRedis
from tests.acceptance.programs import CELERY, eventually, fetch, free_port, run
from tests.services import absent

CELERYCONFIG = """
sesmail_from_email = "shop@example.com"
worker_concurrency = 3
broker_transport_options = {"visibility_timeout": 77}
beat_schedule = {"mine": {"task": "sesmail.sweep", "schedule": 0.5}}
"""
SEND = "from sesmail import send_ses_email as s; print(*(s.delay('ann@example.org', 's', 't', lane=lane).id for lane in {}))"


@pytest.fixture(scope="module")
def folder(site):
    """A folder that holds nothing but a celeryconfig.py; which broker, the environment says."""
    (site.folder / "celeryconfig.py").write_text(CELERYCONFIG)
    return site


@pytest.fixture(scope="module")
def worker(folder):
    return folder.start_worker()


# The commands


def test_the_worker_shows_its_queues_and_the_user_s_settings_over_ours(worker):
    assert "concurrency: 3 (thread)" in worker.output
    assert [line.split()[1] for line in worker.output.splitlines() if ".> sesmail" in line] == [
        "sesmail.batches.default",
        "sesmail.bulk",
        "sesmail.events",
        "sesmail.events.default",
        "sesmail.sweep",
        "sesmail.transactional",
    ]


def test_inspect_finds_the_worker_and_its_tasks_from_inside_and_outside_the_folder(folder, worker, tmp_path):
    to_it = ["--destination", f"celery@{socket.gethostname()}", "--timeout", "20"]
    assert "pong" in folder.celery("-A", "sesmail", "inspect", "ping", *to_it)
    elsewhere = folder.celery("-A", "sesmail", "inspect", "registered", *to_it, folder=tmp_path)
    assert "sesmail.send_ses_email" in elsewhere
    assert "sesmail.sweep" in elsewhere


def test_celery_call_sends_an_email(folder, worker):
    arguments = '{"to": "ann@example.org", "subject": "Hello", "text": "Hi."}'
    said = folder.celery("-A", "sesmail", "call", "sesmail.send_ses_email", "--kwargs", arguments)
    send_id = said.strip().splitlines()[-1]
    assert folder.received(send_id)["from"] == "shop@example.com"


def test_report_shows_merged_settings(folder):
    said = folder.celery("-A", "sesmail", "report")
    assert "'visibility_timeout': 77" in said
    assert "'unacked_mutex_expire': 30" in said


def test_beat_runs_the_user_s_schedule_and_ours(folder, tmp_path):
    beat = folder.start(*CELERY, "-A", "sesmail", "beat", "-l", "DEBUG", "-s", str(tmp_path / "schedule"))
    beat.wait_for("Scheduler: Sending due task mine (sesmail.sweep)")
    assert "<ScheduleEntry: sesmail-sweep sesmail.sweep() <freq: 10.00 seconds>" in beat.output


def test_flower_shows_the_worker(folder, worker):
    port = free_port()
    flower = folder.start(*CELERY, "-A", "sesmail", "flower", "--address=127.0.0.1", f"--port={port}")
    url = f"http://127.0.0.1:{port}"
    flower.wait_for("Visit me at")

    def shown() -> str:
        with suppress(URLError):  # it says where it is before it listens there
            return fetch(f"{url}/workers?json=1")
        return ""

    eventually(lambda: "celery@" in shown())
    assert fetch(f"{url}/healthcheck") == "OK"


# Settings

CONF = """
import json, os
from sesmail import app, current_client
s = current_client().settings
assert app.conf["broker_url"] == app.conf.broker_url  # schedulers and the like read either
print(json.dumps({"broker": app.conf.broker_url, "ledger": s.redis_url, "schedule": sorted(app.conf.beat_schedule),
    "serializer": app.conf.task_serializer, "rate": s.max_send_rate}))
"""


def conf(site, celeryconfig: str | None, folder, **environment: str) -> dict[str, object]:
    if celeryconfig is not None:
        (folder / "celeryconfig.py").write_text(celeryconfig)
    empty = {"CELERY_BROKER_URL": "", "SESMAIL_REDIS_URL": ""}
    return json.loads(site.python(CONF, folder=folder, **empty | environment))


def test_without_any_file_the_defaults_hold(site, tmp_path):
    found = conf(site, None, tmp_path)
    assert found["broker"] == found["ledger"] == "redis://127.0.0.1:6379/0"
    assert found["schedule"] == ["sesmail-process-events", "sesmail-sweep"]


def test_the_broker_of_the_file_holds_the_ledger_too_and_entries_are_merged(site, tmp_path):
    file = 'broker_url = "redis://127.0.0.1:1/3"\nbeat_schedule = {"mine": {}}\nsesmail_max_send_rate = 3\n'
    found = conf(site, file, tmp_path)
    assert found["broker"] == found["ledger"] == "redis://127.0.0.1:1/3"
    assert found["schedule"] == ["mine", "sesmail-process-events", "sesmail-sweep"]
    assert found["rate"] == 3


def test_celery_broker_url_in_the_environment_goes_before_the_file(site, tmp_path):
    found = conf(site, 'broker_url = "redis://127.0.0.1:1/3"', tmp_path, CELERY_BROKER_URL="redis://127.0.0.1:1/4")
    assert found["broker"] == found["ledger"] == "redis://127.0.0.1:1/4"


def test_a_broker_on_a_unix_socket_holds_the_ledger_too(site, tmp_path):
    found = conf(site, 'broker_url = "redis+socket:///run/redis.sock?virtual_host=3"', tmp_path)
    assert found["ledger"] == "unix:///run/redis.sock?db=3"


def test_sesmail_redis_url_is_the_broker_too_where_none_is_named(site, tmp_path):
    found = conf(site, None, tmp_path, SESMAIL_REDIS_URL="redis://127.0.0.1:1/5")
    assert found["broker"] == found["ledger"] == "redis://127.0.0.1:1/5"


def test_the_ledger_can_be_elsewhere_than_the_broker(site, tmp_path):
    file = 'broker_url = "amqp://127.0.0.1:1//"\n'
    found = conf(site, file, tmp_path, SESMAIL_REDIS_URL="redis://127.0.0.1:1/5")
    assert (found["broker"], found["ledger"]) == ("amqp://127.0.0.1:1//", "redis://127.0.0.1:1/5")


def test_names_of_the_old_style_are_understood(site, tmp_path):
    found = conf(site, 'BROKER_URL = "redis://127.0.0.1:1/6"\n', tmp_path)
    assert found["broker"] == "redis://127.0.0.1:1/6"


@pytest.mark.parametrize(
    ("program", "line", "named"),
    [
        ("celery", "import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("celery", "broker_url = = 1", "SyntaxError: invalid syntax (celeryconfig.py, line 1)"),
        ("producer", "import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("producer", "from os import no_such_name", "ImportError: cannot import name 'no_such_name'"),
        ("producer", "broker_url = undefined", "NameError: name 'undefined'"),
    ],
)
def test_an_error_in_celeryconfig_is_raised_and_says_what_it_means(site, tmp_path, program, line, named):
    (tmp_path / "celeryconfig.py").write_text(line)
    send = "from sesmail import send_ses_email; send_ses_email.delay('ann@example.org', 's', 't')"
    command = [*CELERY, "-A", "sesmail", "report"] if program == "celery" else [sys.executable, "-c", send]
    done = run(*command, folder=tmp_path, environment=site.environment)
    assert done.returncode == 1
    assert f"The configuration `celeryconfig` cannot be loaded ({named}" in done.stdout
    assert "Mend the file" in done.stdout.splitlines()[-1]
    assert ("Traceback" in done.stdout) == (program == "producer"), "Celery's commands say it in a line"
    assert "celeryconfig.py, line 1)" in done.stdout


def test_a_configuration_that_is_asked_for_by_name_must_be_there(site, tmp_path):
    environment = site.environment | {"CELERY_CONFIG_MODULE": "not_here"}
    done = run(*CELERY, "-A", "sesmail", "report", folder=tmp_path, environment=environment)
    assert done.returncode == 1
    assert "The configuration `not_here` cannot be loaded" in done.stdout


def test_misspelt_settings_are_noticed(site, tmp_path):
    (tmp_path / "celeryconfig.py").write_text(
        'from celery.schedules import crontab\nbrokerurl = "redis://x"\nworker_concurency = 3\nmy_own = 1\n'
    )
    said = site.celery("-A", "sesmail", "report", folder=tmp_path)
    assert "there is no setting brokerurl, it has no effect. Is broker_url meant?" in said
    assert "there is no setting worker_concurency, it has no effect. Is worker_concurrency meant?" in said
    assert said.count("there is no setting") == 2


def test_a_wrong_setting_of_ours_stops_the_worker_with_its_name(site, tmp_path):
    (tmp_path / "celeryconfig.py").write_text("sesmail_max_sendrate = 3\n")
    assert_refused(
        site,
        tmp_path,
        "sesmail_max_sendrate in Celery's configuration: no such setting; is sesmail_max_send_rate meant?",
    )


def test_a_wrong_setting_in_the_environment_stops_the_worker_with_its_name(site, tmp_path):
    wrong = replace(site, variables=site.variables | {"SESMAIL_CONFIGURATION_SET_RATE_LIMITS": "not JSON"})
    assert_refused(wrong, tmp_path, "SESMAIL_CONFIGURATION_SET_RATE_LIMITS in the environment: is no mapping")


# Pools


@pytest.mark.parametrize("pool", ["solo", "gevent", "eventlet"])
def test_a_pool_that_cannot_send_is_refused_with_the_reason(site, tmp_path, pool):
    assert_refused(site, tmp_path, f"The {pool} pool cannot send mail: ", "-P", pool)


def assert_refused(site, folder, reason: str, *options: str) -> None:
    done = run(*CELERY, "-A", "sesmail", "worker", *options, folder=folder, environment=site.environment)
    assert done.returncode == 78  # EX_CONFIG
    assert reason in done.stdout
    assert "The worker did not start. No email is lost: they wait." in done.stdout
    assert "Traceback" not in done.stdout


# Queues


def test_transactional_email_goes_before_bulk_however_much_of_that_came_first(new_site):
    site = new_site()
    (site.folder / "celeryconfig.py").write_text(CELERYCONFIG)
    ids = site.python(SEND.format("['bulk'] * 4 + ['transactional'] * 4")).split()
    site.start_worker("sesmail", "-c", "1")
    numbers = {send_id: site.received(send_id)["number"] for send_id in ids}
    assert sorted(numbers, key=lambda send_id: numbers[send_id]) == ids[4:] + ids[:4]


def test_a_prefork_worker_for_bulk_alone_leaves_the_rest_and_says_so(new_site):
    site = new_site()
    (site.folder / "celeryconfig.py").write_text(CELERYCONFIG + 'worker_pool = "prefork"\n')
    transactional, bulk = site.python(SEND.format("['transactional', 'bulk']")).split()
    worker = site.start_worker("sesmail", "-c", "1", "-Q", "sesmail.bulk")
    assert "concurrency: 1 (prefork)" in worker.output
    assert site.status(bulk, "sent")
    assert site.ledger.status(transactional).state == "queued"
    assert "this worker consumes one lane but not sesmail.transactional" in worker.output
    other = site.start_worker("sesmail", "-X", "sesmail.bulk", "-n", "other@%h")
    assert ".> sesmail.bulk" not in other.output
    assert "this worker consumes one lane but not sesmail.bulk" in other.output
    assert site.status(transactional, "sent")


# Another broker

RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"


@pytest.fixture
def on_rabbitmq(new_site):
    """Makes sites whose tickets are in RabbitMQ, in queues that are nobody else's and deleted afterwards."""
    name = f"sesmail-test-{uuid4().hex}"
    queues = [f"{name}.transactional", f"{name}.bulk"]
    with Connection(RABBITMQ, connect_timeout=2) as rabbitmq:
        try:
            rabbitmq.connect()
        except rabbitmq.connection_errors as error:
            absent(f"no RabbitMQ with the usual guest account on 127.0.0.1:5672 ({error})")
        with ExitStack() as programs:  # they end before their queues do, which they would make anew

            def make(**variables: str):
                site = replace(new_site(**variables, CELERY_BROKER_URL=RABBITMQ), programs=programs)
                (site.folder / "celeryconfig.py").write_text(
                    f"{CELERYCONFIG}task_default_queue = sesmail_transactional_queue = {queues[0]!r}\n"
                    f"sesmail_bulk_queue = {queues[1]!r}\n"
                )
                return site

            yield make
        for queue in queues:
            rabbitmq.default_channel.queue_delete(queue)
            rabbitmq.default_channel.exchange_delete(queue)


BY_NAME = "from sesmail import app; print(app.send_task('sesmail.send_ses_email', ['ann@example.org', 's', 't']).id)"


def test_rabbitmq_can_be_the_broker_with_the_ledger_in_redis(on_rabbitmq):
    site = on_rabbitmq()
    sweep = "from sesmail import current_client; print(current_client().sweeper.sweep().tickets_reissued)"
    assert site.python(sweep) == "0"  # there is no queue yet
    ids = [*site.python(SEND.format("['transactional', 'bulk']")).split(), site.python(BY_NAME)]
    site.start_worker("sesmail", "-X", "sesmail.sweep", "-n", f"{uuid4().hex}@%h")
    for send_id in ids:
        assert site.status(send_id, "sent")
    assert site.python(sweep) == "0"


def test_an_email_that_is_only_in_the_broker_waits_there_for_redis(on_rabbitmq, tmp_path):
    with EmbeddedRedis(tmp_path / "redis") as redis:
        site = on_rabbitmq(SESMAIL_REDIS_URL=redis.url)
        worker = site.start_worker("sesmail", "-X", "sesmail.sweep", "-n", f"{uuid4().hex}@%h")
        redis.kill()
        send_id = site.python(BY_NAME)
        worker.wait_for("waiting for it")
        redis.start()
        assert site.received(send_id)
