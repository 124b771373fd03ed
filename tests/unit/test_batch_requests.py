"""What SES is asked for a batch's reader is written from a form: it must say what the reader's own email says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesmail.message import Attachment, Email
from sesmail.sending.batches.written import WrittenLetter
from sesmail.ses.request import send_email_request
from sesmail.unsubscribe.links import one_click_headers

URL = "https://example.com/u/one"
MAILBOXES = st.sampled_from(
    ["ann@example.org", "Ann.B@EXAMPLE.org", "Ann B <ann@example.org>", "Zoë <zoe@example.org>", '"a..b"@example.com']
)
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029"), max_size=40)
EMAIL = Email(
    None,
    '{{name|you}}: {{code}} \\ "quoted"',
    "Dear {{name}}, {{unsubscribe_url}} {{email}}\nü",
    "<p>{{name}} {{name|dear <b>}} <a href='https://example.com/?to={{email|url}}&c={{code}}'>x</a></p>",
    from_email="shop@example.com",
    reply_to="Zoë <zoe@example.com>",
    configuration_set="main",
    tags={"list": "news"},
    headers={"X-Shop": "ü"},
    attachments=Attachment("logo.png", b"\x00\xff", content_id="logo"),
    lane="bulk",
)


def letter(email: Email = EMAIL, **how: object) -> WrittenLetter:
    return WrittenLetter(email=email, columns=("code", "name"), has_door=True, **how)  # type: ignore[arg-type]


@given(mailbox=MAILBOXES, code=VALUES, name=VALUES)
def test_a_form_that_is_filled_asks_what_the_readers_own_email_would(mailbox: str, code: str, name: str) -> None:
    written, row = letter(), [mailbox, code, name]
    assert written.is_usual(row)
    form = written.form()
    assert form is not None
    email = written.for_one(row, url=URL, headers=one_click_headers(URL))
    asked = json.loads(form.filled(written.known(row, URL), mailbox, "batch_0-7"))
    attached = asked["Content"]["Simple"]["Attachments"][0]
    attached["RawContent"] = b"\x00\xff" if attached["RawContent"] == "AP8=" else "other bytes"
    assert asked == send_email_request(email, "batch_0-7")


@pytest.mark.parametrize(
    "another",
    [
        letter(jinja=True),
        letter(redirect_to=("staging@example.com",)),
        letter(EMAIL.replace(lane="transactional")),
        letter(EMAIL.replace(text="{{name}}")),  # without a value there would be no such body
        letter(EMAIL.replace(headers={f"X-{n}": "1" for n in range(13)})),  # with our own it is put together here
    ],
)
def test_a_letter_of_which_each_email_is_another_has_no_form(another: WrittenLetter) -> None:
    assert another.form() is None


@pytest.mark.parametrize("row", [["a@example.org", "1", "two\nlines"], ["a@example.org", "1", "n" * 999]])
def test_a_row_that_could_be_in_the_way_of_its_email_is_not_usual(row: list[str]) -> None:
    assert not letter().is_usual(row)
    assert not letter().is_usual(["a@example.org", "1", "n", {"tags": {"a": "b"}}])
