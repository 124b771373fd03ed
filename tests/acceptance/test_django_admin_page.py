"""The admin over the ledger in a real browser, at the width of a desk and of a telephone."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sesmail.message import Email
from tests.acceptance.conftest import Site
from tests.acceptance.programs import free_port
from tests.services import absent

pytestmark = pytest.mark.browser

PROJECT = Path(__file__).with_name("django_home")
SETTINGS = {"DJANGO_SETTINGS_MODULE": "home.settings"}
MAKE_STAFF = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
User.objects.create_superuser("boss", password="p")
from sesmail import Letter, send_batch
people = [f"reader{number}@example.org" for number in range(3)]
letter = Letter(subject="News", text="Hi.", from_email="shop@example.com")
send_batch(letter, people, key="november", list="a-list-with-a-rather-long-name", without_unsubscribe=True)
"""
PAGES = ["send/", "send/?state=queued", "batch/", "send/refused/", "optout/", "mailing/", "setasideevent/"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        absent("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def admin(site: Site) -> str:
    """The address of the admin; no worker runs, so that nothing moves by itself."""
    shutil.copytree(PROJECT, site.folder, dirs_exist_ok=True)
    site.python(MAKE_STAFF, **SETTINGS)
    for number in range(3):
        accept(site, f"waits{number}", f"a.reader.with.a.long.name{number}@example.org")
    accept(site, "refused", "ann@example.org")
    claim = site.ledger.claim("refused", "worker")
    site.ledger.begin(claim)
    site.ledger.rejected(claim, "Email address is not verified. " * 8, "MessageRejected")
    port = free_port()
    command = [sys.executable, "-m", "django", "runserver", "--noreload", "--insecure", f"127.0.0.1:{port}"]
    site.start(*command, **SETTINGS).wait_for("Quit the server")
    return f"http://127.0.0.1:{port}/admin/"


def accept(site: Site, send_id: str, to: str) -> None:
    site.ledger.accept(send_id, Email(to, f"Subject of {send_id}", "Hi.", from_email="shop@example.com"))


@pytest.fixture(params=[1280, 390])
def page(request, browser: Browser, admin: str) -> Iterator[Page]:
    """A page of somebody who is logged in."""
    context = browser.new_context(viewport={"width": request.param, "height": 844})
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(f"{admin}login/?next=/admin/")
    page.fill("#id_username", "boss")
    page.fill("#id_password", "p")
    page.click("input[type=submit]")
    yield page
    context.close()


def test_no_page_is_wider_than_the_screen_and_none_has_a_style_or_script_of_its_own(page, admin):
    for path in PAGES:
        page.goto(f"{admin}sesmail_django/{path}")
        assert page.locator(".ses style, .ses script, .ses [style], head style").count() == 0, path
        assert page.evaluate("getComputedStyle(document.querySelector('.ses')).maxWidth") == "1200px"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path


def test_who_searches_by_address_finds_the_send_and_leaves_no_address_in_the_url(page, admin):
    page.goto(f"{admin}sesmail_django/send/")
    page.get_by_label("Find").fill("ann@example.org")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="refused").last.click()
    expect(page.get_by_role("heading", name="What happened")).to_be_visible()
    assert page.url.endswith("/send/refused/")
    page.go_back()
    assert "ann" not in page.url


def test_an_opt_out_is_added_and_removed_by_its_buttons(page, admin):
    page.goto(f"{admin}sesmail_django/optout/")
    page.get_by_label("Address").fill("gone@example.org")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("Added.")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("is written to again")).to_be_visible()
    expect(page.get_by_text("Nobody has opted out.")).to_be_visible()


def test_a_send_that_waits_is_cancelled_and_the_story_says_by_whom(page, admin, site):
    waiting = page.viewport_size["width"] == 390
    send_id = f"waits{int(waiting)}"
    page.goto(f"{admin}sesmail_django/send/{send_id}/")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled.")).to_be_visible()
    expect(page.get_by_role("row", name="boss Cancelled")).to_be_visible()
    assert site.ledger.status(send_id).state == "cancelled"


def test_a_batch_is_paused_and_resumed_by_its_buttons_and_its_recipients_are_one_step_away(page, admin):
    page.goto(f"{admin}sesmail_django/batch/")
    page.get_by_role("link", name="batch_").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Nothing more of it is begun")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("row", name="boss Resumed").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("link", name="all 3").click()
    expect(page.get_by_role("link", name="batch_")).to_have_count(4)  # three recipients, and back
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
