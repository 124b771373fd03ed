"""Django's own mail, from whatever part of a site: accepted by `sesmail.contrib.django.EmailBackend`, sent by a worker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import django
import pytest

from tests.acceptance.conftest import Site
from tests.acceptance.programs import eventually

PROJECT = Path(__file__).with_name("django_home")
SETTINGS = {"DJANGO_SETTINGS_MODULE": "home.settings"}


@pytest.fixture(scope="module")
def home(site: Site) -> Site:
    """The project in a folder of its own, and its worker."""
    shutil.copytree(PROJECT, site.folder, dirs_exist_ok=True)
    site.start_worker("home", "-c", "2", "--pool", "threads", **SETTINGS)
    return site


@pytest.fixture(scope="module")
def flows(home: Site) -> dict[str, int]:
    return json.loads(home.python((PROJECT / "flows.py").read_text(), **SETTINGS).splitlines()[-1])


def received(site: Site, address: str) -> dict:
    """The one email that SES has got for an address."""

    def found() -> list[dict]:
        return [each for each in site.ses.messages() if address in each["recipients"]]

    (message,) = eventually(found, explain=lambda: repr([each["recipients"] for each in site.ses.messages()]))
    return message


@pytest.mark.parametrize(
    ("flow", "answer", "address", "sender"),
    [
        ("order", 1, "order@example.org", "Shop <shop@example.com>"),
        ("send_mail", 1, "send-mail@example.org", "Shop <shop@example.com>"),
        ("alternatives", 1, "alternatives@example.org", "Shop <shop@example.com>"),
        ("mass_mail", 3, "mass2@example.org", "Shop <shop@example.com>"),
        ("allauth", 302, "allauth@example.org", "Shop <shop@example.com>"),
        ("password_reset", 302, "reset@example.org", "Shop <shop@example.com>"),
    ],
)
def test_what_a_django_site_sends_reaches_ses(home, flows, flow, answer, address, sender):
    assert flows[flow] == answer
    message = received(home, address)
    assert message["from"] == sender
    assert message["sesmail_id"]


def test_mail_to_the_admins_and_that_of_the_error_handler_reach_ses(home, flows):
    def both() -> set[str]:
        found = {each["subject"] for each in home.ses.messages() if each["recipients"] == ["ops@example.org"]}
        return found if any("crash" in each for each in found) and "[Django] admins" in found else set()

    assert eventually(both)
    assert flows["error_handler"] == 500
    message = next(each for each in home.ses.messages() if each["recipients"] == ["ops@example.org"])
    assert message["from"] == "errors@example.com"


def test_post_office_delivers_through_the_backend(home, flows):
    assert received(home, "post-office@example.org")["subject"] == "post_office"


ROLLED_BACK = """
import django; django.setup()
from django.conf import settings
from django.test import Client
client = Client()
kept, rolled_back = (client.post("/order", said).json()["ids"][0] for said in ({}, {"fail": "1"}))
print(kept, rolled_back)
"""


def test_an_order_that_is_rolled_back_sends_nothing_where_mail_goes_on_commit(home, flows):
    kept, rolled_back = home.python(ROLLED_BACK, SESMAIL_MAIL_ON_COMMIT="1", **SETTINGS).split()
    assert home.status(kept, "sent")
    assert home.known(rolled_back) is None
    at_once = home.python(ROLLED_BACK, **SETTINGS).split()[1]
    assert home.status(at_once, "sent")


@pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS came with Django 6.1")
def test_a_mailer_sends_by_its_options(home, flows):
    script = """
import django; django.setup()
from django.core.mail import EmailMessage, mailers
message = EmailMessage("News", "Hi.", to=["mailer@example.org"])
assert message.send(using="news") == 1
assert mailers["news"].alias == "news"
assert EmailMessage("Bad", "Hi.", to=["nobody"]).send(using="quiet") == 0
print(*message.sesmail_ids)
"""
    send_id = home.python(script, **SETTINGS)
    message = home.received(send_id)
    assert (message["configuration_set"], message["tags"]["news"]) == ("simulator", "1")
    assert home.status(send_id, "sent").lane == "bulk"


A_TEST = """
from django.core import mail
from django.test import TestCase

class OrderTest(TestCase):
    def test_an_order_is_confirmed(self):
        self.client.post("/order")
        self.assertEqual([each.to for each in mail.outbox], [["order@example.org"]])
"""


def test_the_tests_of_a_site_send_nothing(home, flows):
    before = home.ledger.counts()
    (home.folder / "home" / "tests.py").write_text(A_TEST.replace("/order", "/mail-order"))
    urls = home.folder / "home" / "test_urls.py"
    urls.write_text("""
from django.core.mail import send_mail
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("mail-order", lambda r: HttpResponse(send_mail("a", "b", None, ["order@example.org"])))]
""")
    script = """
from django.core.management import call_command
import django; django.setup()
from django.conf import settings
settings.ROOT_URLCONF = "home.test_urls"
call_command("test", "home")
"""
    home.python(script, **SETTINGS)
    assert home.ledger.counts() == before


@pytest.mark.skipif(django.VERSION < (6, 0), reason="django.tasks came with Django 6.0")
def test_email_is_a_task_of_django_whose_result_the_ledger_knows(home, flows):
    script = """
import django; django.setup()
import pickle
from datetime import timedelta
from django.tasks import task, TaskResultStatus
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.utils import timezone
from sesmail.contrib.django import send_email

sent = send_email.enqueue("task@example.org", "A task", text="Hi.")
assert sent.status == TaskResultStatus.READY and sent.args == ["task@example.org", "A task"]
later = send_email.using(run_after=timezone.now() + timedelta(days=1), priority=-5).enqueue("a@example.org", "Later", "Hi.")
assert pickle.loads(pickle.dumps(send_email)) == send_email
def timedelta_of(): ...
try:
    send_email.get_result("nosuch")
except TaskResultDoesNotExist:
    pass
else:
    raise AssertionError
try:
    task(backend="email")(timedelta_of)
except InvalidTask as error:
    assert "carries email alone" in str(error), error
else:
    raise AssertionError
print(sent.id, later.id)
"""
    sent, later = home.python(script, **SETTINGS).split()
    assert home.received(sent)["subject"] == "A task"
    assert home.status(sent, "sent")
    assert home.status(later, "scheduled").lane == "bulk"
    script = f"""
import django; django.setup()
from sesmail.contrib.django import send_email
sent, later = send_email.get_result({sent!r}), send_email.get_result({later!r})
assert sent.is_finished and sent.return_value["message_id"] and sent.finished_at >= sent.enqueued_at
assert later.status == "READY" and not later.is_finished and later.args == []
print("as told")
"""
    assert home.python(script, **SETTINGS) == "as told"
