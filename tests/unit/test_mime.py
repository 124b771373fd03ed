"""An email as a MIME message, read back with the standard library's strict parser."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default

from sesmail.message import Attachment, Email, mime


def read(email: Email, headers=()):
    raw = mime.build(email, dict(headers))
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    message = message_from_bytes(raw, policy=default)
    assert [part.defects for part in message.walk()] == [[]] * len([*message.walk()])
    return message


def shape(message) -> object:
    kind = message.get_content_type()
    return (kind, [shape(part) for part in message.iter_parts()]) if message.is_multipart() else kind


def test_the_headers_say_what_the_email_says_and_never_bcc():
    email = Email(
        ["Jürg Müller <juerg@example.org>", '"Lee, Ann" <ann@example.org>'],
        "Grüße aus Köln",
        "Hallo",
        from_email="Täglich <news@example.com>",
        cc="c@example.org",
        bcc="secret@example.org",
        reply_to="help@example.com",
    )
    message = read(email, {"X-A": "1"})
    assert [(each.display_name, each.addr_spec) for each in message["To"].addresses] == [
        ("Jürg Müller", "juerg@example.org"),
        ("Lee, Ann", "ann@example.org"),
    ]
    assert message["From"].addresses[0].display_name == "Täglich"
    assert message["Subject"] == "Grüße aus Köln"
    assert (message["Cc"], message["Reply-To"], message["X-A"]) == ("c@example.org", "help@example.com", "1")
    assert "secret" not in message.as_string()
    assert (message["Date"], message["Message-ID"], message["Bcc"]) == (None, None, None)


def test_one_body_needs_no_multipart():
    message = read(Email("a@example.org", "", html="<p>Grüße\n"))
    assert shape(message) == "text/html"
    assert message.get_content() == "<p>Grüße\n"


def test_pictures_stand_beside_the_bodies_and_files_after_them():
    email = Email(
        "a@example.org",
        "",
        "Hallo",
        "<img src=cid:logo>",
        attachments=[("a.csv", "ä", "text/csv"), Attachment("logo.png", b"png", content_id="logo")],
    )
    message = read(email)
    alternative = ("multipart/alternative", ["text/plain", "text/html"])
    assert shape(message) == ("multipart/mixed", [("multipart/related", [alternative, "image/png"]), "text/csv"])
    picture = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert (picture["Content-ID"], picture.get_content_disposition()) == ("<logo>", "inline")
    (file,) = message.iter_attachments()
    assert (file.get_filename(), file.get_content(), file.get_content_charset()) == ("a.csv", "ä", "utf-8")


def test_the_longest_header_and_the_longest_list_stay_within_a_lines_998_characters():
    link = "<https://example.com/" + "a" * (996 - len("List-Unsubscribe") - 22) + ">"
    everyone = [f"{'N' * 199} <{n}{'a' * 60}@{'b' * 60}.example.org>" for n in range(50)]
    message = read(Email(everyone, "s" * 989, "a"), {"List-Unsubscribe": link})
    assert message["List-Unsubscribe"] == link
    assert len(message["To"].addresses) == 50


def test_the_longest_file_name_stays_within_a_line():
    message = read(Email("a@example.org", "", "a", attachments=[("ü" * 127, b"1")]))
    assert next(message.iter_attachments()).get_filename() == "ü" * 127
