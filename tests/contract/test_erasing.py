"""A person is erased: no trace that can be read, nobody else's mail lost, her opt-outs heeded everywhere."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from sesmail import Client, Settings
from sesmail.cli import main
from sesmail.errors import InvalidEmail, MoveRefused, StaleClaim
from sesmail.events.stores import StoredEvent
from sesmail.message import Email, Lane
from sesmail.sending.list_sync import ListSync
from sesmail.ses.suppression import Listed
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.state.scripts import Scripts
from sesmail.unsubscribe import Unsubscription
from sesmail.vocabulary import Caller, Claim, Delivery, Reason, State
from tests.traces import traces

ANN, BOB = "ann@example.org", "bob@example.org"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG = "A letter that is kept beside its row. " * 50


def accept(client: Client, send_id: str, *to: str, text: str = "t", caller: Caller | None = None, **fields) -> str:
    email = Email(to, "s", text, from_email="shop@example.com", lane=Lane.BULK, **fields)
    client.ledger.accept(send_id, email, caller=caller)
    return send_id


def claimed(client: Client, send_id: str) -> Claim:
    claim = client.ledger.claim(send_id, "worker")
    assert isinstance(claim, Claim)
    return claim


def opt_out(client: Client, address: str, scope: Scope = Scope(), reason: Reason = Reason.COMPLAINED) -> None:  # noqa: B008
    client.suppression.add(OptOut(address=address, scope=scope, reason=reason, since=NOW, source=f"from {address}"))


def told(client: Client, kind: str, to: list[str], send_id: str, *, event_id: str, site: str = "default", **details):
    """An event of SES comes."""
    mail = {
        "timestamp": NOW.isoformat(),
        "messageId": f"ses-{send_id}",
        "destination": to,
        "tags": {"sesmail-id": [send_id]},
        "headers": [{"name": "To", "value": f"Ann Lee <{to[0]}>"}, {"name": "Subject", "value": "For Ann Lee"}],
        "commonHeaders": {"subject": "For Ann Lee", "to": [f"Ann Lee <{to[0]}>"]},
    }
    document = {"eventType": kind, "mail": mail, kind.lower(): {"timestamp": NOW.isoformat(), **details}}
    event = StoredEvent(event_id=event_id, source=site, message=json.dumps(document), received_at=NOW.timestamp())
    client.event_store.put([event])


def complained(client: Client, address: str, send_id: str, event_id: str = "complaint", **how) -> None:
    told(
        client,
        "Complaint",
        [address],
        send_id,
        event_id=event_id,
        complainedRecipients=[{"emailAddress": address}],
        **how,
    )


def process(client: Client) -> None:
    done = client.event_processor.process()
    assert done.failed == 0


def still_read(client: Client, *names: str) -> list[str]:
    names = names or ("ann@example", "ann lee")
    return traces(client.scripts.redis.execute_command, "*", *names)


def test_of_all_that_was_kept_nothing_can_be_read_any_more(client) -> None:
    metadata = {"customer": ANN, "order": 7}
    caller = Caller(task_id="waits", wishes=json.dumps({"link": [ANN]}), waits=True, waits_for_others=True)
    accept(client, "waits", f"Ann Lee <{ANN.upper()}>", text=LONG, metadata=metadata, caller=caller)
    accept(client, "failed", ANN)
    client.ledger.rejected(claimed(client, "failed"), "refused")
    accept(client, "sent", ANN, metadata=metadata)
    client.ledger.sent(claimed(client, "sent"), "ses-sent")
    accept(client, "of-another", BOB, metadata=metadata)
    told(client, "Delivery", [ANN, BOB], "sent", event_id="one", recipients=[ANN, BOB])
    process(client)
    told(client, "Open", [ANN], "sent", event_id="two", ipAddress="192.0.2.7", userAgent="Ann Lee's")
    for scope in (Scope(), Scope("default"), Scope("default", "news")):
        opt_out(client, ANN, scope)
    assert len(still_read(client)) >= 10

    erased = client.erase(" Ann@Example.org ", why="asked for")
    assert still_read(client) == []
    assert still_read(client, "192.0.2.7") == []
    assert Counter(
        waiting_email=erased.waiting_email,
        failed_email=erased.failed_email,
        events=erased.events,
        deliveries=erased.deliveries,
        metadata=erased.metadata,
        index_entries=erased.index_entries,
        opt_outs_kept=erased.opt_outs_kept,
    ) == Counter(waiting_email=1, failed_email=1, events=2, deliveries=1, metadata=3, index_entries=3, opt_outs_kept=3)
    assert client.ledger.metadata("of-another") == {"customer": erased.pseudonym, "order": 7}
    assert client.reputation.deliveries("sent") == {BOB: Delivery.DELIVERED}
    assert client.scripts.redis.keys("*blob*") == []
    (act,) = client.audit.read(1)
    assert (act.what, act.why) == ("erase", "asked for")
    assert act.about + "@erased.invalid" == erased.pseudonym


def test_a_dry_run_says_the_same_and_changes_nothing(client) -> None:
    accept(client, "waits", ANN)
    accept(client, "both", ANN, BOB)
    opt_out(client, ANN)
    told(client, "Delivery", [ANN], "one", event_id="one", recipients=[ANN])
    before = still_read(client)
    would = client.erase(ANN, dry_run=True)
    assert still_read(client) == before
    assert [*client.audit.read(1)] == []
    did = client.erase(ANN)
    assert (would.dry_run, did.dry_run) == (True, False)
    told_alike = ("waiting_email", "taken_out_of_email_to_others", "events", "index_entries", "opt_outs_kept")
    assert (
        [getattr(would, name) for name in told_alike] == [getattr(did, name) for name in told_alike] == [1, 1, 1, 2, 1]
    )


def test_what_waited_for_her_alone_is_cancelled_and_cannot_be_sent_again(client) -> None:
    accept(client, "one", ANN)
    client.erase(ANN)
    status = client.ledger.status("one")
    assert (status.state, status.code) == (State.CANCELLED, "erased")
    with pytest.raises(MoveRefused, match="erased"):
        client.ledger.requeue("one")


@pytest.mark.parametrize("text", ["t", LONG])
def test_an_email_to_several_goes_to_the_others_in_whatever_state_it_waits(client, text) -> None:
    for send_id in ("queued", "claimed", "rejected"):
        accept(client, send_id, ANN, BOB, text=text)
    held = claimed(client, "claimed")
    client.ledger.rejected(claimed(client, "rejected"), "refused")
    assert client.erase(ANN).taken_out_of_email_to_others == 3
    with pytest.raises(StaleClaim):
        client.ledger.begin(held)
    client.ledger.requeue("rejected")
    for send_id in ("queued", "claimed", "rejected"):
        email = claimed(client, send_id).email
        assert (email.recipients, email.text) == ((BOB,), text)
        assert client.ledger.status(send_id).recipients == 1


def test_what_ses_is_asked_at_the_moment_is_not_sent_again_but_counts_as_sent_where_ses_took_it(client) -> None:
    for send_id in ("taken", "throttled"):
        accept(client, send_id, ANN)
    begun = {send_id: claimed(client, send_id) for send_id in ("taken", "throttled")}
    for claim in begun.values():
        client.ledger.begin(claim)
    assert client.erase(ANN).being_sent == 2
    with pytest.raises(StaleClaim):
        client.ledger.postpone(begun["throttled"], 1.0, "throttled")
    with pytest.raises(StaleClaim):
        client.ledger.sent(begun["taken"], "ses-1")
    states = [client.ledger.status(send_id).state for send_id in ("taken", "throttled")]
    assert states == [State.SENT, State.CANCELLED]


def test_what_may_be_at_ses_is_not_sent_again(client) -> None:
    accept(client, "one", ANN)
    claim = claimed(client, "one")
    client.ledger.begin(claim)
    client.ledger.outcome_unknown(claim, "read timeout")
    client.erase(ANN)
    assert client.ledger.status("one").state is State.CANCELLED


def test_addresses_that_only_look_like_hers_stay(client) -> None:
    others = ["joann@example.org", "x+ann@example.org", "ann@example.org.example.net", "ann@sub.example.org"]
    accept(client, "others", *others)
    told(client, "Delivery", others, "others", event_id="one", recipients=others)
    for other in others:
        opt_out(client, other)
    erased = client.erase(ANN)
    assert (erased.events, erased.opt_outs_kept, erased.taken_out_of_email_to_others) == (0, 0, 0)
    assert {entry.address for entry in client.suppression.read()} == set(others)


def test_email_to_others_that_names_her_in_its_text_goes_out_as_it_is_and_that_is_said(client) -> None:
    accept(client, "one", BOB, text=f"{ANN} invites you")
    assert client.erase(ANN).named_in_email_to_others == 1
    assert claimed(client, "one").email.text == f"{ANN} invites you"


def test_her_opt_outs_hold_for_what_is_claimed_in_each_scope(client) -> None:
    opt_out(client, ANN, Scope("default", "news"), Reason.UNSUBSCRIBED)
    client.erase(ANN)
    accept(client, "of-the-list", "Ann@Example.org", tags={"sesmail-list": "news"})
    accept(client, "another", ANN)
    assert client.ledger.claim("of-the-list", "worker") is State.SUPPRESSED
    assert claimed(client, "another").email.recipients == (ANN,)


def test_her_opt_outs_are_found_listed_exported_and_removed(client) -> None:
    opt_out(client, ANN)
    pseudonym = client.erase(ANN).pseudonym
    for found in (client.suppression.find("ANN@example.org"), [*client.suppression.read()]):
        ((address, reason, source),) = [(one.address, one.reason, one.source) for one in found]
        assert (address, reason, source) == (pseudonym, Reason.COMPLAINED, "")
    assert client.suppression.find(pseudonym) == client.suppression.find(ANN)  # as a file has it that was exported
    assert client.suppression.remove(ANN, Scope())
    assert client.suppression.find(ANN) == []


def test_an_opt_out_that_comes_later_is_kept_under_the_hash_and_holds(client) -> None:
    accept(client, "one", ANN)
    client.ledger.sent(claimed(client, "one"), "ses-one")
    client.erase(ANN)
    complained(client, ANN, "one")
    process(client)
    assert still_read(client) == []
    assert [entry.reason for entry in client.suppression.find(ANN)] == [Reason.COMPLAINED]
    accept(client, "two", ANN)
    assert client.ledger.claim("two", "worker") is State.SUPPRESSED


def test_an_opt_out_that_nobody_has_processed_is_not_lost(client) -> None:
    complained(client, ANN, "one")
    client.erase(ANN)
    assert still_read(client) == []
    process(client)
    assert [entry.reason for entry in client.suppression.find(ANN)] == [Reason.COMPLAINED]


def test_opt_outs_are_rebuilt_from_events_that_name_her_no_more(client) -> None:
    complained(client, ANN, "one")
    process(client)
    client.erase(ANN)
    client.suppression.remove(ANN, Scope())
    assert client.event_processor.rebuild_suppression() == 1
    assert [entry.reason for entry in client.suppression.find(ANN)] == [Reason.COMPLAINED]


def test_events_of_other_sites_of_the_ledger_are_redacted_too(client) -> None:
    client.scripts.redis.hset(client.scripts.keys("heard"), "beta", 1)
    complained(client, ANN, "one", site="beta")
    assert client.erase(ANN).events == 1
    assert still_read(client) == []


def test_an_unsubscribe_link_that_she_uses_later_opts_her_out(client) -> None:
    client.erase(ANN)
    settings = client.settings.model_copy(
        update={"unsubscribe_url": "https://example.com/u/", "unsubscribe_secrets": ("s" * 32,)}
    )
    with_links = Client(settings)
    try:
        link = with_links.unsubscribe_links.link(Unsubscription(site="default", recipient=ANN, list="news"))
        with_links.unsubscribe_door.answer("POST", link.rpartition("/")[2])
        process(with_links)
    finally:
        with_links.close()
    assert still_read(client) == []
    assert [str(entry.scope) for entry in client.suppression.find(ANN)] == ["list:default/news"]


class SesList:
    """SES's own list: she is on it."""

    def __init__(self) -> None:
        self.put_there: list[str] = []

    def pages(self, _token):
        yield [Listed(address="Ann@Example.org", reason="BOUNCE", since=NOW)], None

    def put(self, address: str, _reason: str) -> None:
        self.put_there.append(address)


def test_in_step_with_ses_she_is_not_written_down_again_and_the_hash_is_not_put_there(client) -> None:
    opt_out(client, ANN)
    client.erase(ANN)
    theirs = SesList()
    ListSync(client.scripts, client.suppression, theirs).run()
    assert theirs.put_there == []
    assert still_read(client) == []


def test_erased_again_what_has_come_since_goes_too(client) -> None:
    first = client.erase(ANN)
    accept(client, "new", ANN)
    again = client.erase(ANN)
    assert (again.waiting_email, again.pseudonym) == (1, first.pseudonym)
    assert still_read(client) == []


def test_what_is_no_address_is_refused(client) -> None:
    with pytest.raises(InvalidEmail, match="bare address"):
        client.erase("Ann <ann@example.org>")


# -- as operators do it


@pytest.fixture
def sesmail(client, monkeypatch):
    """The command, in this process, on the test's ledger."""
    monkeypatch.setattr("sesmail.cli.site.load_application", lambda *_: "a test")
    monkeypatch.setattr("sesmail.celery.current.current_client", lambda: client)
    return lambda *arguments: CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_the_command_says_for_the_file_what_it_removed_and_where_else_to_look_without_the_address(
    client, sesmail
) -> None:
    accept(client, "waits", ANN)
    accept(client, "both", ANN, BOB)
    opt_out(client, ANN)
    done = sesmail("erase", ANN, "--why", "asked for", "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (said["waiting_email"], said["taken_out_of_email_to_others"], said["opt_outs_kept"]) == (1, 1, 1)
    assert any("suppression list that SES keeps" in each for each in said["not_looked_through"])
    assert "ann@" not in done.output
    assert client.ledger.status("waits").state is State.CANCELLED
    (act,) = client.audit.read(1)
    assert (act.what, act.why) == ("erase", "asked for")


def test_the_commands_dry_run_says_that_nothing_was_done_and_does_nothing(client, sesmail) -> None:
    accept(client, "waits", ANN)
    done = sesmail("erase", ANN, "--dry-run")
    assert done.exit_code == 0
    assert "nothing was done" in done.stdout
    assert "Not looked through" in done.stdout
    assert json.loads(sesmail("erase", ANN, "--dry-run", "--json").stdout)["dry_run"] is True
    assert client.ledger.status("waits").state is State.QUEUED


def test_the_command_ends_with_1_where_email_of_a_newer_release_is_left_or_would_be(client, sesmail) -> None:
    accept(client, "newer", ANN)
    client.scripts.redis.hset(client.scripts.keys("send", "newer"), "v", 99)
    for how in (["--dry-run"], []):
        done = sesmail("erase", ANN, *how, "--json")
        said = json.loads(done.stdout)
        assert (done.exit_code, said["left_to_newer_release"], said["waiting_email"]) == (1, 1, 0)


def test_what_is_no_address_is_refused_by_the_command_in_words(sesmail) -> None:
    done = sesmail("erase", "ann")
    assert done.exit_code == 1
    assert "bare address" in done.output


def test_it_says_that_former_names_are_not_looked_through_where_something_stands_there(redis, redis_server) -> None:
    client = Client(Settings(redis_url=redis_server.url, global_key_prefix="alpha:"))
    try:
        assert not any("prefix" in each for each in client.erase(ANN).not_looked_through)
        Ledger(Scripts(redis, Keys()), Settings()).accept("old", Email(ANN, "s", "t", from_email="shop@example.com"))
        assert any("sesmail migrate" in each for each in client.erase(ANN).not_looked_through)
    finally:
        client.close()
