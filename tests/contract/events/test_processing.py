"""From stored events to what follows from them: once, in any order, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from sesmail import signals
from sesmail.errors import EventStoreUnavailable, LedgerUnavailable
from sesmail.events import consequences, model, processing
from sesmail.events.link_opt_out import LinkOptOut
from sesmail.events.processing import LEASE_SECONDS, MOST_ATTEMPTS, EventProcessor
from sesmail.events.stores import EventState, StoredEvent
from sesmail.state.keys import Keys
from sesmail.state.people.reputation import Counter, Reputation
from sesmail.state.people.suppression import OptOut, Scope, SuppressionList
from sesmail.state.scripts import Scripts
from sesmail.unsubscribe import Unsubscription
from sesmail.vocabulary import Delivery, Reason
from tests.signing import fixture_json

NOW = 1_800_000_000.0
SENT_ON = date(2026, 11, 20)
READER = "reader.one@example.org"


class Ledger:
    def __init__(self) -> None:
        self.proofs: list[tuple[str, str]] = []
        self.trouble: Exception | None = None

    def record_evidence(self, send_id: str, message_id: str) -> str:
        if self.trouble:
            raise self.trouble
        known = [proof for proof in self.proofs if proof[0] == send_id]
        self.proofs.append((send_id, message_id))
        return "copy" if known and (send_id, message_id) not in known else "settled"

    def metadata(self, send_id: str) -> dict:
        return {"order": f"of {send_id}"}


class World:
    """A site's processing with everything around it, and a clock."""

    def __init__(self, scripts, store, site="alpha", share_opt_outs_with=()) -> None:
        self.store, self.ledger, self.now, self.site = store, Ledger(), NOW, site
        self.share_opt_outs_with = share_opt_outs_with
        self.suppression, self.reputation = SuppressionList(scripts), Reputation(scripts)
        self.restart()

    def restart(self) -> None:
        """Another process, which remembers nothing of the first."""
        self.processor = EventProcessor(
            self.site,
            self.store,
            self.suppression,
            self.reputation,
            record_evidence=self.ledger.record_evidence,
            metadata=self.ledger.metadata,
            share_opt_outs_with=self.share_opt_outs_with,
            clock=lambda: self.now,
        )

    def put(self, name: str, *, send_id: str | None = "send-1", event_id: str | None = None, **mail) -> str:
        document = fixture_json(name)
        document["mail"] |= mail
        if send_id:
            document["mail"].setdefault("tags", {})["sesmail-id"] = [send_id]
        return self.put_text(json.dumps(document), event_id)

    def put_text(self, message: str, event_id: str | None = None) -> str:
        id_ = event_id or str(uuid4())
        self.store.put([StoredEvent(event_id=id_, source=self.site, message=message, received_at=NOW)])
        return id_

    def counts(self) -> dict[str, int]:
        rows = self.reputation.rates(self.site, SENT_ON, SENT_ON)
        return {str(counter): count for row in rows for counter, count in row.counts.items()}


@pytest.fixture
def world(scripts, redis_store):
    return World(scripts, redis_store)


@pytest.fixture
def listen():
    """Connects receivers for the length of a test."""
    connected = []

    def connect(signal, receiver, **options):
        signal.connect(receiver, weak=False, **options)
        connected.append((signal, receiver))
        return receiver

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


def test_a_hard_bounce_counts_opts_out_settles_the_send_and_is_told(world, listen) -> None:
    heard = []
    listen(signals.email_bounced, lambda site, *, event, metadata: heard.append((site, event.recipient, metadata)))
    event_id = world.put("ev_bounce_permanent_general.json")
    assert world.processor.process() == processing.Processed(gathered=1, processed=1, failed=0)

    assert world.counts() == {"bounced_permanent": 1}
    (entry,) = world.suppression.find("gone@example.net")
    assert (entry.reason, str(entry.scope), entry.source) == (Reason.BOUNCED, "everything", event_id)
    assert world.ledger.proofs == [("send-1", fixture_json("ev_send.json")["mail"]["messageId"])]
    assert world.reputation.deliveries("send-1") == {"gone@example.net": Delivery.BOUNCED}
    assert heard == [("alpha", "gone@example.net", {"order": "of send-1"})]
    assert [event.event_id for event in world.store.read("alpha", EventState.PROCESSED)] == [event_id]


def test_that_an_email_went_out_twice_is_told(world, caplog) -> None:
    world.put("ev_send.json")
    world.put("ev_delivery.json", messageId="another-id")
    world.processor.process()
    assert "went out twice" in caplog.text
    assert "send-1" in caplog.text


def test_a_bounce_that_came_twice_under_two_ids_counts_and_is_told_once(world, listen) -> None:
    heard = []
    listen(signals.email_bounced, lambda site, **_: heard.append(site))
    world.put("ev_bounce_permanent_general.json")
    world.processor.process()
    published = fixture_json("ev_bounce_permanent_general.json")
    notified = {k: v for k, v in published.items() if k != "eventType"} | {"notificationType": "Bounce"}
    world.put_text(json.dumps(notified))
    assert world.processor.process().processed == 1
    assert (world.counts(), heard) == ({"bounced_permanent": 1}, ["alpha"])


def test_events_in_the_wrong_order_come_to_the_same(world) -> None:
    for name in ("ev_complaint_abuse.json", "ev_delivery.json", "ev_send.json", "ev_delivery_delay.json"):
        world.put(name)
        world.processor.process()
    assert world.reputation.deliveries("send-1") == {READER: Delivery.COMPLAINED}
    assert world.counts() == {"complained": 1, "delivered": 1, "sent": 1}


def test_email_that_sesmail_did_not_send_is_processed_too(world, listen) -> None:
    heard = []
    listen(signals.email_complained, lambda site, *, event, metadata: heard.append(metadata))
    world.put("ev_complaint_abuse.json", send_id=None)
    assert world.processor.process().processed == 1
    assert not world.ledger.proofs
    assert heard == [{}]
    assert Reason.COMPLAINED in {entry.reason for entry in world.suppression.find(READER)}


@pytest.mark.parametrize("name", ["ev_complaint_not_spam.json", "ev_bounce_transient_mailboxfull.json", "ev_open.json"])
def test_what_is_no_reason_to_opt_out_opts_nobody_out(world, name) -> None:
    world.put(name)
    world.processor.process()
    assert not list(world.suppression.read())


@pytest.mark.parametrize("message", ["", "{not json", "[]", '{"eventType":"SomethingNew"}', '{"eventType":"Bounce"}'])
def test_what_has_no_meaning_is_processed_and_holds_up_nothing(world, message) -> None:
    world.put_text(message)
    world.put("ev_send.json")
    assert world.processor.process() == processing.Processed(gathered=2, processed=2, failed=0)
    assert world.counts() == {"sent": 1}


def test_an_event_that_cannot_be_read_is_warned_of_by_its_id_and_nothing_personal(world, caplog) -> None:
    document = fixture_json("ev_bounce_permanent_general.json")
    document["bounce"]["bouncedRecipients"] = READER
    event_id = world.put_text(json.dumps(document))
    world.processor.process()
    (record,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert event_id in record.getMessage()
    assert READER not in caplog.text


@pytest.mark.parametrize(
    "spelling", ['"Ann"@Bücher.Example', "Ann Lee <ann@XN--bcher-kva.example>", "ann@bu\u0308cher.example"]
)
def test_who_bounced_is_known_in_the_one_form_of_all_spellings(world, listen, spelling: str) -> None:
    told = []
    listen(signals.email_bounced, lambda site, *, event, metadata: told.append(event.recipient))
    document = fixture_json("ev_bounce_permanent_general.json")
    document["mail"]["destination"] = ["bob@example.org", "ann@xn--bcher-kva.example"]
    document["bounce"]["bouncedRecipients"] = [{"emailAddress": spelling}]
    world.put_text(json.dumps(document))
    world.processor.process()
    assert [one.address for one in world.suppression.read()] == told == ["ann@xn--bcher-kva.example"]


def test_half_a_character_in_a_user_agent_holds_up_nothing(world) -> None:
    document = fixture_json("ev_open.json")
    document["open"]["userAgent"] = "cut in the middle \ud83d"
    world.put_text(json.dumps(document))
    document["mail"]["destination"] = ["\ud83d@example.org"]
    document["mail"]["tags"]["sesmail-id"] = ["\ud83d"]
    world.put_text(json.dumps(document | {"eventType": "Send"}))
    assert world.processor.process().processed == 2
    assert world.counts() == {"opened": 1, "sent": 1}


def test_an_event_that_a_bug_of_ours_stumbles_over_holds_up_nothing_and_is_told_once_it_is_mended(
    world, listen, monkeypatch
) -> None:
    heard = []
    listen(signals.email_opened, lambda site, *, event, **_: heard.append(event.message_id))
    for number in range(4):
        world.put("ev_open.json", messageId=str(number))

    def stumble(event, told_by):
        if event.message_id == "2":
            raise ZeroDivisionError
        return fact(event, told_by)

    fact = consequences.fact_of
    with monkeypatch.context() as bug:
        bug.setattr(consequences, "fact_of", stumble)
        assert world.processor.process() == processing.Processed(gathered=4, processed=3, failed=1)
    world.now += 30
    assert world.processor.process().processed == 1
    assert sorted(heard) == ["0", "1", "2", "3"]
    assert world.counts() == {"opened": 4}


def test_a_bots_click_is_told_but_not_counted(world, listen) -> None:
    heard = []
    listen(signals.email_opened, lambda site, *, event, metadata: heard.append(event.by_bot))
    world.put("ev_open_bot.json")
    world.processor.process()
    assert (world.counts(), heard) == ({}, [True])


def test_each_site_processes_its_own(scripts, redis_store, world) -> None:
    beta = World(scripts, redis_store, site="beta")
    world.put("ev_send.json")
    beta.put("ev_delivery.json")
    assert beta.processor.process().processed == 1
    assert (world.counts(), beta.counts()) == ({}, {"delivered": 1})


def test_sites_that_share_a_store_alone_can_share_opt_outs_of_everything(redis, redis_store, listen) -> None:
    """Each has a ledger of its own. What is of one site or list stays there; nothing is counted, told or echoed."""
    alpha_s, beta_s = (Scripts(redis, Keys(prefix)) for prefix in ("alpha", "beta"))
    alpha = World(alpha_s, redis_store, "alpha", share_opt_outs_with=["beta"])
    beta = World(beta_s, redis_store, "beta", share_opt_outs_with=["alpha"])
    heard = []
    listen(signals.email_bounced, lambda site, **_: heard.append(site))
    alpha.put("ev_bounce_permanent_general.json")
    alpha.put("ev_subscription.json")
    alpha.processor.process()
    assert beta.processor.process().processed == 1
    assert alpha.processor.process().gathered == 0
    (opt_out,) = beta.suppression.read()
    assert (opt_out.scope, opt_out.reason) == (Scope(), Reason.BOUNCED)
    assert opt_out.address in {one.address for one in alpha.suppression.read() if one.scope == Scope()}
    assert beta.counts() == {}
    assert heard == ["alpha"]


def test_a_receiver_may_listen_to_one_site_only(scripts, redis_store, world, listen) -> None:
    heard = []
    listen(signals.email_opened, lambda site, **_: heard.append(site), sender="beta")
    beta = World(scripts, redis_store, site="beta")
    world.put("ev_open.json")
    beta.put("ev_open.json", messageId="another")
    world.processor.process()
    beta.processor.process()
    assert heard == ["beta"]


# -- crashes and failures


def test_a_crash_before_an_event_is_marked_counts_nothing_twice_and_tells_again(world, listen, monkeypatch) -> None:
    heard = []
    listen(signals.email_opened, lambda site, **_: heard.append(site))
    world.put("ev_open.json")
    with monkeypatch.context() as crash:
        crash.setattr(world.store, "mark_processed", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            world.processor.process()
    world.restart()
    assert world.processor.process().gathered == 0  # leased
    world.now += LEASE_SECONDS
    assert world.processor.process().processed == 1
    assert (world.counts(), heard) == ({"opened": 1}, ["alpha", "alpha"])


def test_a_store_that_is_away_when_an_event_is_to_be_marked_makes_nobody_hear_it_twice(
    world, listen, monkeypatch
) -> None:
    heard = []
    listen(signals.email_opened, lambda site, **_: heard.append(site))
    world.put("ev_open.json")
    with monkeypatch.context() as away:
        away.setattr(world.store, "mark_processed", lambda *_, **__: (_ for _ in ()).throw(EventStoreUnavailable))
        with pytest.raises(EventStoreUnavailable):
            world.processor.process()
    world.now += LEASE_SECONDS
    world.processor.process()
    assert heard == ["alpha"]
    assert world.store.counts("alpha").unprocessed == 0


def test_a_ledger_that_is_away_leaves_the_batch_to_be_done(world) -> None:
    world.put("ev_send.json")
    world.ledger.trouble = LedgerUnavailable()
    with pytest.raises(LedgerUnavailable):
        world.processor.process()
    world.ledger.trouble = None
    world.now += LEASE_SECONDS
    assert world.processor.process().processed == 1
    assert world.counts() == {"sent": 1}


def test_a_receiver_that_raises_is_called_again_later_and_the_others_are_not(world, listen) -> None:
    calls = []

    def good(site, **_) -> None:
        calls.append("good")

    def bad(site, **_) -> None:
        calls.append("bad")
        if calls.count("bad") < 3:
            raise RuntimeError("no database")

    listen(signals.email_opened, good)
    listen(signals.email_opened, bad)
    world.put("ev_open.json")
    assert world.processor.process().failed == 1
    assert world.processor.process().gathered == 0
    world.now += 30
    assert world.processor.process().failed == 1
    world.now += 59
    assert world.processor.process().gathered == 0
    world.now += 1
    assert world.processor.process().processed == 1
    assert (calls.count("good"), calls.count("bad")) == (1, 3)
    assert world.counts() == {"opened": 1}


def test_a_receiver_that_was_mended_under_another_name_is_called(world, listen) -> None:
    heard = []

    def bad(site, **_) -> None:
        raise RuntimeError("a bug: in two lines\nof text: here")

    def mended(site, *, event, **_) -> None:
        heard.append(event.message_id)

    listen(signals.email_opened, bad)
    world.put("ev_open.json", messageId="1")
    assert world.processor.process().failed == 1
    signals.email_opened.disconnect(bad)
    listen(signals.email_opened, mended)
    world.now += 30
    assert world.processor.process().processed == 1
    assert heard == ["1"]


def test_a_receiver_that_raises_does_not_hold_up_other_events(world, listen) -> None:
    def bad(site, *, event, **_) -> None:
        if event.recipient == "bad@example.org":
            raise RuntimeError

    listen(signals.email_opened, bad)
    world.put("ev_open.json", messageId="1", destination=["bad@example.org"])
    for number in range(2, 6):
        world.put("ev_open.json", messageId=str(number))
    assert world.processor.process() == processing.Processed(gathered=5, processed=4, failed=1)


def test_a_receiver_that_never_succeeds_has_its_event_set_aside_with_the_error(world, listen, caplog) -> None:
    def bad(site, **_) -> None:
        raise RuntimeError("no table for reader@example.org")

    listen(signals.email_opened, bad)
    event_id = world.put("ev_open.json")
    for _ in range(MOST_ATTEMPTS):
        world.now += 3600
        assert world.processor.process().failed == 1
    world.now += 86_400
    assert world.processor.process().gathered == 0
    (aside,) = world.store.read("alpha", EventState.SET_ASIDE)
    assert aside.event_id == event_id
    assert "RuntimeError: no table" in aside.error
    assert "reader@" not in caplog.text


def test_an_event_set_aside_and_replayed_is_told_to_everybody_again_and_counted_once(world, listen) -> None:
    calls = []

    def bad(site, **_) -> None:
        calls.append(site)
        if len(calls) <= MOST_ATTEMPTS:
            raise RuntimeError

    listen(signals.email_opened, bad)
    world.put("ev_open.json")
    for _ in range(MOST_ATTEMPTS):
        world.now += 3600
        world.processor.process()
    world.store.replay(list(world.store.read("alpha", EventState.SET_ASIDE)), now=world.now)
    assert world.processor.process().processed == 1
    assert world.counts() == {"opened": 1}


def test_slow_receivers_leave_the_rest_to_whoever_gathers_next(world, listen) -> None:
    def slow(site, **_) -> None:
        world.now += LEASE_SECONDS * 0.4

    listen(signals.email_opened, slow)
    for number in range(4):
        world.put("ev_open.json", messageId=str(number))
    assert world.processor.process().processed == 2
    assert world.store.counts("alpha").unprocessed == 2


def test_two_receivers_of_one_name_are_both_told(world, listen) -> None:
    heard = []
    for number in range(2):
        listen(signals.email_opened, lambda site, number=number, **_: heard.append(number))
    world.put("ev_open.json")
    world.processor.process()
    assert sorted(heard) == [0, 1]


def test_every_signal_has_its_event_and_every_event_its_signal() -> None:
    named = {kind.signal for kind in vars(model).values() if isinstance(kind, type) and issubclass(kind, model.Event)}
    assert named - {None} == set(signals.OF_EVENTS)


# -- rebuilding and links


def test_the_opt_outs_can_be_rebuilt_from_the_stored_events(world) -> None:
    world.put("ev_bounce_permanent_general.json")
    world.put("ev_complaint_abuse.json")
    world.processor.process()
    world.put("ev_subscription.json")
    entries = sorted((e.address, e.reason) for e in world.suppression.read())
    for entry in list(world.suppression.read()):
        world.suppression.remove(entry.address, entry.scope)
    assert world.processor.rebuild_suppression() == 3
    assert sorted((e.address, e.reason) for e in world.suppression.read()) == sorted(
        [*entries, (READER, Reason.UNSUBSCRIBED)]
    )


def test_using_an_unsubscribe_link_opts_out_of_its_list_counts_once_and_is_told_once(world, listen) -> None:
    heard = []
    listen(signals.email_unsubscribed, lambda site, *, event, metadata: heard.append((event.recipient, metadata)))
    when = datetime(2026, 11, 20, 18, tzinfo=UTC)
    opt_out = LinkOptOut(world.suppression, world.store.put, now=lambda: when)
    for _ in range(2):
        opt_out(Unsubscription(site="alpha", recipient="Ann@example.org", list="monthly", send_id="send-1"))
    assert [entry.scope for entry in world.suppression.find("ann@example.org")] == [Scope("alpha", "monthly")]
    assert world.processor.process().processed == 1
    assert heard == [("ann@example.org", {"order": "of send-1"})]
    assert world.counts() == {Counter.UNSUBSCRIBED: 1}
    assert not world.ledger.proofs  # the link does not know SES's id of the email


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z"])
def test_a_time_at_the_end_of_all_times_leaves_the_opt_outs_readable(world, time) -> None:
    document = fixture_json("ev_bounce_permanent_general.json")
    document["bounce"]["timestamp"] = time
    world.put_text(json.dumps(document))
    world.processor.process()
    list(world.suppression.read())


def test_leaving_by_a_link_comes_back_when_the_opt_outs_are_rebuilt(world) -> None:
    opt_out = LinkOptOut(world.suppression, world.store.put, now=lambda: datetime(2026, 11, 20, 18, tzinfo=UTC))
    for list_name in ("monthly", ""):
        opt_out(Unsubscription(site="alpha", recipient="ann@example.org", list=list_name))
    before = list(world.suppression.read())
    for entry in before:
        world.suppression.remove(entry.address, entry.scope)
    assert world.processor.rebuild_suppression() == 2
    assert list(world.suppression.read()) == before
    assert sorted(str(entry.scope) for entry in before) == ["list:alpha/monthly", "site:alpha"]


def test_an_opt_out_by_link_that_cannot_be_stored_holds_all_the_same(world) -> None:
    def put(_events):
        raise EventStoreUnavailable

    with pytest.raises(EventStoreUnavailable):
        LinkOptOut(world.suppression, put, now=lambda: datetime(2026, 11, 20, 18, tzinfo=UTC))(
            Unsubscription(site="alpha", recipient="ann@example.org")
        )
    assert [entry.scope for entry in world.suppression.find("ann@example.org")] == [Scope("alpha")]


def test_leaving_by_a_link_after_an_operator_lifted_it_is_told_again(world, listen) -> None:
    heard = []
    listen(signals.email_unsubscribed, lambda site, *, event, metadata: heard.append(event.recipient))
    when = [datetime(2026, 11, 20, 18, tzinfo=UTC)]
    opt_out = LinkOptOut(world.suppression, world.store.put, now=lambda: when[0])
    leaves = Unsubscription(site="alpha", recipient="ann@example.org", list="monthly")
    for _ in range(2):
        opt_out(leaves)
        opt_out(leaves)  # readers press the button twice
        world.processor.process()
        world.suppression.remove("ann@example.org", Scope("alpha", "monthly"))
        when[0] += timedelta(seconds=2)
    assert heard == ["ann@example.org"] * 2


def test_a_link_knows_who_has_left_its_list_by_whatever_way_and_asks_where_redis_is_away(world, monkeypatch) -> None:
    opt_out = LinkOptOut(world.suppression, world.store.put, now=lambda: datetime(2026, 11, 20, 18, tzinfo=UTC))
    who = Unsubscription(site="alpha", recipient="ann@example.org", list="monthly")
    world.suppression.add(
        OptOut(address="ann@example.org", scope=Scope(), reason=Reason.BOUNCED, since=datetime(2026, 1, 1, tzinfo=UTC))
    )
    assert not opt_out.has_left(who)
    opt_out(Unsubscription(site="alpha", recipient="ann@example.org", list="weekly"))
    assert not opt_out.has_left(who)
    opt_out(who)
    assert opt_out.has_left(who)
    assert not opt_out.has_left(Unsubscription(site="alpha", recipient="ann@example.org"))
    opt_out.come_back(who)
    assert not opt_out.has_left(who)
    opt_out(Unsubscription(site="alpha", recipient="ann@example.org"))
    assert opt_out.has_left(who)

    def away(_address):
        raise LedgerUnavailable

    monkeypatch.setattr(world.suppression, "find", away)
    assert not opt_out.has_left(who)


def test_a_link_whose_event_could_not_be_stored_is_told_when_it_is_used_again(world) -> None:
    def put(_events):
        raise EventStoreUnavailable

    leaves = Unsubscription(site="alpha", recipient="ann@example.org")
    when = datetime(2026, 11, 20, 18, tzinfo=UTC)
    with pytest.raises(EventStoreUnavailable):
        LinkOptOut(world.suppression, put, now=lambda: when)(leaves)
    LinkOptOut(world.suppression, world.store.put, now=lambda: when + timedelta(minutes=1))(leaves)
    assert world.processor.process().processed == 1
    assert world.counts() == {Counter.UNSUBSCRIBED: 1}


def test_receivers_that_nothing_else_holds_are_called(world) -> None:
    heard = []

    class Receivers:
        def on_open(self, site, *, event, metadata):
            heard.append("method")

    def in_ready():
        signals.email_opened.connect(Receivers().on_open)
        signals.email_opened.connect(lambda site, **_: heard.append("lambda"))

    before = dict(signals.email_opened.receivers)
    in_ready()
    gc.collect()
    world.put("ev_open.json")
    world.processor.process()
    for receiver in [one for id_, one in signals.email_opened.receivers.items() if id_ not in before]:
        signals.email_opened.disconnect(receiver)
    assert sorted(heard) == ["lambda", "method"]


def test_one_receiver_hears_of_several_kinds_and_one_of_every_event(world) -> None:
    heard = []

    @signals.receiver(signals.email_opened, signals.email_complained, signals.email_event)
    def several(site, *, event, metadata):
        heard.append(type(event).__name__)

    try:
        for name in ("ev_open.json", "ev_complaint_abuse.json", "ev_send.json", "ev_unknown_future_type.json"):
            world.put(name)
        world.processor.process()
    finally:
        for signal in (signals.email_opened, signals.email_complained, signals.email_event):
            signal.disconnect(several)
    assert sorted(heard) == ["Complained", "Opened", "Sent", "Unhandled"]


def test_a_receiver_of_one_signal_that_fails_does_not_call_that_of_every_event_again(world, listen) -> None:
    calls = []

    def bad(site, **_) -> None:
        calls.append("bad")
        if calls.count("bad") == 1:
            raise RuntimeError

    listen(signals.email_opened, bad)
    listen(signals.email_event, lambda site, **_: calls.append("every"))
    world.put("ev_open.json")
    world.processor.process()
    world.now += 30
    world.processor.process()
    assert (calls.count("bad"), calls.count("every")) == (2, 1)


def test_an_async_receiver_is_awaited_also_where_a_loop_runs_already(world, listen) -> None:
    heard = []

    async def slow(site, *, event, metadata):
        await asyncio.sleep(0)
        heard.append(threading.current_thread().name)

    listen(signals.email_opened, slow)
    world.put("ev_open.json")

    async def in_a_loop():
        return world.processor.process()

    assert asyncio.run(in_a_loop()).processed == 1
    assert heard[0].startswith("sesmail-receiver")


def test_that_ses_took_an_email_has_a_signal_of_its_own(world, listen) -> None:
    heard = []
    listen(signals.email_accepted, lambda site, *, event, metadata: heard.append(event.recipient))
    world.put("ev_send.json")
    world.processor.process()
    assert heard == [READER]
