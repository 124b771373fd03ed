"""The written form of an email, which two releases share: what an older one cannot send without a loss says so."""

from __future__ import annotations

import json
from email.message import EmailMessage
from email.mime.text import MIMEText

import pytest

from sesmail.message import Attachment, Email
from sesmail.message.record import PLAIN, RICH, attach, detach, version_of
from sesmail.state.ledger.ledger import RECORD_VERSION, pack, unpack
from tests.contract.compose.conftest import Post


def an_email(**said: object) -> Email:
    return Email(**{"to": "ann@example.org", "subject": "s", "text": "t", "from_email": "shop@example.com", **said})


def forwarded() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "inner"
    message.set_content("inner")
    return message


CALENDAR = "text/calendar; method=REQUEST"
PLAIN_ONES = {
    "text": {},
    "a name": {"to": "Jürg <j@bücher.example.org>"},
    "a long name": {"to": f"{'日' * 200} <j@example.org>"},
    "files": {"attachments": [("a.csv", "ä"), ("b.pdf", b"1"), ("ä", b"2", "text/x; a=b")]},
    "a picture": {"html": "<img src=cid:logo>", "attachments": [Attachment("a.png", b"1", content_id="logo")]},
    "headers": {"headers": {"X-A": "ä", "Sender": "Ann <ann@example.com>"}},
}
RICH_ONES = {
    "another form": {"alternatives": [("x", CALENDAR)]},
    "no body": {"text": None},
    "a forwarded email": {"attachments": [forwarded()]},
    "a report": {"attachments": [("a.txt", b"Action: failed\n", "message/delivery-status")]},
    "a part's headers": {"attachments": [Attachment("a.txt", b"1", headers={"Content-Description": "x"})]},
    "a file with a content id": {"attachments": [Attachment("a.pdf", b"1", content_id="a")]},
    "a file shown inline": {"attachments": [Attachment("a.pdf", b"1", disposition="inline")]},
    "a long type": {"attachments": [Attachment("a.pdf", b"1", f"application/pdf; name={'n' * 100}")]},
    "a sender who is not ASCII": {"headers": {"Sender": "Jürg <j@example.com>"}},
}


@pytest.mark.parametrize("said", PLAIN_ONES.values(), ids=[*PLAIN_ONES])
def test_what_older_releases_send_as_it_is_meant_is_written_as_they_know_it(said: dict) -> None:
    email = an_email(**said)
    record, _ = pack(email)
    assert json.loads(record)["v"] == version_of(email) == PLAIN
    known = {"filename", "content", "content_type", "content_id"}
    assert all({*each} == known for each in json.loads(record)["email"].get("attachments", ()))


@pytest.mark.parametrize("said", RICH_ONES.values(), ids=[*RICH_ONES])
def test_what_they_could_not_send_without_a_loss_is_left_to_newer_ones(said: dict) -> None:
    record, _ = pack(an_email(**said))
    assert json.loads(record)["v"] == RICH < RECORD_VERSION


@pytest.mark.parametrize("said", [*PLAIN_ONES.values(), *RICH_ONES.values()], ids=[*PLAIN_ONES, *RICH_ONES])
def test_every_email_comes_out_of_its_record_and_out_of_the_ledger_as_it_went_in(post: Post, said: dict) -> None:
    email = an_email(**said)
    record, parts = detach(email)
    assert attach(json.loads(json.dumps(record)), parts) == email
    row, blobs = pack(email)
    import zlib

    assert unpack(row.encode(), [*map(zlib.compress, blobs.values())]) == email
    post.deliver(email)


def test_a_picture_of_an_older_release_is_shown_as_it_was(post: Post) -> None:
    """They took every file with a content id for a picture."""
    record, parts = detach(an_email(attachments=[("a.png", b"1")]))
    record["attachments"][0]["content_id"] = "logo"
    (picture,) = attach(record, parts).attachments
    assert picture.disposition == "inline"


def test_a_header_of_an_older_release_that_cannot_be_read_is_sent_as_it_would_have_sent_it(post: Post) -> None:
    record, parts = detach(an_email())
    record["headers"] = {"Sender": "Jürg, no address", "List-Unsubscribe": "<https://example.com/ü>"}
    received = post.deliver(attach(record, parts))
    assert b"Sender: =?utf-8?" in received.raw


def test_a_long_name_of_an_older_release_is_shortened_on_its_way(post: Post) -> None:
    record, parts = detach(an_email())
    record["to"] = [f"{'日' * 150} <ann@example.org>"]
    ((name, address),) = post.deliver(attach(record, parts)).mailboxes("To")
    assert address == "ann@example.org"
    assert name.endswith("…")
    assert len(name) > 50


def test_a_part_is_plain_where_nothing_is_special_to_it() -> None:
    assert version_of(an_email(attachments=[MIMEText("a", "csv", "utf-8")])) == PLAIN
