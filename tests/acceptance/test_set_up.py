"""A worker whose part for email cannot be set up says so: the stand-alone one ends, a host's goes on without email."""

from __future__ import annotations

import os

import pytest

from tests.acceptance.programs import CELERY, run

BROKEN = """
from sesmail.celery import worker

def broken(*args, **kwargs):
    raise RuntimeError("a bug")

worker.consume_lanes = broken
"""
HOST = """
from celery import Celery

app = Celery("host")
app.config_from_object({"broker_url": "REDIS", "imports": ["broken", "sesmail.tasks"]})

@app.task(name="add")
def add(x, y):
    print(f"the sum is {x + y}", flush=True)
"""
QUEUES = "sesmail.transactional,sesmail.bulk"


@pytest.fixture(scope="module")
def place(site):
    (site.folder / "broken.py").write_text(BROKEN)
    (site.folder / "celeryconfig.py").write_text('imports = ["broken"]')
    (site.folder / "host.py").write_text(HOST.replace("REDIS", site.variables["CELERY_BROKER_URL"]))
    return site


def test_a_stand_alone_worker_whose_set_up_fails_by_anything_says_so_and_ends(place):
    command = [*CELERY, "-A", "sesmail", "worker", "--without-gossip", "--without-mingle"]
    done = run(*command, folder=place.folder, environment=place.environment)
    assert done.returncode == os.EX_SOFTWARE, done.stdout
    assert "Setting up its part for email failed (RuntimeError)" in done.stdout
    assert "No email is lost" in done.stdout
    assert " ready." not in done.stdout


def test_a_host_s_worker_whose_set_up_fails_by_anything_goes_on_without_email(place):
    worker = place.start_worker("host", "-Q", f"celery,{QUEUES}", "--pool=threads")
    assert "This worker takes no email" in worker.output
    place.python("from host import app; app.send_task('add', (1, 2))")
    worker.wait_for("the sum is 3")
    send_id = place.python(
        "import host; from sesmail import send_ses_email; host.app.set_default(); "
        "print(send_ses_email.delay('ann@example.org', 's', 't', from_email='shop@example.com').id)"
    )
    place.python("from host import app; app.send_task('add', (3, 4))")
    worker.wait_for("the sum is 7")
    assert place.known(send_id).state == "queued"
    assert place.redis.llen("sesmail.transactional") == 1
