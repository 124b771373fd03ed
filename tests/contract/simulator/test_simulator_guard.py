"""The local SES answers programs and its own page: nothing that a page of another origin can have a browser ask."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from sesmail.simulator import Simulator
from tests.contract.simulator.simulator_client import client_for

JSON = {"Content-Type": "application/json"}
ODD_HOSTS = ["[::1].evil.example", "127.0.0.1:evil", "127.0.0.1@evil.example", "evil.example#127.0.0.1", "2130706433"]


def ask(ses: Simulator, method: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(ses.url).netloc, timeout=20)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8005", "127.0.0.1.evil.example", "", "[::1", *ODD_HOSTS]
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(ses, host):
    assert {ask(ses, "GET", path, Host=host) for path in ("/", "/_sim/messages", "/_sim/report")} == {403}


@pytest.mark.parametrize("host", ["localhost", "ses.localhost:1", "127.0.0.1:8005", "[::1]:8005", "192.0.2.1"])
def test_this_machine_and_addresses_are_answered(ses, host):
    assert ask(ses, "GET", "/_sim/report", Host=host) == 200


def test_a_name_that_was_allowed_is_answered():
    with Simulator(allowed_hosts=("simulator",)) as named:
        assert ask(named, "GET", "/_sim/report", Host="simulator:8005") == 200
        assert ask(named, "GET", "/_sim/report", Host="simulator.evil.example") == 403


def test_another_origin_can_neither_change_nor_read_anything(ses):
    place = urlsplit(ses.url).netloc
    others = ["http://evil.example", "http://127.0.0.1:1", "null"]
    assert {ask(ses, "POST", "/_sim/reset", Origin=origin, **JSON) for origin in others} == {403}
    assert {ask(ses, "POST", "/", Origin=origin) for origin in others} == {403}
    assert ask(ses, "GET", "/_sim/messages", Sec_Fetch_Site="cross-site") == 403
    assert ask(ses, "POST", "/_sim/reset", Origin=f"http://{place}", Content_Type="application/json") == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_form_can_send_changes_nothing(ses, kind):
    assert ask(ses, "POST", "/_sim/reset", Content_Type=kind) == 415


def test_a_content_type_may_be_written_in_any_case(ses):
    assert ask(ses, "POST", "/_sim/reset", Content_Type="Application/JSON; charset=utf-8") == 200


@pytest.mark.parametrize("handler", ["..:handle", "nowhere:handle", ":handle", "os:", "seslocal.nowhere:x:y"])
def test_a_subscription_of_what_cannot_be_imported_is_a_wrong_parameter(ses, handler):
    sns = client_for(ses, "sns")
    topic = sns.create_topic(Name="events")["TopicArn"]
    with pytest.raises(ClientError, match="no function"):
        sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=handler)


@pytest.mark.parametrize("handler", ["subprocess:Popen", "os:system", "sys:path"])
def test_a_subscription_calls_functions_of_python_s_alone(ses, handler):
    sns = client_for(ses, "sns")
    topic = sns.create_topic(Name="events")["TopicArn"]
    with pytest.raises(ClientError, match="is no function of Python's"):
        sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=handler)
