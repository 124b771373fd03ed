"""What is given to an email in forms that people come with, beside those that it documents."""

from __future__ import annotations

import io
from email import message_from_bytes
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart

import pytest

from sesmail.celery.send_task import email_of
from sesmail.errors import InvalidEmail
from sesmail.message import Attachment, Email


def an_email(**said: object) -> Email:
    return Email(**{"to": "ann@example.org", "subject": "s", "text": "t", **said})


def refused(said: str, **email: object) -> None:
    with pytest.raises(InvalidEmail) as caught:
        an_email(**email)
    assert said in str(caught.value)


# -- Files ----------------------------------------------------------------------------------------------------------------


def test_a_closed_file_is_told_from_one_that_is_no_path() -> None:
    with io.BytesIO(b"1") as file:
        pass
    refused("it is closed", attachments=file)


class Answer:
    """As `requests.Response` is: it gives its bytes piece by piece."""

    def __iter__(self):
        return iter([b"%PDF", b"-1.4"])


def test_what_gives_bytes_piece_by_piece_is_no_list_of_files() -> None:
    refused("piece by piece", attachments=Answer())
    refused("piece by piece", attachments=(each for each in [b"1", b"2"]))
    assert len(an_email(attachments=[b"1", b"2"]).attachments) == 2
    assert len(an_email(attachments=(Attachment("a.txt", b"1") for _ in range(2))).attachments) == 2


def test_one_file_that_stands_in_no_list_is_told_to_stand_in_one() -> None:
    refused("give a list of (filename, content, mimetype)", attachments=("a.pdf", b"1", "application/pdf"))


class Upload(io.BytesIO):
    """As Django's and Werkzeug's are."""

    name = "C:\\fakepath\\scan"
    content_type = "application/x-scan"


def test_an_upload_has_the_type_with_which_it_came() -> None:
    for given in (Upload(b"1"), [Upload(b"1")], [(None, Upload(b"1"))], [("scan", Upload(b"1"))]):
        (file,) = an_email(attachments=given).attachments
        assert (file.filename, file.content_type, file.content) == ("scan", "application/x-scan", b"1")


def test_a_picture_is_an_open_file_too_and_nothing_else_that_is_none() -> None:
    picture = Attachment.inline(Upload(b"\x89PNG"))
    assert (picture.filename, picture.content, picture.disposition) == ("scan", b"\x89PNG", "inline")
    assert Attachment.inline(io.BytesIO(b"GIF89")).filename == "picture.gif"
    for wrong in ("logo.png", 5, None, io.StringIO("a"), [b"1"]):
        with pytest.raises(InvalidEmail, match="give a pathlib"):
            Attachment.inline(wrong)


@pytest.mark.parametrize("headers", [5, "X-A: b", [("X-A",)], [5], [("X-A", "b", "c")], {5: "a"}, {"X-A": None}])
def test_headers_of_a_part_that_are_none_are_refused(headers: object) -> None:
    with pytest.raises(InvalidEmail):
        Attachment("a.txt", b"1", headers=headers)


def hidden(name: str) -> MIMEMultipart:
    program = MIMEApplication(b"MZ")
    program.add_header("Content-Disposition", "attachment", filename=name)
    return MIMEMultipart("mixed", _subparts=[program])


@pytest.mark.parametrize("name", ["a.exe", ("utf-8", "", "größe.VBS"), "=?utf-8?q?a=2Ebat?=", "a.js. "])
@pytest.mark.parametrize("way", ["in a part", "in an email", "in an eml file", "within a signed one"])
def test_a_file_that_ses_refuses_is_found_within_what_is_forwarded(name: object, way: str) -> None:
    """The local SES refuses it, too, wherever it stands."""
    holder = hidden(name)
    if way == "in an email":
        holder["Subject"] = "forwarded"
    if way == "in an eml file":
        refused("which is in it", attachments=[("a.eml", b"Subject: a\n" + holder.as_bytes())])
    elif way == "within a signed one":
        signed = MIMEMultipart("signed", _subparts=[holder, MIMEApplication(b"1", "pgp-signature")])
        with pytest.raises(InvalidEmail, match="which is in it"):
            Email.from_message(signed, to="ann@example.org")
    else:
        refused("which is in it", attachments=[holder])


def test_a_file_that_ses_refuses_is_found_by_the_name_in_its_type() -> None:
    refused("a .exe file", attachments=[("a.txt", b"MZ", 'application/octet-stream; name="a.exe"')])
    assert an_email(attachments=[("a.txt", b"see a.exe", "text/plain; charset=utf-8")])
    mentioned = EmailMessage()
    mentioned["Subject"] = "name=a.exe"
    mentioned.set_content("filename=a.exe")
    assert an_email(attachments=[mentioned])


def test_a_content_id_is_found_where_a_page_escapes_the_quotes_around_it() -> None:
    page = '<div style="background:url(&quot;cid:logo@x&quot;)"><p style="background:url(&#39;cid:two&#39;)">'
    pictures = [Attachment("a.png", b"1", content_id="logo@x"), Attachment("b.png", b"2", content_id="two")]
    assert [each.disposition for each in an_email(html=page, attachments=pictures).attachments] == ["inline"] * 2


def test_half_of_a_surrogate_pair_in_a_line_is_called_what_it_is() -> None:
    refused("half of a surrogate pair", subject="a\ud83d")
    refused("half of a surrogate pair", attachments=[("a\ud83d.pdf", b"1")])


# -- Types and character sets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("text/calendar;\r\n method=REQUEST", "text/calendar; method=REQUEST"),
        ("application/pdf; name=größe.pdf", "application/pdf; name*=utf-8''gr%C3%B6%C3%9Fe.pdf"),
        (r'text/x; a="b \"c\" \\"', r'text/x; a="b \"c\" \\"'),
        ("text/plain; charset='utf-8'", "text/plain; charset=utf-8"),
        ("text/plain; charset=; format=fixed", "text/plain; format=fixed"),
        (" application/pdf\n", "application/pdf"),
    ],
)
def test_a_type_is_read_as_people_write_it(given: str, kept: str) -> None:
    assert Attachment("a.x", b"1", given).content_type == kept


@pytest.mark.parametrize("given", ["text/x; a=\ud83d", 'text/x; a="b\nc"', "text/x;\nBcc: a@b", "text/x; a=b c"])
def test_a_type_that_would_break_its_header_is_refused(given: str) -> None:
    with pytest.raises(InvalidEmail, match="MIME type"):
        Attachment("a.x", b"1", given)


@pytest.mark.parametrize("charset", ["idna", "punycode", "unicode_escape", "raw-unicode-escape", "rot13", "mbcs", "no"])
def test_a_text_is_not_written_in_a_code_that_no_reader_knows(charset: str) -> None:
    file = Attachment("a.csv", "Jürg\n", f"text/csv; charset={charset}")
    assert (file.content, file.content_type) == ("Jürg\n".encode(), "text/csv; charset=utf-8")


@pytest.mark.parametrize("charset", ["iso-8859-1", "cp1252", "utf-16", "koi8-r"])
def test_a_text_is_written_in_the_set_that_its_type_declares_where_that_has_its_letters(charset: str) -> None:
    text = "Жук" if charset == "koi8-r" else "Jürg"
    file = Attachment("a.csv", text, f"text/csv; charset={charset}")
    assert (file.content.decode(charset), file.content_type) == (text, f"text/csv; charset={charset}")
    assert file.content != text.encode()


def test_utf_8_with_a_mark_for_excel_has_its_mark_and_readers_name_for_it() -> None:
    file = Attachment("a.csv", "Jürg", "text/csv; charset=utf-8-sig")
    assert (file.content, file.content_type) == ("\ufeffJürg".encode(), "text/csv; charset=utf-8")


def test_bytes_that_cannot_be_in_the_set_that_their_type_declares_say_what_they_are() -> None:
    for declared in ("us-ascii", "bogus", "utf-16"):
        assert Attachment("a.csv", "Jü".encode(), f"text/csv; charset={declared}").content_type.endswith("=utf-8")
    for content, declared in (("Jü".encode("latin-1"), "us-ascii"), ("Jü".encode(), "iso-8859-1")):
        assert Attachment("a.csv", content, f"text/csv; charset={declared}").content_type.endswith(declared)


# -- Headers --------------------------------------------------------------------------------------------------------------

IDS = [f"<{n:050}@mail.example.com>" for n in range(40)]


@pytest.mark.parametrize("between", [" ", "", ",", "\r\n\t", ", "])
def test_a_long_thread_is_trimmed_however_its_ids_are_told_apart(between: str) -> None:
    value = an_email(headers={"References": between.join(IDS)}).headers["References"].split()
    assert (value[0], value[-1]) == (IDS[0], IDS[-1])
    assert value[1:] == IDS[-len(value) + 1 :]


def test_of_two_ids_that_do_not_fit_together_the_one_that_is_answered_stays() -> None:
    first, last = (f"<{letter * 600}@example.com>" for letter in "ab")
    assert an_email(headers={"References": f"{first} {last}"}).headers["References"] == last
    assert an_email(headers={"References": 'Your mail of "Monday" <a@x>'}).headers["References"].startswith("Your mail")


@pytest.mark.parametrize("name", ["Autocrypt", "Content-Language", "Received", "Importance"])
def test_a_header_without_words_for_people_must_be_ascii(name: str) -> None:
    refused("must be ASCII in this header", headers={name: "Größe"})


def test_more_headers_of_addresses_keep_their_address() -> None:
    email = an_email(headers={"X-Sender": "Jürg <j@bücher.example>"}, from_email="a@example.com")
    assert b"X-Sender: =?utf-8?b?SsO8cmc=?= <j@xn--bcher-kva.example>\r\n" in email.as_bytes()


# -- Calls ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        ("Subject", "text", "shop@example.com", "ann@example.org"),
        ("Mail for ann@example.org!", "text", "shop@example.com", ["ann@example.org"]),
        ("Subject", "text", "Shop <shop@example.com>", "Ann <ann@example.org>"),
    ],
)
def test_the_order_of_send_mail_is_told_whatever_its_recipients_are(call: tuple) -> None:
    with pytest.raises(InvalidEmail, match="in the order of Django's send_mail"):
        email_of(*call)


def test_an_address_comes_first_whatever_else_has_an_at_sign() -> None:
    email = email_of("ann@example.org", "s", "write to a@example.com", "b@example.com")
    assert email.to == ("ann@example.org",)


def test_too_many_arguments_are_told_in_a_sentence() -> None:
    with pytest.raises(InvalidEmail, match="an email has too many positional arguments"):
        email_of("ann@example.org", "s", "t", "h", "shop@example.com")


def test_a_part_that_says_it_has_parts_and_has_none_is_a_file() -> None:
    broken = message_from_bytes(b"Content-Type: multipart/signed\n\n--x\n\na")
    assert an_email(attachments=[broken]).attachments[0].content_type == "application/octet-stream"
