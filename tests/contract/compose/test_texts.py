"""Subjects, bodies, headers and values, of whatever make: they arrive as they were meant, or are refused at the call."""

from __future__ import annotations

import copy
import pickle
from collections import UserString
from decimal import Decimal
from email.policy import default
from enum import Enum

import pytest
from django.core.mail import EmailMessage as DjangoMessage
from django.utils.functional import SimpleLazyObject, lazy, lazystr
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from markupsafe import Markup

from sesmail import InvalidEmail
from sesmail.celery.send_task import email_of
from sesmail.message import Alternative, Attachment, Email
from tests.contract.compose.conftest import Post


class FlaskBabels:
    """As flask_babel's LazyString: no str, but it passes on what a str can do."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __getattr__(self, name: str) -> object:
        if name == "__setstate__":
            raise AttributeError(name)
        return getattr(str(self), name)

    def __str__(self) -> str:
        return self._text

    def __len__(self) -> int:
        return len(str(self))

    def __iter__(self):
        return iter(str(self))


LAZY = {
    "gettext_lazy": gettext_lazy,
    "lazystr": lazystr,
    "lazy": lambda text: lazy(lambda: text, str)(),
    "SimpleLazyObject": lambda text: SimpleLazyObject(lambda: text),
    "Flask-Babel": FlaskBabels,
    "UserString": UserString,
    "Markup": Markup,
    "SafeString": mark_safe,
}


@pytest.mark.parametrize("make", LAZY.values(), ids=[*LAZY])
def test_16_a_lazy_text_is_taken_as_its_text_wherever_it_is_given(post: Post, make) -> None:
    said = {
        "to": make("Ann <ann@example.org>"),
        "cc": [make("b@example.org")],
        "subject": make("Wëlcome & co"),
        "text": make("Hi <there>"),
        "html": make("<p>Hi"),
        "from_email": make("shop@example.com"),
        "headers": {"X-A": make("ä"), make("X-B"): "1"},
        "tags": {make("campaign"): make("spring")},
        "metadata": {"a": make("b"), "c": [make("d"), {make("e"): make("f")}]},
        "attachments": [(make("a.txt"), make("content"), make("text/plain"))],
        "alternatives": [(make("# Hi"), make("text/markdown"))],
        "configuration_set": make("events"),
        "idempotency_key": make(f"key-{id(make)}"),
    }
    plain = Email(
        "Ann <ann@example.org>",
        "Wëlcome & co",
        "Hi <there>",
        "<p>Hi",
        cc="b@example.org",
        from_email="shop@example.com",
        headers={"X-A": "ä", "X-B": "1"},
        tags={"campaign": "spring"},
        metadata={"a": "b", "c": ["d", {"e": "f"}]},
        attachments=[("a.txt", "content", "text/plain")],
        alternatives=[("# Hi", "text/markdown")],
        configuration_set="events",
        idempotency_key=f"key-{id(make)}",
    )
    email = Email(**said)
    assert email == plain
    assert all(
        type(value) is str for value in (email.subject, email.text, email.html, *email.to, *email.headers.values())
    )
    assert pickle.loads(pickle.dumps(email)) == plain
    received = post.deliver(email.replace(configuration_set=None))
    assert received.message["Subject"] == "Wëlcome & co"


def test_16_a_text_that_cannot_be_made_up_is_refused_in_words() -> None:
    def fails() -> str:
        raise LookupError("zebra")

    with pytest.raises(InvalidEmail, match=r"subject: cannot be read as text \(LookupError\)") as caught:
        Email("ann@example.org", SimpleLazyObject(fails), "Hi.")
    assert "zebra" not in str(caught.value)


class Priority(int, Enum):
    HIGH = 1


class Kind(str, Enum):  # noqa: UP042  whose own text is its name
    NEWS = "news"


def test_16_numbers_are_values_of_headers_and_tags(post: Post) -> None:
    received = post.deliver(
        "ann@example.org",
        "Hello",
        "Hi.",
        headers={"X-Priority": Priority.HIGH, "X-Share": 0.5, "X-Price": Decimal("9.90")},
        tags={"order": 17, 2027: "year", "kind": Kind.NEWS},
    )
    assert [received.message[name] for name in ("X-Priority", "X-Share", "X-Price")] == ["1", "0.5", "9.90"]
    assert {"order": "17", "2027": "year", "kind": "news"}.items() <= received.record["tags"].items()


# -- structured headers -----------------------------------------------------------------------------------------------

STRUCTURED = {
    "Sender": ("Jürg Müller <bot@example.com>", [("Jürg Müller", "bot@example.com")]),
    "Resent-From": ('"Müller, Jürg" <bot@example.com>', [("Müller, Jürg", "bot@example.com")]),
    "Resent-To": (
        "Änne <a@example.org>, b@example.org, Ölaf <c@bücher.example.org>",
        [("Änne", "a@example.org"), ("", "b@example.org"), ("Ölaf", "c@xn--bcher-kva.example.org")],
    ),
    "Disposition-Notification-To": ("Größe <bot@example.com>", [("Größe", "bot@example.com")]),
    "return-receipt-to": ("Größe <bot@example.com>", [("Größe", "bot@example.com")]),
    "List-Id": ("Bücher-News <news.example.com>", [("Bücher-News", "news.example.com")]),
}


@pytest.mark.parametrize("name", STRUCTURED)
@pytest.mark.parametrize("raw", [False, True])
def test_9_only_the_phrase_of_a_structured_header_is_encoded(post: Post, name: str, raw: bool) -> None:
    value, expected = STRUCTURED[name]
    received = post.deliver("a@example.org", "s", "t", headers={name: value}, attachments=[("ä", b"1")] if raw else ())
    assert received.mailboxes(name) == expected
    if name in ("Sender", "Resent-From", "Resent-To"):
        theirs = DjangoMessage("s", "t", "f@example.com", ["a@example.org"], headers={name: value}).message()
        ours = [each.addr_spec for each in default.header_factory(name, received.message[name]).addresses]
        assert ours == [each.addr_spec for each in default.header_factory(name, str(theirs[name])).addresses]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("List-Unsubscribe", "<https://example.com/kündigen>"),
        ("List-Help", "<https://example.com/ü>"),
        ("References", "<ü@example.com>"),
        ("In-Reply-To", "<ü@example.com>"),
        ("List-Id", "News <bücher.example.com>"),
        ("List-Id", "Bücher <news.example.com"),
        ("Sender", "Jürg Müller"),
        ("Sender", "Müller, Jürg <bot@example.com>"),
    ],
)
def test_9_what_has_no_written_form_is_refused_at_the_call(name: str, value: str) -> None:
    with pytest.raises(InvalidEmail, match=r"headers\[0\]"):
        Email("a@example.org", "s", "t", headers={name: value})


def test_9_other_headers_are_encoded_as_a_whole(post: Post) -> None:
    received = post.deliver("a@example.org", "s", "t", headers={"X-Campaign": "Größe <mehr> " * 20})
    assert received.message["X-Campaign"] == ("Größe <mehr> " * 20).strip()


@pytest.mark.parametrize("raw", [False, True])
def test_18_of_a_long_thread_the_first_and_the_last_ids_are_kept(post: Post, raw: bool) -> None:
    ids = [f"<{n:03}-{'x' * 40}@mail.example.com>" for n in range(60)]
    for value in (" ".join(ids), "\r\n ".join(ids)):
        received = post.deliver(
            "a@example.org", "s", "t", headers={"References": value}, attachments=[("ä", b"1")] if raw else ()
        )
        kept = str(received.message["References"]).split()
        assert (kept[0], kept[1:]) == (ids[0], ids[-len(kept) + 1 :])
        assert len(kept) > 10


def test_a_long_link_arrives_whole(post: Post) -> None:
    link = f"<https://example.com/u?token={'a' * 800}>"
    received = post.deliver("a@example.org", "s", "t", headers={"List-Unsubscribe": link, "List-Unsubscribe-Post": "x"})
    assert f"List-Unsubscribe: {link}\r\n".encode() in received.raw


# -- bodies -----------------------------------------------------------------------------------------------------------


def test_18_an_alert_without_a_body_is_sent(post: Post) -> None:
    for text in (None, "", "\0"):
        received = post.deliver("ann@example.org", "Disk full", text)
        assert (received.message["Subject"], received.message.get_content()) == ("Disk full", "")


def test_18_an_email_that_is_a_file_alone_is_sent(post: Post) -> None:
    received = post.deliver("ann@example.org", "Scan", attachments=[("scan.pdf", b"%PDF")])
    (part,) = received.message.iter_attachments()
    assert (part.get_filename(), part.get_content()) == ("scan.pdf", b"%PDF")


@pytest.mark.parametrize("raw", [False, True])
def test_18_control_characters_that_mean_nothing_are_left_out_of_bodies(post: Post, raw: bool) -> None:
    received = post.deliver(
        "a@example.org",
        "s",
        "a\0b\x1b[31m\tc\x7f\r\nd\x0c",
        "<p>\0x\x08",
        attachments=[("ä", b"\0")] if raw else (),
    )
    text, html = received.parts[:2]
    assert text.get_content().replace("\r\n", "\n").strip("\n") == "ab[31m\tc\nd\x0c"
    assert html.get_content().strip() == "<p>x"
    assert b"\0" not in received.raw


# -- other forms of the text ------------------------------------------------------------------------------------------

INVITATION = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"


def test_alternatives_travel_in_the_order_that_readers_expect(post: Post) -> None:
    received = post.deliver(
        "a@example.org",
        "s",
        "text",
        "<p>html",
        alternatives=[
            (INVITATION, "text/calendar; method=REQUEST"),
            ("<html amp4email>", "text/x-amp-html"),
            Alternative("# text", "text/markdown"),
        ],
    )
    assert received.message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in received.parts] == [
        "text/plain",
        "text/x-amp-html",
        "text/markdown",
        "text/html",
        "text/calendar",
    ]
    invitation = received.part("text/calendar")
    assert (invitation.get_param("method"), invitation.get_content()) == ("REQUEST", INVITATION)


def test_alternatives_that_are_bodies_are_the_bodies() -> None:
    email = Email("a@example.org", "s", "text", alternatives=[("<p>", "text/html")])
    assert (email.html, email.alternatives) == ("<p>", ())
    email = Email("a@example.org", "s", alternatives=[("<p>", "text/html"), ("text", "text/plain")])
    assert (email.text, email.html, email.alternatives) == ("text", "<p>", ())
    email = Email("a@example.org", "s", html="<p>1", alternatives=[("<p>2", "text/html")])
    assert [each.content for each in email.alternatives] == [b"<p>2"]


@pytest.mark.parametrize(
    "alternatives",
    ["text", [("a",)], [("a", "nonsense")], [(1, "text/x")], [("a", "message/rfc822")], [{"content": "a"}]],
)
def test_what_is_no_alternative_is_refused(alternatives: object) -> None:
    with pytest.raises(InvalidEmail, match="alternatives"):
        Email("a@example.org", "s", "t", alternatives=alternatives)


def test_plain_text_is_made_from_html_where_it_is_asked_for() -> None:
    pytest.importorskip("inscriptis", reason="the extra text is not installed")
    page = "<h1>Hi</h1><p>Your <a href='https://example.com/o/1'>order</a><ul><li>one<li>two</ul><script>x</script>"
    email = Email("a@example.org", "s", "auto", page)
    assert "[order](https://example.com/o/1)" in email.text
    assert "* one" in email.text
    assert "x" not in email.text.replace("example", "")
    assert Email("a@example.org", "s", html=page).text is None
    assert Email("a@example.org", "s", "auto").text == "auto"


# -- as a value -------------------------------------------------------------------------------------------------------

FULL = Email(
    ["Jürg <j@example.org>"],
    "Grüße",
    "Hallo",
    "<p>Hallo",
    cc="c@example.org",
    headers={"X-A": "ä"},
    alternatives=[(INVITATION, "text/calendar; method=REQUEST")],
    attachments=[Attachment("a.pdf", b"1", headers={"Content-Description": "ä"}), ("b.csv", "ä")],
    tags={"a": "b"},
    metadata={"a": [{"b": None}]},
    lane="bulk",
    send_at="2027-01-31T12:00:00+00:00",
    idempotency_key="key",
)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_17_an_email_can_be_pickled(protocol: int) -> None:
    again = pickle.loads(pickle.dumps(FULL, protocol))
    assert again == FULL
    assert again.metadata == {"a": [{"b": None}]}
    with pytest.raises(TypeError):
        again.tags["x"] = "y"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_17_an_email_can_be_copied(copied) -> None:
    assert copied(FULL) == FULL
    assert copied({"email": [FULL]}) == {"email": [FULL]}


def test_17_the_same_with_another_subject() -> None:
    other = FULL.replace(subject="Other", tags={"c": "d"}, to="z@example.org")
    assert (other.subject, other.tags, other.to, other.html) == ("Other", {"c": "d"}, ("z@example.org",), "<p>Hallo")
    assert other.replace(subject="Grüße", tags={"a": "b"}, to=FULL.to) == FULL
    assert other.replace() == other
    assert FULL.replace(message="x", html_message="y").html == "y"
    assert FULL.subject == "Grüße"
    with pytest.raises(InvalidEmail, match="subject"):
        FULL.replace(subject="a\nb")
    with pytest.raises(TypeError):
        FULL.replace(zebra=1)


def test_the_mime_message_can_be_seen(post: Post) -> None:
    email = FULL.replace(send_at=None, from_email="shop@example.com", bcc="secret@example.org")
    raw = email.as_bytes()
    assert b"secret" not in raw
    received = post.deliver(email)
    as_received = [(part.get_content_type(), part.get_payload(decode=True)) for part in received.parts]
    from email import message_from_bytes

    seen = message_from_bytes(raw, policy=default)
    assert [
        (part.get_content_type(), part.get_payload(decode=True)) for part in seen.walk() if not part.is_multipart()
    ] == as_received
    assert seen["Subject"] == "Grüße"


# -- words of others --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("body", "text"),
        ("recipient_list", "to"),
        ("sender", "from_email"),
        ("recipients", "to"),
        ("htm", "html"),
        ("html_body", "html"),
        ("attachements", "attachments"),
        ("bccs", "bcc"),
        ("from", "from_email"),
        ("email", "to"),
        ("contet", "text"),
        ("Subject", "subject"),
    ],
)
def test_18_another_library_s_word_is_told_what_it_is_here(word: str, meant: str) -> None:
    with pytest.raises(InvalidEmail, match=rf"no argument .*: did you mean {meant}=\?"):
        email_of("ann@example.org", "Hello", **{word: "x"})


def test_18_words_that_mean_nothing_here_are_told_so() -> None:
    with pytest.raises(InvalidEmail, match="fail_silently: sending never fails silently"):
        email_of("ann@example.org", "Hello", "Hi.", fail_silently=True)
    for word in ("zebra_zebra", "lists"):
        with pytest.raises(InvalidEmail, match=rf"no argument {word}\. Nothing"):
            email_of("ann@example.org", "Hello", "Hi.", **{word: True})
    for word in ("countdown", "charset", "template_name"):
        with pytest.raises(InvalidEmail, match=rf"no argument {word}: (?!did you mean)"):
            email_of("ann@example.org", "Hello", "Hi.", **{word: 1})
    with pytest.raises(InvalidEmail, match="an email is missing a required argument: subject"):
        email_of("ann@example.org")


def test_18_the_order_of_send_mail_is_recognised() -> None:
    with pytest.raises(InvalidEmail, match="order of Django's send_mail"):
        email_of("Hello", "Hi.", "shop@example.com", ["ann@example.org"])
    with pytest.raises(InvalidEmail, match="order of Django's send_mail"):
        email_of("Hello", "Hi.", None, ["ann@example.org"])
    assert email_of("ann@example.org", "Hello", "Hi.", "<p>Hi").html == "<p>Hi"
