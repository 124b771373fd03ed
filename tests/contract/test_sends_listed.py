"""`sesmail sends`, `failed` and `rates` as an operator uses them: found, with the true reason, and dealt with at once."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from sesmail import Client, Letter
from sesmail.cli import main
from sesmail.message import Email, Lane
from sesmail.state.people.reputation import Counter, Fact
from sesmail.vocabulary import LOT, Claim, State
from tests.contract.test_obstacles import refuse

LIST = {"sesmail-list": "monthly"}


@pytest.fixture
def sesmail(client: Client, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command, in this process, on the test's ledger."""
    monkeypatch.setattr("sesmail.cli.site.load_application", lambda *_: "a test")
    monkeypatch.setattr("sesmail.celery.current.current_client", lambda: client)
    client.ledger.heartbeat("worker", 600)
    client.throttle.update_account(rate=14, quota_24h=50_000, sent_24h=0, standing="healthy")

    def run(*arguments: str, says: str = "") -> Result:
        return CliRunner().invoke(main, arguments, input=says, catch_exceptions=False)

    return run


def accept(client: Client, send_id: str, to: str = "ann@example.org", *, lane: Lane = Lane.BULK, **more: Any) -> None:
    client.ledger.accept(send_id, Email(to, "Secret subject", "t", from_email="shop@example.com", lane=lane, **more))


def claim(client: Client, send_id: str) -> Claim:
    found = client.ledger.claim(send_id, "worker")
    assert isinstance(found, Claim)
    return found


def listed(result: Result) -> dict[str, str]:
    """Ids, each with why it waits."""
    return {each["send_id"]: each["why"] for each in json.loads(result.stdout)["sends"]}


def test_waiting_sends_are_found_by_state_list_age_and_address(client: Client, redis: Redis, sesmail: Any) -> None:
    accept(client, "letter", tags=LIST)
    accept(client, "old", tags=LIST)
    accept(client, "bobs", "bob@example.org", tags=LIST)
    accept(client, "receipt", lane=Lane.TRANSACTIONAL)
    accept(client, "done", tags=LIST)
    client.ledger.record_evidence("done", "ses-1")
    redis.hset("{sesmail}:send:old", "accepted_at", round(time.time() * 1000) - 3_600_000)
    assert set(listed(sesmail("sends", "--json"))) == {"letter", "old", "bobs", "receipt"}
    assert set(listed(sesmail("sends", "--list", "monthly", "--json"))) == {"letter", "old", "bobs"}
    assert set(listed(sesmail("sends", "--list", "monthly", "--older-than", "10m", "--json"))) == {"old"}
    assert set(listed(sesmail("sends", "--to", "Bob@example.org", "--json"))) == {"bobs"}
    assert set(listed(sesmail("sends", "--to", "ann@example.org", "--list", "monthly", "--json"))) == {"letter", "old"}
    assert set(listed(sesmail("sends", "--lane", "transactional", "--json"))) == {"receipt"}
    assert set(listed(sesmail("sends", "--state", "sent", "--list", "monthly", "--json"))) == {"done"}
    shown = sesmail("sends", "--limit", "2").stdout
    assert "4 sends, the first 2" in shown
    assert "Secret" not in shown
    assert "@" not in shown


def test_the_reason_is_the_one_that_holds_now(client: Client, redis: Redis, sesmail: Any) -> None:
    """Not what a worker wrote down when it last looked."""
    accept(client, "first")
    accept(client, "second")
    accept(client, "later", send_at=datetime.now(UTC) + timedelta(hours=3))
    client.ledger.postpone(claim(client, "second"), 60, LOT)
    assert listed(sesmail("sends", "--json"))["first"] == "a worker takes it in its turn"
    client.throttle.line.pause("lane:bulk", "ring Kim")
    assert {*listed(sesmail("sends", "--json")).values()} == {"the lane bulk is paused: ring Kim"}
    client.throttle.line.resume("lane:bulk")
    accept(client, "of a list", tags=LIST)
    client.throttle.line.pause("list:default/monthly", "too many bounces")
    assert listed(sesmail("sends", "--json"))["of a list"] == "the list monthly is paused: too many bounces"
    client.throttle.line.resume("list:default/monthly")
    found = listed(sesmail("sends", "--json"))
    assert found["second"].startswith("it comes to its turn in ")
    assert found["later"].startswith("as asked for, it goes in ")
    client.throttle.update_account(rate=14, quota_24h=1000, sent_24h=1000, standing="healthy")
    assert "quota is used up" in listed(sesmail("sends", "--json"))["second"]
    redis.hset("{sesmail}:fleet", "heard_at", round(time.time() * 1000) - 3_600_000)
    assert listed(sesmail("sends", "--json"))["first"] == "no worker is alive"


def test_all_that_are_found_are_cancelled_after_a_question(client: Client, sesmail: Any) -> None:
    accept(client, "one", tags=LIST)
    accept(client, "two", tags=LIST)
    accept(client, "another")
    command = ("sends", "--list", "monthly", "--cancel")
    assert sesmail(*command, says="n\n").exit_code == 1
    assert client.ledger.status("one").state is State.QUEUED
    done = sesmail(*command, "--why", "wrong price", says="y\n")
    assert (done.exit_code, "Cancel 2 sends?" in done.stderr) == (0, True)
    states = [client.ledger.status(each).state for each in ("one", "two", "another")]
    assert states == [State.CANCELLED, State.CANCELLED, State.QUEUED]
    (act,) = client.audit.read(10)
    assert (act.what, act.why, act.about.startswith("2 sends")) == ("cancel", "wrong price", True)
    again = sesmail("sends", "--state", "cancelled", "--list", "monthly", "--requeue", "--yes", "--json")
    assert (again.exit_code, json.loads(again.stdout)["done"]) == (0, 2)
    assert client.ledger.status("one").state is State.QUEUED


def test_all_that_are_found_get_another_time(client: Client, sesmail: Any) -> None:
    accept(client, "one", tags=LIST, send_at=datetime.now(UTC) + timedelta(hours=3))
    done = sesmail("sends", "--list", "monthly", "--reschedule", "2031-01-01T08:00Z", "--yes", "--json")
    assert (done.exit_code, json.loads(done.stdout)["done"]) == (0, 1)
    assert client.search.facts("one").due_at == datetime(2031, 1, 1, 8, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--cancel", "--yes"),  # all of everything, by a slip
        ("--list", "monthly", "--cancel", "--requeue"),
        ("--list", "monthly", "--cancel", "--json"),  # nobody could be asked
        ("--older-than", "soon"),
        ("--list", "monthly", "--reschedule", "tomorrow"),
    ],
    ids=" ".join,
)
def test_what_is_not_meant_is_refused(client: Client, sesmail: Any, arguments: tuple[str, ...]) -> None:
    accept(client, "one", tags=LIST)
    assert sesmail("sends", *arguments).exit_code == 2
    assert client.ledger.status("one").state is State.QUEUED


def test_failed_says_how_many_of_each_kind_first(client: Client, sesmail: Any) -> None:
    for number in range(3):
        refuse(client, f"a{number}", "MessageRejected", "Verify it. SES says: Email address is not verified.")
    refuse(client, "b", "BadRequestException", "Illegal address")
    lines = sesmail("failed").stdout.splitlines()
    assert lines[0].startswith("4 rejected, 0 abandoned, 0 expired")
    assert lines[1].split() == [
        "3",
        "x",
        "rejected",
        *["MessageRejected:", "Email", "address", "is", "not", "verified."],
    ]
    groups = json.loads(sesmail("failed", "--json").stdout)["groups"]
    assert [(each["emails"], each["code"]) for each in groups] == [(3, "MessageRejected"), (1, "BadRequestException")]


def test_rates_fit_a_terminal_and_mark_what_aws_would(client: Client, sesmail: Any) -> None:
    today = datetime.now(UTC).date()
    about = {"told_by": "x", "happened_on": today, "site": "default", "sent_on": today}

    def count(counter: Counter, number: int, list_name: str) -> None:
        keys = range(number)
        named = about | {"list": list_name}
        client.reputation.count([Fact(key=f"{list_name} {counter} {key}", counter=counter, **named) for key in keys])

    for list_name, bounces, complaints in (("good", 1, 0), ("a-list-with-a-long-name", 3, 0), ("burning", 6, 1)):
        count(Counter.SENT, 100, list_name)
        count(Counter.BOUNCED_PERMANENT, bounces, list_name)
        count(Counter.COMPLAINED, complaints, list_name)
    lines = [line.rstrip() for line in sesmail("rates").stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    of = {name: next(line for line in lines if name in line) for name in ("good", "a-list", "burning")}
    assert "!" not in of["good"]
    assert "3.0%! " in of["a-list"] + " "
    assert ("6.0%!!" in of["burning"], "1.00%!!" in of["burning"]) == (True, True)
    marks = {each["list"]: each["bounce_mark"] for each in json.loads(sesmail("rates", "--json").stdout)}
    assert marks == {"good": "", "a-list-with-a-long-name": "high", "burning": "reviewed"}


def test_status_and_why_tell_one_sends_story(client: Client, redis: Redis, sesmail: Any) -> None:
    accept(client, "refused")
    client.ledger.begin(held := claim(client, "refused"))
    client.ledger.rejected(held, "Email address is not verified.", "MessageRejected")
    client.ledger.requeue("refused")
    for told in (sesmail("status", "refused").stdout, sesmail("why", "refused").stdout):
        assert "rejected: MessageRejected (worker worker)" in told
        assert "an operator sent it again" in told
    told = json.loads(sesmail("why", "refused", "--json").stdout)["happened"]
    assert [each["what"].partition(":")[0] for each in told] == ["accepted", "rejected", "queued"]
    assert json.loads(sesmail("status", "refused", "--json").stdout)["moves"][1]["why"] == "MessageRejected"


def test_recipients_of_batches_are_listed_by_address_and_by_list_and_cancelled_as_others_are(
    sesmail: Any, client: Client
) -> None:
    letter = Letter(subject="Secret subject", text="t", from_email="shop@example.com")
    people = [f"reader{number}@example.org" for number in range(3)]
    batch = client.send_batch(letter, people, key="k", list="monthly", without_unsubscribe=True).id
    accept(client, "alone", "reader1@example.org", tags=LIST)

    def listed(*by: str) -> set[str]:
        return {each["send_id"] for each in json.loads(sesmail("sends", *by, "--json").stdout)["sends"]}

    assert listed("--to", "Reader1@example.org") == {f"{batch}-1", "alone"}
    assert listed("--list", "monthly") == {"alone", *(f"{batch}-{number}" for number in range(3))}
    assert sesmail("sends", "--to", "reader1@example.org", "--cancel", "--yes").exit_code == 0
    assert client.batches.status(batch).counts == {"queued": 2, "cancelled": 1}
    assert listed("--list", "monthly", "--state", "cancelled") == {"alone", f"{batch}-1"}
    assert json.loads(sesmail("find", "reader2@example.org", "--json").stdout)[0]["send_id"] == f"{batch}-2"


def test_a_recipient_of_a_batch_is_told_of_as_it_is_by_now(sesmail: Any, client: Client, redis: Redis) -> None:
    """By each command, what is in its way; and nothing that is in the way of others alone."""
    letter = Letter(subject="Secret subject", text="t", from_email="shop@example.com")
    terms: dict[str, Any] = {"list": "monthly", "without_unsubscribe": True}
    batch = client.send_batch(letter, ["a@example.org", "b@example.org"], key="k", ramp=1, **terms)
    accept(client, "beside")
    recipient, line = f"{batch.id}-1", client.throttle.line

    def told(send_id: str) -> str:
        said = listed(
            sesmail("sends", "--list", "monthly", "--json") if send_id != "beside" else sesmail("sends", "--json")
        )
        why = json.loads(sesmail("why", send_id, "--json").stdout)
        assert said[send_id].rstrip(".") in why["said"]
        assert json.loads(sesmail("status", send_id, "--json").stdout)["why"] == said[send_id]
        return f"{said[send_id]} {[each['id'] for each in why['obstacles']]}"

    assert told(recipient) == "a worker takes it in its turn []"
    batch.pause()
    assert told(recipient).startswith(f"its batch is paused: `sesmail batch {batch.id} --resume`")
    assert told(recipient).endswith("['batch-paused']")
    assert told("beside") == "a worker takes it in its turn []"
    batch.resume()
    line.pause("list:default/weekly", "not hers")
    assert told(recipient) == "a worker takes it in its turn []"
    for scope in ("account", "list:default/monthly", "site:default", "identity:example.com"):
        line.stop(scope, "mend it")
        assert "is stopped: mend it ['stopped']" in told(recipient)
        line.resume(scope)
    line.stop("identity:example.net", "another sender")
    assert told(recipient) == told("beside") == "a worker takes it in its turn []"
    redis.hset(f"{{sesmail}}:batch:{batch.id}", "rate", "5")
    assert "at 5 recipients a second at most" in told(recipient)
    held = client.batches.claim(Lane.BULK, "worker", "token")
    assert held
    client.batches.begin(held, {0: "a@example.org", 1: "b@example.org"}, tries=False)  # the ramp lets one go
    client.batches.settle(held, [0], "sent")
    client.batches.release(held)
    assert "today's share of the batch is used up (1 recipients" in told(recipient)
    assert "it goes on in 23 h 59 min" in told(recipient) or "it goes on in 1 d 0 h" in told(recipient)
    redis.hset(f"{{sesmail}}:batch:{batch.id}", "expires_at", "1000")
    assert told(recipient).startswith("its expiry time has passed")
    batch.cancel()
    cancelled = listed(sesmail("sends", "--list", "monthly", "--state", "cancelled", "--json"))
    assert cancelled == {recipient: "it was taken back before SES was asked"}


def test_a_batch_that_is_to_go_later_says_so(sesmail: Any, client: Client, redis: Redis) -> None:
    letter = Letter(subject="Secret subject", text="t", from_email="shop@example.com")
    later = datetime.now(UTC) + timedelta(hours=3)
    batch = client.send_batch(letter, ["a@example.org"], key="k", send_at=later, without_unsubscribe=True)
    assert json.loads(sesmail("batch", batch.id, "--json").stdout)["why"].startswith("as asked for, the batch goes in ")
    redis.hset("{sesmail}:fleet", "heard_at", round(time.time() * 1000) - 3_600_000)
    assert json.loads(sesmail("batch", batch.id, "--json").stdout)["why"] == "no worker is alive"


def test_a_load_test_does_not_wait_for_events_that_cannot_come(
    client: Client, redis: Redis, sesmail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so before it queues anything; where events were heard, whoever hears them has the topics."""
    monkeypatch.setattr(client, "settings", client.settings.model_copy(update={"from_email": "shop@example.com"}))
    asked = ("loadtest", "--emails", "3", "--events", "--yes", "--timeout", "0m")
    refused = sesmail(*asked)
    assert refused.exit_code == 78
    assert "no event of SES was ever heard" in refused.stderr
    assert client.ledger.counts()["queued"] == 0
    redis.hset("{sesmail}:heard", "default", round(time.time() * 1000))
    assert sesmail(*asked).exit_code == 1, "nobody has sent them"
    assert client.ledger.counts()["queued"] == 3
