"""The commands that have to do with events, as they are installed: what they say and how they exit."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from seslocal import Simulator
from sesmail.embedded import EmbeddedRedis
from sesmail.events.stores import EventState, StoredEvent
from sesmail.events.stores.redis import RedisEventStore
from sesmail.events.stores.sql import SqlEventStore
from sesmail.state.people.reputation import Counter, Fact, Reputation
from sesmail.state.people.suppression import SuppressionList
from sesmail.vocabulary import Reason
from tests.acceptance.programs import Program, eventually
from tests.conftest import MADE_UP_CREDENTIALS
from tests.signing import TOPIC, Signer

BOUNCE = Path(__file__).parents[2] / "fixtures" / "events" / "ev_bounce_permanent_general.json"
SIGNER = Signer()
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def sesmail(redis_server: EmbeddedRedis, redis, tmp_path):
    def run(*arguments: str, as_json: bool = True, **environment: str):
        environment = os.environ | {"SESMAIL_REDIS_URL": redis_server.url, "SESMAIL_SITE": "alpha"} | environment
        command = [str(Path(sys.executable).with_name("sesmail")), *arguments, *(["--json"] if as_json else [])]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, json.loads(done.stdout or "null") if as_json else done.stdout, done.stderr

    return run


@pytest.fixture
def store(scripts) -> RedisEventStore:
    return RedisEventStore(scripts)


def event(event_id: str, message: str = "{}") -> StoredEvent:
    return StoredEvent(event_id=event_id, source="alpha", message=message, received_at=1.0)


def test_events_lists_what_was_set_aside_and_replays_it(sesmail, store) -> None:
    store.put([event("one"), event("two"), event("three")])
    store.set_aside(event("one"), error="site.hook: ValueError", now=2.0)
    code, listed, _ = sesmail("events")
    assert (code, listed["unprocessed"], listed["set_aside"]) == (0, 2, 1)
    assert [(one["event_id"], one["error"]) for one in listed["events"]] == [("one", "site.hook: ValueError")]
    assert {one["event_id"] for one in sesmail("events", "--unprocessed")[1]["events"]} == {"two", "three"}
    assert sesmail("events", "--replay")[:2] == (0, {"replayed": 1, "unknown": 0})
    assert store.counts("alpha").set_aside == 0
    assert sesmail("events", "--replay", "one", "unheard-of")[:2] == (1, {"replayed": 1, "unknown": 1})


def test_an_event_is_shown_whole_and_one_that_is_not_kept_is_not(sesmail, store) -> None:
    store.put([event("one", BOUNCE.read_text())])
    code, (shown,), _ = sesmail("events", "one")
    assert (code, shown["kind"], shown["site"], json.loads(shown["message"])["eventType"]) == (
        0,
        "Bounced",
        "alpha",
        "Bounce",
    )
    (read,) = shown["events"]
    assert (read["recipient"], read["permanent"], read["bounce_type"]) == ("gone@example.net", True, "Permanent")
    assert '"bounceType": "Permanent"' in sesmail("events", "one", as_json=False)[1]
    assert sesmail("events", "unheard-of")[:2] == (1, [])
    assert sesmail("events", "one", "--unprocessed")[0] == 2


def test_what_cannot_be_read_is_listed_with_its_places_processed_or_not(sesmail, store) -> None:
    odd = json.loads(BOUNCE.read_text())
    odd["bounce"]["timestamp"] = "yesterday"
    store.put([event("good", BOUNCE.read_text()), event("odd", json.dumps(odd)), event("none", "{not json")])
    store.mark_processed([event("odd")], now=time.time())
    code, listed, _ = sesmail("events", "--unread")
    assert code == 0
    assert {one["event_id"]: one["unread"] for one in listed["events"]} == {
        "odd": ["bounce.timestamp"],
        "none": ["not JSON"],
    }


def test_cron_can_process_what_waits_of_this_site_or_another(sesmail, store, scripts) -> None:
    store.put([event("one", BOUNCE.read_text()), replace(event("two", BOUNCE.read_text()), source="beta")])
    assert sesmail("process-events")[:2] == (0, {"processed": 1, "failed": 0, "told": 0})
    assert [entry.reason for entry in SuppressionList(scripts).read()] == [Reason.BOUNCED]
    assert (store.counts("alpha").unprocessed, store.counts("beta").unprocessed) == (0, 1)
    assert sesmail("process-events", "--site", "beta")[1]["processed"] == 1


def test_purge_forgets_old_processed_events_only(sesmail, store) -> None:
    store.put([event("old"), event("new"), event("waits")])
    store.mark_processed([event("old")], now=time.time() - 100_000)
    store.mark_processed([event("new")], now=time.time())
    assert sesmail("purge", "--older-than", "1d")[:2] == (0, {"purged": 1})
    assert [one.event_id for one in store.read("alpha", EventState.PROCESSED)] == ["new"]
    assert store.counts("alpha").unprocessed == 1
    assert sesmail("purge", "--older-than", "soon")[0] == 2


def test_rates_are_shown_by_list_and_day(sesmail, scripts) -> None:
    today = datetime.now(UTC).date()
    fact = {"told_by": "x", "happened_on": today, "site": "alpha", "list": "monthly", "sent_on": today}
    Reputation(scripts).count(
        [
            Fact(key=key, counter=counter, **fact)
            for key, counter in [("a", Counter.SENT), ("b", Counter.BOUNCED_PERMANENT)]
        ]
    )
    code, (rates,), _ = sesmail("rates")
    assert (code, rates["list"], rates["sent"], rates["bounce_rate"]) == (0, "monthly", 1, 1.0)
    assert "monthly" in sesmail("rates", as_json=False)[1]
    assert sesmail("rates", "--site", "beta")[:2] == (0, [])


def test_opt_outs_are_added_listed_and_removed(sesmail, scripts) -> None:
    assert sesmail("suppress", "add", "Ann@example.org", "--scope", "list:alpha/monthly")[:2] == (0, {"added": True})
    assert sesmail("suppress", "add", "ann@example.org", "--scope", "list:alpha/monthly")[:2] == (0, {"added": False})
    _, (entry,), _ = sesmail("suppress", "list", "ann@example.org")
    assert (entry["scope"], entry["reason"], entry["source"]) == ("list:alpha/monthly", "manual", "command")
    assert sesmail("suppress", "remove", "ann@example.org")[0] == 1
    assert sesmail("suppress", "remove", "ann@example.org", "--scope", "list:alpha/monthly")[0] == 0
    assert sesmail("suppress", "list")[:2] == (0, [])
    assert sesmail("suppress", "add", "Ann <ann@example.org>")[0] == 1
    assert sesmail("suppress", "add", "ann@example.org", "--scope", "nonsense")[0] == 2


def test_what_export_writes_import_reads(sesmail, tmp_path) -> None:
    sesmail("suppress", "add", "ann@example.org", "--reason", "complained")
    sesmail("suppress", "add", "bob@example.org", "--scope", "site:beta")
    file = tmp_path / "opt-outs.csv"
    file.write_text(sesmail("suppress", "export", as_json=False)[1])
    before = sesmail("suppress", "list")[1]
    for entry in before:
        sesmail("suppress", "remove", entry["address"], "--scope", entry["scope"])
    assert sesmail("suppress", "import", str(file))[:2] == (0, {"added": 2, "known": 0})
    assert sesmail("suppress", "list")[1] == before


def test_a_bad_line_stops_an_import_before_it_begins(sesmail, scripts, tmp_path) -> None:
    file = tmp_path / "opt-outs.csv"
    file.write_text("address,reason\nann@example.org,bounced\nnobody,bounced\n")
    code, _, said = sesmail("suppress", "import", str(file))
    assert (code, "Line 3" in said, list(SuppressionList(scripts).read())) == (1, True, [])


def test_opt_outs_are_rebuilt_from_stored_events(sesmail, store, scripts) -> None:
    message = BOUNCE.read_text()
    store.put([event("one", message)])
    store.mark_processed([event("one", message)], now=2.0)
    assert sesmail("suppress", "rebuild")[:2] == (0, {"added": 1})
    assert [entry.reason for entry in SuppressionList(scripts).read()] == [Reason.BOUNCED]
    assert sesmail("suppress", "rebuild")[:2] == (0, {"added": 0})


def test_a_door_without_topics_does_not_open(sesmail) -> None:
    code, _, said = sesmail("webhook")
    assert (code, "SESMAIL_TOPICS" in said) == (78, True)


def test_a_door_whose_port_is_taken_says_so_before_anything_else(sesmail) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said, why = sesmail("webhook", "--port", port, SESMAIL_TOPICS=json.dumps({TOPIC: "alpha"}))
    assert (code, said, f"Cannot listen on 127.0.0.1:{port}" in why) == (78, None, True)


def test_only_what_is_stored_and_known_can_be_confirmed(sesmail, store) -> None:
    store.put([event("no-subscription")])
    for id_ in ("no-subscription", "unheard-of"):
        assert sesmail("confirm", id_, SESMAIL_TOPICS=json.dumps({TOPIC: "alpha"}))[0] == 1


@pytest.fixture
def queue(monkeypatch):
    """A queue of a local SQS, where the commands look for it, too."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    for name, value in MADE_UP_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://{}:{}".format(*server.get_host_and_port()))
    client = boto3.client("sqs", region_name="us-east-1")
    yield client, client.create_queue(QueueName=f"ses-events-{os.urandom(4).hex()}")["QueueUrl"]
    client.close()
    server.stop()


def left_in(client, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


BELIEVED = {"SESMAIL_TOPICS": json.dumps({TOPIC: "alpha"}), "SESMAIL_VERIFY_QUEUES": "false"}


def test_drain_dlq_takes_in_what_is_ours_and_leaves_the_rest(sesmail, store, queue) -> None:
    client, url = queue
    client.send_message(QueueUrl=url, MessageBody=json.dumps(SIGNER.notification(BOUNCE.read_text())))
    assert sesmail("drain-dlq", url, **BELIEVED)[:2] == (0, {"received": 1, "stored": 1})
    assert (left_in(client, url), store.counts("alpha").unprocessed) == (0, 1)
    client.send_message(QueueUrl=url, MessageBody="not ours")
    assert sesmail("drain-dlq", url, "--max-age", "60d", **BELIEVED)[:2] == (1, {"received": 1, "stored": 0})
    assert left_in(client, url) == 1


def test_the_poller_moves_what_comes_into_the_store_and_ends_at_once_though_sqs_holds_its_call(
    redis_server, store, queue, tmp_path
) -> None:
    client, url = queue
    environment = (
        os.environ | BELIEVED | {"SESMAIL_REDIS_URL": redis_server.url, "SESMAIL_SQS_QUEUE_URLS": f'["{url}"]'}
    )
    command = str(Path(sys.executable).with_name("sesmail"))
    with Program(command, "poll-sqs", folder=tmp_path, environment=environment) as program:
        client.send_message(QueueUrl=url, MessageBody=json.dumps(SIGNER.notification(BOUNCE.read_text())))
        client.send_message(QueueUrl=url, MessageBody=json.dumps(SIGNER.confirmation("UnsubscribeConfirmation")))
        eventually(lambda: store.counts("alpha").unprocessed == 2)
        eventually(lambda: left_in(client, url) == 0)
        eventually(lambda: re.search(r"^\d{4}-\S+ \S+ CRITICAL Unsubscribed from", program.output, re.MULTILINE))
        began = time.monotonic()
        assert program.stop() == 0
        assert time.monotonic() - began < 10, "it waited for SQS, which holds a call for 20 seconds"
        assert "Traceback" not in program.output


def test_the_handler_that_lambda_names_works_by_its_environment_alone(tmp_path) -> None:
    called = """
import json, sys
from sesmail.doors.aws_lambda import handler
print(json.dumps(handler(json.load(sys.stdin), None)))
assert "celery" not in sys.modules and "boto3" not in sys.modules
"""
    records = {"one": json.dumps(SIGNER.notification(BOUNCE.read_text())), "two": "not ours"}
    event = {"Records": [{"messageId": id_, "body": body} for id_, body in records.items()]}
    database = f"sqlite:///{tmp_path}/events.db"
    environment = os.environ | BELIEVED | {"SESMAIL_EVENT_STORE": database}
    done = subprocess.run(
        [sys.executable, "-c", called],
        input=json.dumps(event), env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"batchItemFailures": [{"itemIdentifier": "two"}]}
    stored = SqlEventStore(database)
    assert stored.counts("alpha").unprocessed == 1
    stored.engine.dispose()


@pytest.mark.parametrize("command", [["events"], ["rates"], ["suppress", "list"], ["purge", "--older-than", "1d"]])
def test_without_redis_a_command_says_that_it_may_be_tried_again(sesmail, command) -> None:
    assert sesmail(*command, SESMAIL_REDIS_URL=NOWHERE)[0] == 75


def test_removing_an_opt_out_says_that_ses_has_a_list_of_its_own_and_takes_it_off_that(sesmail, scripts) -> None:
    with Simulator(calls_per_second=None) as simulator:
        place = {"SESMAIL_ENDPOINT_URL": simulator.url, "AWS_DEFAULT_REGION": "us-east-1"} | MADE_UP_CREDENTIALS
        for _ in range(2):
            sesmail("suppress", "add", "bob@example.org", "--reason", "bounced")
        assert sesmail("suppress", "sync", **place)[:2] == (0, {"read": 0, "added_here": 0, "added_at_ses": 1})
        said = sesmail("suppress", "remove", "bob@example.org", as_json=False, **place)[1]
        assert "--also-at-ses" in said
        assert sesmail("suppress", "remove", "bob@example.org", "--also-at-ses", **place)[:2] == (
            0,
            {"removed": False, "removed_at_ses": True},
        )
        assert sesmail("suppress", "sync", **place)[1] == {"read": 0, "added_here": 0, "added_at_ses": 0}


def test_what_operators_do_is_on_record_with_who_and_why_and_no_address(sesmail, redis) -> None:
    sesmail("pause", "--reason", "a wrong letter")
    sesmail("resume", "--why", "it is mended")
    sesmail("suppress", "add", "ann@example.org")
    sesmail("suppress", "remove", "ann@example.org", "--why", "she asked for it")
    sesmail("suppress", "remove", "ann@example.org")  # it was not there: nothing was done
    code, acts, _ = sesmail("audit")
    assert (code, [(act["what"], act["why"]) for act in acts]) == (
        0,
        [("opt-out removed", "she asked for it"), ("resume", "it is mended"), ("pause", "a wrong letter")],
    )
    assert all("@" in act["who"] and time.time() - act["at"] < 120 for act in acts)
    assert b"ann@example.org" not in b"".join(redis.lrange("{sesmail}:audit", 0, -1))
    assert "a wrong letter" in sesmail("audit", as_json=False)[1]
