"""On a staging site no email reaches those whom it is for, but those who look after it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesmail import Client, Email, InvalidEmail, Settings
from sesmail.message.addresses import MAX_RECIPIENTS
from sesmail.message.email import MAX_SUBJECT_LENGTH, REDIRECTED_HEADER
from sesmail.ses.request import send_email_request

STAFF = "staff@example.net"


def email(to="ann@example.org", **fields) -> Email:
    return Email(to, **{"subject": "Your receipt", "text": "Thank you.", "from_email": "shop@example.com", **fields})


def test_it_goes_to_the_others_and_says_whom_it_was_for_in_the_subject_and_in_a_header():
    redirected = email("Ann <ann@example.org>", cc="bob@example.org", bcc=["carol@example.org"]).redirected([STAFF])
    assert (redirected.to, redirected.cc, redirected.bcc) == ((STAFF,), (), ())
    assert redirected.subject == "[for ann@example.org, bob@example.org, carol@example.org] Your receipt"
    assert redirected.headers[REDIRECTED_HEADER] == "ann@example.org, bob@example.org, carol@example.org"


def test_all_else_stays_as_it_is():
    fields = {
        "html": "<p>Thank you.</p>",
        "headers": {"List-Id": "receipts"},
        "attachments": [("a.txt", "text", "text/plain")],
        "tags": ["receipt"],
        "metadata": {"order": 7},
        "reply_to": "help@example.com",
        "lane": "bulk",
        "idempotency_key": "order-7",
        "configuration_set": "events",
    }
    before, after = email(**fields), email(**fields).redirected([STAFF])
    for name in (*(set(fields) - {"headers"}), "text", "from_email"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.headers["List-Id"] == "receipts"
    assert before == email(**fields), "the original has changed"


def test_who_is_in_a_domain_that_is_not_redirected_stays_where_they_were():
    redirected = email("Ann <ann@EXAMPLE.com>", cc=["bob@example.org", "dave@example.com"], bcc="eve@example.org")
    redirected = redirected.redirected([STAFF], except_domains=["Example.com"])
    assert redirected.to == ("Ann <ann@example.com>", STAFF)
    assert (redirected.cc, redirected.bcc) == (("dave@example.com",), ())
    assert redirected.subject == "[for bob@example.org, eve@example.org] Your receipt"


def test_an_email_to_nobody_else_is_not_touched():
    inside = email("ann@example.com", cc="bob@example.com")
    assert inside.redirected([STAFF], except_domains=["example.com"]) is inside


@pytest.mark.parametrize("domain", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example"])
def test_an_international_domain_may_be_written_either_way(domain):
    inside = email("Jürgen <j@bücher.example>")
    assert inside.redirected([STAFF], except_domains=[domain]) is inside


def test_a_domain_stands_for_itself_alone():
    outside = email(["a@sub.example.com", "b@notexample.com", "c@example.com.example.org"])
    assert outside.redirected([STAFF], except_domains=["example.com"]).to == (STAFF,)


def test_names_and_subjects_in_any_script_survive():
    redirected = email("Ünal <u@example.org>", subject="Grüße 🙂").redirected(["Prüfer <staff@example.net>"])
    assert redirected.subject == "[for u@example.org] Grüße 🙂"
    assert redirected.to == ("Prüfer <staff@example.net>",)


def test_nobody_gets_it_twice():
    redirected = email(["ann@example.org"], cc="Staff@example.net").redirected(
        [STAFF, "Staff <STAFF@example.net>", "boss@example.net"], except_domains=["example.net"]
    )
    assert (redirected.to, redirected.cc) == (("boss@example.net",), ("Staff@example.net",))


def test_where_everybody_gets_a_copy_already_it_is_redirected_to_nobody_more():
    redirected = email("ann@example.org", cc=STAFF).redirected([STAFF], except_domains=["example.net"])
    assert (redirected.to, redirected.cc, redirected.recipient_count) == ((), (STAFF,), 1)


def test_of_fifty_recipients_some_are_named_and_the_subject_can_be_read():
    people = [f"reader-number-{n}@example.org" for n in range(MAX_RECIPIENTS)]
    redirected = email(people).redirected([STAFF])
    assert redirected.to == (STAFF,)
    assert re.fullmatch(r"\[for reader-number-0@example.org, .* and 40 more\] Your receipt", redirected.subject)
    assert re.fullmatch(r"reader-number-0@example.org, .* and 20 more", redirected.headers[REDIRECTED_HEADER])


def test_with_forty_nine_who_stay_as_many_others_get_it_as_ses_allows():
    people = [f"a{n}@example.com" for n in range(MAX_RECIPIENTS - 1)]
    redirected = email([*people, "ann@example.org"]).redirected(
        [STAFF, "b@example.net"], except_domains=["example.com"]
    )
    assert redirected.to == (*people, STAFF)


def test_with_fifteen_headers_the_subject_alone_says_whom_it_was_for():
    full = email(headers={f"X-{n}": "x" for n in range(15)}).redirected([STAFF])
    assert full.headers == {f"X-{n}": "x" for n in range(15)}
    assert full.subject == "[for ann@example.org] Your receipt"


def test_a_header_of_that_name_is_replaced_whatever_its_case():
    redirected = email(headers={REDIRECTED_HEADER.upper(): "x"}).redirected([STAFF])
    assert dict(redirected.headers) == {REDIRECTED_HEADER: "ann@example.org"}


@pytest.mark.parametrize(
    ("options", "field"),
    [({"to": ["nobody"]}, "redirect_to[0]"), ({"to": [STAFF], "except_domains": ["a b"]}, "redirect_except_domains")],
)
def test_a_setting_that_is_wrong_is_named(options, field):
    with pytest.raises(InvalidEmail) as refused:
        email().redirected(**options)
    assert refused.value.field == field


def test_every_email_of_a_client_with_the_setting_is_redirected(ses_outbox):
    said = {"redirect_to": [STAFF, "boss@example.net"], "redirect_except_domains": ["example.com"]}
    client = Client(Settings(from_email="shop@example.com", **said))
    client.send(email())
    client.send(email("dave@example.com"))
    client.outbox.send_lot([email("bob@example.org", lane="bulk")])
    assert [each.to for each in ses_outbox.emails] == [
        (STAFF, "boss@example.net"),
        ("dave@example.com",),
        (STAFF, "boss@example.net"),
    ]


mailbox = st.builds(
    "{}{}@{}".format,
    st.sampled_from(["a", "b.c", "D", "x" * 60]),
    st.integers(0, 99),
    st.sampled_from(["example.org", "example.com", "bücher.example", f"{'long.' * 36}example.net"]),
)
lists = st.lists(mailbox, unique_by=str.lower, min_size=1, max_size=MAX_RECIPIENTS).flatmap(
    lambda people: st.tuples(st.just(people), st.integers(0, len(people)), st.integers(0, len(people)))
)


@given(
    lists,
    st.lists(mailbox, min_size=1, max_size=4),
    st.sets(st.sampled_from(["example.com", "bücher.example"])),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=MAX_SUBJECT_LENGTH),
    st.integers(0, 15),
)
def test_whatever_is_redirected_ses_takes_it_and_nobody_outside_gets_it(lists, to, inside, subject, headers):
    people, first, second = lists
    first, second = sorted((first, second))
    before = email(
        people[:first],
        cc=people[first:second],
        bcc=people[second:],
        subject=subject,
        headers={f"X-{n}": "x" for n in range(headers)},
    )
    after = before.redirected(to, except_domains=inside)
    allowed = {address.lower() for each in to for address in email(each).recipients}
    domains = {email(f"x@{domain}").recipients[0][2:] for domain in inside}
    assert 1 <= after.recipient_count <= MAX_RECIPIENTS
    assert len({address.lower() for address in after.recipients}) == after.recipient_count
    for address in after.recipients:
        assert address.lower() in allowed or address.rpartition("@")[2] in domains
    again = Email(
        after.to,
        after.subject,
        after.text,
        cc=after.cc,
        bcc=after.bcc,
        headers=after.headers,
        from_email=after.from_email,
    )
    assert again == after, "it would not be taken as it is"
    send_email_request(after, "id-1")
