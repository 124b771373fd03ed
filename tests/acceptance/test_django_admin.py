"""The admin over the ledger: what staff see by their permissions, what they do, and what is noted of it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.acceptance.conftest import Site

PROJECT = Path(__file__).with_name("django_home")
SETTINGS = {"DJANGO_SETTINGS_MODULE": "home.settings"}


@pytest.fixture(scope="module")
def visit(site: Site) -> dict:
    """One visit of three members of staff; no worker runs, so that nothing moves by itself."""
    shutil.copytree(PROJECT, site.folder, dirs_exist_ok=True)
    return json.loads(site.python((PROJECT / "admin_visit.py").read_text(), **SETTINGS).splitlines()[-1])


def test_django_has_permissions_for_it_and_the_index_heeds_them(visit):
    assert {"view_send", "change_send", "see_addresses", "add_optout", "delete_optout"} <= {*visit["permissions"]}
    assert visit["index"] == {"boss": True, "looks": True, "stranger": False}
    assert visit["list"] == {"boss": 200, "looks": 200, "stranger": 403}


def test_one_send_is_told_with_what_may_be_done_about_it(visit):
    told = visit["story"]["boss"]
    for words in ("SES refused it for good", "Email address is not verified.", "MessageRejected", "Send again"):
        assert words in told
    assert "Subject of refused" in told
    assert "rejected: MessageRejected (worker worker)" in told
    assert "mid-of-went" in visit["went"]
    assert re.search(
        r'<td>2033-05-\d\d [^<]*:33:20 [A-Z]+</td><td class="words">SES says: bounced \(NoEmail\)', visit["went"]
    )
    assert "Send again" not in visit["went"]
    assert "it may go out twice" in visit["open"]


def test_who_may_only_look_sees_no_address_no_subject_and_no_button(visit):
    told = visit["story"]["looks"]
    assert "Email address is not verified." in told
    assert "…@example.org" in told
    for words in ("ann@example.org", "Subject of", "Send again", "Cancel"):
        assert words not in told


def test_sends_are_found_by_address_list_and_id(visit):
    assert all(name in visit["by_address"]["boss"] for name in ("waits", "refused", "wrong-address"))
    assert "went" not in visit["by_address"]["boss"].partition("<table>")[2]
    assert "ann@example.org" in visit["by_address"]["boss"].partition("<table>")[2]
    assert "ann@example.org" not in visit["by_address"]["looks"].partition("<table>")[2]
    assert "waits" in visit["by_list"].partition("<table>")[2]
    assert visit["by_id"] == "/admin/sesmail_django/send/went/"
    assert "Nothing was found" in visit["by_nothing"]


def test_nobody_does_what_he_may_not_and_nothing_is_done_by_a_link(visit):
    assert visit["refused_to"] == {"looks": [403] * 7, "stranger": [403] * 7}
    assert visit["by_get"] == 403
    assert visit["untouched"] == ["rejected", "scheduled"]


def test_sends_are_sent_again_cancelled_and_sent_to_another_address(visit, site):
    assert visit["after"] == {
        "refused": "queued",
        "waits": "cancelled",
        "wrong-address": "rejected",
        "went": "sent",
    }
    assert site.ledger.status(visit["resent"]).state == "queued"
    assert "is not an email address" in visit["told"]


def test_opt_outs_are_added_and_removed(visit):
    assert visit["added"] == ["gone@example.org"]
    assert visit["removed"] == []
    assert "gone@example.org" in visit["opt_outs"]["boss"]
    assert "gone@example.org" not in visit["opt_outs"]["looks"]


def test_each_act_leaves_a_line_without_an_address_and_what_was_refused_leaves_none(visit):
    named = [(user, what) for user, about, what in visit["audit"]]
    assert named == [
        ("boss", "Sent again"),
        ("boss", "Cancelled"),
        ("boss", "Sent again to another address"),
        ("boss", "Opt-out added (everything, manual)"),
        ("boss", "Opt-out removed (everything)"),
        *(("boss", what) for what in ("Paused", "Resumed", "Cancelled")),
    ]
    assert [about for _, about, _ in visit["audit"]][:3] == ["refused", "waits", "wrong-address"]
    added, removed = (about for _, about, _ in visit["audit"][3:5])
    assert added == removed
    assert all(f"Opt-out {act}" in visit["opt_outs_acts"] for act in ("added", "removed"))
    assert (added in visit["opt_outs_acts"], "@" in visit["opt_outs_acts"]) == (True, False)
    assert "@" not in json.dumps(visit["audit"])


def test_the_recipients_of_a_batch_are_found_by_it_and_by_state_with_their_addresses_for_those_who_may(visit):
    told, looked = (visit["by_batch"][name].partition("<table>")[2] for name in ("boss", "looks"))
    assert [told.count(f"reader{number}@example.org") for number in range(3)] == [1, 1, 1]
    assert "…@example.org" in looked
    assert "reader" not in looked
    assert [visit["sent_of_batch"].count(f"-{number}</a>") for number in range(3)] == [1, 0, 0]
    assert "<dt>List</dt><dd>news</dd>" in visit["of_batch"]


def test_a_recipient_of_a_batch_is_found_by_address_and_by_list_and_the_states_say_that_there_are_more(visit):
    told, looked = (visit["by_address_in_batch"][name].partition("<table>")[2] for name in ("boss", "looks"))
    assert [told.count(f"-{number}</a>") for number in range(3)] == [0, 1, 0]
    assert "reader1@example.org" in told
    assert "…@example.org" in looked
    assert "reader1" not in looked
    assert [visit["by_list"].count(f"-{number}</a>") for number in range(3)] == [1, 1, 1]
    assert "2 recipients of" in visit["in_state"]


def test_a_batch_shows_how_far_it_is_and_is_paused_resumed_and_cancelled_by_who_may(visit):
    assert visit["batches"] == {"boss": 200, "looks": 200, "stranger": 403}
    for told in visit["batch"].values():
        assert "1 of 3 recipients" in told
        assert "queued 2" in told
    assert "Pause" in visit["batch"]["boss"].partition("<h2>")[0]
    assert "Pause" not in visit["batch"]["looks"]
    assert visit["steered"] == {
        "pause": ["paused", "Paused."],
        "resume": ["running", "Resumed."],
        "cancel": ["cancelled", "Cancelled."],
        "nosuch": ["cancelled"],
    }
    assert visit["batch_counts"] == {"sent": 1, "cancelled": 2}
    assert all("its batch is paused" in told for told in visit["of_paused"])
    story = visit["of_paused"][0]
    assert "Accepted; a worker will take it" not in story
    assert ("reader1@example.org" in story, "/admin/sesmail_django/batch/batch_" in story) == (True, True)
    assert visit["batch_acts"].count("boss") == 3


def test_where_there_are_several_accounts_each_send_says_its_own_and_they_are_shown_one_by_one(visit, site):
    script = """
import json
import django; django.setup()
from django.contrib.auth.models import User
from django.test import Client
from sesmail import current_client
from sesmail.message import Email
email = Email("ann@example.org", "News", "Hi.", from_email="shop@example.com", account="bulk")
for name in ("of-bulk", "of-none"):
    current_client().ledger.accept(name, email if name == "of-bulk" else email.replace(account=None))
client = Client()
client.force_login(User.objects.get(username="boss"))
HOME = "/admin/sesmail_django/send/?state=queued"
pages = {name: client.get(HOME + more).content.decode() for name, more in (("all", ""), ("bulk", "&account=bulk"))}
print(json.dumps({name: [told in page for told in ("of-bulk", "of-none", "Account", "every account")] for name, page in pages.items()}))
"""
    said = json.loads(
        site.python(script, SESMAIL_ACCOUNTS='{"bulk": {"region": "eu-west-1"}}', **SETTINGS).splitlines()[-1]
    )
    assert said == {"all": [True, True, True, True], "bulk": [True, False, True, True]}


def test_mailings_and_events_set_aside_have_pages(visit):
    assert visit["pages"] == {"mailing": 200, "setasideevent": 200}


def test_the_live_page_is_for_those_who_may_look_and_streams_under_asgi(site, visit):
    script = """
import asyncio, json
from asgiref.sync import sync_to_async
import django; django.setup()
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
HOME = "/admin/sesmail_django/send/live/"
said = {}
for name in ("boss", "looks", "stranger"):
    client = Client()
    client.force_login(User.objects.get(username=name))
    said[name] = [client.get(HOME + path).status_code for path in ("", "page.js", "figures", "stream", "nothing")]
    said["posted"] = client.post(HOME).status_code
said["nobody"] = Client().get(HOME + "figures").status_code
client = Client()
client.force_login(User.objects.get(username="boss"))
said["sends"] = HOME in client.get("/admin/sesmail_django/send/").content.decode()
page = client.get(HOME)
said["policy"] = page["Content-Security-Policy"]
said["figures"] = client.get(HOME + "figures").json()
async def streamed():
    client = AsyncClient()
    await sync_to_async(client.force_login)(await User.objects.aget(username="boss"))  # as Django 4.2 has it
    answer = await client.get(HOME + "stream")
    events = answer.streaming_content
    found = [await anext(events), await anext(events)]
    await events.aclose()
    return answer["Content-Type"], found[1].decode()
said["streamed"] = asyncio.run(streamed())
print(json.dumps(said))
"""
    said = json.loads(site.python(script, **SETTINGS).splitlines()[-1])
    assert said["boss"] == said["looks"] == [200, 200, 200, 404, 404]
    assert said["stranger"] == [403] * 5
    assert (said["nobody"], said["posted"], said["sends"]) == (302, 403, True)
    assert "default-src 'none'" in said["policy"]
    assert said["figures"]["streams"] is False
    assert said["figures"]["states"]
    assert said["streamed"][0].startswith("text/event-stream")
    assert json.loads(said["streamed"][1].removeprefix("data: "))["streams"] is True


def test_where_redis_is_away_a_page_says_so(site, visit):
    script = """
import django; django.setup()
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.get(username="boss"))
answer = client.get("/admin/sesmail_django/send/")
print(answer.status_code, "Redis cannot be reached" in answer.content.decode())
"""
    away = {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0", "SESMAIL_REDIS_URL": "redis://127.0.0.1:1/0"}
    assert site.python(script, **SETTINGS, **away).splitlines()[-1] == "503 True"
