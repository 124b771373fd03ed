"""Letters to many by SendBulkEmail, over a real Redis and the local SES."""

from __future__ import annotations

import json
import logging
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import boto3
import pytest
from redis import Redis

from sesmail import Client, Letter, Settings
from sesmail.embedded import EmbeddedRedis
from sesmail.errors import (
    DailyQuotaExceeded,
    InvalidEmail,
    OutcomeUnknown,
    SendingPaused,
    SendRejected,
    SendThrottled,
    SesError,
    SesMisconfigured,
    SesUnavailable,
)
from sesmail.message import Email, Lane
from sesmail.sending.batches import sending
from sesmail.ses.answers import what_happens_to_entry
from sesmail.ses.transport import SesTransport
from sesmail.simulator import Simulator
from sesmail.vocabulary import State
from tests.tickets import Broker

LETTER = Letter(
    subject="Hello {{name}}",
    html="<p>{{name|you}} & <a href='{{unsubscribe_url}}'>{{email}}</a> {{code|url}}</p>",
    text="Dear {{name|you}}: {{code}}",
)
UNKNOWN = OutcomeUnknown("SES answered 500", code="InternalFailure")


@pytest.fixture(autouse=True)
def no_ticket_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a chunk is worked through under one ticket."""
    monkeypatch.setattr(sending, "HOLD_SECONDS", 600.0)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(rate=10_000, quota=-1) as made:
        yield made


@pytest.fixture
def client(
    redis: Redis, redis_server: EmbeddedRedis, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    simulator.reset()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SESV2", simulator.url)
    made = Client(
        Settings(
            redis_url=redis_server.url,
            region="us-east-1",
            from_email="shop@example.com",
            unsubscribe_url="https://example.com/u/",
            unsubscribe_secrets=["s" * 20],
            batch_call="bulk",
        ),
        Broker(),
    )
    made.turns.take("account", 600)  # nobody asks for the limits
    made.throttle.update_account(rate=-1, quota_24h=-1, sent_24h=0)
    yield made
    made.close()


def readers(count: int) -> Iterator[tuple[str, dict[str, object]]]:
    return ((f"reader{n}@example.org", {"name": f"N<{n}>" if n else "", "code": f"a/{n}"}) for n in range(count))


def work(client: Client) -> int:
    return sum(done for done in iter(lambda: client.chunk_worker.work(Lane.BULK, None), None))


def calls(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many recipients each call is for; 0 for a single one."""
    made: list[int] = []
    one, many = SesTransport.send_composed, SesTransport.send_bulk

    def bulk(self: SesTransport, letter: Any, request: Any) -> Any:
        made.append(len(request["BulkEmailEntries"]))
        return many(self, letter, request)

    monkeypatch.setattr(SesTransport, "send_composed", lambda self, composed: made.append(0) or one(self, composed))
    monkeypatch.setattr(SesTransport, "send_bulk", bulk)
    return made


def answers(monkeypatch: pytest.MonkeyPatch, said: Callable[[int], str | SesError]) -> None:
    """What SES says of an entry, by its number."""

    def bulk(_self: SesTransport, _letter: Any, request: Any) -> list[str | SesError]:
        tags = [
            {tag["Name"]: tag["Value"] for tag in entry["ReplacementTags"]} for entry in request["BulkEmailEntries"]
        ]
        return [said(int(tag["sesmail-id"].rpartition("-")[2])) for tag in tags]

    monkeypatch.setattr(SesTransport, "send_bulk", bulk)


def test_each_reader_gets_by_one_call_for_fifty_what_single_calls_send(
    client: Client, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = calls(client, monkeypatch)
    batch = client.send_batch(LETTER, readers(120), key="bulk", list="news")
    assert work(client) == 120
    assert made == [50, 50, 20]
    assert batch.status().counts == {"sent": 120}
    client.chunk_worker._together = False
    client.send_batch(LETTER, readers(3), key="single", list="news")
    work(client)
    shown = [simulator.control("GET", f"/_sim/messages/{each['message_id']}") for each in simulator.messages()]
    for number in range(3):
        bulk, single = [each for each in shown if each["to"] == [f"reader{number}@example.org"]]
        assert bulk["operation"] != single["operation"]
        assert (bulk["subject"], bulk["from"]) == (single["subject"], single["from"])
        assert bulk["text"] == single["text"]
        assert html_of(simulator, bulk) == html_of(simulator, single)
        assert bulk["tags"]["sesmail-id"] == f"{batch.id}-{number}"
        assert bulk["tags"]["sesmail-list"] == single["tags"]["sesmail-list"] == "news"
        assert sorted(names(bulk)) == sorted(names(single))
        assert "list-unsubscribe-post" in names(bulk)


def names(message: dict[str, Any]) -> list[str]:
    return [name.lower() for name, _ in message["headers"]]


def html_of(simulator: Simulator, message: dict[str, Any]) -> str:
    """With everybody's link the same."""
    with urlopen(f"{simulator.url}/_sim/messages/{message['message_id']}/html") as answer:
        return re.sub("https://example.com/u/[^']+", "", answer.read().decode())


def test_each_entry_has_its_own_fate(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[int, SesError] = {
        1: SendRejected("Address is not valid.", code="MessageRejected"),
        2: UNKNOWN,
        3: SesUnavailable("later", code="TRANSIENT_FAILURE"),
    }
    said[3].is_answer = True
    answers(monkeypatch, lambda number: said.get(number, f"ses-{number}"))
    batch = client.send_batch(LETTER, readers(5), key="k", list="news")
    client.chunk_worker.work(Lane.BULK, None)
    assert batch.status().counts == {"sent": 2, "rejected": 1, "unknown": 1, "queued": 1}
    assert client.real_outbox.status(f"{batch.id}-1").code == "MessageRejected"
    assert client.ledger.record_evidence(f"{batch.id}-2", "ses-2") == "settled"
    del said[3]
    client.scripts.redis.hset(client.scripts.keys("batch", batch.id), "wait_until", 0)
    assert work(client) == 1
    assert batch.status().counts == {"sent": 4, "rejected": 1}


def test_a_throttle_and_a_stopped_line_among_entries_hold_up_the_batch(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, lambda number: SendThrottled("Maximum sending rate exceeded.") if number > 1 else "ses")
    batch = client.send_batch(LETTER, readers(4), key="k", list="news")
    client.chunk_worker.work(Lane.BULK, None)
    assert batch.status().counts == {"sent": 2, "queued": 2}
    assert client.throttle.snapshot().refused == 2
    answers(monkeypatch, lambda _number: SendingPaused("paused", code="SendingPausedException"))
    client.scripts.redis.hset(client.scripts.keys("batch", batch.id), "wait_until", 0)
    client.chunk_worker.work(Lane.BULK, None)
    assert batch.status().counts == {"sent": 2, "queued": 2}
    assert client.throttle.snapshot().closures


def test_no_answer_to_a_whole_call_leaves_each_of_its_recipients_unknown(client: Client, simulator: Simulator) -> None:
    batch = client.send_batch(LETTER, readers(3), key="k", list="news")
    simulator.faults(script=["error_after"])
    client.chunk_worker.work(Lane.BULK, None)
    assert batch.status().counts == {"unknown": 3}
    for number in range(3):
        assert client.ledger.record_evidence(f"{batch.id}-{number}", f"ses-{number}") == "settled"
    client.sweeper.sweep()
    assert batch.status().counts == {"sent": 3}


def test_a_call_that_ses_does_not_take_as_a_whole_is_made_singly_and_that_is_said(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the API's door, say: whether AWS limits calls for several is not documented."""
    made = calls(client, monkeypatch)

    def at_the_door(_self: SesTransport, _letter: Any, _request: Any) -> Any:
        error = SendThrottled("Rate exceeded", code="TooManyRequestsException")
        error.is_answer = True
        raise error

    monkeypatch.setattr(SesTransport, "send_bulk", at_the_door)
    batch = client.send_batch(LETTER, readers(5), key="k", list="news")
    with caplog.at_level(logging.WARNING, "sesmail"):
        assert work(client) == 5
    assert made == [0] * 5
    assert batch.status().counts == {"sent": 5}
    assert any("SendBulkEmail is of no use" in record.getMessage() for record in caplog.records)
    assert client.throttle.snapshot().refused == 0


@pytest.mark.parametrize(
    "letter",
    [
        Letter(subject="{{name}}", text="}} {{name}}", verbatim=True),
        Letter(subject="Hello", text="a\\{{name}}"),
        Letter(subject="Hello", text="Hi {{name}}", attachments=[("a.txt", b"a", "text/plain")]),
    ],
    ids=["braces", "backslash", "attachment"],
)
def test_a_letter_that_ses_would_read_otherwise_goes_by_single_calls(
    client: Client, monkeypatch: pytest.MonkeyPatch, letter: Letter
) -> None:
    made = calls(client, monkeypatch)
    client.send_batch(letter, readers(2), key="k", list="news")
    assert work(client) == 2
    assert made == [0, 0]


def test_a_call_has_no_more_recipients_than_a_quarter_of_a_second_is_worth(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.throttle.update_account(rate=40, quota_24h=-1, sent_24h=0)
    made = calls(client, monkeypatch)
    client.send_batch(LETTER, readers(25), key="k", list="news")
    assert work(client) == 25
    assert set(made[:-1]) == {9}, "nine of forty a second, less the margin"


def test_who_opted_out_and_what_is_paused_is_not_asked_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made = calls(client, monkeypatch)
    batch = client.send_batch(LETTER, readers(60), key="k", list="news")
    client.real_outbox.cancel(f"{batch.id}-3")
    assert work(client) == 59
    assert made == [50, 9]
    paused = client.send_batch(LETTER, readers(5), key="l", list="news")
    held = client.batches.claim(Lane.BULK, "me", "token")
    assert held
    paused.pause()
    assert client.batches.begin(held, {0: "reader0@example.org"}, tries=False)[0] == ["paused"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("ACCOUNT_THROTTLED", SendThrottled),
        ("ACCOUNT_DAILY_QUOTA_EXCEEDED", DailyQuotaExceeded),
        ("ACCOUNT_SUSPENDED", SendingPaused),
        ("ACCOUNT_SENDING_PAUSED", SendingPaused),
        ("CONFIGURATION_SET_SENDING_PAUSED", SendingPaused),
        ("CONFIGURATION_SET_NOT_FOUND", SesMisconfigured),
        ("MAIL_FROM_DOMAIN_NOT_VERIFIED", SesMisconfigured),
        ("INVALID_SENDING_POOL_NAME", SesMisconfigured),
        ("MESSAGE_REJECTED", SendRejected),
        ("INVALID_PARAMETER", SendRejected),
        ("TRANSIENT_FAILURE", SesUnavailable),
        ("FAILED", OutcomeUnknown),
        ("WHAT_IS_NEW", OutcomeUnknown),
    ],
)
def test_what_ses_says_of_an_entry_means_what_it_would_say_to_a_single_call(status: str, error: type[SesError]) -> None:
    letter = Email(None, "s", "t", from_email="shop@example.com", configuration_set="news")
    found = what_happens_to_entry(status, "Said of ann@example.org", letter)
    assert type(found) is error
    assert "ann@" not in str(found)


def test_a_worker_killed_while_it_asks_for_several_leaves_those_in_doubt_and_repeats_none(
    client: Client, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = SesTransport.send_bulk

    class Killed(BaseException): ...

    def killed(self: SesTransport, letter: Any, request: Any) -> Any:
        many(self, letter, request)
        raise Killed

    batch = client.send_batch(LETTER, readers(60), key="k", list="news")
    monkeypatch.setattr(client.lease, "owner", lambda: "dead")
    with monkeypatch.context() as patch:
        patch.setattr(SesTransport, "send_bulk", killed)
        with pytest.raises(Killed):
            client.chunk_worker.work(Lane.BULK, None)
    client.sweeper.sweep()
    assert batch.status().counts == {"unknown": 50, "queued": 10}
    assert work(client) == 10
    for send_id in client.ledger.ids(State.UNKNOWN):
        assert client.ledger.record_evidence(send_id, f"ses-{send_id}") == "settled"
    client.sweeper.sweep()
    assert batch.status().counts == {"sent": 60}
    assert len(simulator.messages()) == 60


def test_what_is_cut_off_when_another_has_the_chunk_is_left_to_that_one(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = client.send_batch(LETTER, readers(3), key="k", list="news")

    def sleep_past_the_lease(*_: object) -> None:
        assert client.batches.take_over("another")
        raise RuntimeError("a bug")

    monkeypatch.setattr(client.lease, "owner", lambda: "dead")
    monkeypatch.setattr(SesTransport, "send_bulk", sleep_past_the_lease)
    client.chunk_worker.work(Lane.BULK, None)
    assert batch.status().counts == {"sending": 3}


def test_two_workers_at_once_send_each_of_a_batch_once(client: Client, simulator: Simulator) -> None:
    batch = client.send_batch(LETTER, readers(400), key="k", list="news")
    threads = [threading.Thread(target=work, args=(client,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert batch.status().counts == {"sent": 400}
    assert simulator.report()["accepted"]["recipients"] == 400


# -- templates that SES fills in ---------------------------------------------------------------------------------------

ORDERS = "{{#if vip}}Dear {{name}}{{else}}Hello{{/if}}: {{#each orders}}{{what}} for {{price.gross}}, {{/each}}{{place.city}}"


@pytest.fixture
def orders(client: Client, simulator: Simulator) -> Iterator[str]:
    """The name of a template that SES keeps, with a condition, a loop and a path."""
    ses = boto3.client("sesv2", region_name="us-east-1", endpoint_url=simulator.url)
    content = {"Subject": "For {{email}}", "Text": ORDERS, "Html": "<p>{{{place.city}}} {{unsubscribe_url}}</p>"}
    ses.create_email_template(TemplateName="orders", TemplateContent=content)
    yield "orders"
    ses.close()


VIP = {"vip": True, "name": "Ann", "orders": [{"what": "tea", "price": {"gross": 3}}], "place": {"city": "<Ulm>"}}
PEOPLE = [("ann@example.org", VIP), ("bob@example.org", {"place": {"city": "Bonn"}})]


@pytest.mark.parametrize("together", [True, False])
def test_a_template_of_ses_with_conditions_loops_and_paths_is_filled_in_by_ses(
    client: Client, simulator: Simulator, orders: str, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = calls(client, monkeypatch)
    monkeypatch.setattr(client.chunk_worker, "_together", together)
    batch = client.send_batch(orders, PEOPLE, key="k", list="news")
    work(client)
    assert made == ([2] if together else [0, 0])
    found = [simulator.control("GET", f"/_sim/messages/{each['message_id']}") for each in simulator.messages()]
    ann, bob = sorted(found, key=lambda each: each["to"])
    assert [each["tags"]["sesmail-id"] for each in (ann, bob)] == [f"{batch.id}-0", f"{batch.id}-1"]
    assert (ann["subject"], ann["text"]) == ("For ann@example.org", "Dear Ann: tea for 3, <Ulm>")
    assert bob["text"] == "Hello: Bonn"
    assert html_of(simulator, ann).startswith("<p><Ulm> ")
    assert "list-unsubscribe-post" in names(ann)


@pytest.mark.parametrize(
    ("context", "missing"), [({"vip": True, "name": "Ann"}, "place"), ({"place": None, "name": "x"}, "place")]
)
def test_what_ses_could_not_do_without_is_missed_before_anything_is_queued(
    client: Client, orders: str, context: dict[str, object], missing: str
) -> None:
    with pytest.raises(InvalidEmail, match=missing):
        client.send_batch(orders, [("ann@example.org", context)], key="k", list="news")


def test_a_former_release_leaves_a_template_that_ses_fills_in_to_later_ones_and_knows_all_other_letters(
    client: Client, orders: str
) -> None:
    by_ses = client.send_batch(orders, PEOPLE, key="k", list="news")
    ours = client.send_batch(LETTER, readers(1), key="l", list="news")
    forms = [json.loads(zlib.decompress(client.batches.letter(each.id)))["v"] for each in (by_ses, ours)]
    assert forms == [2, 1]
