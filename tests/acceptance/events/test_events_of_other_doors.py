"""Events that were announced to nobody, such as those that Lambda stores, wherever the settings keep them."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
import sqlalchemy as sa

from sesmail.events.stores import Counts, StoredEvent
from sesmail.events.stores.dynamodb import DynamoDbEventStore
from sesmail.events.stores.redis import RedisEventStore
from sesmail.events.stores.sql import SqlEventStore
from sesmail.state.fleet.workers import Turns
from sesmail.state.keys import Keys
from sesmail.state.people.suppression import SuppressionList
from sesmail.state.scripts import Scripts
from tests.acceptance.programs import CELERY, eventually
from tests.contract.events.conftest import POSTGRES, aws, aws_url, postgres_schema  # noqa: F401  fixtures
from tests.signing import OTHER_TOPIC, TOPIC, Signer

BOUNCE = (Path(__file__).parents[2] / "fixtures" / "events" / "ev_bounce_permanent_general.json").read_text()
BOUNCED = json.loads(BOUNCE)["bounce"]["bouncedRecipients"][0]["emailAddress"]
SIGNER = Signer()
SITE = {
    "SESMAIL_SITE": "alpha",
    "SESMAIL_TOPICS": json.dumps({TOPIC: "alpha", OTHER_TOPIC: "beta"}),
    "SESMAIL_VERIFY_QUEUES": "false",
}
LAMBDA = """
import json, sys
from sesmail.doors.aws_lambda import handler
bodies = {}
print(json.dumps(handler({{"Records": [{{"messageId": id_, "body": body}} for id_, body in bodies.items()]}}, None)))
"""


@pytest.fixture
def redis_place(new_site):
    site = new_site(**SITE)
    return site, RedisEventStore(Scripts(site.redis, Keys()))


@pytest.fixture
def sqlite_place(new_site, tmp_path):
    url = f"sqlite:///{tmp_path}/events.db"
    store = SqlEventStore(url)
    yield new_site(**SITE, SESMAIL_EVENT_STORE=url), store
    store.engine.dispose()


@pytest.fixture
def postgresql_place(new_site, postgres_schema):  # noqa: F811
    url = sa.make_url(POSTGRES).update_query_dict({"options": f"-csearch_path={postgres_schema}"})
    store = SqlEventStore(text := url.render_as_string(hide_password=False))
    yield new_site(**SITE, SESMAIL_EVENT_STORE=text), store
    store.engine.dispose()


@pytest.fixture
def dynamodb_place(new_site, aws, aws_url):  # noqa: F811
    store = DynamoDbEventStore(client := aws("dynamodb"), table := f"events-{uuid4().hex}")
    store.create_table()
    url = f"dynamodb://{table}?region=us-east-1&endpoint_url={quote(aws_url, safe='')}"
    yield new_site(**SITE, SESMAIL_EVENT_STORE=url), store
    client.close()


@pytest.fixture(params=["redis", "sqlite", "postgresql", "dynamodb"])
def place(request):
    """A site whose settings name a store, and that store as the test sees it."""
    return request.getfixturevalue(f"{request.param}_place")


def test_what_lambda_stores_where_the_settings_say_a_worker_finds_there_by_itself(place) -> None:
    site, store = place
    bodies = {topic: json.dumps(SIGNER.notification(BOUNCE, TopicArn=topic)) for topic in (TOPIC, OTHER_TOPIC)}
    assert site.python(LAMBDA.format(bodies)) == '{"batchItemFailures": []}'
    assert [store.counts(name).unprocessed for name in ("alpha", "beta")] == [1, 1]
    site.start_worker("sesmail", "-c", "2", SESMAIL_EVENTS_INTERVAL_SECONDS="0.5")
    eventually(lambda: store.counts("alpha") == Counts(unprocessed=0, set_aside=0))
    assert [opt_out.address for opt_out in SuppressionList(Scripts(site.redis, Keys())).read()] == [BOUNCED]
    assert store.counts("beta").unprocessed == 1, "another site's"


OFTEN = """
from sesmail.celery.standalone import DEFAULTS
name = "sesmail-process-events"
beat_schedule = {name: DEFAULTS["beat_schedule"][name] | {"schedule": 1.0}}
"""


def test_beat_has_events_processed_that_no_worker_looks_for(redis_place) -> None:
    site, store = redis_place
    (site.folder / "celeryconfig.py").write_text(OFTEN)
    Turns(site.redis, Keys()).take("look-for-events", 3600)
    store.put([StoredEvent(event_id="one", source="alpha", message=BOUNCE, received_at=1.0)])
    site.start_worker("sesmail", "-c", "2")
    eventually(lambda: site.redis.keys(Keys()("turn", "sweep:*")))
    assert store.counts("alpha").unprocessed == 1
    beat = site.start(*CELERY, "-A", "sesmail", "beat", "-l", "INFO")
    eventually(lambda: store.counts("alpha") == Counts(unprocessed=0, set_aside=0), explain=lambda: beat.output)
    assert [opt_out.address for opt_out in SuppressionList(Scripts(site.redis, Keys())).read()] == [BOUNCED]


def test_a_worker_that_does_not_consume_the_events_queue_leaves_it_empty(redis_place) -> None:
    site, store = redis_place
    store.put([StoredEvent(event_id="one", source="alpha", message="{}", received_at=1.0)])
    site.start_worker("sesmail", "-c", "2", "-X", "sesmail.events", SESMAIL_EVENTS_INTERVAL_SECONDS="0.5")
    eventually(lambda: site.redis.keys(Keys()("turn", "sweep:*")))
    assert store.counts("alpha").unprocessed == 1
    assert site.redis.llen("sesmail.events") == 0
