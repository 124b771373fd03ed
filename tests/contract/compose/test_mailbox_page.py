"""What the local SES shows of an email is what a recipient would get, and no more encoded than they would see it."""

from __future__ import annotations

import json
from email.message import EmailMessage
from urllib.request import urlopen

import pytest

from tests.contract.compose.conftest import Post


def shown(post: Post, message_id: str, what: str = "") -> bytes:
    with urlopen(f"{post.ses.url}/_sim/messages/{message_id}{what}") as answer:
        return answer.read()


def forwarded() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "inner"
    message.set_content("inner text")
    return message


def test_the_source_has_names_a_date_related_pictures_and_whole_links(post: Post) -> None:
    link = f"<https://example.com/unsubscribe?token={'a' * 200}>, <mailto:leave@example.com?subject=ü>".replace(
        "ü", "x"
    )
    received = post.deliver(
        "Jürg <j@example.org>",
        "Größe",
        "text",
        "<img src=cid:logo>",
        cc="Ann Lee <a@example.org>",
        reply_to="Help <help@example.com>",
        headers={"List-Unsubscribe": link},
        attachments=[{"filename": "logo.png", "content": "png", "content_id": "logo"}],
    )
    assert received.mailboxes("To") == [("Jürg", "j@example.org")]
    assert f"List-Unsubscribe: {link}\r\n".encode() in received.raw
    assert received.message["Date"].datetime.year > 2000
    picture = received.part("image/png")
    assert picture["Content-ID"] == "<logo>"
    kinds = [part.get_content_type() for part in received.message.walk()]
    assert kinds.index("multipart/related") < kinds.index("image/png")
    assert "multipart/mixed" not in kinds


@pytest.mark.parametrize("raw", [False, True])
def test_names_are_shown_as_readers_see_them(post: Post, raw: bool) -> None:
    given = {"to": ["Jürg <j@example.org>", '"Lee, Ann" <a@example.org>'], "cc": "日本 <c@example.org>"}
    given |= {"reply_to": "Größe <r@example.com>", "headers": {"List-Id": "Bücher <news.example.com>"}}
    files = [("größe.txt", b"1")] if raw else []
    received = post.deliver(subject="Über", text="t", from_email="Köln <shop@example.com>", attachments=files, **given)
    assert received.record["from"] == "Köln <shop@example.com>"
    headers = dict(received.record["headers"])
    assert [headers[name] for name in ("From", "To", "Cc", "Reply-To", "List-Id", "Subject")] == [
        "Köln <shop@example.com>",
        'Jürg <j@example.org>, "Lee, Ann" <a@example.org>',
        "日本 <c@example.org>",
        "Größe <r@example.com>",
        "Bücher <news.example.com>",
        "Über",
    ]


def test_a_forwarded_email_is_listed_and_can_be_opened(post: Post) -> None:
    for given in [forwarded(), ("original.eml", forwarded().as_bytes())]:
        received = post.deliver("a@example.org", "s", "t", attachments=[given])
        message_id = received.record["message_id"]
        (file,) = json.loads(shown(post, message_id))["attachments"]
        assert file["content_type"] == "message/rfc822"
        assert b"inner text" in shown(post, message_id, "/attachments/0")


def test_forms_that_are_neither_text_nor_html_are_listed(post: Post) -> None:
    received = post.deliver("a@example.org", "s", "t", "<p>", alternatives=[("BEGIN", "text/calendar; method=REQUEST")])
    described = json.loads(shown(post, received.record["message_id"]))
    assert [each["content_type"] for each in described["attachments"]] == ["text/calendar"]
    assert described["text"].strip() == "t"
