"""A host's own ways with Celery: how it writes its messages, and where its tasks are."""

from __future__ import annotations

import pytest

HOST = """
import os
from celery import Celery

app = Celery("host", broker=os.environ["CELERY_BROKER_URL"], include=["sesmail.tasks"])
app.conf.update(task_serializer="yaml", accept_content=["yaml"], task_annotations={"*": {"serializer": "yaml"}})

@app.task(name="hosts.mark")
def mark(number):
    print(f"marked {number}", flush=True)
"""
SEND = """
import host
from celery import group
from sesmail import send_ses_email
host.app.set_default()
how = {"link": host.mark.si(1)}
print(send_ses_email.apply_async(("success@simulator.amazonses.com", "Hello", "Hi."), **how).id)
(send_ses_email.si("success@simulator.amazonses.com", "Hello", "Hi.") | host.mark.si(2)).apply_async()
"""


@pytest.fixture
def place(new_site):
    place = new_site(SESMAIL_FROM_EMAIL="shop@example.com")
    (place.folder / "host.py").write_text(HOST)
    return place


def test_a_worker_that_reads_its_host_s_serializer_alone_reads_tickets_all_the_same(place):
    worker = place.start_worker("host", "--pool=threads")
    send_id = place.python(SEND)
    worker.wait_for("marked 1")
    worker.wait_for("marked 2")
    assert place.known(send_id).state == "sent"
    assert "set aside" not in worker.output


def test_what_follows_an_email_that_a_stand_alone_worker_sends_goes_to_the_host_s_own_worker(place):
    alone = place.start_worker("sesmail", "--pool=threads")
    own = place.start_worker("host", "-Q", "celery", "--pool=threads", "-n", "own@%h")
    (place.folder / "host.py").write_text(HOST.replace('"yaml"', '"json"'))
    place.python(SEND)
    own.wait_for("marked 1")
    own.wait_for("marked 2")
    assert "set aside" not in alone.output
