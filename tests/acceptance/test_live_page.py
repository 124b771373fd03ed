"""The live page in a real browser: idle, busy and stopped, by light and dark, on a desk and a telephone."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sesmail import Client, Letter, Settings
from sesmail.doors.live import LivePage
from sesmail.doors.live.server import listen
from sesmail.message import Email, Lane
from tests.acceptance.contrast import LOWEST_CONTRAST
from tests.services import absent

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        absent("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def client(redis_server, redis) -> Iterator[Client]:
    made = Client(Settings(redis_url=redis_server.url, site="shop"))
    made.throttle.update_account(rate=14, quota_24h=50_000, sent_24h=31_000, standing="healthy", source="ses")
    made.fleet.takes_from([made.settings.queue_of(lane) for lane in Lane], "one@host")
    made.ledger.heartbeat("one:1", 60)
    yield made
    made.close()


@pytest.fixture
def server(client: Client) -> Iterator[LivePage]:
    page = LivePage(client)
    server = listen(0, page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page.address = f"http://127.0.0.1:{server.server_port}/"
    yield page
    server.shutdown()
    server.server_close()


def opened(browser: Browser, server: LivePage, *, width: int = 1280, scheme: str = "light") -> Page:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.told, page.asked = [], []
    page.on("console", lambda message: page.told.append(message.text))
    page.on("pageerror", lambda error: page.told.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(server.address)
    expect(page.locator("#how")).not_to_have_text("Asking …")
    return page


def fill(client: Client) -> None:
    """All that the page can show, at its worst."""
    for number in range(3):
        email = Email("ann@example.org", "Hello", "Hi.", from_email="shop@example.com", lane="bulk")
        client.ledger.accept(f"b{number}", email, delay_seconds=0 if number else 3600)
    for key in ("one", "other"):
        people = [f"a{number}@example.org" for number in range(3)]
        letter = Letter(subject="Hello", text="Hi.", from_email="shop@example.com")
        batch = client.send_batch(
            letter, people, key=key, list=f"a-list-with-a-long-name-{key}", without_unsubscribe=True
        )
    batch.pause()
    client.throttle.line.stop("account", "SES says: a reason that is as long as theirs are. " * 3)
    client.throttle.line.pause("lane:bulk", "a typo")
    client.throttle.update_account(rate=14, quota_24h=1000, sent_24h=1000, standing="sandbox, probation", source="ses")
    day = datetime.now(UTC).date().isoformat()
    lists = {"a-list-with-a-rather-long-name-of-its-own": (30, 1), "weekly": (12, 0), "good": (0, 0)}
    counts = {
        key: number
        for name, (bounces, complaints) in lists.items()
        for key, number in (
            (f"sent {name}", 400),
            (f"bounced_permanent {name}", bounces),
            (f"complained {name}", complaints),
        )
    }
    client.scripts.redis.hset(client.scripts.keys("rates", "shop", day), mapping=counts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_everybody_at_every_width_and_asks_nobody_else(browser, server, client, scheme) -> None:
    for filled in (False, True):
        if filled:
            fill(client)
        for width in (1280, 390):
            page = opened(browser, server, width=width, scheme=scheme)
            expect(page.locator("#how")).to_have_text("Stopped" if filled else "Idle, all well")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            contrast, text = page.evaluate(LOWEST_CONTRAST)
            assert contrast >= 4.5, text
            assert page.locator("#batches .mark").all_text_contents() == (["paused"] if filled else [])
            assert page.told == []
            assert {url.startswith(server.address) for url in page.asked} == {True}
            assert server.address + "stream" in page.asked
            page.context.close()


def test_what_changes_is_shown_by_itself_until_it_is_held_still_by_the_keyboard(browser, server, client) -> None:
    page = opened(browser, server)
    client.throttle.line.pause("account", "a `typo`")
    expect(page.locator("#how")).to_have_text("Paused")
    expect(page.locator("#obstacles")).to_contain_text("sesmail resume")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "hold"
    page.keyboard.press("Enter")
    expect(page.locator("#hold")).to_have_attribute("aria-pressed", "true")
    client.throttle.line.resume("account")
    assert page.evaluate("fetch('figures').then((answer) => answer.json())")["site"] == "shop"
    expect(page.locator("#how")).to_have_text("Paused")
    page.keyboard.press("Enter")
    expect(page.locator("#how")).to_have_text("Idle, all well")
    page.context.close()


def test_where_there_is_no_stream_it_asks_and_when_the_server_is_away_it_says_so(browser, server, client) -> None:
    server.streams = False
    page = opened(browser, server)
    client.throttle.line.pause("account", "a typo")
    expect(page.locator("#how")).to_have_text("Paused")
    assert server.address + "stream" not in page.asked
    page.route("**/figures", lambda route: route.abort())
    expect(page.locator("#how")).to_have_text("Out of reach")
    expect(page.locator("#obstacles")).to_contain_text("What you see below is from")
    page.unroute("**/figures")
    expect(page.locator("#how")).to_have_text("Paused")
    page.context.close()
