"""Several installations on one broker, sites on one ledger, and hosts whose settings of ours are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery
from redis import Redis

from sesmail.embedded import EmbeddedRedis
from sesmail.settings import Settings
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.scripts import Scripts
from tests.acceptance.programs import eventually

SEND = """
from sesmail import send_ses_email
for n in range({count}):
    print(send_ses_email.delay(f"success+{{n}}@simulator.amazonses.com", "Hello", "Hi.", lane="{lane}").id)
"""
ACCEPT = """
from sesmail import Email, current_client
email = Email("success@simulator.amazonses.com", "Hello", "Hi.")
print(current_client().outbox.accept(email).send_id)
"""
FOREIGN = "whose send this ledger does not know"
NEVER_LOST = {"SESMAIL_TICKET_GRACE_SECONDS": "3600"}
"""No ticket counts as lost, so that what is sent was sent by its first one."""


@pytest.fixture
def broker(new_site) -> dict[str, str]:
    """An address that several installations share."""
    return new_site().variables


def installation(new_site, broker: dict[str, str], prefix: str, **variables: str):
    return new_site(**broker, SESMAIL_KEY_PREFIX=prefix, SESMAIL_FROM_EMAIL=f"{prefix}@example.com", **variables)


def sent(site, prefix: str) -> int:
    ledger = Ledger(Scripts(site.redis, Keys(prefix)), Settings())
    return ledger.counts()["sent"]


def test_two_installations_on_one_broker_take_none_of_each_other_s_tickets(new_site, broker):
    sites = {prefix: installation(new_site, broker, prefix, **NEVER_LOST) for prefix in ("alpha", "beta")}
    workers = [site.start_worker("sesmail", "-c", "2") for site in sites.values()]
    ids = {
        prefix: [send_id for lane in ("transactional", "bulk") for send_id in sends(site, lane)]
        for prefix, site in sites.items()
    }
    for prefix, site in sites.items():
        eventually(lambda prefix=prefix, site=site: sent(site, prefix) == len(ids[prefix]) == 20)
        assert {site.received(send_id)["from"] for send_id in ids[prefix]} == {f"{prefix}@example.com"}
    assert [FOREIGN in worker.output for worker in workers] == [False, False]


def sends(site, lane: str) -> list[str]:
    return site.python(SEND.format(count=10, lane=lane)).split()


def test_a_ticket_that_an_earlier_release_has_put_into_the_queue_of_all_installations_is_taken(new_site, broker):
    site = installation(new_site, broker, "alpha", **NEVER_LOST)
    send_id = site.python(ACCEPT)
    celery = Celery(broker=broker["CELERY_BROKER_URL"], set_as_current=False)
    celery.send_task("sesmail.send_ses_email", kwargs={"send_id": send_id}, queue="sesmail.transactional")
    celery.close()
    site.start_worker("sesmail", "-c", "2")
    assert site.received(send_id)["from"] == "alpha@example.com"


def test_another_installation_s_tickets_are_put_back_and_left_to_it(new_site, broker):
    former = installation(new_site, broker, "sesmail", **NEVER_LOST)
    ids = sends(former, "transactional")
    worker = installation(new_site, broker, "alpha").start_worker("sesmail", "-c", "2")
    worker.wait_for(FOREIGN)
    worker.wait_for("no longer takes from that queue")
    eventually(lambda: former.redis.llen("sesmail.transactional") == len(ids))
    former.start_worker("sesmail", "-c", "2")
    eventually(lambda: sent(former, "sesmail") == len(ids))
    assert worker.output.count(FOREIGN) == 1, "once a minute"


HOST = """
from celery import Celery
import sesmail.tasks
app = Celery("host", broker={broker!r})
app.conf.update(worker_pool="threads", worker_concurrency=2, task_default_queue="host")

@app.task(name="host.mine")
def mine():
    print("MINE RAN", flush=True)
"""


def test_with_a_wrong_setting_of_ours_a_host_s_own_tasks_can_be_revoked(new_site, broker, tmp_path: Path):
    site = new_site(**broker, SESMAIL_MAX_ATTEMPTS="many")
    (tmp_path / "host.py").write_text(HOST.format(broker=broker["CELERY_BROKER_URL"]))
    worker = site.start_worker("host", folder=tmp_path)
    assert "This worker takes no email" in worker.output
    said = site.celery("-A", "host", "control", "revoke", "its-id", folder=tmp_path)
    assert "OK" in said
    assert "ConfigurationError" not in said
    celery = Celery(broker=broker["CELERY_BROKER_URL"], set_as_current=False)
    for task_id in ("its-id", "another-id"):
        celery.send_task("host.mine", task_id=task_id, queue="host")
    celery.close()
    worker.wait_for("[another-id] succeeded")
    assert worker.output.count("MINE RAN") == 1


def test_a_worker_that_waits_for_its_ledger_with_a_ticket_in_hand_ends_when_it_is_told_to(
    new_site, broker, tmp_path: Path
):
    """The ticket goes back to the broker; nothing has been claimed, and nobody was asked."""
    with EmbeddedRedis(tmp_path / "ledger") as ledger:
        site = new_site(**broker | {"SESMAIL_REDIS_URL": ledger.url})
        worker = site.start_worker("sesmail", "-c", "2")
        ledger.kill()
        celery = Celery(broker=broker["CELERY_BROKER_URL"], set_as_current=False)
        celery.send_task("sesmail.send_ses_email", kwargs={"send_id": "s1"}, queue="sesmail.transactional")
        celery.close()
        worker.wait_for("waiting for it")
        assert worker.stop() == 0
        with Redis.from_url(broker["CELERY_BROKER_URL"]) as redis:
            assert redis.llen("sesmail.transactional") == 1
            assert not redis.exists("sesmail.unacked")


def test_a_worker_that_consumes_none_of_our_queues_says_so(new_site, broker, tmp_path: Path):
    site = new_site(**broker)
    (tmp_path / "host.py").write_text(HOST.format(broker=broker["CELERY_BROKER_URL"]))
    worker = site.start_worker("host", "-Q", "host", folder=tmp_path)
    assert "takes no email: it consumes neither sesmail.transactional nor sesmail.bulk" in worker.output


LISTENING = (
    HOST
    + """
from sesmail import email_failed, email_sent

@email_sent.connect
def after(site, *, status, metadata):
    print(f"SENT {{site}} {{status.send_id}} {{status.message_id}} {{metadata}}", flush=True)

@email_failed.connect
async def not_sent(site, *, status, metadata):
    print(f"FAILED {{site}} {{status.send_id}} {{status.state}} {{metadata}}", flush=True)
"""
)


def test_a_site_s_functions_hear_in_its_worker_how_each_send_ended(new_site, broker, tmp_path: Path):
    site = new_site(**broker, SESMAIL_SITE="shop", SESMAIL_FROM_EMAIL="shop@example.com")
    (tmp_path / "host.py").write_text(LISTENING.format(broker=broker["CELERY_BROKER_URL"]))
    worker = site.start_worker("host", folder=tmp_path)
    eventually(lambda: site.redis.hexists("{sesmail}:listeners", "shop"))
    script = """
from sesmail import cancel, send_ses_email
print(send_ses_email.delay("ann@example.org", "Hello", "Hi.", metadata={"order": 17}).id)
late = send_ses_email.apply_async(("ann@example.org", "Hello", "Hi."), countdown=3600)
cancel(late.id)
print(late.id)
"""
    sent_id, cancelled_id = site.python(script).split()
    worker.wait_for(f"SENT shop {sent_id} ")
    worker.wait_for(f"FAILED shop {cancelled_id} cancelled")
    assert "{'order': 17}" in worker.output
    assert (worker.output.count("SENT shop"), worker.output.count("FAILED shop")) == (1, 1)
