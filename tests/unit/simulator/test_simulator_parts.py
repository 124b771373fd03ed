"""The simulator's arithmetic and tables, without a server."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seslocal.account.faults import REFUSALS, Fault
from seslocal.account.mailbox import Mailbox
from seslocal.api.requests import validation
from seslocal.errors import WIRE, Kind, Refused
from seslocal.events import payload
from seslocal.events.outcomes import STORIES, Happening, Outcome, outcome_of, plan
from seslocal.message.rendering import RenderingError, render
from seslocal.message.submission import Content, Submission
from seslocal.options import Options
from seslocal.sns.delivery_policy import DeliveryPolicy, aws_managed


def submission(number: int = 0, **more) -> Submission:
    fields = {
        "operation": "SendEmail",
        "source": "news@example.com",
        "sender": "news@example.com",
        "to": ("reader@example.org",),
        "content": Content(subject=f"Issue {number}", text="x"),
        "tags": {"sesmail-id": f"s{number}"},
    }
    return Submission(**(fields | more))


def test_every_kind_of_refusal_has_a_wire_form():
    assert set(WIRE) == set(Kind)


def test_every_fault_either_refuses_or_is_met_after_the_call_began():
    others = {"ok", "slow", "reset_before", "reset_after", "hang_after", "error_after"}
    assert {fault.value for fault in Fault if fault not in REFUSALS} == others


def test_every_outcome_but_reject_has_a_story_and_every_happening_an_event():
    assert set(STORIES) == set(Outcome) - {Outcome.REJECT}
    assert set(payload.EVENT_TYPES) == set(Happening)
    assert set(payload.API_EVENT_TYPES) == set(payload.EVENT_TYPES.values())


@pytest.mark.parametrize(
    ("address", "outcome"),
    [
        ("bounce@simulator.amazonses.com", Outcome.BOUNCE),
        ("Bounce+Label-1@Simulator.AmazonSES.com", Outcome.BOUNCE),
        ("bouncer@simulator.amazonses.com", Outcome.BOUNCE),
        ("success+bounce@simulator.amazonses.com", Outcome.DELIVERED),
        ("bounce@example.org", Outcome.DELIVERED),
        ("anyone@bounce.example", Outcome.BOUNCE),
        ("anyone@notbounce.example", Outcome.DELIVERED),
    ],
)
def test_an_address_decides_what_becomes_of_its_mail(address, outcome):
    assert outcome_of(address) is outcome


@given(st.lists(st.sampled_from(sorted(set(Outcome) - {Outcome.REJECT})), min_size=1, max_size=8), st.integers())
def test_a_plan_begins_with_send_and_goes_forward_in_time(outcomes, seed):
    planned = plan([(f"r{n}@example.org", outcome) for n, outcome in enumerate(outcomes)], random.Random(seed))
    assert planned[0].happening is Happening.SEND
    assert planned[0].recipients == tuple(f"r{n}@example.org" for n in range(len(outcomes)))
    times = [one.after_seconds for one in planned]
    assert times == sorted(times)
    told = {(one.happening, address) for one in planned for address in one.recipients}
    expected = {(h, f"r{n}@example.org") for n, outcome in enumerate(outcomes) for h, _ in STORIES[outcome]}
    unreachable = [f"r{n}@example.org" for n, outcome in enumerate(outcomes) if outcome is Outcome.UNREACHABLE]
    expected |= {(Happening.GIVEN_UP, address) for address in unreachable}
    assert told == expected | {(Happening.SEND, address) for address in planned[0].recipients}


def test_snss_default_is_three_retries_twenty_seconds_apart():
    assert DeliveryPolicy().delays() == [20, 20, 20]


def test_a_policy_goes_through_its_four_phases():
    given_policy = {
        "healthyRetryPolicy": {
            "numRetries": 8,
            "minDelayTarget": 5,
            "maxDelayTarget": 65,
            "numNoDelayRetries": 1,
            "numMinDelayRetries": 2,
            "numMaxDelayRetries": 1,
            "backoffFunction": "linear",
        },
        "throttlePolicy": {"maxReceivesPerSecond": 10},
    }
    policy = DeliveryPolicy.from_json(json.dumps(given_policy))
    assert policy.delays() == [0, 5, 5, 20, 35, 50, 65, 65]
    assert policy.receives_per_second == 10


@pytest.mark.parametrize("backoff", ["linear", "arithmetic", "geometric", "exponential"])
def test_every_backoff_rises_to_the_longest_delay(backoff):
    delays = DeliveryPolicy(retries=10, shortest_seconds=1, longest_seconds=100, backoff=backoff).delays()
    assert delays == sorted(delays)
    assert delays[-1] == pytest.approx(100)
    assert delays[0] > 1


@pytest.mark.parametrize(
    "policy",
    [
        '{"healthyRetryPolicy": {"numRetries": 101}}',
        '{"healthyRetryPolicy": {"numRetries": 100, "minDelayTarget": 40, "maxDelayTarget": 40}}',
        '{"healthyRetryPolicy": {"numRetries": 1, "numNoDelayRetries": 2}}',
        '{"healthyRetryPolicy": {"minDelayTarget": 30, "maxDelayTarget": 20}}',
        '{"healthyRetryPolicy": {"backoffFunction": "lazy"}}',
        '{"healthyRetryPolicy": {"numNoDelayRetries": -1}}',
        '{"healthyRetryPolicy": {"minDelayTarget": "nan"}}',
        '{"throttlePolicy": {"maxReceivesPerSecond": "10"}}',
        '{"throttlePolicy": {"maxReceivesPerSecond": -1}}',
        "[]",
        "nonsense",
    ],
)
def test_a_policy_that_sns_refuses_is_refused(policy):
    with pytest.raises(Refused, match="DeliveryPolicy"):
        DeliveryPolicy.from_json(policy)


def test_queues_are_tried_for_long():
    assert len(aws_managed().delays()) == 115


@pytest.mark.parametrize(
    ("template", "data", "text"),
    [
        ("Dear {{name}}", {"name": "Ann"}, "Dear Ann"),
        ("{{ a.b }} {{{c}}}", {"a": {"b": 1}, "c": "<b>"}, "1 <b>"),
        ("{{#if vip}}V{{else}}n{{/if}}", {"vip": True}, "V"),
        ("{{#if vip}}V{{else}}n{{/if}}", {}, "n"),
        ("{{#unless vip}}n{{/unless}}", {"vip": 0}, "n"),
        ("{{#each list}}{{@index}}{{this}};{{/each}}", {"list": ["a", "b"]}, "0a;1b;"),
        ("{{#each list}}{{n}}{{outer}} {{/each}}", {"list": [{"n": 1}, {"n": 2}], "outer": "!"}, "1! 2! "),
        ("{{#with who}}{{name}}{{/with}}", {"who": {"name": "Bo"}}, "Bo"),
        ("a{{! a comment }}b", {}, "ab"),
        ("{{#if a}}{{#if b}}both{{/if}}{{/if}}", {"a": 1, "b": 1}, "both"),
        ("<p>{{html}}</p>", {"html": "<i>&</i>"}, "<p><i>&</i></p>"),
    ],
)
def test_a_template_is_filled_in(template, data, text):
    assert render(template, data) == text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{name}}", "Attribute 'name' is not present in the rendering data."),
        ("{{a.b}}", "Attribute 'a.b' is not present"),
        ("{{#if a}}x", "not closed"),
        ("{{/if}}", "not open"),
        ("{{#odd a}}{{/odd}}", "not known"),
    ],
)
def test_a_template_that_cannot_be_filled_in_says_why(template, words):
    with pytest.raises(RenderingError, match=words):
        render(template, {"a": {}})


def test_old_content_goes_before_old_records_and_no_count_is_lost():
    mailbox = Mailbox(Options(kept_bodies=2, kept_records=5))
    for number in range(9):
        mailbox.accept(submission(number), f"id-{number}", 100.0 + number)
    assert [record.message_id for record in mailbox.records()] == [f"id-{n}" for n in range(4, 9)]
    assert [n for n in range(9) if mailbox.submission(f"id-{n}")] == [7, 8]
    assert mailbox.report()["accepted"] == {"calls": 9, "recipients": 9}
    mailbox.accept(submission(0), "id-9", 200.0)
    assert mailbox.report()["duplicates"] == {"ids": 1, "extra_messages": 1, "examples": {"s0": 2}}


def test_emails_without_the_tag_are_no_duplicates_of_each_other():
    mailbox = Mailbox(Options())
    for number in range(3):
        mailbox.accept(submission(tags={}), f"id-{number}", 100.0)
    assert mailbox.report()["duplicates"]["ids"] == 0


def test_the_search_looks_at_addresses_subjects_tags_and_ids():
    mailbox = Mailbox(Options())
    mailbox.accept(submission(1, to=("Ann@example.org",)), "id-a", 100.0)
    mailbox.accept(submission(2), "id-b", 101.0)
    assert [record.message_id for record in mailbox.latest(10)] == ["id-b", "id-a"]
    for search, found in (("ann@", "id-a"), ("ISSUE 2", "id-b"), ("s1", "id-a"), ("id-b", "id-b")):
        assert [record.message_id for record in mailbox.latest(10, search)] == [found]


local_parts = st.from_regex(r"[a-z0-9_+-]{1,20}(\.[a-z0-9]{1,10})?", fullmatch=True)
domains = st.from_regex(r"([a-z0-9]{1,10}\.){1,3}[a-z]{2,6}", fullmatch=True)


@given(local_parts, domains, st.from_regex(r"[A-Za-z ]{0,20}", fullmatch=True))
def test_a_plain_address_is_taken_with_and_without_a_name(local, domain, name):
    bare = f"{local}@{domain}"
    assert validation.address(bare) == bare
    assert validation.address(f"{name} <{bare}>") == bare


@given(st.text(max_size=60))
def test_whatever_is_given_as_an_address_is_taken_whole_or_refused(given):
    try:
        bare = validation.address(given)
    except Refused:
        return
    else:
        assert "\n" not in given
        assert "\r" not in given
        assert bare.count("@") >= 1
        assert bare.isascii()
