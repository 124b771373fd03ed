"""An email's way out, where several parts must work together."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from redis import Redis

from sesmail import Client, Settings
from sesmail.embedded import EmbeddedRedis
from sesmail.errors import LedgerUnavailable
from sesmail.message import Email, Lane
from sesmail.sending.delivery.outcomes import Sent
from sesmail.simulator import Simulator
from sesmail.vocabulary import Cause, Claim, Postponed


def accept(client: Client, *send_ids: str) -> None:
    email = Email("success@simulator.amazonses.com", "s", "t", from_email="shop@example.com", lane="bulk")
    for send_id in send_ids:
        client.ledger.accept(send_id, email)


def claimed(client: Client, send_id: str) -> Claim:
    claim = client.delivery.claim(send_id)
    assert isinstance(claim, Claim)
    return claim


def test_a_claim_whose_answer_was_lost_is_this_workers_when_it_tries_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be held by nobody under a living worker, for as long as a worker may hold a send."""
    accept(client, "first")
    claim = client.ledger.claim
    lost = iter([True])

    def claim_without_an_answer(*arguments: str) -> object:
        answer = claim(*arguments)
        if next(lost, False):
            raise LedgerUnavailable
        return answer

    monkeypatch.setattr(client.ledger, "claim", claim_without_an_answer)
    assert claimed(client, "first").send_id == "first"


def test_a_lot_is_claimed_in_few_round_trips_also_where_redis_has_forgotten_the_scripts(
    client: Client, redis: Redis
) -> None:
    ids = [f"send-{number}" for number in range(12)]
    accept(client, *ids)
    client.delivery.claim(ids[3])
    redis.script_flush()
    claims, unknown = client.delivery.claim_lot([*ids, "nobody's"])
    assert [claim.send_id for claim in claims] == [send_id for send_id in ids if send_id != ids[3]]
    assert unknown == ["nobody's"]
    assert len({claim.token for claim in claims}) == len(claims)
    assert client.ledger.counts()["claimed"] == len(ids)


def test_a_lot_whose_answer_was_lost_is_this_workers_when_it_tries_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(client, "first", "second")
    claim_each = client.ledger.claim_each
    lost = iter([True])

    def claim_without_an_answer(*arguments: Any) -> object:
        answer = claim_each(*arguments)
        if next(lost, False):
            raise LedgerUnavailable
        return answer

    monkeypatch.setattr(client.ledger, "claim_each", claim_without_an_answer)
    claims, _ = client.delivery.claim_lot(["first", "second"])
    assert [claim.send_id for claim in claims] == ["first", "second"]


def test_a_process_makes_its_client_before_it_takes_a_slot_so_that_its_first_emails_do_not_arrive_together(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(client, "first")
    client.throttle.update_account(rate=1000, quota_24h=-1, sent_24h=0)
    client.turns.take("account", 60)  # another worker asks for the limits
    steps = []
    acquire, session = client.throttle.acquire, boto3.Session
    monkeypatch.setattr(client.throttle, "acquire", lambda *a, **k: steps.append("slot") or acquire(*a, **k))
    monkeypatch.setattr(boto3, "Session", lambda **k: steps.append("client") or session(**k))
    outcome = client.delivery.work(claimed(client, "first"), "worker")
    assert (type(outcome), outcome.cause) == (Postponed, Cause.UNREACHABLE)
    assert steps == ["client", "slot"]


def test_a_worker_that_cannot_ask_ses_at_all_gives_the_email_back_and_says_why(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept(client, "first")
    monkeypatch.setattr("sesmail.ses.transport.request_with_everything", lambda: {"NewerThanBotocore": "-"})
    outcome = client.delivery.work(claimed(client, "first"), "worker")
    assert (type(outcome), outcome.cause) == (Postponed, Cause.CONFIGURATION)
    assert "does not know NewerThanBotocore" in outcome.reason
    assert client.ledger.status("first").state == "scheduled", "nobody may think that SES has it"
    assert "no email is sent by this worker: botocore" in caplog.text


def test_bulk_that_an_operator_sends_again_does_not_wait_for_its_turn_behind_bulk(client: Client) -> None:
    """With a slot every two seconds and one just given, the next lies too far ahead for bulk."""
    accept(client, "first", "in-turn", "again")
    client.ledger.cancel("again")
    client.ledger.requeue("again")
    client.delivery.work(claimed(client, "first"), "worker")  # it loads what takes a while
    client.throttle.update_account(rate=0.5, quota_24h=-1, sent_24h=0)
    client.throttle.acquire(1, Lane.BULK)
    causes = [client.delivery.work(claimed(client, one), "worker").cause for one in ("in-turn", "again")]
    assert causes == [Cause.RATE, Cause.UNREACHABLE]


def test_when_ses_says_that_the_daily_quota_is_used_up_the_email_waits_without_an_attempt_and_nobody_asks_again(
    redis: object, redis_server: EmbeddedRedis
) -> None:
    """Others have used it: what was read of the account says that there is room."""
    with Simulator(quota=1, rate=100) as ses:
        client = Client(Settings(redis_url=redis_server.url, endpoint_url=ses.url, region="us-east-1"))
        client.throttle.update_account(rate=100, quota_24h=1000, sent_24h=0, bulk_reserve=0)
        client.turns.take("account", 60)
        email = Email("ann@example.org", "s", "t", from_email="shop@example.com")
        for send_id in ("first", "second", "third"):
            client.ledger.accept(send_id, email)
        outcomes = [
            client.delivery.work(claimed(client, send_id), "worker") for send_id in ("first", "second", "third")
        ]
        assert [type(outcome) for outcome in outcomes] == [Sent, Postponed, Postponed]
        assert [outcome.cause for outcome in outcomes[1:]] == [Cause.QUOTA, Cause.QUOTA]
        assert "Daily message quota exceeded" in outcomes[1].reason
        status = client.ledger.status("second")
        assert (status.state, status.attempts, status.waits) == ("scheduled", 0, 0)
        assert sum(ses.report()["refused"].values()) == 1, "the third did not ask"
        client.close()


@pytest.mark.parametrize("fault", ["throttle", "rejected"])
def test_what_an_event_proves_while_ses_is_asked_again_counts_whatever_ses_answers_to_that(
    redis: object, redis_server: EmbeddedRedis, fault: str
) -> None:
    """A first call had reached SES; its event comes late, during the second call, which SES refuses."""
    with Simulator(rate=100) as ses:
        client = Client(Settings(redis_url=redis_server.url, endpoint_url=ses.url, region="us-east-1"))
        client.throttle.update_account(rate=100, quota_24h=1000, sent_24h=0)
        client.turns.take("account", 60)
        client.ledger.accept("a", Email("ann@example.org", "s", "t", from_email="shop@example.com"))
        ses.faults(rules=[{"fault": fault}])
        claim = claimed(client, "a")
        begin = client.ledger.begin

        def begin_and_hear_of_it(claim: Claim) -> None:
            begin(claim)
            assert client.ledger.record_evidence("a", "ses-first") == "kept"

        client.ledger.begin = begin_and_hear_of_it  # type: ignore[method-assign]
        client.ledger.beginning = lambda _: None  # type: ignore[method-assign]  # as where the slot is not due at once
        assert client.delivery.work(claim, "worker") == Sent(message_id="ses-first")
        status = client.ledger.status("a")
        assert (status.state, status.message_id) == ("sent", "ses-first")
        client.close()
