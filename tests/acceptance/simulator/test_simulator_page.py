"""The mailbox page in a real browser."""

from __future__ import annotations

import http.client
import shutil
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from sesmail.simulator import Simulator
from tests.acceptance.contrast import LOWEST_CONTRAST
from tests.contract.simulator.simulator_client import client_for, send, simple
from tests.services import absent

pytestmark = pytest.mark.browser

HOSTILE = (
    "<h1 id='greeting'>Good morning</h1><script>document.title = 'hacked'; parent.document.title = 'hacked'</script>"
    "<img src=x onerror=\"parent.document.title='hacked'\"><img src='https://tracker.example.com/pixel.gif'>"
    "<img id='logo' src='cid:logo@example.com'>"
)
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def browser():
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        absent("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def ses():
    with Simulator(rate=5, calls_per_second=None, time_scale=20, kept_bodies=50) as ses:
        yield ses


@pytest.fixture
def page(browser, ses):
    """A page of a fresh account; `page.trouble` has its errors, what others answered, and what was stopped by what."""
    ses.reset()
    context = browser.new_context()
    page = context.new_page()
    page.trouble = []
    page.set_default_timeout(8000)
    page.on("pageerror", lambda error: page.trouble.append(("error", str(error))))
    page.on("requestfailed", lambda request: page.trouble.append((request.url, request.failure)))
    page.on(
        "response",
        lambda answer: answer.url.startswith((ses.url, "data:")) or page.trouble.append((answer.url, "answered")),
    )
    page.goto(ses.url)
    yield page
    context.close()


def test_an_email_is_found_and_shown_and_can_do_no_harm(ses, page):
    logo = {
        "FileName": "logo.png",
        "RawContent": PIXEL,
        "ContentType": "image/png",
        "ContentId": "logo@example.com",
        "ContentDisposition": "INLINE",
    }
    content = simple("Good morning, all", subject="<b>November</b> issue", Attachments=[logo])
    content["Simple"]["Body"]["Html"] = {"Data": HOSTILE}
    content["Simple"]["Headers"] = [{"Name": "List-Unsubscribe", "Value": "<https://example.com/u>"}]
    client = client_for(ses)
    send(client, to="complaint@simulator.amazonses.com", tag="one", Content=content)
    send(client, to="someone.else@example.org")

    page.fill("#search", "complaint@")
    expect(page.locator("#messages li")).to_have_count(1)
    assert page.inner_text("#messages strong") == "<b>November</b> issue"
    page.click("#messages button")
    mail = page.frame_locator("#html")
    assert mail.locator("#greeting").inner_text() == "Good morning"
    assert mail.locator("#logo").evaluate("image => image.naturalWidth") == 1
    assert page.title() == "SES simulator"

    page.click("[data-view=text]")
    assert page.inner_text("#text") == "Good morning, all"
    page.click("[data-view=headers]")
    assert "List-Unsubscribe" in page.inner_text("#headers")
    page.click("[data-view=source]")
    expect(page.locator("#source")).to_contain_text("MIME-Version: 1.0")
    page.click("[data-view=attachments]")
    assert "logo.png" in page.inner_text("#attachments")
    with page.expect_download() as download:
        page.click("#attachments a")
    assert download.value.suggested_filename == "logo.png"
    page.click("[data-view=happened]")
    expect(page.locator("#happened li")).to_have_text(["Send", "Delivery", "Complaint"])
    stopped = {url.rpartition("/")[2]: reason for url, reason in page.trouble}
    assert stopped == {"pixel.gif": "csp", "x": "csp", "0": "net::ERR_ABORTED"}, "the last is the download"


def test_the_counters_and_the_plot_follow_what_happens(ses, page):
    client = client_for(ses)
    for _ in range(8):
        try:
            send(client)
        except client.exceptions.TooManyRequestsException:
            continue
    expect(page.locator("#refused")).to_have_text("3")
    assert page.inner_text("#accepted") == "5"
    assert page.inner_text("#busiest") == "5 of 5"
    assert page.inner_text("#refusals") == "Refused: rate 3"
    colours = page.evaluate(
        """() => {
            const canvas = document.getElementById('plot');
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            const found = new Set();
            for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] === 255) found.add(`${pixels[at]},${pixels[at + 1]},${pixels[at + 2]}`);
            return [...found];
        }"""
    )
    assert {"29,107,67", "168,50,30", "90,95,105"} <= set(colours)
    assert page.trouble == []


def test_an_email_too_old_to_be_kept_is_listed_without_content(ses, page):
    ses.change(rate=1000)
    client = client_for(ses)
    for number in range(51):
        send(client, tag=f"s{number}")
    page.fill("#search", "s0")
    expect(page.locator("#messages li")).to_have_count(1)
    page.click("#messages button")
    expect(page.locator("#facts")).to_contain_text("too old to be kept")


def test_the_page_and_each_mail_say_what_they_may_do(ses):
    ses.reset()
    message_id = send(
        client_for(ses), Content={"Simple": {"Subject": {"Data": "x"}, "Body": {"Html": {"Data": "<p>x"}}}}
    )

    def policy(path: str) -> str:
        connection = http.client.HTTPConnection(urlsplit(ses.url).netloc)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy("/")
    assert "unsafe" not in policy("/")
    assert policy(f"/_sim/messages/{message_id}/html").startswith("sandbox; default-src 'none'")


def test_a_mail_without_html_opens_on_its_text_and_one_with_it_on_that(ses, page):
    client = client_for(ses)
    html = {"Simple": {"Subject": {"Data": "with html"}, "Body": {"Html": {"Data": "<p>x"}}}}
    send(client, tag="a", Content=simple("Only words", subject="text alone"))
    send(client, tag="b", Content=html)
    expect(page.locator("#messages li")).to_have_count(2)
    page.click("#messages li:has-text('text alone') button")
    expect(page.locator("#text")).to_be_visible()
    expect(page.locator("#text")).to_have_text("Only words")
    page.click("#messages li:has-text('with html') button")
    expect(page.locator("#html")).to_be_visible()


def test_it_says_how_many_are_listed_turns_its_pages_and_forgets_them(ses, page):
    ses.change(rate=1000)
    client = client_for(ses)
    for number in range(103):
        send(client, tag=f"s{number}")
    expect(page.locator("#how-many")).to_have_text("1 to 100 of 103")
    page.click("#older")
    expect(page.locator("#how-many")).to_have_text("101 to 103 of 103")
    expect(page.locator("#messages li")).to_have_count(3)
    page.fill("#search", "s10")
    expect(page.locator("#how-many")).to_have_text("4 listed")
    page.fill("#search", "")
    page.click("#clear")
    expect(page.locator("#none")).to_be_visible()
    assert ses.messages() == []
    assert ses.report()["accepted"]["calls"] == 103


def test_its_buttons_make_trouble_and_end_it(ses, page):
    client = client_for(ses)
    page.click("text=Account paused")
    expect(page.locator("#in-force")).to_have_text("In force: paused")
    with pytest.raises(client.exceptions.SendingPausedException):
        send(client)
    page.click("text=Throttle 10 calls")
    expect(page.locator("#in-force")).to_have_text("In force: throttle (10 more)")
    page.click("text=No faults")
    expect(page.locator("#in-force")).to_have_text("No faults in force.")
    send(client)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_everybody_at_every_width(ses, browser, scheme):
    ses.reset()
    send(client_for(ses), Content=simple("Only words", subject="text alone"))
    for width in (1280, 390):
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        page = context.new_page()
        page.goto(ses.url)
        page.click("#messages button")
        expect(page.locator("#text")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        contrast, text = page.evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, text
        context.close()
