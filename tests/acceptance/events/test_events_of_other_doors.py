"""Events that were announced to nobody, such as those that Lambda has stored, are found by the workers themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sesmail.events.stores import Counts, StoredEvent
from sesmail.events.stores.redis import RedisEventStore
from sesmail.events.stores.sql import SqlEventStore
from sesmail.state.keys import Keys
from sesmail.state.scripts import Scripts
from sesmail.state.suppression import SuppressionList
from tests.acceptance.programs import eventually

BOUNCE = Path(__file__).parents[2] / "fixtures" / "events" / "ev_bounce_permanent_general.json"
SOON = {"SESMAIL_SITE": "alpha", "SESMAIL_EVENTS_INTERVAL_SECONDS": "0.5"}


@pytest.mark.parametrize("kind", ["redis", "sqlite"])
def test_a_worker_finds_events_by_itself(new_site, tmp_path, kind) -> None:
    site = new_site(**SOON, **({} if kind == "redis" else {"SESMAIL_EVENT_STORE": f"sqlite:///{tmp_path}/events.db"}))
    scripts = Scripts(site.redis, Keys())
    store = RedisEventStore(scripts) if kind == "redis" else SqlEventStore(f"sqlite:///{tmp_path}/events.db")
    if isinstance(store, SqlEventStore):
        store.create_table()
    message = BOUNCE.read_text()
    store.put([StoredEvent(event_id="one", source="alpha", message=message, received_at=1.0)])
    store.put([StoredEvent(event_id="two", source="beta", message=message, received_at=1.0)])
    site.start_worker("sesmail", "-c", "2")
    eventually(lambda: store.counts("alpha") == Counts(unprocessed=0, set_aside=0))
    (opt_out,) = SuppressionList(scripts).read()
    assert opt_out.address == json.loads(message)["bounce"]["bouncedRecipients"][0]["emailAddress"]
    assert store.counts("beta").unprocessed == 1, "another site's"
    if isinstance(store, SqlEventStore):
        store.engine.dispose()


def test_a_worker_that_does_not_consume_the_events_queue_leaves_it_empty(new_site) -> None:
    site = new_site(**SOON)
    store = RedisEventStore(Scripts(site.redis, Keys()))
    store.put([StoredEvent(event_id="one", source="alpha", message="{}", received_at=1.0)])
    site.start_worker("sesmail", "-c", "2", "-X", "sesmail.events")
    eventually(lambda: site.redis.exists(Keys()("turn", "sweep")))
    assert store.counts("alpha").unprocessed == 1
    assert site.redis.llen("sesmail.events") == 0
