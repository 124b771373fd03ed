"""Odd events through a real door and store: an odd field costs itself, and whose address can be read is heeded."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from sesmail import signals
from sesmail.events.reading import read
from sesmail.message import Email
from sesmail.vocabulary import Delivery
from tests.contract.events.site_of_events import SiteOfEvents, bounce_of, event_like
from tests.signing import fixture_json

ANN, FORWARDED_TO = "ann@alumni.example.org", "ann.private@example.net"


@pytest.fixture
def site(redis):
    return SiteOfEvents(redis)


@pytest.fixture
def heard():
    """All events that receivers are told of."""
    events = []

    def hear(_site, *, event, metadata):
        events.append(event)

    with signals.email_event.connected_to(hear):
        yield events


# -- forwarded mailboxes


def test_a_bounce_of_the_mailbox_behind_a_forwarded_one_is_that_of_the_recipient(site, heard) -> None:
    site.hear(bounce_of(FORWARDED_TO, to=[ANN]))
    assert site.opted_out() == {ANN: "bounced everything"}
    assert site.reputation.deliveries("send-1") == {ANN: Delivery.BOUNCED}
    assert [(event.recipient, event.reported_address, event.candidates) for event in heard] == [(ANN, FORWARDED_TO, ())]


def test_a_bounce_of_a_stranger_says_which_of_several_it_may_be(site, heard) -> None:
    site.hear(bounce_of("gone@example.org", FORWARDED_TO, to=["gone@example.org", ANN, "b@example.org"]))
    gone, stranger = heard
    assert (gone.recipient, gone.candidates) == ("gone@example.org", ())
    assert (stranger.recipient, stranger.reported_address) == ("", FORWARDED_TO)
    assert stranger.candidates == (ANN, "b@example.org")
    assert site.reputation.deliveries("send-1") == {"gone@example.org": Delivery.BOUNCED}
    assert ANN not in site.opted_out()


@pytest.mark.parametrize(
    ("name", "place", "status"),
    [
        ("ev_complaint_abuse.json", "complaint__complainedRecipients", Delivery.COMPLAINED),
        ("ev_delivery_delay.json", "deliveryDelay__delayedRecipients", Delivery.DELAYED),
    ],
)
def test_complaints_and_delays_of_a_forwarded_mailbox_are_the_recipients_too(site, name, place, status) -> None:
    site.hear(event_like(name, mail__destination=[ANN], **{place: [{"emailAddress": FORWARDED_TO}]}))
    assert site.reputation.deliveries("send-1") == {ANN: status}


# -- one person, one row


@pytest.mark.parametrize(
    "spelt", ["Ann@Example.ORG", " ann@example.org ", "Ann <ann@example.org>", '"ann"@example.org']
)
def test_one_person_is_one_row_and_one_key_however_an_event_spells_the_address(site, spelt) -> None:
    site.hear(event_like("ev_delivery.json", mail__destination=["ann@example.org"], delivery__recipients=[spelt]))
    site.hear(bounce_of(spelt, to=["ann@example.org"]))
    site.hear(bounce_of("ann@example.org", to=[spelt]))
    assert site.reputation.deliveries("send-1") == {"ann@example.org": Delivery.BOUNCED}
    today = datetime(2026, 11, 20, tzinfo=UTC).date()
    (row,) = site.reputation.rates("alpha", today, today)
    assert row.counts["bounced_permanent"] == 1


SPELLINGS = [
    "jane@example.org <jane@example.org>",
    "Doe, Jane <jane@example.org>",
    "Jane (Sales) <jane@example.org>",
    "Jane [Sales] <jane@example.org>",
    "Jane: Sales; <jane@example.org>",
    'Jane "J" Doe <jane@example.org>',
    "Jane <Sales> <jane@example.org>",
    "<jane@example.org>",
    "jane@example.org (Jane Doe)",
    "(Jane) jane@example.org (Sales) (North)",
    "rfc822;jane@example.org",
    "utf-8; jane@example.org",
    "mailto:jane@example.org",
    "'jane@example.org'",
    '"jane@example.org"',
    "Jane <'jane@example.org'>",
    "jane@example.org.",
    "jane@example.org, ",
    "jane@example.org>;",
    "Jane <jane@example.org",
    "Jane jane@example.org",
    '"Jane" jane@example.org',
    "[jane@example.org]",
    "(jane@example.org)",
    "“jane@example.org”",
    "smtp; jane@example.org",
    "SMTP:jane@example.org",
    "<mailto:jane@example.org>",
    "<@relay.example.com:jane@example.org>",
    "jane@example.org <>",
    "jane@example.org (Jane <Sales>)",
    "jane@example.org (was jim@example.org)",
    "jane@example.org\x00",
    "jane@example.org, Jane@Example.org",
]


@pytest.mark.parametrize("spelt", SPELLINGS)
def test_what_stands_between_the_last_angle_brackets_is_the_address(site, spelt) -> None:
    site.hear(bounce_of(spelt, to=[spelt, "other@example.org"]))
    assert site.opted_out() == {"jane@example.org": "bounced everything"}


@pytest.mark.parametrize("spelt", SPELLINGS)
def test_the_strictness_of_pythons_own_reader_of_addresses_changes_nothing(spelt, monkeypatch) -> None:
    """`parseaddr` is strict from Python 3.11.10, 3.12.6 and 3.13 on, and lenient before."""
    outcomes = []
    for strictly in (lambda _: ("", ""), lambda text: ("", text.rpartition("<")[2].strip(">"))):
        monkeypatch.setattr("email.utils.parseaddr", strictly)
        outcomes.append([event.recipient for event in read(json.dumps(bounce_of(spelt, to=[spelt])), site="alpha")])
    assert outcomes == [["jane@example.org"]] * 2


# -- one odd part


ODD = {
    "a recipient without an address": bounce_of({"status": "5.1.1"}, "gone@example.org", to=["gone@example.org", ANN]),
    "a recipient that is null": bounce_of({}, "gone@example.org", to=["gone@example.org", ANN]),
    "no destination": bounce_of("gone@example.org", to=[], mail__destination=None),
    "a destination that is text": bounce_of("gone@example.org", to=[ANN]) | {},
    "no time of the email": bounce_of("gone@example.org", to=["gone@example.org"], mail__timestamp=None),
    "no time of the bounce": bounce_of("gone@example.org", to=["gone@example.org"], bounce__timestamp=None),
    "a date as mail has it": bounce_of(
        "gone@example.org", to=["gone@example.org"], bounce__timestamp="Fri, 20 Nov 2026 14:05:47 +0000"
    ),
    "a date that is a number": bounce_of("gone@example.org", to=["gone@example.org"], bounce__timestamp=1_795_183_547),
    "a date that is none": bounce_of("gone@example.org", to=["gone@example.org"], bounce__timestamp="yesterday"),
    "a date in no year of ours": bounce_of(
        "gone@example.org", to=["gone@example.org"], bounce__timestamp="9999-12-31T23:59:59Z"
    ),
    "a header without a name": bounce_of("gone@example.org", to=["gone@example.org"], mail__headers=[{"value": "x"}]),
    "headers that are no list": bounce_of("gone@example.org", to=["gone@example.org"], mail__headers="From: x"),
    "tags that are no object": bounce_of("gone@example.org", to=["gone@example.org"], send_id=None, mail__tags=["x"]),
    "no id of the email": bounce_of("gone@example.org", to=["gone@example.org"], mail__messageId=None),
    "no email": bounce_of("gone@example.org", to=["gone@example.org"]) | {"mail": None},
    "another spelling of the type": bounce_of("gone@example.org", to=["gone@example.org"], kind="permanent"),
    "no type": bounce_of("gone@example.org", to=["gone@example.org"], kind=None),
    "no sub-type": bounce_of("gone@example.org", to=["gone@example.org"], sub_type=None),
    "no kind": bounce_of("gone@example.org", to=["gone@example.org"]) | {"eventType": None},
}
ODD["a destination that is text"]["mail"]["destination"] = "gone@example.org"


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_part_costs_nobody_an_opt_out_and_counts_all_the_same(site, heard, odd) -> None:
    site.hear(ODD[odd])
    assert site.opted_out() == {"gone@example.org": "bounced everything"}
    assert [(event.recipient, event.counter) for event in heard] == [("gone@example.org", "bounced_permanent")]
    assert all(2026 <= entry.since.year < 2028 for entry in site.suppression.read())


def test_what_could_not_be_read_is_said_by_its_place_and_nothing_personal(site, caplog) -> None:
    site.hear(ODD["a recipient without an address"], ODD["a date that is none"])
    assert "bounce.bouncedRecipients.emailAddress" in caplog.text
    assert "bounce.timestamp" in caplog.text
    assert "yesterday" not in caplog.text
    assert "gone@" not in caplog.text


def test_an_event_that_names_nobody_still_proves_that_ses_took_the_email(site, heard) -> None:
    send_id = "send-1"
    site.hear(bounce_of({"status": "5.1.1"}, to=[ANN, "b@example.org"]))
    (event,) = heard
    assert (event.what, event.send_id) == ("Bounce without recipients", send_id)
    assert not site.opted_out()


def test_a_complaint_that_names_nobody_is_that_of_the_only_recipient(site) -> None:
    document = event_like("ev_complaint_onaccountsuppressionlist.json", mail__destination=[ANN])
    del document["complaint"]["complainedRecipients"]
    site.hear(document)
    assert site.opted_out() == {ANN: "complained everything"}


def test_an_absurd_date_that_a_former_release_wrote_down_leaves_the_list_readable(site) -> None:
    key = site.scripts.keys("optout", "everything")
    site.scripts.redis.hset(key, "gone@example.org", "bounced 999999999999999999 one")
    site.scripts.redis.sadd(site.scripts.keys("optouts"), "everything")
    assert site.opted_out() == {"gone@example.org": "bounced everything"}


@pytest.mark.parametrize("absurd", ["2099-12-31T00:00:00Z", "2011-01-01T00:00:00Z"])
def test_a_bounce_before_its_email_or_after_we_heard_of_it_happened_when_we_heard_of_it(site, absurd) -> None:
    before = datetime.now(UTC)
    site.hear(bounce_of("gone@example.org", to=["gone@example.org"], bounce__timestamp=absurd))
    (entry,) = site.suppression.read()
    assert abs((entry.since - before).total_seconds()) < 60


@pytest.mark.parametrize(
    ("sub_type", "outcome"),
    [
        ("ontenantsuppressionlist", "ses-list site:alpha"),
        ("UNSUBSCRIBEDRECIPIENT", "unsubscribed site:alpha"),
        (" OnAccountSuppressionList ", "ses-list everything"),
        ("email_validation_suppressed", "invalid everything"),
    ],
)
def test_a_sub_type_means_the_same_however_it_is_spelt(site, sub_type, outcome) -> None:
    site.hear(bounce_of("gone@example.org", to=["gone@example.org"], sub_type=sub_type))
    assert site.opted_out() == {"gone@example.org": outcome}


def test_a_delay_within_a_bounce_is_one_however_it_is_spelt(site) -> None:
    site.hear(bounce_of({"emailAddress": ANN, "action": "Delayed "}, to=[ANN]))
    assert site.opted_out() == {}


# -- two different bounces of one email


def test_an_answer_from_the_holidays_does_not_swallow_the_full_mailbox(site, heard) -> None:
    away = bounce_of(ANN, to=[ANN], kind="Transient", sub_type="General")
    full = bounce_of(
        {"emailAddress": ANN, "status": "4.2.2", "action": "failed"}, to=[ANN], kind="Transient", sub_type="MailboxFull"
    )
    site.hear(away)
    site.hear(full)
    site.hear(full | {"notificationType": "Bounce"})  # told in two ways, it stays one
    assert [event.bounce_sub_type for event in heard] == ["General", "MailboxFull"]


def test_a_delay_within_a_bounce_does_not_swallow_the_failure(site, heard) -> None:
    site.hear(bounce_of({"emailAddress": ANN, "action": "delayed", "status": "4.0.0"}, to=[ANN]))
    site.hear(bounce_of({"emailAddress": ANN, "action": "failed", "status": "5.1.1"}, to=[ANN]))
    assert [event.permanent for event in heard] == [False, True]
    assert site.opted_out() == {ANN: "bounced everything"}


def test_one_bounce_by_both_mechanisms_is_told_and_counted_once(site, heard) -> None:
    published = fixture_json("ev_bounce_permanent_general.json")
    notified = {k: v for k, v in published.items() if k != "eventType"} | {"notificationType": "Bounce"}
    del (copy := json.loads(json.dumps(notified)))["mail"]["tags"]
    site.hear(published)
    site.hear(copy)
    assert len(heard) == 1


# -- preferences at SES's own page


def preferences(everything=False, **topics):
    statuses = [{"topicName": name, "subscriptionStatus": status} for name, status in topics.items()]
    return {"unsubscribeAll": everything, "topicSubscriptionStatus": statuses}


def change(old, new, at="2026-11-20T17:00:00Z"):
    document = event_like("ev_subscription.json", mail__destination=["cat@example.org"])
    document["subscription"] |= {"oldTopicPreferences": old, "newTopicPreferences": new, "timestamp": at}
    return document


LEFT = change(preferences(news="OptIn", jobs="OptOut"), preferences(news="OptOut", jobs="OptOut"))
BACK = change(
    preferences(news="OptOut", jobs="OptOut"), preferences(news="OptIn", jobs="OptOut"), at="2026-11-20T18:00:00Z"
)


def scopes(site) -> set[str]:
    return {str(entry.scope) for entry in site.suppression.read()}


def test_only_the_topics_that_changed_are_left(site, heard) -> None:
    site.hear(LEFT)
    assert scopes(site) == {"list:alpha/news"}
    assert [event.topics for event in heard] == [("news",)]


@pytest.mark.parametrize(
    ("new", "outcome"),
    [
        ({"unsubscribeAll": None, "topicSubscriptionStatus": []}, "site:alpha"),
        ({"unsubscribeAll": "yes"}, "site:alpha"),
        ({"unsubscribeAll": 1}, "site:alpha"),
        ({"unsubscribeAll": [], "topicSubscriptionStatus": None}, "site:alpha"),
        (preferences(news=None), "site:alpha"),
        (preferences(news="Opt-Out"), "list:alpha/news"),
        (preferences(news="OPT_OUT", jobs=7), "list:alpha/news"),
        ({"unsubscribeAll": False, "topicSubscriptionStatus": "OptOut"}, "site:alpha"),
        ([], "site:alpha"),
    ],
)
def test_who_unsubscribes_has_left_also_where_what_cannot_be_read(site, new, outcome) -> None:
    document = change(preferences(news="OptIn", jobs="OptIn"), new)
    document["subscription"]["source"] = "UnsubscribeHeader"
    site.hear(document)
    assert scopes(site) == {outcome}


def test_nobody_comes_back_by_preferences_that_cannot_be_read(site) -> None:
    site.hear(change(preferences(news="OptIn"), preferences(True, news="OptOut")))
    odd = change(preferences(True, news="OptOut"), preferences("perhaps", news="OptIn"), at="2026-11-20T18:00:00Z")
    site.hear(odd)
    assert scopes(site) == {"site:alpha"}


def test_who_comes_back_is_told_of_and_is_mailed_again(site) -> None:
    told = []

    def hear(_site, *, event, metadata):
        told.append((event.recipient, event.topics))

    with signals.email_resubscribed.connected_to(hear):
        site.hear(LEFT)
        site.hear(BACK)
    assert scopes(site) == set()
    assert told == [("cat@example.org", ("news",))]


@pytest.mark.parametrize("orders", [[LEFT, BACK], [BACK, LEFT]])
def test_the_order_in_which_it_is_told_does_not_matter(site, orders) -> None:
    for document in orders:
        site.hear(document)
    assert scopes(site) == set()


def test_who_left_again_has_left_also_where_the_coming_back_is_told_last(site) -> None:
    again = change(preferences(news="OptIn"), preferences(news="OptOut"), at="2026-11-20T19:00:00Z")
    site.hear(LEFT)
    site.hear(again)
    site.hear(BACK)
    assert scopes(site) == {"list:alpha/news"}


def test_who_comes_back_to_one_topic_after_leaving_everything_is_mailed_that_one_alone(site, heard) -> None:
    site.hear(change(preferences(news="OptIn", jobs="OptIn"), preferences(True, news="OptOut", jobs="OptOut")))
    assert scopes(site) == {"site:alpha"}
    site.hear(
        change(
            preferences(True, news="OptOut", jobs="OptOut"),
            preferences(news="OptIn", jobs="OptOut"),
            at="2026-11-20T18:00:00Z",
        )
    )
    assert scopes(site) == {"list:alpha/jobs"}
    assert [type(event).__name__ for event in heard] == ["Unsubscribed", "Resubscribed"]


@pytest.mark.parametrize("source", ["command", "import", "link-0123", "a list of 2019"])
def test_an_opt_out_that_came_from_elsewhere_stays_when_somebody_comes_back_at_ses(site, source) -> None:
    from sesmail.state.people.suppression import OptOut, Scope
    from sesmail.vocabulary import Reason

    left_at = datetime(2026, 11, 1, tzinfo=UTC)
    site.suppression.add(
        OptOut(
            address="cat@example.org",
            scope=Scope("alpha", "news"),
            reason=Reason.UNSUBSCRIBED,
            since=left_at,
            source=source,
        )
    )
    site.hear(BACK)
    assert scopes(site) == {"list:alpha/news"}


def test_who_came_back_stays_when_the_opt_outs_are_rebuilt(site) -> None:
    site.hear(LEFT)
    site.hear(BACK)
    assert site.processor.rebuild_suppression() == 0
    assert scopes(site) == set()


# -- what events carry


def test_an_event_carries_the_email_that_it_is_about(site, heard) -> None:
    document = event_like("ev_bounce_permanent_general.json")
    site.hear(document)
    (event,) = heard
    assert event.mail.subject == "November issue"
    assert event.mail.source == document["mail"]["source"]
    assert event.mail.destination == tuple(document["mail"]["destination"])
    assert event.mail.header("list-unsubscribe-post") == "List-Unsubscribe=One-Click"
    assert event.mail.tags["sesmail-campaign"] == ("2026-11",)
    assert event.mail.message_id == event.message_id == document["mail"]["messageId"]
    assert event.mta_response == document["bounce"]["bouncedRecipients"][0]["diagnosticCode"]
    assert event.event_id == next(site.store.read("alpha", "processed")).event_id


def test_the_reason_of_a_rejection_and_the_program_of_a_reader_are_fields(site, heard) -> None:
    site.hear(event_like("ev_reject.json"), event_like("ev_open.json"), event_like("ev_complaint_abuse.json"))
    told = {type(event).__name__: event for event in heard}
    assert told["Rejected"].reject_reason == "Bad content"
    assert told["Opened"].user_agent == fixture_json("ev_open.json")["open"]["userAgent"]
    assert told["Complained"].user_agent == fixture_json("ev_complaint_abuse.json")["complaint"]["userAgent"]


# -- metadata, after the email is forgotten


def test_a_complaint_that_comes_after_the_email_is_forgotten_has_its_metadata(site, redis) -> None:
    told = []
    email = Email("ann@example.org", "s", "t", from_email="news@example.com", metadata={"member": 7})
    site.ledger.accept("send-1", email)
    key = site.scripts.keys("metadata", "send-1")
    assert 89.9 * 86_400 < redis.ttl(key) <= 90 * 86_400
    redis.delete(site.scripts.keys("send", "send-1"))

    def hear(_site, *, event, metadata):
        told.append(metadata)

    with signals.email_complained.connected_to(hear):
        site.hear(event_like("ev_complaint_abuse.json", mail__destination=["ann@example.org"]))
        redis.delete(key)
        site.hear(event_like("ev_complaint_abuse.json", mail__messageId="another"))
    assert told == [{"member": 7}, {}]
