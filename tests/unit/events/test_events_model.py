"""What SES's JSON means: which events it becomes, and that nothing in it can stop us."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesmail.events import model
from sesmail.events.reading import read
from tests.signing import FIXTURES, fixture_json, fixture_text

EVENT_FILES = sorted(path.name for path in FIXTURES.glob("*.json") if path.name.startswith(("ev_", "id_")))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from paths(inner, (*path, name))


def replaced(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@given(st.text())
def test_no_text_can_stop_the_reader(text) -> None:
    assert read(text, site="alpha")


@given(json_values)
def test_no_json_can_stop_the_reader(value) -> None:
    assert read(json.dumps(value), site="alpha")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "\ud800", ""])
def test_hostile_text_can_not_stop_the_reader(text) -> None:
    assert isinstance(read(text, site="alpha")[0], model.Unhandled)


@given(st.data())
def test_no_wrong_value_anywhere_in_an_event_can_stop_the_reader(data) -> None:
    document = fixture_json(data.draw(st.sampled_from(EVENT_FILES)))
    path = data.draw(st.sampled_from(list(paths(document))))
    assert read(json.dumps(replaced(document, path, data.draw(json_values))), site="alpha")


@pytest.mark.parametrize("name", EVENT_FILES)
def test_an_address_shows_in_no_repr(name) -> None:
    assert "@" not in repr(read(fixture_text(name), site="alpha"))


def test_the_same_bounce_under_both_spellings_has_one_key() -> None:
    published = fixture_json("ev_bounce_permanent_general.json")
    notified = {k: v for k, v in published.items() if k != "eventType"} | {"notificationType": "Bounce"}
    notified["bounce"] = {**published["bounce"], "feedbackId": "another"}
    (one,), (other,) = (read(json.dumps(document), site="alpha") for document in (published, notified))
    assert one.key == other.key


def test_different_facts_have_different_keys() -> None:
    documents = [fixture_json(name) for name in ("ev_send.json", "ev_delivery.json", "ev_open.json", "ev_click.json")]
    second_open = fixture_json("ev_open.json")
    second_open["open"]["timestamp"] = "2026-11-20T18:01:02.345Z"
    events = [event for document in [*documents, second_open] for event in read(json.dumps(document), site="alpha")]
    assert len({event.key for event in events}) == 5


def test_each_recipient_has_a_key_of_its_own() -> None:
    events = read(fixture_text("id_bounce_no_dsn_no_headers.json"), site="alpha")
    assert len({event.key for event in events}) == len(events) == 2


def test_opens_of_an_email_to_several_are_not_put_down_to_one_of_them() -> None:
    document = fixture_json("ev_open.json")
    document["mail"]["destination"] = ["a@example.org", "b@example.org"]
    (event,) = read(json.dumps(document), site="alpha")
    assert event.recipient == ""


def test_our_id_and_list_come_from_the_tags() -> None:
    document = fixture_json("ev_delivery.json")
    document["mail"]["tags"] |= {"sesmail-id": ["send-1"], "sesmail-list": ["monthly"]}
    (event,) = read(json.dumps(document), site="alpha")
    assert (event.send_id, event.list, event.site) == ("send-1", "monthly", "alpha")


def test_our_id_comes_from_the_header_where_there_are_no_tags() -> None:
    document = fixture_json("id_bounce_with_dsn_and_headers.json")
    document["mail"]["headers"].append({"name": "x-sesmail-id", "value": "send-1"})
    (event,) = read(json.dumps(document), site="alpha")
    assert event.send_id == "send-1"


def test_an_unknown_kind_still_tells_which_email_it_is_about() -> None:
    document = fixture_json("ev_unknown_future_type.json")
    document["mail"]["tags"]["sesmail-id"] = ["send-1"]
    (event,) = read(json.dumps(document), site="alpha")
    assert isinstance(event, model.Unhandled)
    assert (event.what, event.send_id) == ("SomethingNew", "send-1")


def test_a_bounced_address_with_a_name_is_taken_bare() -> None:
    document = fixture_json("ev_bounce_permanent_general.json")
    document["bounce"]["bouncedRecipients"][0]["emailAddress"] = "Gone <gone@example.net>"
    (event,) = read(json.dumps(document), site="alpha")
    assert event.recipient == "gone@example.net"


def test_leaving_some_topics_opts_out_of_those_lists_only() -> None:
    document = fixture_json("ev_subscription.json")
    document["subscription"]["newTopicPreferences"]["unsubscribeAll"] = False
    (event,) = read(json.dumps(document), site="alpha")
    assert [str(scope) for _, scope in event.suppresses] == ["list:alpha/monthly"]


def test_coming_back_is_no_opt_out() -> None:
    document = fixture_json("ev_subscription.json")
    preferences = document["subscription"]["newTopicPreferences"]
    preferences["unsubscribeAll"] = False
    preferences["topicSubscriptionStatus"][0]["subscriptionStatus"] = "OptIn"
    (event,) = read(json.dumps(document), site="alpha")
    assert isinstance(event, model.Unhandled)


def test_an_opt_out_of_one_among_several_recipients_is_put_down_to_nobody() -> None:
    document = fixture_json("ev_subscription.json")
    document["mail"]["destination"].append("b@example.org")
    (event,) = read(json.dumps(document), site="alpha")
    assert not event.suppresses


def test_times_are_aware_whatever_their_offset() -> None:
    (event,) = read(fixture_text("ev_delivery.json"), site="alpha")
    assert event.occurred_at == datetime(2026, 11, 20, 14, 5, 46, 402_000, tzinfo=UTC)
    assert event.sent_at == datetime(2026, 11, 20, 14, 5, 45, 123_000, tzinfo=UTC)
