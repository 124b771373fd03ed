"""Email and Attachment: what they take, what they refuse and how they come apart."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from pathlib import Path
from types import MappingProxyType

import pytest

from sesmail.errors import InvalidEmail
from sesmail.message import Attachment, Email, Lane
from sesmail.message.addresses import encoded_mailbox
from sesmail.message.content import content_digest
from sesmail.message.record import PLAIN, RICH, attach, detach, version_of
from sesmail.message.text import encoded_words

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC)


def an_email(**values) -> Email:
    return Email(**{"to": "ann@example.org", "subject": "Hello", "text": "Hi.", **values})


def refusal(**values) -> InvalidEmail:
    with pytest.raises(InvalidEmail) as caught:
        an_email(**values)
    return caught.value


# What is taken


def test_the_order_of_the_positional_arguments_is_to_subject_text_html():
    email = Email("ann@example.org", "Hello", "Hi.", "<p>Hi.")
    assert (email.to, email.subject, email.text, email.html) == (("ann@example.org",), "Hello", "Hi.", "<p>Hi.")


def test_djangos_words_for_the_bodies_are_understood():
    assert an_email(text=None, message="Hi.", html_message="<p>") == an_email(text="Hi.", html="<p>")


@pytest.mark.parametrize(("ours", "djangos"), [("text", "message"), ("html", "html_message")])
def test_a_body_given_in_both_spellings_is_refused(ours, djangos):
    assert refusal(**{ours: "a", djangos: "a"}).field == ours


@pytest.mark.parametrize(
    ("given", "kept", "bare"),
    [
        ("ann@example.org", "ann@example.org", "ann@example.org"),
        ("  Ann@EXAMPLE.org ", "Ann@example.org", "Ann@example.org"),
        ("<ann@example.org>", "ann@example.org", "ann@example.org"),
        ("Ann <ann@example.org>", "Ann <ann@example.org>", "ann@example.org"),
        ("Ann<ann@example.org>", "Ann <ann@example.org>", "ann@example.org"),
        ('"Ann" <ann@example.org>', "Ann <ann@example.org>", "ann@example.org"),
        ('"Lee, Ann" <ann@example.org>', '"Lee, Ann" <ann@example.org>', "ann@example.org"),
        ('Ann "Annie" Lee <ann@example.org>', r'"Ann \"Annie\" Lee" <ann@example.org>', "ann@example.org"),
        ("J. Lee <ann@example.org>", '"J. Lee" <ann@example.org>', "ann@example.org"),
        ("ann@home <ann@example.org>", '"ann@home" <ann@example.org>', "ann@example.org"),
        ("Jürg <j@example.org>", "Jürg <j@example.org>", "j@example.org"),
        ("Ann <ann@Bücher.example.com>", "Ann <ann@xn--bcher-kva.example.com>", "ann@xn--bcher-kva.example.com"),
        ("ann@faß.example.com", "ann@xn--fa-hia.example.com", "ann@xn--fa-hia.example.com"),
        ("ann@ΒΌΛΟΣ.example.com", "ann@xn--nxasmq6b.example.com", "ann@xn--nxasmq6b.example.com"),
        ("ann@βόλος.example.com", "ann@xn--nxasmm1c.example.com", "ann@xn--nxasmm1c.example.com"),
        ("\ufeffann@bu\u0308cher.example.com\u00a0", "ann@xn--bcher-kva.example.com", "ann@xn--bcher-kva.example.com"),
        ("a\u200bnn@exam\u00adple.org\u200e", "ann@example.org", "ann@example.org"),
        ("\u200bAnn\u200b < ann@example.org >", "Ann <ann@example.org>", "ann@example.org"),
        ("ann@例え。example.com", "ann@xn--r8jz45g.example.com", "ann@xn--r8jz45g.example.com"),
        ("o'brien+tag/x=y@example.org", "o'brien+tag/x=y@example.org", "o'brien+tag/x=y@example.org"),
        ('"a..b"@example.org', '"a..b"@example.org', '"a..b"@example.org'),
        ('"ann"@example.org', "ann@example.org", "ann@example.org"),
        ("a" * 64 + "@example.org", "a" * 64 + "@example.org", "a" * 64 + "@example.org"),
    ],
)
def test_one_string_is_one_address(given, kept, bare):
    email = an_email(to=given, from_email=given)
    assert email.to == (kept,)
    assert email.from_email == kept
    assert email.recipients == (bare,)
    assert email.sender_domain == bare.rpartition("@")[2]
    assert an_email(to=kept) == an_email(to=given)


def test_recipients_are_all_of_to_cc_and_bcc():
    email = an_email(to=["a@example.org", "B <b@example.org>"], cc="c@example.org", bcc=("d@example.org",))
    assert email.recipients == ("a@example.org", "b@example.org", "c@example.org", "d@example.org")
    assert email.recipient_count == 4


def test_blind_recipients_alone_are_enough():
    assert an_email(to=[], bcc="b@example.org").recipients == ("b@example.org",)


def test_tags_may_be_names_alone():
    assert an_email(tags=["newsletter", "spring"]).tags == {"newsletter": "1", "spring": "1"}
    assert an_email(tags="newsletter") == an_email(tags={"newsletter": "1"})


def test_a_moment_may_be_iso_8601_and_is_kept_in_utc():
    as_text = an_email(send_at="2027-01-31T13:00:00+01:00", expires_at="2027-01-31T14:00:00Z")
    assert (as_text.send_at, as_text.expires_at) == (NOON, NOON + timedelta(hours=2))
    assert an_email(send_at=NOON.astimezone(timezone(timedelta(hours=5)))).send_at.tzinfo is UTC


def test_an_empty_subject_is_a_subject_and_an_empty_body_is_none():
    assert an_email(subject="", html="").html is None


def test_defaults_fill_in_only_what_is_missing():
    email = an_email(tags={"a": "b"})
    filled = email.with_defaults(from_email="News <news@EXAMPLE.com>", configuration_set="events")
    assert filled == an_email(tags={"a": "b"}, from_email="News <news@example.com>", configuration_set="events")
    assert filled.with_defaults(from_email="other@example.com", configuration_set="other") is filled
    assert email.with_defaults() is email


@pytest.mark.parametrize("default", [{"from_email": "nobody"}, {"configuration_set": "a b"}])
def test_a_bad_default_is_refused(default):
    with pytest.raises(InvalidEmail):
        an_email().with_defaults(**default)


# What is refused


@pytest.mark.parametrize(
    "address",
    [
        "",
        "zebra",
        "zebra@",
        "@zebra.org",
        "zebra@localhost",
        "zebra@example..org",
        "zebra@.example.org",
        "zebra@example.org.",
        "zebra@-example.org",
        "zebra@exa_mple.org",
        "zebra@[127.0.0.1]",
        "zebra@127.0.0.1",
        "zebra@" + "a" * 64 + ".org",
        "zebra@" + "aaaa." * 60 + "org",
        ".zebra@example.org",
        "zebra.@example.org",
        "ze..bra@example.org",
        "ze bra@example.org",
        "zébra@example.org",
        "zebra@exam ple.org",
        "zebra@example.org\n",
        "zebra@example.org\r\nBcc: x@example.org",
        "Zebra\n <zebra@example.org>",
        "Zebra\x00 <zebra@example.org>",
        "Zebra\u2028 <zebra@example.org>",
        "Zebra\ud800 <zebra@example.org>",
        "zebra@example.org, other@example.org",
        "zebra@example.org; other@example.org",
        "other@example.org, Zebra <zebra@example.org>",
        "Zebra, Zoe <zebra@example.org>",
        '"zebra@example.org", "Zoe" <zoe@example.org>',
        "Zebra <zebra@example.org> trailing",
        "Zebra <zebra@example.org",
        "zebra@example.org>",
        "<<zebra@example.org>>",
        "a@b@zebra.org",
        "z" * 65 + "@zebra.example.org",
        "zebra@" + "a" * 60 + "." + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + ".example.org",
        "zebra@\U0001f993.example.com",
        "zebra@a\u200db.example.com",
        "Z" * 4000 + " <zebra@example.org>",
        '"zeb"ra"@example.org',
        '""@zebra.org',
    ],
)
@pytest.mark.parametrize("field", ["to", "cc", "bcc", "reply_to", "from_email"])
def test_what_is_not_an_address_is_refused_by_field_and_never_repeated(field, address):
    error = refusal(**{field: address})
    assert error.field == field
    assert "zebra" not in str(error).lower()
    assert "Nothing was queued" in str(error)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"to": ["a@example.org", "b"]}, "to[1]"),
        ({"to": []}, "to"),
        ({"to": 5}, "to"),
        ({"to": {"a@example.org": 1}}, "to"),
        ({"to": b"a@example.org"}, "to"),
        ({"to": [None]}, "to[0]"),
        ({"to": [["a@example.org"]]}, "to[0]"),
        ({"to": [f"a{n}@example.org" for n in range(51)]}, "to"),
        ({"to": [f"a{n}@example.org" for n in range(40)], "cc": [f"c{n}@example.org" for n in range(11)]}, "to"),
        ({"from_email": ["a@example.org"]}, "from_email"),
        ({"subject": None}, "subject"),
        ({"subject": 5}, "subject"),
        ({"subject": b"zebra"}, "subject"),
        ({"subject": "zebra\r\nBcc: x@example.org"}, "subject"),
        ({"subject": "zebra\udfff"}, "subject"),
        ({"subject": "z" * 990}, "subject"),
        ({"text": b"zebra"}, "text"),
        ({"text": "zebra\ud800"}, "text"),
        ({"html": 5}, "html"),
        ({"headers": [("X-A", "zebra")]}, "headers"),
        ({"headers": {f"X-{n}": "1" for n in range(16)}}, "headers"),
        ({"headers": {"X-A": "zebra", "x-a": "zebra"}}, "headers"),
        ({"headers": {"X-A": "1", "X-Zebra:": "1"}}, "headers[1]"),
        ({"headers": {"X Zebra": "1"}}, "headers[0]"),
        ({"headers": {"X-Zebrä": "1"}}, "headers[0]"),
        ({"headers": {"": "1"}}, "headers[0]"),
        ({"headers": {"X" * 127: "1"}}, "headers[0]"),
        ({"headers": {5: "1"}}, "headers[0]"),
        ({"headers": {"X-A": ""}}, "headers[0]"),
        ({"headers": {"X-A": "  "}}, "headers[0]"),
        ({"headers": {"X-A": None}}, "headers[0]"),
        ({"headers": {"X-A": "zebra\nX-B: 1"}}, "headers[0]"),
        ({"headers": {"X-A": "z" * 996}}, "headers[0]"),
        ({"headers": {"X-AB": "z" * 993}}, "headers[0]"),
        ({"headers": {"X-A": "ü" * 400}}, "headers[0]"),
        ({"headers": {"BCC": "zebra@example.org"}}, "headers[0]"),
        ({"headers": {"Content-Transfer-Encoding": "7bit"}}, "headers[0]"),
        ({"headers": {"Reply-To": "zebra@example.org"}}, "headers[0]"),
        ({"headers": {"X-SES-MESSAGE-TAGS": "zebra=1"}}, "headers[0]"),
        ({"headers": {"x-sesmail-id": "zebra"}}, "headers[0]"),
        ({"tags": {"zebra.x": "1"}}, "tags[0]"),
        ({"tags": {"a": "zebra@example.org"}}, "tags[0]"),
        ({"tags": {"a": ""}}, "tags[0]"),
        ({"tags": {"a": "z" * 257}}, "tags[0]"),
        ({"tags": {"a": "zebra\n"}}, "tags[0]"),
        ({"tags": ["ok", "no zebra"]}, "tags[1]"),
        ({"tags": 5}, "tags"),
        ({"tags": [f"t{n}" for n in range(50)]}, "tags"),
        ({"tags": {"Sesmail-Id": "zebra"}}, "tags"),
        ({"tags": {"a": True}}, "tags[0]"),
        ({"tags": {"a": None}}, "tags[0]"),
        ({"tags": {"a": 1.5}}, "tags[0]"),
        ({"headers": {"X-A": True}}, "headers[0]"),
        ({"metadata": ["zebra"]}, "metadata"),
        ({"metadata": {"a": object()}}, "metadata"),
        ({"metadata": {"a": float("nan")}}, "metadata"),
        ({"metadata": {"a": b"zebra"}}, "metadata"),
        ({"metadata": {"a": "zebra\ud800"}}, "metadata"),
        ({"metadata": {("a",): 1}}, "metadata"),
        ({"metadata": {"a": "z" * 16_384}}, "metadata"),
        ({"metadata": {"a": json.loads("[" * 20 + "]" * 20)}}, "metadata"),
        ({"metadata": {"a": 10**5000}}, "metadata"),
        ({"configuration_set": ""}, "configuration_set"),
        ({"configuration_set": "zebra set"}, "configuration_set"),
        ({"configuration_set": "z" * 65}, "configuration_set"),
        ({"configuration_set": 5}, "configuration_set"),
        ({"lane": "zebra"}, "lane"),
        ({"lane": None}, "lane"),
        ({"lane": []}, "lane"),
        ({"send_at": datetime(2027, 1, 31)}, "send_at"),
        ({"send_at": "2027-01-31T12:00:00"}, "send_at"),
        ({"send_at": "zebra"}, "send_at"),
        ({"send_at": 1_800_000_000}, "send_at"),
        ({"send_at": timedelta(hours=1)}, "send_at"),
        ({"send_at": "0001-01-01T00:00:00+10:00"}, "send_at"),
        ({"send_at": NOON, "expires_at": NOON}, "expires_at"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": 5}, "idempotency_key"),
        ({"idempotency_key": "z" * 257}, "idempotency_key"),
        ({"idempotency_key": "zebra\n"}, "idempotency_key"),
        ({"attachments": 5}, "attachments"),
        ({"attachments": "zebra.pdf"}, "attachments"),
        ({"attachments": ("zebra.pdf", b"1", None)}, "attachments[0].content"),
        ({"attachments": [("zebra.pdf",)]}, "attachments[0].content"),
        ({"attachments": [("a", "b", "c", "d")]}, "attachments[0].content"),
        ({"attachments": [("zebra.pdf", 5)]}, "attachments[0].content"),
        ({"attachments": [("zebra.txt", "zebra\ud800")]}, "attachments[0].content"),
        ({"attachments": [("zebra\r\n.pdf", b"1")]}, "attachments[0].filename"),
        ({"attachments": [(5, b"1")]}, "attachments[0].filename"),
        ({"attachments": [("z" * 256, b"1")]}, "attachments[0].filename"),
        ({"attachments": [("ü" * 128, b"1")]}, "attachments[0].filename"),
        ({"attachments": [("zebra.pdf", b"1", "zebra")]}, "attachments[0].content_type"),
        ({"attachments": [("zebra.pdf", b"1", "a/b\r\nX: y")]}, "attachments[0].content_type"),
        ({"attachments": [("zebra.pdf", b"1", "multipart/mixed")]}, "attachments[0].content_type"),
        ({"attachments": [("zebra.pdf", b"1", "a/" + "z" * 77)]}, "attachments[0].content_type"),
        ({"attachments": [("zebra.pdf", b"1", 5)]}, "attachments[0].content_type"),
        ({"attachments": [b"1", Path("/zebra/nowhere.pdf")]}, "attachments[1].content"),
        ({"attachments": [Path("zebra\x00")]}, "attachments[0].content"),
        ({"attachments": [{"filename": "zebra.pdf"}]}, "attachments[0].content"),
        ({"attachments": [{"filename": "a", "content": "1", "content_base64": "MQ=="}]}, "attachments[0].content"),
        ({"attachments": [{"filename": "a", "content_base64": "zebra"}]}, "attachments[0].content_base64"),
        ({"attachments": [{"filename": "a", "content_base64": 5}]}, "attachments[0].content_base64"),
        ({"attachments": [{"filename": "a", "content": "1", "zebra": 1}]}, "attachments[0].fields"),
        ({"attachments": [{"content": "1", "content_id": "ze bra"}]}, "attachments[0].content_id"),
        ({"attachments": [{"content": "1", "content_id": "z" * 77}]}, "attachments[0].content_id"),
        ({"attachments": [{"content": "1", "content_id": 5}]}, "attachments[0].content_id"),
        ({"attachments": [b"z" * 31_000_000]}, "attachments"),
        ({"html": "z" * 31_000_000}, "html"),
        ({"attachments": [b""] * 496}, "attachments"),
    ],
)
def test_a_broken_limit_names_its_field_and_never_repeats_the_value(changes, field):
    error = refusal(**changes)
    assert error.field == field
    assert "zebra" not in str(error).lower()


def test_the_limits_themselves_are_allowed():
    an_email(
        to=[f"a{n}@example.org" for n in range(50)],
        subject="s" * 989,
        headers={"X" * 126: "v" * 870} | {f"X-{n}": "1" for n in range(13)} | {"X": "v" * 995},
        tags={f"t{n}": "v" * 256 for n in range(49)},
        configuration_set="c" * 64,
        idempotency_key="k" * 256,
        metadata={"a": "z" * (16_384 - 9)},
        attachments=[("f" * 255, b"1", "a/" + "b" * 76), b"z" * 30_000_000],
    )


def test_an_endless_list_is_refused_at_once():
    def endless():
        while True:
            yield "ann@example.org"

    assert refusal(to=endless()).limit == "at most 50"


def test_whose_header_it_is_instead_is_said():
    assert "give reply_to=" in str(refusal(headers={"Reply-To": "x@example.org"}))


# Attachments


def test_an_attachment_comes_in_many_forms(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    part = EmailMessage()
    part.set_content(b"png", maintype="image", subtype="png", filename="logo.png", cid="<logo>")
    email = an_email(
        attachments=[
            Attachment("x.bin", b"1"),
            ("a.csv", "a,b", "text/csv"),
            ["b.csv", "ä,b", None],
            ("c.tar.gz", b"2"),
            (None, b"3", "application/pdf"),
            (None, b"4", None),
            tmp_path / "a.pdf",
            b"5",
            part,
            {"filename": "j.pdf", "content_base64": base64.b64encode(b"6").decode(), "content_type": "application/pdf"},
            {"filename": "k.txt", "content": "7", "content_id": "<k>"},
        ]
    )
    assert [(each.filename, each.content, each.content_type, each.content_id) for each in email.attachments] == [
        ("x.bin", b"1", "application/octet-stream", None),
        ("a.csv", b"a,b", "text/csv", None),
        ("b.csv", "ä,b".encode(), "text/csv; charset=utf-8", None),
        ("c.tar.gz", b"2", "application/octet-stream", None),
        ("attachment-5.pdf", b"3", "application/pdf", None),
        ("attachment-6.bin", b"4", "application/octet-stream", None),
        ("a.pdf", b"%PDF", "application/pdf", None),
        ("attachment-8.bin", b"5", "application/octet-stream", None),
        ("logo.png", b"png", "image/png", "logo"),
        ("j.pdf", b"6", "application/pdf", None),
        ("k.txt", b"7", "text/plain", "k"),
    ]


@pytest.mark.parametrize("alone", [b"1", bytearray(b"1"), Attachment("a", b"1"), {"content": "1"}])
def test_one_attachment_needs_no_list(alone):
    assert an_email(attachments=alone).attachments[0].content == b"1"


# What an email is

FULL = {
    "to": ["Jürg <juerg@example.org>", "b@example.org"],
    "subject": "Grüße",
    "text": "Hallo",
    "html": "<p>Hallo",
    "from_email": "News <news@example.com>",
    "cc": ["c@example.org"],
    "bcc": ["d@example.org"],
    "reply_to": ["help@example.com"],
    "headers": {"X-A": "ä"},
    "attachments": [
        {"filename": "a.pdf", "content_base64": "MQ==", "content_type": "application/pdf"},
        {"filename": "b.png", "content_base64": "Mg==", "content_type": "image/png", "content_id": "b"},
    ],
    "tags": {"campaign": "spring"},
    "metadata": {"person": 5, "path": ["a", {"b": None}]},
    "configuration_set": "events",
    "ses": {"TenantName": "shop-17", "ListManagementOptions": {"ContactListName": "news"}},
    "lane": "bulk",
    "send_at": "2027-01-31T12:00:00+00:00",
    "expires_at": "2027-02-01T12:00:00.000001+00:00",
    "idempotency_key": "Schlüssel",
}


@pytest.mark.parametrize("keywords", [FULL, {"to": "ann@example.org", "subject": "", "html": "<p>"}])
def test_an_email_comes_apart_into_json_and_bytes_and_together_again(keywords):
    email = Email(**json.loads(json.dumps(keywords)))
    record, parts = detach(email)
    again = attach(json.loads(json.dumps(record)), [bytes(part) for part in parts])
    assert again == email
    assert detach(again) == (record, parts)


def test_the_record_holds_no_body_and_leaves_out_what_is_not_given():
    record, parts = detach(Email("ann@example.org", "Hi", html="<p>zebra", attachments=[("z.txt", "zebra")]))
    attachment = {"filename": "z.txt", "content": 1, "content_type": "text/plain", "content_id": None}
    assert record == {
        "to": ["ann@example.org"],
        "subject": "Hi",
        "lane": "transactional",
        "html": 0,
        "attachments": [attachment],
    }
    assert parts == [b"<p>zebra", b"zebra"]


def test_an_email_cannot_be_changed():
    given = {"to": ["a@example.org"], "tags": {"a": "b"}, "metadata": {"a": [1]}}
    email = an_email(**given)
    given["to"].append("b@example.org")
    given["tags"]["c"] = "d"
    given["metadata"]["a"].append(2)
    email.metadata["a"].append(3)
    detach(email)[0]["metadata"]["a"].append(4)
    assert email == an_email(to="a@example.org", tags={"a": "b"}, metadata={"a": [1]})
    assert isinstance(email.tags, MappingProxyType)
    assert isinstance(email.headers, MappingProxyType)
    with pytest.raises(AttributeError):
        email.subject = "other"
    with pytest.raises(TypeError, match="unhashable"):
        hash(email)


@pytest.mark.parametrize("name", [name for name in FULL if name not in ("to", "subject")])
def test_every_field_counts_for_equality(name):
    plain = an_email(text="x", html="x")
    assert an_email(**{"text": "x", "html": "x", name: FULL[name]}) != plain


def test_neither_repr_shows_anything_personal():
    email = Email(**FULL)
    assert repr(email) == "<Email bulk, 4 recipients, text+html, 2 attachments>"
    assert repr(email.attachments[0]) == "<Attachment application/pdf, 1 bytes>"


def test_the_lanes_are_two():
    assert [*Lane] == ["transactional", "bulk"]
    assert an_email(lane=Lane.BULK).lane is Lane.BULK


@pytest.mark.parametrize(
    ("mailbox", "encoded"),
    [
        ("ann@example.org", "ann@example.org"),
        ("Ann <ann@example.org>", "Ann <ann@example.org>"),
        ('"Müller, J" <j@example.org>', "=?utf-8?q?M=C3=BCller=2C_J?= <j@example.org>"),
    ],
)
def test_a_name_that_is_not_ascii_is_encoded_for_the_header(mailbox, encoded):
    assert encoded_mailbox(mailbox) == encoded


def test_encoded_words_stay_within_75_characters_and_on_one_line():
    words = encoded_words("Ü" * 500).split(" ")
    assert all(len(word) <= 75 and word.startswith("=?utf-8?") for word in words)


# What else SES takes


@pytest.mark.parametrize(
    ("ses", "problem"),
    [
        ("TenantName", "is str, not a mapping"),
        ({"TenantName": object()}, "is not a JSON object"),
        ({"TenantName": float("nan")}, "is not a JSON object"),
        (
            {"Destination": {"ToAddresses": ["zyzzyva@example.org"]}},
            "says Destination, which to, cc and bcc of the email",
        ),
        ({"Content": {"Simple": {"Subject": {"Data": "zyzzyva"}, "Body": {}}}}, "says Content that is no Template"),
        ({"Content": {"Template": {"TemplateData": "{}"}}}, "without TemplateName, TemplateArn or TemplateContent"),
        ({"Content": {"Template": {"TemplateName": "a", "TemplateData": "zyzzyva"}}}, "no JSON object in a text"),
        ({"Content": {"Template": {"TemplateName": "a", "TemplateData": "[]"}}}, "no JSON object in a text"),
        ({"Content": {"Template": {"TemplateName": "a", "Headers": []}}}, "which headers of the email say"),
        ({"TenantNme": "shop"}, "which this botocore's SendEmail does not know"),
        ({"TenantName": 17}, "in another form"),
        ({"TenantName": ""}, "in another form"),
        ({"ListManagementOptions": {"TopicName": "zyzzyva"}}, "in another form"),
        ({"ListManagementOptions": {"ContactListName": "news", "Zyzzyva": 1}}, "in another form"),
        ({"TenantName": "z" * 5000}, "has 5018 bytes"),
    ],
)
def test_what_ses_would_not_take_besides_is_refused_without_its_value(ses, problem):
    with pytest.raises(InvalidEmail) as caught:
        an_email(ses=ses)
    assert (caught.value.field, problem in str(caught.value)) == ("ses", True), str(caught.value)
    assert "zyzzyva" not in str(caught.value)


def test_a_member_that_ses_does_not_know_is_refused_with_those_that_it_knows():
    with pytest.raises(InvalidEmail, match=r"FeedbackForwardingEmailAddress, .*TenantName"):
        an_email(ses={"Tenant": "shop"})


def test_what_an_email_says_to_ses_goes_before_what_the_settings_say():
    email = an_email(ses={"TenantName": "own"})
    filled = email.with_defaults(ses={"TenantName": "other", "FeedbackForwardingEmailAddress": "b@example.com"})
    assert dict(filled.ses) == {"TenantName": "own", "FeedbackForwardingEmailAddress": "b@example.com"}
    assert filled.with_defaults(ses={"TenantName": "other"}) is filled
    with pytest.raises(InvalidEmail):
        email.with_defaults(ses={"Nobody": "knows"})


TEMPLATE = {"Content": {"Template": {"TemplateName": "welcome", "TemplateData": '{"name": "Ann"}'}}}


def test_one_of_ses_s_own_templates_stands_in_place_of_subject_and_bodies():
    email = Email("ann@example.org", "", ses=TEMPLATE | {"TenantName": "shop"}, configuration_set="events")
    assert email.named == {"template": "welcome", "tenant": "shop", "configuration-set": "events"}
    for name, value in {"subject": "Hi", "text": "Hi", "html": "<p>", "attachments": [("a.txt", "a")]}.items():
        with pytest.raises(InvalidEmail, match=rf"^{name}: stands beside a template of SES's"):
            email.replace(**{name: value})
    email.replace(headers={f"X-{n}": "1" for n in range(14)})
    with pytest.raises(InvalidEmail, match=r"^headers: has 15 headers beside a template"):
        email.replace(headers={f"X-{n}": "1" for n in range(15)})


def test_the_data_of_a_template_count_to_what_an_email_says():
    other = {"Content": {"Template": {"TemplateName": "welcome", "TemplateData": '{"name": "Bob"}'}}}
    emails = [Email("ann@example.org", "", ses=ses) for ses in (TEMPLATE, other)]
    assert len({*map(content_digest, emails)}) == 2


def test_what_is_said_to_ses_is_left_for_releases_that_know_it():
    assert (version_of(an_email()), version_of(an_email(ses={"TenantName": "shop"}))) == (PLAIN, RICH)
