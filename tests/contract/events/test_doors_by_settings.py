"""A door that is built by the settings: what SNS is told when they, or what they point at, are not in order."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from flask import Flask

from sesmail import current_client, unsubscribe_headers
from sesmail.celery.current import close_clients
from sesmail.client import NoBroker
from sesmail.contrib.flask import SESMail
from sesmail.errors import ConfigurationError, InvalidEmail
from sesmail.events.stores.redis import RedisEventStore
from sesmail.state.people.suppression import OptOut, Scope, SuppressionList
from sesmail.testing import sns_post, trusted_sns
from sesmail.unsubscribe import Unsubscription
from sesmail.vocabulary import Reason
from tests.opt_outs import left_out
from tests.signing import TOPIC

NOTIFICATION = sns_post("hello", topic=TOPIC)
UNSUBSCRIBE = {
    "SESMAIL_UNSUBSCRIBE_URL": "https://example.com/sesmail/unsubscribe/",
    "SESMAIL_UNSUBSCRIBE_SECRETS": ["a secret for tests only"],
}


@pytest.fixture
def site(redis_server, redis):
    """Makes a Flask site of these settings, whose doors believe what tests sign; its client."""
    contexts = ExitStack()
    contexts.callback(close_clients)

    def make(**config: object):
        app = Flask("site")
        said = {"SESMAIL_REDIS_URL": redis_server.url, "SESMAIL_SITE": "alpha", "SESMAIL_TOPICS": {TOPIC: "alpha"}}
        app.config.update(said | config)
        SESMail().init_app(app)
        contexts.enter_context(app.app_context())
        with suppress(ConfigurationError):  # what is wrong with the settings is the door's to say
            current_client().broker = NoBroker()
            contexts.enter_context(trusted_sns())
        return app.test_client()

    with contexts:
        yield make


def post(client) -> int:
    posted = client.post("/sesmail/events/", data=NOTIFICATION.body, headers=NOTIFICATION.headers)
    return posted.status_code


def test_what_is_believed_is_stored(site, scripts) -> None:
    assert post(site()) == 200
    assert RedisEventStore(scripts).counts("alpha").unprocessed == 1


@pytest.mark.parametrize(
    "config",
    [
        {"SESMAIL_REDIS_URL": "redis://127.0.0.1:1/0"},
        {"SESMAIL_EVENT_STORE": "redis://127.0.0.1:1/0"},
        {"SESMAIL_EVENT_STORE": "sqlite:////nowhere/events.db"},
        {"SESMAIL_EVENT_STORE": "mysql://127.0.0.1/events"},
        {"SESMAIL_TOPICS": {"not an ARN": "alpha"}},
        {"SESMAIL_NO_SUCH_SETTING": "1"},
    ],
    ids=str,
)
def test_any_trouble_of_ours_makes_sns_come_again(site, config) -> None:
    assert post(site(**config)) == 503


def test_another_topic_is_refused_for_good(site) -> None:
    assert post(site(SESMAIL_TOPICS={TOPIC + "-other": "alpha"})) == 403


def test_a_link_made_by_the_settings_opts_out_of_the_list(site, scripts) -> None:
    client = site(**UNSUBSCRIBE)
    leaving = Unsubscription(site="alpha", recipient="ann@example.org", list="monthly")
    link = current_client().unsubscribe_links.link(leaving)
    path = link.removeprefix("https://example.com")
    assert client.get(path).status_code == 200
    assert not list(SuppressionList(scripts).read())
    assert client.post(path).status_code == 200
    (opt_out,) = SuppressionList(scripts).read()
    assert (opt_out.scope, opt_out.reason) == (Scope("alpha", "monthly"), Reason.UNSUBSCRIBED)


def test_a_link_opts_out_the_address_that_its_email_went_to_however_it_was_given(site, scripts) -> None:
    client = site(**UNSUBSCRIBE)
    link = unsubscribe_headers("Ann <Ann@BÜCHER.example>", "monthly")["List-Unsubscribe"].strip("<>")
    assert client.post(urlsplit(link).path).status_code == 200
    assert left_out(scripts, ["ann@xn--bcher-kva.example"], site="alpha", list_name="monthly")
    with pytest.raises(InvalidEmail):
        unsubscribe_headers("ann@example.org, bob@example.org")


def test_who_left_by_a_link_comes_back_by_it_for_good_and_only_from_that(site, scripts) -> None:
    client, suppression = site(**UNSUBSCRIBE), SuppressionList(scripts)
    link = unsubscribe_headers("ann@example.org", "monthly")["List-Unsubscribe"].strip("<>")
    bounced = OptOut(address="ann@example.org", scope=Scope(), reason=Reason.BOUNCED, since=datetime.now(UTC))
    suppression.add(bounced)
    assert b"Wieder anmelden" in client.post(urlsplit(link).path, headers={"Accept-Language": "de"}).data
    assert len(suppression.find("ann@example.org")) == 2
    answer = client.post(urlsplit(link).path, data={"come-back": "1"})
    assert b"Subscribed again" in answer.data
    assert [entry.reason for entry in suppression.find("ann@example.org")] == [Reason.BOUNCED]
    processor = current_client().event_processor
    assert processor.process().processed == 2
    assert [entry.reason for entry in suppression.find("ann@example.org")] == [Reason.BOUNCED]
    suppression.remove("ann@example.org", Scope())
    processor.rebuild_suppression()
    assert suppression.find("ann@example.org") == []
