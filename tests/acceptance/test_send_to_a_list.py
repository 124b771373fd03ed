"""`sesmail send` to a list that can be left: links, warnings, a look at the first email, and a test to oneself."""

from __future__ import annotations

import json

import pytest

from sesmail.unsubscribe import UnsubscribeLinks, Unsubscription
from tests.acceptance.conftest import Site
from tests.acceptance.test_send_command import Desk

SECRET = "a secret for tests only"
URL = "https://example.com/sesmail/unsubscribe/"
DOOR = {"SESMAIL_UNSUBSCRIBE_URL": URL, "SESMAIL_UNSUBSCRIBE_SECRETS": json.dumps([SECRET])}
PEOPLE = ["ann@example.org,", "bob+x@example.org,Bob"]


@pytest.fixture
def desk(site: Site) -> Desk:
    """A desk with an empty Redis database, no worker, and a letter that names the link."""
    site.redis.flushdb()
    (site.folder / "celeryconfig.py").touch()
    made = Desk(site)
    made.file(
        "letter.html", '<p>Dear {{name|friend}}</p><a href="{{unsubscribe_url}}">x</a><a href="/?to={{email|url}}">y'
    )
    made.people(PEOPLE)
    return made


def mailing(*more: str) -> list[str]:
    return ["send", "--csv", "people.csv", "--subject", "News", "--html", "letter.html", *more]


def test_a_preview_shows_the_first_email_with_its_own_link_and_queues_nothing(desk: Desk) -> None:
    answer = desk.run(*mailing("--list", "monthly", "--header", "X-Campaign=may", "--preview", "--json"), **DOOR)
    assert (answer.code, desk.counts()) == (0, {})
    shown = answer.json
    link = shown["headers"]["List-Unsubscribe"].strip("<>")
    assert UnsubscribeLinks([SECRET], URL).read(link.rpartition("/")[2]) == Unsubscription(
        site="default", recipient="ann@example.org", list="monthly"
    )
    assert shown["headers"]["X-Campaign"] == "may"
    assert shown["html"] == f'<p>Dear friend</p><a href="{link}">x</a><a href="/?to=ann%40example.org">y'
    assert "WARNING" not in answer.err


def test_a_test_goes_to_oneself_alone(desk: Desk) -> None:
    answer = desk.run(*mailing("--list", "monthly", "--test-to", "me@example.com", "--json"), **DOOR)
    assert (answer.code, desk.counts()) == (0, {"queued": 1})
    claim = desk.site.ledger.claim(answer.json["send_id"], "worker")
    assert claim.email.recipients == ("me@example.com",)
    assert claim.email.tags["sesmail-list"] == "monthly"


def test_without_a_way_out_one_warning_names_what_is_missing_or_nothing_is_queued(desk: Desk) -> None:
    desk.file("letter.html", "Dear {{name|friend}}")
    answer = desk.run(*mailing())
    assert (answer.code, desk.counts()) == (0, {"queued": 2})
    assert answer.err.count("WARNING") == 1
    assert "--list NAME and SESMAIL_UNSUBSCRIBE_URL" in answer.err
    assert "sesmail webhook" in answer.err
    refused = desk.run(*mailing("--list", "monthly", "--key", "b"), SESMAIL_REQUIRE_UNSUBSCRIBE="1")
    assert (refused.code, desk.counts()) == (1, {"queued": 2})
    assert "Nothing was queued (SESMAIL_REQUIRE_UNSUBSCRIBE)" in refused.err
