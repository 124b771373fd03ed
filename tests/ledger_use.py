"""All that is done with a ledger, for tests of whether a Redis takes it."""

from __future__ import annotations

from datetime import UTC, date, datetime

from sesmail import Client
from sesmail.events.stores import StoredEvent
from sesmail.message import Email, Lane
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.vocabulary import Claim, Reason, State

EMAIL = Email("ann@example.org", "s", "t", from_email="shop@example.com")


def sending(ledger: Ledger, send_id: str = "a") -> Claim:
    """A send of which SES is being asked."""
    ledger.accept(send_id, EMAIL)
    claim = ledger.claim(send_id, "worker")
    assert isinstance(claim, Claim)
    ledger.begin(claim)
    return claim


def use_all_of(client: Client) -> None:
    """Every part, with what it asks Redis."""
    client.ledger.sent(sending(client.ledger, "a"), "ses-1")
    client.real_outbox.send(EMAIL, send_id="b", delay_seconds=60)
    client.real_outbox.status("a")
    client.real_outbox.cancel("b")
    client.real_outbox.requeue("b")
    client.ledger.counts()
    client.ledger.ids(State.SENT)
    client.sweeper.sweep()
    client.throttle.update_account(rate=10, quota_24h=100, sent_24h=1)
    client.throttle.acquire(1, Lane.BULK)
    client.throttle.snapshot()
    client.throttle.line.pause("account", "by an operator")
    client.throttle.line.resume("account")
    client.lease.owner()
    client.worker_rates.tell("worker", 3.0)
    client.worker_rates.of("worker")
    with_turn = client.turns.take("sweep", 10)
    assert with_turn
    client.turns.give_back(with_turn)
    client.teller.tell_what_ended()
    client.event_store.put([StoredEvent(event_id="e", source="default", message="{}", received_at=1.0)])
    client.event_processor.process()
    client.event_store.purge("default", older_than=2.0)
    opt_out = OptOut(address="bob@example.org", scope=Scope(), reason=Reason.MANUAL, since=datetime.now(UTC))
    client.suppression.add(opt_out)
    assert len(list(client.suppression.read())) == len(client.suppression.find("bob@example.org")) == 1
    client.suppression.remove("bob@example.org", Scope())
    client.brake.look()
    client.brake.judgements()
    client.brake.open("list:default/monthly")
    client.reputation.rates("default", date(2026, 11, 1), date(2026, 11, 2))
