"""One mailbox has many spellings: it is written to once, and what is known of it holds for all of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesmail.message import Email
from sesmail.message.addresses import bare_address, display_name, encoded_mailbox, mailbox_of, normal_address
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.vocabulary import Delivery, Reason, State
from tests.contract.compose.conftest import Post

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
SPELLINGS = [
    "ann@bücher.example.org",
    "ann@xn--bcher-kva.example.org",
    "Ann@XN--BCHER-KVA.example.org",
    "ann@bu\u0308cher.example.org",
    "ANN@BÜCHER。example.org",
    '"ann"@bücher.example.org',
    "Ann Lee <ann@bücher.example.org>",
    "\ufeffann@bücher.example.org",
    " ann@bücher.example.org\u00a0",
    "a\u200bnn@bücher.ex\u00adample.org",
    "ann@bücher.example.org\u200e",
    "Ann < ann@bücher.example.org >",
]
NORMAL = "ann@xn--bcher-kva.example.org"


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_2_every_spelling_has_the_same_normal_form(spelling: str) -> None:
    assert normal_address(spelling) == NORMAL
    assert normal_address(normal_address(spelling)) == NORMAL
    assert bare_address(mailbox_of("to", spelling)).lower() == NORMAL


def test_2_all_spellings_of_one_mailbox_in_an_email_are_one_recipient(post: Post) -> None:
    received = post.deliver(SPELLINGS[:4], "Hello", "Hi.", cc=SPELLINGS[4:8], bcc=SPELLINGS[8:])
    assert received.record["recipients"] == [NORMAL]


@pytest.mark.parametrize("written", SPELLINGS)
def test_2_an_opt_out_in_any_spelling_holds_for_every_other(post: Post, written: str) -> None:
    post.client.suppression.add(
        OptOut(address=written.rpartition("<")[2].rstrip("> "), scope=Scope(), reason=Reason.MANUAL, since=SINCE)
    )
    assert [one.address for one in post.client.suppression.find(SPELLINGS[0])] == [NORMAL]
    send_id = post.accept(Email(SPELLINGS[3], "Hello", "Hi."))
    assert post.client.delivery.claim(send_id) is State.SUPPRESSED
    assert post.status(send_id).deliveries == {NORMAL: Delivery.SUPPRESSED}
    assert post.client.suppression.remove(written, Scope())
    assert post.client.suppression.find(NORMAL) == []


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("ann@faß.example.org", "ann@faß.example.org"),
        ("ann@βόλος.example.org", "ann@xn--nxasmm1c.example.org"),
        ('"ann"@example.org', "ann@example.org"),
        ("ann@xn--bcher-kva.example.org", "ann@bücher.example.org"),
    ],
)
def test_2_what_a_former_release_wrote_down_in_another_spelling_still_holds(post: Post, former: str, now: str) -> None:
    post.client.scripts.redis.hset("{sesmail}:optout:everything", former, "manual 1700000000000 by hand")
    post.client.scripts.redis.sadd("{sesmail}:optouts", "everything")
    send_id = post.accept(Email(now, "Hello", "Hi."))
    assert post.client.delivery.claim(send_id) is State.SUPPRESSED
    (opt_out,) = post.client.suppression.find(now)
    assert (opt_out.address, opt_out.source) == (normal_address(now), "by hand")
    assert post.client.suppression.remove(now, Scope())
    assert post.client.suppression.find(former) == []


@pytest.mark.parametrize(
    ("domain", "ascii_domain"),
    [
        ("faß.de", "xn--fa-hia.de"),
        ("βόλος.com", "xn--nxasmm1c.com"),
        ("نامه\u200cای.com", "xn--mgba3gch31f060k.com"),
        ("FASS.de", "fass.de"),
        ("ｅｘａｍｐｌｅ.com", "example.com"),
    ],
)
def test_domains_are_those_that_browsers_and_registries_mean(domain: str, ascii_domain: str) -> None:
    assert Email(f"ann@{domain}", "s", "t").recipients == (f"ann@{ascii_domain}",)


@pytest.mark.parametrize(
    ("to", "cc", "bcc", "kept"),
    [
        ("ann@example.org", "ann@example.org", (), ["ann@example.org"]),
        ("Ann <Ann@example.org>", "ann@EXAMPLE.org", "ANN@example.org", ["Ann@example.org"]),
        (["a@example.org", "A@example.org", "b@example.org"], (), "B@example.org", ["a@example.org", "b@example.org"]),
        ([], "c@example.org", ["C@example.org", "d@example.org"], ["c@example.org", "d@example.org"]),
    ],
)
def test_15_who_stands_twice_gets_one_copy_where_he_stands_first(post: Post, to, cc, bcc, kept: list[str]) -> None:
    received = post.deliver(to, "Hello", "Hi.", cc=cc, bcc=bcc)
    assert received.record["recipients"] == kept


def test_sixty_entries_that_are_forty_people_are_forty_recipients() -> None:
    people = [f"p{n % 40}@example.org" for n in range(60)]
    assert Email(people, "s", "t").recipient_count == 40


NAMES = {
    "Japanese": "株式会社" * 20,
    "Cyrillic": "Ж" * 150,
    "emoji": "🎉" * 90,
    "ASCII": "N" * 330,
    "quoted": "N'\"\\" * 100,
    "joined emoji": "👩‍👩‍👧‍👦" * 30,
    "composed": "e\u0301" * 150,
    "Hindi": "अनुच्छेद " * 40,
    "a page": "A" * 3000,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=[*NAMES])
@pytest.mark.parametrize("raw", [False, True])
def test_8_nobody_locks_himself_out_by_his_name(
    post: Post, name: str, raw: bool, caplog: pytest.LogCaptureFixture
) -> None:
    escaped = name.replace("\\", r"\\").replace('"', r"\"")
    given = f'"{escaped}" <ann@example.org>'
    email = Email(given, "Hello", "Hi.", from_email=given, reply_to=given, attachments=[("ä", b"1")] if raw else ())
    assert "A name is longer than SES can carry (to): it was shortened." in caplog.text
    assert name[:20] not in caplog.text
    shown = display_name(email.to[0])
    assert name.startswith(shown.removesuffix("...").removesuffix("…"))
    assert shown.endswith("..." if name.isascii() else "…")
    assert 200 < len(encoded_mailbox(email.to[0])) <= 320
    received = post.deliver(email)
    assert received.mailboxes("To") == received.mailboxes("From") == [(shown, "ann@example.org")]


@settings(max_examples=150)
@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"], exclude_characters="<>"), max_size=400))
def test_8_whatever_name_fits_is_kept_and_whatever_does_not_is_shortened_to_fit(name: str) -> None:
    escaped = name.replace("\\", r"\\").replace('"', r"\"")
    mailbox = mailbox_of("to", f'"{escaped}" <ann@example.org>')
    assert len(encoded_mailbox(mailbox)) <= 320
    assert display_name(mailbox) == name.strip() or display_name(mailbox).endswith(("...", "…"))
    assert mailbox_of("to", mailbox) == mailbox


def test_8_the_longest_address_that_there_is_may_have_a_name() -> None:
    address = f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 54}.example.org"
    mailbox = mailbox_of("to", f"{'株' * 100} <{address}>")
    assert bare_address(mailbox) == address
    assert len(encoded_mailbox(mailbox)) <= 320


def test_names_arrive_as_they_were_given_in_all_lists(post: Post) -> None:
    received = post.deliver(
        ["Jürg Müller <juerg@example.org>", '"Lee, Ann" <ann@example.org>'],
        "Grüße",
        "Hallo",
        cc="日本 <c@example.org>",
        reply_to="Hilfe & Rat <help@example.com>",
        from_email="Täglich <news@example.com>",
    )
    assert {name: received.mailboxes(name) for name in ("From", "To", "Cc", "Reply-To")} == {
        "From": [("Täglich", "news@example.com")],
        "To": [("Jürg Müller", "juerg@example.org"), ("Lee, Ann", "ann@example.org")],
        "Cc": [("日本", "c@example.org")],
        "Reply-To": [("Hilfe & Rat", "help@example.com")],
    }
    assert received.message["Bcc"] is None
    assert re.search(rb"^Date: ", received.raw, re.MULTILINE)
