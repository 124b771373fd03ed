"""The ASGI door: posts that wait for one write share it, and none is answered before its write is done."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from sesmail.doors import asgi
from sesmail.doors.asgi import EventsApp
from sesmail.errors import EventStoreUnavailable, LedgerUnavailable
from sesmail.events.intake import Intake
from sesmail.events.sns import BODY_LIMIT_BYTES, Certificates, Confirmation, SnsVerifier
from sesmail.unsubscribe import UnsubscribeDoor, UnsubscribeLinks, Unsubscription
from tests.signing import TOPIC, Signer

SIGNER = Signer()


class Rows:
    """A store that can be held up and made to fail."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.trouble: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def put(self, events) -> int:
        assert self.open.wait(5)
        if self.trouble:
            raise self.trouble
        self.groups.append([event.event_id for event in events])
        return len(events)


def intake_for(rows: Rows, **options) -> Intake:
    certificates = Certificates(options.pop("fetch", SIGNER.fetch))
    return Intake(SnsVerifier({TOPIC: "alpha"}, certificates), rows, **options)


def body(**fields) -> bytes:
    return json.dumps(SIGNER.notification("hello", **fields)).encode()


async def post(app: EventsApp, *chunks: bytes, method: str = "POST", headers=(), ends: bool = True) -> int:
    """Speak ASGI to the app as a server does; answers the status."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if ends:
        messages[-1]["more_body"] = False
    sent = []

    async def receive():
        if messages:
            return messages.pop(0)
        return await asyncio.Future()

    async def send(message) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "headers": list(headers)}, receive, send)
    return sent[0]["status"]


def run(coroutine):
    return asyncio.run(coroutine)


def test_a_post_in_pieces_is_stored_and_acknowledged() -> None:
    rows, content = Rows(), body()
    assert run(post(EventsApp(intake_for(rows)), content[:100], content[100:])) == 200
    assert len(rows.groups) == 1


def test_posts_that_come_while_the_store_writes_share_the_next_write_and_wait_for_it() -> None:
    rows = Rows()

    async def burst() -> list[int]:
        app = EventsApp(intake_for(rows))
        await post(app, body())  # the certificate is at hand from here on
        rows.open.clear()
        posts = [asyncio.create_task(post(app, body())) for _ in range(50)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in posts)
        rows.open.set()
        return await asyncio.gather(*posts)

    assert run(burst()) == [200] * 50
    assert sum(map(len, rows.groups)) == 51
    assert len(rows.groups) <= 3


def test_a_group_that_cannot_be_written_is_answered_503_and_the_next_one_goes_on() -> None:
    rows = Rows()

    async def burst() -> list[int]:
        app = EventsApp(intake_for(rows))
        await post(app, body())
        rows.trouble = EventStoreUnavailable()
        failed = await asyncio.gather(*(post(app, body()) for _ in range(20)))
        rows.trouble = None
        return [*failed, await post(app, body())]

    assert run(burst()) == [503] * 20 + [200]


def test_who_went_away_does_not_hold_up_the_others_in_the_group() -> None:
    rows = Rows()

    async def burst() -> int:
        app = EventsApp(intake_for(rows))
        await post(app, body())
        rows.open.clear()
        gone, stays = (asyncio.create_task(post(app, body())) for _ in range(2))
        await asyncio.sleep(0.02)
        gone.cancel()
        await asyncio.sleep(0)
        rows.open.set()
        return await stays

    assert run(burst()) == 200


def test_more_waiting_than_there_is_room_for_is_answered_503_at_once(monkeypatch) -> None:
    monkeypatch.setattr(asgi, "WAITING_LIMIT", 3)
    rows = Rows()

    async def burst() -> list[int]:
        app = EventsApp(intake_for(rows))
        await post(app, body())
        rows.open.clear()
        posts = [asyncio.create_task(post(app, body())) for _ in range(10)]
        done, _ = await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result() for task in done} == {503}
        rows.open.set()
        return await asyncio.gather(*posts)

    statuses = run(burst())
    assert statuses.count(200) + statuses.count(503) == 10
    assert statuses.count(200) == sum(map(len, rows.groups)) - 1


def test_a_slow_body_is_given_up_and_asked_for_again() -> None:
    assert run(post(EventsApp(intake_for(Rows()), body_seconds=0.02), b"{", ends=False)) == 503


def test_a_huge_body_is_refused_before_it_is_all_there() -> None:
    assert run(post(EventsApp(intake_for(Rows())), b" " * BODY_LIMIT_BYTES, b" ", ends=False)) == 413


def test_raw_delivery_is_refused() -> None:
    headers = [(b"x-amz-sns-rawdelivery", b"true")]
    assert run(post(EventsApp(intake_for(Rows())), b"{}", headers=headers)) == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_posts_are_taken(method) -> None:
    assert run(post(EventsApp(intake_for(Rows())), b"", method=method)) == 405


def test_a_certificate_that_is_slow_to_come_does_not_hold_up_those_that_need_none() -> None:
    slow, fetched = threading.Event(), []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        if len(fetched) > 1:
            assert slow.wait(5)
        return SIGNER.pem

    async def both() -> tuple[int, int]:
        app = EventsApp(intake_for(Rows(), fetch=fetch))
        await post(app, body())
        url = f"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-{'a' * 32}.pem"
        waiting = asyncio.create_task(post(app, body(SigningCertURL=url)))
        await asyncio.sleep(0.02)
        quick = await asyncio.wait_for(post(app, body()), 1)
        assert not waiting.done()
        slow.set()
        return quick, await waiting

    assert run(both()) == (200, 200)


def test_made_up_certificate_addresses_cannot_pile_up_fetches(monkeypatch) -> None:
    monkeypatch.setattr(asgi, "FETCHES_LIMIT", 2)
    slow = threading.Event()

    def fetch(url: str) -> bytes:
        assert slow.wait(5)
        return SIGNER.pem

    async def attack() -> list[int]:
        app = EventsApp(intake_for(Rows(), fetch=fetch))
        posts = [asyncio.create_task(post(app, body())) for _ in range(8)]
        done, _ = await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result() for task in done} == {503}
        slow.set()
        return await asyncio.gather(*posts)

    assert sorted(run(attack())) == [200] * 2 + [503] * 6


def test_a_subscription_is_confirmed_after_it_is_stored() -> None:
    rows = Rows()

    class Sns:
        def confirm_subscription(self, **_) -> None:
            assert rows.groups

    intake = intake_for(rows, confirm=Confirmation(lambda region: Sns()))
    assert run(post(EventsApp(intake), json.dumps(SIGNER.confirmation()).encode())) == 200


def test_the_servers_start_and_end_are_answered() -> None:
    async def live() -> list[str]:
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        sent = []

        async def receive():
            return messages.pop(0)

        async def send(message) -> None:
            sent.append(message["type"])

        await EventsApp(intake_for(Rows()))({"type": "lifespan"}, receive, send)
        return sent

    assert run(live()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def ask(app: EventsApp, method: str, path: str, body: bytes = b"") -> tuple[int, dict[bytes, bytes], bytes]:
    """One request of a reader."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message) -> None:
        sent.append(message)

    headers = [(b"accept-language", b"nl")]
    asyncio.run(app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_the_unsubscribe_page_is_served_beside_what_sns_posts() -> None:
    links, left, back = UnsubscribeLinks(["a secret for tests only"], "https://example.com/unsubscribe/"), [], []
    door = UnsubscribeDoor(links, left.append, come_back=back.append)
    app = EventsApp(intake_for(Rows()), answers_checks=True, unsubscribe=door)
    who = Unsubscription(site="alpha", recipient="ann@example.org", list="monthly")
    path = "/sesmail/unsubscribe/" + links.link(who).rpartition("/")[2]
    status, headers, page = ask(app, "GET", path)
    assert (status, b"Uitschrijven" in page, left) == (200, True, [])
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'")
    assert ask(app, "HEAD", path)[::2] == (200, b"")
    assert ask(app, "POST", path + "/", b"List-Unsubscribe=One-Click")[0] == 200
    assert ask(app, "POST", path, b"come-back=1")[0] == 200
    assert (left, back) == ([who], [who])
    assert ask(app, "GET", "/unsubscribe/made-up")[0] == 404
    assert ask(app, "DELETE", path)[0] == 405
    assert ask(app, "POST", "/unsubscribe/")[0] == 400, "that is SNS's, and no notification"


def test_an_opt_out_that_cannot_be_written_down_makes_mail_providers_come_again() -> None:
    def fail(_who: object) -> None:
        raise LedgerUnavailable

    links = UnsubscribeLinks(["a secret for tests only"], "https://example.com/unsubscribe/")
    app = EventsApp(intake_for(Rows()), unsubscribe=UnsubscribeDoor(links, fail))
    path = "/unsubscribe/" + links.link(Unsubscription(site="a", recipient="ann@example.org")).rpartition("/")[2]
    assert ask(app, "POST", path)[0] == 503
