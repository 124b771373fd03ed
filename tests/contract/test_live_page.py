"""The live page: what it tells, and how those who serve it do; over a real Redis."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from celery import Celery
from flask import Flask
from redis import Redis

from sesmail import Client, Letter, Settings
from sesmail.celery.current import client_of
from sesmail.contrib.flask import live_page
from sesmail.doors.live import FIGURES, MOST_STREAMS, STREAM, LivePage
from sesmail.doors.live.server import listen
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email, Lane

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def client(redis_server: EmbeddedRedis, redis: Redis) -> Iterator[Client]:
    made = Client(Settings(redis_url=redis_server.url, site="shop"))
    yield made
    made.close()


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def page(self, client: Client, **how: bool) -> LivePage:
        return LivePage(client, clock=lambda: self.now, sleep=self.sleep, **how)


def accept(client: Client, send_id: str, lane: str = "bulk", **more: object) -> None:
    email = Email("zyzzyva@example.org", "zyzzyva", "zyzzyva", from_email="shop@example.com", lane=lane)
    client.ledger.accept(send_id, email, **more)  # type: ignore[arg-type]


# -- what it tells ----------------------------------------------------------------------------------------------------


def test_lanes_rate_quota_lists_and_what_is_in_the_way_are_told_and_nothing_of_an_email(client: Client) -> None:
    for send_id in ("one", "two"):
        accept(client, send_id)
    accept(client, "later", "transactional", delay_seconds=600)
    client.fleet.takes_from([client.settings.queue_of(Lane.BULK)], "one@host")
    client.throttle.update_account(rate=14, quota_24h=-1, sent_24h=100, standing="healthy", source="ses")
    client.throttle.refused(client.throttle.acquire(2, Lane.BULK))  # type: ignore[arg-type]
    client.throttle.line.stop("account", "SES says no")
    day = datetime.now(UTC).date().isoformat()
    counts = {"sent news": 1000, "bounced_permanent news": 51, "complained news": 1}
    client.scripts.redis.hset(client.scripts.keys("rates", "shop", day), mapping=counts)
    told = LivePage(client).figures()
    lanes = {each["lane"]: each for each in told["lanes"]}
    assert (lanes["bulk"]["queued"], lanes["bulk"]["workers"]) == (2, 1)
    assert (lanes["transactional"]["scheduled"], lanes["transactional"]["workers"]) == (1, 0)
    assert 0 <= lanes["bulk"]["oldest_seconds"] < 60
    assert told["rate"]["allowed"] == 14
    assert told["rate"]["throttled"] == 2
    assert (told["quota"]["limit"], told["quota"]["left"]) == (None, {"transactional": None, "bulk": None})
    assert {"no-worker", "stopped"} <= {each["id"] for each in told["obstacles"]}
    assert [each["scope"] for each in told["closed"]] == ["account"]
    (news,) = told["lists"]
    assert (news["bounces"], news["bounces_level"], news["complaints_level"]) == (0.051, "error", "error")
    assert "zyzzyva" not in json.dumps(told)


def test_batches_under_way_are_told_with_how_far_they_are_and_whether_somebody_paused_them(client: Client) -> None:
    letter = Letter(subject="Hello", text="Hi.", from_email="shop@example.com")
    ids = [
        client.send_batch(letter, [f"a{n}@example.org" for n in range(3)], key=key, without_unsubscribe=True).id
        for key in ("one", "two", "done")
    ]
    client.real_batch_office.pause(ids[1])
    client.real_batch_office.cancel(ids[2])
    client.batches.finish()
    told = {each["id"]: each for each in LivePage(client).figures()["batches"]}
    assert {name: each["state"] for name, each in told.items()} == {ids[0]: "running", ids[1]: "paused"}
    assert (told[ids[0]]["recipients"], told[ids[0]]["done"], told[ids[0]]["waits_seconds"]) == (3, 0, 0.0)
    assert "example.org" not in json.dumps(told)


def test_other_ses_accounts_are_told_by_their_names(redis_server: EmbeddedRedis, redis: Redis) -> None:
    client = Client(Settings(redis_url=redis_server.url, accounts={"bulk": {"region": "eu-west-1"}}))  # type: ignore[dict-item]
    client.accounts["bulk"].throttle.update_account(
        rate=7, quota_24h=1000, sent_24h=5, standing="sandbox", source="ses"
    )
    client.accounts["bulk"].throttle.line.stop("account", "SES says no")
    told = LivePage(client).figures()
    (name,) = told["others"]
    assert (name, told["others"][name]["rate"]["allowed"]) == ("bulk", 7)
    assert told["others"][name]["account"]["is_closed"] is True
    assert told["account"]["is_closed"] is False
    client.close()


def test_figures_are_read_once_a_second_however_many_look(client: Client) -> None:
    time = Time()
    page = time.page(client)
    first = page.figures()
    accept(client, "one")
    assert page.figures() is first
    time.sleep(1)
    assert page.figures()["states"] == {"queued": 1}


def test_where_redis_is_away_the_answer_says_so_and_the_page_itself_is_there() -> None:
    page = LivePage(Client(Settings(redis_url=NOWHERE)))
    answer = page.answer(FIGURES)
    assert answer.status == 503
    assert "Redis cannot be reached" in json.loads(answer.body)["away"]
    assert page.answer("").status == page.answer("page.js").status == 200
    assert page.answer("../__init__.py").status == 404


# -- the stream -------------------------------------------------------------------------------------------------------


def test_a_stream_tells_each_second_and_ends_after_a_while(client: Client, monkeypatch) -> None:
    monkeypatch.setattr("sesmail.doors.live.STREAM_SECONDS", 5.0)
    time = Time()
    events = time.page(client).stream()
    assert events is not None
    told = [*events][1:]
    assert len(told) == 5
    assert all(each.startswith(b"data: {") and each.endswith(b"}\n\n") for each in told)


def test_there_are_so_many_streams_at_most_and_each_makes_room_when_it_ends(client: Client) -> None:
    page = Time().page(client)
    streams = [page.stream() for _ in range(MOST_STREAMS)]
    assert page.stream() is None
    for stream in streams:
        next(stream)  # type: ignore[arg-type]
    streams.pop().close()  # type: ignore[union-attr]
    assert page.stream() is not None
    assert Time().page(client, streams=False).stream() is None


# -- by itself --------------------------------------------------------------------------------------------------------


@pytest.fixture
def address(client: Client) -> Iterator[str]:
    server = listen(0, LivePage(client))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def status(request: Request | str) -> int:
    try:
        with urlopen(request) as answer:
            return answer.status
    except HTTPError as error:
        with error:
            return error.code


def test_it_is_served_to_this_machine_and_streamed(address: str) -> None:
    with urlopen(address) as answer:
        assert b"<main>" in answer.read()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    with urlopen(address + STREAM) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.readline() == b"retry: 1000\n"
        answer.readline()
        assert json.loads(answer.readline().removeprefix(b"data: "))["streams"] is True


def test_another_name_that_leads_here_and_what_is_no_look_are_refused(address: str) -> None:
    assert status(Request(address + FIGURES, headers={"Host": "evil.example.com:80"})) == 403
    assert status(Request(address + FIGURES, method="POST", data=b"")) == 405
    assert status(Request(address, method="HEAD")) == 200


# -- in Flask and Flower ----------------------------------------------------------------------------------------------


def test_flask_shows_it_to_those_who_may(client: Client) -> None:
    app, may = Flask("site"), [False]
    page = LivePage(client, streams=False)
    app.register_blueprint(live_page(lambda: may[0], page=page), url_prefix="/live")
    browser = app.test_client()
    assert {browser.get(f"/live/{path}").status_code for path in ("", "page.js", FIGURES, STREAM)} == {403}
    may[0] = True
    assert browser.get("/live/").status_code == 200
    assert browser.get(f"/live/{FIGURES}").json["site"] == "shop"
    assert browser.get(f"/live/{STREAM}").status_code == 404


def test_flask_streams_where_it_is_told_to(client: Client) -> None:
    app = Flask("site")
    app.register_blueprint(live_page(lambda: True, page=Time().page(client)), url_prefix="/live")
    answer = app.test_client().get(f"/live/{STREAM}")
    events = answer.iter_encoded()
    assert next(events) == b"retry: 1000\n\n"
    assert next(events).startswith(b"data: {")
    answer.close()


def test_flower_shows_it_behind_its_login(redis_server: EmbeddedRedis, redis: Redis, monkeypatch) -> None:
    from flower.app import Flower
    from flower.urls import settings as of_flower
    from tornado.httpserver import HTTPServer
    from tornado.netutil import bind_sockets
    from tornado.options import options

    from sesmail.doors import flower

    added = [*flower.handlers]
    monkeypatch.setattr("flower.app.default_handlers", added)
    monkeypatch.setattr(flower, "handlers", added)
    flower.add_live_page()
    flower.add_live_page()
    assert len(added) == len(flower.handlers)
    monkeypatch.setattr(options.mockable(), "basic_auth", ["boss:secret"])
    app = Celery("site", broker=redis_server.url, set_as_current=False)
    app.conf.update(sesmail_redis_url=redis_server.url, sesmail_site="shop")
    login = {"Authorization": f"Basic {base64.b64encode(b'boss:secret').decode()}"}

    async def asked() -> dict[str, object]:
        (listening,) = bind_sockets(0, "127.0.0.1")
        server = HTTPServer(Flower(capp=app, options=options, **of_flower))
        server.add_sockets([listening])
        home = f"http://127.0.0.1:{listening.getsockname()[1]}/sesmail/"
        try:
            return {
                "stranger": await asyncio.to_thread(status, home + FIGURES),
                "page": await asyncio.to_thread(status, Request(home, headers=login)),
                "nothing": await asyncio.to_thread(status, Request(home + "nothing", headers=login)),
                "event": await asyncio.to_thread(first_event, Request(home + STREAM, headers=login)),
            }
        finally:
            server.stop()
            await server.close_all_connections()

    found = asyncio.run(asked())
    client_of(app).close()
    app.close()
    assert (found["stranger"], found["page"], found["nothing"]) == (401, 200, 404)
    assert json.loads(found["event"])["site"] == "shop"  # type: ignore[arg-type]


def first_event(request: Request) -> bytes:
    with urlopen(request) as answer:
        return answer.readline().removeprefix(b"data: ")
