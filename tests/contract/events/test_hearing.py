"""A worker that sends and hears nothing says so; as does one that could hear nothing from the start."""

from __future__ import annotations

import logging

import pytest

from sesmail import signals
from sesmail.celery.worker.duties import Duties, warn_of_no_configuration_set
from sesmail.client import Client
from sesmail.settings import Settings
from tests.contract.events.site_of_events import SiteOfEvents, event_like

TOPICS = {"arn:aws:sns:eu-west-1:123456789012:ses-events": "alpha"}


@pytest.fixture
def client(redis_server, redis):
    made = Client(Settings(redis_url=redis_server.url, site="alpha"))
    yield made
    made.close()


def sent(client, how_many: int, *, hours_ago: float, site: str = "alpha") -> None:
    """Rows of emails that were sent then."""
    redis, key = client.scripts.redis, client.scripts.keys
    seconds, _ = redis.time()
    for number in range(how_many):
        send_id = f"{site}-{hours_ago}-{number}"
        moved_at = round((seconds - hours_ago * 3600) * 1000)
        redis.hset(key("send", send_id), mapping={"site": site, "state": "sent", "moved_at": moved_at})
        redis.rpush(key("sent"), send_id)


def said(client, caplog) -> list[str]:
    caplog.clear()
    Duties(client, "worker", own_rate=lambda: None, takes_events=False)._warn_where_nothing_is_heard()
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_hundred_emails_and_an_hour_without_an_event_are_told_once(client, caplog) -> None:
    sent(client, 100, hours_ago=1.1)
    (warning,) = said(client, caplog)
    assert "SESMAIL_CONFIGURATION_SET" in warning
    assert said(client, caplog) == []


@pytest.mark.parametrize(("how_many", "hours_ago", "site"), [(99, 2, "alpha"), (150, 0.5, "alpha"), (150, 2, "beta")])
def test_few_emails_a_short_while_or_those_of_another_site_are_nothing_to_tell(
    client, caplog, how_many, hours_ago, site
) -> None:
    sent(client, how_many, hours_ago=hours_ago, site=site)
    assert said(client, caplog) == []


def test_it_does_not_matter_how_many_were_forgotten_or_heard_of_before(client, caplog, redis) -> None:
    redis.rpush(client.scripts.keys("sent"), *(f"forgotten-{number}" for number in range(70)))
    sent(client, 150, hours_ago=9)
    seconds, _ = redis.time()
    redis.hset(client.scripts.keys("heard"), "alpha", (seconds - 8 * 3600) * 1000)
    sent(client, 99, hours_ago=2)
    assert said(client, caplog) == []
    sent(client, 1, hours_ago=1.9)
    assert said(client, caplog)[0].startswith("100 emails or more")


def test_where_an_event_was_heard_since_all_is_well(client, caplog, redis) -> None:
    sent(client, 150, hours_ago=2)
    site = SiteOfEvents(redis, keys=client.scripts.keys)
    site.hear(event_like("ev_send.json"))
    assert said(client, caplog) == []


def test_a_worker_with_topics_and_no_configuration_set_says_so_at_its_start(caplog) -> None:
    warn_of_no_configuration_set(Settings(topics=TOPICS))
    assert "SESMAIL_CONFIGURATION_SET" in caplog.text
    caplog.clear()
    warn_of_no_configuration_set(Settings(topics=TOPICS, configuration_set="events"))
    warn_of_no_configuration_set(Settings(topics=TOPICS, endpoint_url="http://127.0.0.1:8005"))
    warn_of_no_configuration_set(Settings())
    assert caplog.text == ""


def test_functions_that_a_door_has_and_a_worker_has_not_are_told_once(client, caplog) -> None:
    """The door's process notes them when it announces events; the worker's looks."""
    duties = Duties(client, "worker", own_rate=lambda: None, takes_events=True)

    def hear(_site, *, event, metadata):
        pass

    with signals.email_bounced.connected_to(hear):
        client._announce("alpha")
        duties._warn_of_receivers_elsewhere()
    assert "email_bounced" not in caplog.text
    for _ in range(2):
        duties._warn_of_receivers_elsewhere()
    assert caplog.text.count("email_bounced") == 1
