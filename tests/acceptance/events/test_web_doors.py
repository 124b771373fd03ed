"""The doors in real web servers: a Django site in a process of its own, Flask, and uvicorn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest
from flask import Flask

from sesmail.contrib.flask import doors
from sesmail.doors.asgi import EventsApp
from sesmail.events.intake import Intake
from sesmail.events.sns import BODY_LIMIT_BYTES, Certificates, SnsVerifier
from sesmail.events.stores import EventState
from sesmail.events.stores.sql import SqlEventStore
from sesmail.unsubscribe import UnsubscribeDoor, UnsubscribeLinks, Unsubscription
from tests.acceptance.events.conftest import served
from tests.signing import TOPIC, Signer

SIGNER = Signer()
LINKS = UnsubscribeLinks(["a secret for tests only"], "http://127.0.0.1/unsubscribe/")
TOKEN = LINKS.link(Unsubscription(site="alpha", recipient="a@example.org", list="monthly")).rpartition("/")[2]
AS_SNS_POSTS = {
    "Content-Type": "text/plain; charset=UTF-8",
    "User-Agent": "Amazon Simple Notification Service Agent",
    "X-Forwarded-Proto": "https",  # by the proxy before the site
}


@pytest.fixture
def database(tmp_path):
    store = SqlEventStore(f"sqlite:///{tmp_path}/events.db")
    store.create_table()
    yield store
    store.engine.dispose()


def ids(store) -> list[str]:
    return [event.event_id for event in store.read("alpha", EventState.UNPROCESSED)]


class Site:
    """A site at a port; each request is a connection of its own."""

    def __init__(self, port: int, output=None) -> None:
        self.port, self.output = port, output

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {**AS_SNS_POSTS, **headers})
            response = connection.getresponse()
            self.headers = response.headers
            return response.status, response.read().decode()
        finally:
            connection.close()


@pytest.fixture
def django_site(tmp_path, database):
    pem = tmp_path / "certificate.pem"
    pem.write_bytes(SIGNER.pem)
    program = Path(__file__).with_name("django_site.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(program), str(tmp_path / "events.db"), str(pem)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield Site(int(process.stdout.readline()), process.stdout)
        process.terminate()


def intake_for(store) -> Intake:
    return Intake(SnsVerifier({TOPIC: "alpha"}, Certificates(SIGNER.fetch)), store)


@pytest.fixture
def asgi_site(database):
    with served(EventsApp(intake_for(database))) as port:
        yield Site(port)


@pytest.fixture(params=["django", "asgi"])
def site(request):
    return request.getfixturevalue(f"{request.param}_site")


def test_a_door_takes_what_sns_posts_and_refuses_the_rest(site, database) -> None:
    good = SIGNER.notification("hello")
    forged = {**SIGNER.notification("hello"), "Message": "x"}
    answers = [
        site.ask("POST", "/events/", json.dumps(good).encode())[0],
        site.ask("POST", "/events/", json.dumps(good).encode())[0],
        site.ask("POST", "/events/", json.dumps(forged).encode())[0],
        site.ask("POST", "/events/", b"{}", **{"x-amz-sns-rawdelivery": "true"})[0],
        site.ask("POST", "/events/", b" " * (BODY_LIMIT_BYTES + 1))[0],
        site.ask("GET", "/events/")[0],
    ]
    assert answers == [200, 200, 403, 400, 413, 405]
    assert ids(database) == [good["MessageId"]]


def test_a_load_balancer_finds_the_bare_door_there(database) -> None:
    with served(EventsApp(intake_for(database), answers_checks=True)) as port:
        site = Site(port)
        assert site.ask("GET", "/")[0] == 200
        assert site.ask("HEAD", "/health") == (200, "")
        assert site.ask("PUT", "/")[0] == 405


@pytest.mark.parametrize("path", ["/events/", "/events"])
def test_a_site_that_is_shut_to_strangers_redirects_no_post_of_sns(django_site, database, path) -> None:
    assert django_site.ask("POST", path, json.dumps(SIGNER.notification("hello")).encode())[0] == 200
    assert len(ids(database)) == 1


@pytest.mark.parametrize("end", ["", "/"])
def test_a_site_that_is_shut_to_strangers_lets_them_unsubscribe(django_site, end) -> None:
    path = f"/unsubscribe/{TOKEN}{end}"
    assert django_site.ask("GET", path)[0] == 200
    assert django_site.ask("POST", path, b"List-Unsubscribe=One-Click")[0] == 200
    assert "form-action 'self'" in django_site.headers["Content-Security-Policy"]


def test_a_door_whose_store_is_away_asks_for_another_delivery(site, database) -> None:
    database.table.drop(database.engine)
    assert site.ask("POST", "/events/", json.dumps(SIGNER.notification("hello")).encode())[0] == 503


def test_what_is_longer_than_the_door_takes_is_refused_without_waiting_for_it(django_site) -> None:
    assert django_site.ask("POST", "/events/", b"{", **{"Content-Length": "3000000"})[0] == 413


def test_a_limit_that_a_site_has_for_its_visitors_refuses_no_event(django_site, database) -> None:
    long = SIGNER.notification("x" * 150_000)
    assert django_site.ask("POST", "/events/", json.dumps(long).encode())[0] == 200
    assert ids(database) == [long["MessageId"]]


CHUNKED = """
import io, sys
from types import SimpleNamespace
from django.conf import settings
settings.configure(DATA_UPLOAD_MAX_MEMORY_SIZE=10)
from sesmail.contrib.django.views import _chunked

def request(body):
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True, "wsgi.input": io.BytesIO(body)}
    return SimpleNamespace(environ=environ)

assert _chunked(request(b"more than that")) == b"more than that"
print(len(_chunked(request(b"x" * 2_000_000))))
"""


def test_a_body_in_chunks_is_never_refused_for_good_by_django(django_site) -> None:
    """The server of the standard library does not tell where it ends: SNS is to try again. Others do."""
    chunked = {"Transfer-Encoding": "chunked"}
    assert django_site.ask("POST", "/events/", iter([b"{}"]), **chunked)[0] == 503
    done = subprocess.run([sys.executable, "-c", CHUNKED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (f"{BODY_LIMIT_BYTES + 1}\n", 0), done.stderr  # what follows is not read


def test_unsubscribing_in_django_asks_first_and_needs_no_cookie_to_act(django_site) -> None:
    status, page = django_site.ask("GET", f"/unsubscribe/{TOKEN}")
    assert (status, "<form method=" in page) == (200, True)
    status, page = django_site.ask(
        "POST",
        f"/unsubscribe/{TOKEN}",
        b"List-Unsubscribe=One-Click",
        **{"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert (status, "You have left" in page) == (200, True)
    assert django_site.output.readline() == "opted out alpha monthly\n"
    assert django_site.ask("POST", "/unsubscribe/made-up")[0] == 404


@pytest.fixture
def flask_client(database):
    opted_out: list[Unsubscription] = []
    app = Flask("site")
    app.register_blueprint(doors(intake_for(database), UnsubscribeDoor(LINKS, opted_out.append)), url_prefix="/sesmail")
    client = app.test_client()
    client.opted_out = opted_out
    return client


def test_flask_takes_what_sns_posts_and_refuses_the_rest(flask_client, database) -> None:
    good = SIGNER.notification("hello")
    forged = {**SIGNER.notification("hello"), "Message": "x"}

    def post(body: bytes, **headers: str) -> int:
        return flask_client.post("/sesmail/events/", data=body, headers={**AS_SNS_POSTS, **headers}).status_code

    answers = [
        post(json.dumps(good).encode()),
        post(json.dumps(forged).encode()),
        post(b"{}", **{"x-amz-sns-rawdelivery": "true"}),
        post(b" " * (BODY_LIMIT_BYTES + 1)),
        flask_client.get("/sesmail/events/").status_code,
        flask_client.post("/sesmail/events", data=json.dumps(good).encode(), headers=AS_SNS_POSTS).status_code,
    ]
    assert answers == [200, 403, 400, 413, 405, 200]
    assert ids(database) == [good["MessageId"]]


def test_unsubscribing_in_flask_asks_first(flask_client) -> None:
    assert flask_client.get(f"/sesmail/unsubscribe/{TOKEN}").status_code == 200
    assert not flask_client.opted_out
    answer = flask_client.post(f"/sesmail/unsubscribe/{TOKEN}", data={"List-Unsubscribe": "One-Click"})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert [who.list for who in flask_client.opted_out] == ["monthly"]
