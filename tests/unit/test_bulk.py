"""A letter to a list: how rows are read, what is refused and where, and that a value is never more than a value."""

from __future__ import annotations

import csv
import io
import re
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sesmail.errors import ConfigurationError, InvalidEmail
from sesmail.message import Attachment, Lane, mime
from sesmail.sending.letters.letter import BadRow, Letter, check
from sesmail.sending.letters.lists import Person, read_people
from tests.emails import names, nasty, texts


def letter(subject: str = "News", text: str | None = "Hello", html: str | None = None, **more: Any) -> Letter:
    return Letter(subject=subject, text=text, html=html, from_email="shop@example.com", **more)


def person(**values: str) -> Person:
    return Person(line=2, address="ann@example.org", values={"email": "ann@example.org", **values})


def row(of: Person) -> tuple[str, Any]:
    return of.address, of.values


@pytest.fixture
def read(tmp_path):
    """Reads what a file of this content holds."""

    def read(content: str | bytes, column: str | None = None) -> list[Person]:
        (tmp_path / "people.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        with read_people(tmp_path / "people.csv", column) as people:
            return list(people)

    return read


@pytest.fixture
def bad_rows(read):
    """The refused rows of a file, by line."""

    def bad_rows(content: str, of: Letter | None = None) -> dict[int, str]:
        checked = check(of or letter("For {{name}}"), read(content))
        return {row.line: row.problem for row in checked if isinstance(row, BadRow)}

    return bad_rows


# Rows


def test_each_row_is_a_person_with_the_values_of_its_columns(read):
    ann, bob = read("email,name,city\nann@example.org,Ann,Bath\nbob@example.org,Bob,\n")
    assert (ann.address, ann.line) == ("ann@example.org", 2)
    assert ann.values == {"email": "ann@example.org", "name": "Ann", "city": "Bath"}
    assert bob.values["city"] == ""


@pytest.mark.parametrize("header", ["email", "to", "address", "E-Mail", " EMAIL ", "email_address"])
def test_the_column_with_the_address_is_found_by_its_usual_names(read, header):
    assert [one.address for one in read(f"name,{header}\nAnn, ann@example.org \n")] == ["ann@example.org"]


def test_or_by_the_name_that_is_given(read):
    content = "email,contact\nold@example.org,ann@example.org\n"
    assert [one.address for one in read(content, "Contact ")] == ["ann@example.org"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(read):
    assert read(b"\xef\xbb\xbfemail,name\r\nann@example.org,Ann\r\n")[0].values["email"] == "ann@example.org"


def test_empty_lines_are_passed_over_but_counted(read):
    assert [one.line for one in read("\n\nemail\n\nann@example.org\n\n\nbob@example.org\n")] == [5, 8]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_row_with_quoted_line_breaks_stands_where_it_begins(read, line_end):
    content = line_end.join(
        ["email,note", 'ann@example.org,"one', "two", 'three"', "bob@example.org,x", 'cid@example.org,"y', 'z"']
    )
    people = read(content)
    assert [one.line for one in people] == [2, 5, 6]
    assert people[0].values["note"] == line_end.join(["one", "two", "three"])


def test_columns_without_a_name_and_the_commas_that_spreadsheets_add_are_passed_over(read, bad_rows):
    content = "email,name,,\nann@example.org,Ann,,\nbob@example.org,Bob,,,,\n"
    assert [set(one.values) for one in read(content)] == [{"email", "name"}] * 2
    assert bad_rows(content) == {}


@given(rows=st.lists(st.tuples(texts, texts), max_size=5))
def test_what_the_standard_library_writes_is_read_back_whole(rows, tmp_path_factory):
    assume(not any("\ud800" <= character <= "\udfff" for row in rows for value in row for character in value))
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("email", "a", "b"), *(("ann@example.org", *row) for row in rows)])
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_text(file.getvalue(), encoding="utf-8", newline="")
    with read_people(path) as people:
        assert [(one.values["a"], one.values["b"]) for one in people] == rows


# Lists that cannot be used at all


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "its first line names none"),
        ("name,city\nAnn,Bath\n", "no column email or to or address; its first line names name, city"),
        ('email,name\nann@example.org,Ann\nbob@example.org,"Bob"by\n', "near line 3"),
        ('email,name\nann@example.org,"Ann\n', "near line 2: unexpected end of data"),
        (b"email,name\nann@example.org,J\x9frg\n", "not in UTF-8"),
    ],
)
def test_a_list_that_cannot_be_read_says_why_and_that_nothing_was_queued(read, content, problem):
    with pytest.raises(ConfigurationError, match=problem) as error:
        read(content)
    assert "Nothing was queued" in str(error.value)


def test_a_column_that_is_asked_for_and_missing_is_named(read):
    with pytest.raises(ConfigurationError, match="no column contact; its first line names email"):
        read("email\nann@example.org\n", "contact")


def test_the_columns_that_a_letter_needs_and_the_list_has_not_are_named_all_at_once():
    wrong = letter("For {{ name }} of {{city}}", "{{Name}}", "<p>{{street}}</p>")
    with pytest.raises(ConfigurationError, match=re.escape("{{Name}}, {{city}}, {{street}}")) as error:
        wrong.check(["email", "name"])
    assert "it has email, name" in str(error.value)


# Rows that cannot be mailed


def test_every_bad_row_is_told_by_the_line_in_which_it_begins(bad_rows):
    content = """email,name
ann@example.org,Ann
nobody,Bob
"carol@example.org","Ca
rol"
,Dan
eve@example.org
fay@example.org,Fay,more
gus@example.org,Gus
"""
    bad = bad_rows(content)
    assert list(bad) == [3, 4, 6, 7, 8]
    assert bad[3].startswith("to: ")
    assert bad[4] == "subject: has a line break or another control character"
    assert bad[6].startswith("to: ")
    assert bad[7] == "fewer values than columns"
    assert bad[8] == "more values than columns"


def test_a_bad_row_shows_nothing_of_the_person(bad_rows):
    said = str(bad_rows("email,name\nzoe at example.org,Zoe\n")) + repr(person(name="Zoe"))
    assert "zoe" not in said.lower()


@pytest.mark.parametrize("again", ["ann@example.org", "ANN@example.org", "Ann Lee <ann@example.org>"])
def test_an_address_that_stands_twice_is_mailed_once(bad_rows, again):
    assert bad_rows(f"email,name\nann@example.org,Ann\n{again},Ann\n") == {3: "the same address stands in line 2"}


def test_a_bad_row_does_not_cost_its_address_a_good_one(bad_rows):
    assert list(bad_rows("email,name\nann@example.org\nann@example.org,Ann\n")) == [2]


@given(address=nasty)
@example("ann>")
@example("<")
def test_no_address_is_a_surprise(address):
    (row,) = check(letter(), [Person(line=2, address=address, values={})])
    assert row.line == 2


# The letter


def test_placeholders_are_filled_in_the_subject_and_both_bodies_with_or_without_spaces():
    email = letter("For {{name}}", "Dear {{ name }} of {{city}}", "<p>{{name}}, {{  city  }}</p>").filled(
        *row(person(name="Ann", city="Bath"))
    )
    assert (email.subject, email.text, email.html) == ("For Ann", "Dear Ann of Bath", "<p>Ann, Bath</p>")


@pytest.mark.parametrize("html", ["a { color: red } {x}", "{{}}", "{ {name} }", "{{{{"])
def test_other_braces_stay_as_they_are(html):
    email = letter(html=html).filled(*row(person(name="Ann")))
    assert email.html == html


def test_a_value_that_looks_like_a_placeholder_is_only_a_value():
    email = letter(text="{{a}}{{b}}").filled(*row(person(a="{{b}}", b="{{a}}")))
    assert email.text == "{{b}}{{a}}"


def test_everybody_s_parts_are_in_each_email():
    attachment = Attachment("terms.txt", b"Terms")
    email = letter(
        attachments=[attachment], tags={"list": "news"}, configuration_set="events", reply_to=["help@example.com"]
    ).filled(*row(person()))
    assert email.lane is Lane.TRANSACTIONAL, "one email is no bulk, unless the letter says so"
    assert letter().to_nobody().lane is Lane.BULK
    assert [one.filename for one in email.attachments] == ["terms.txt"]
    assert (dict(email.tags), email.configuration_set) == ({"list": "news"}, "events")
    assert tuple(email.reply_to) == ("help@example.com",)


# What other systems would fill in

COLUMNS = ["email", "name", "First Name", "title"]


@pytest.mark.parametrize(
    "foreign",
    [
        "{{{name}}}",
        "{{{ 7*7 }}}",
        "{{{{name}}}}",
        "{% if name %}",
        "{%- endfor -%}",
        "{# a note #}",
        "<%= name %>",
        "&lt;%= name %&gt;",
        "<?= $name ?>",
        "<?php echo 1 ?>",
        "*|FNAME|*",
        "*|IF:NAME|*",
        "*%7CUNSUB%7C*",
        "%recipient.name%",
        "%recipient_email%",
        "%unsubscribe_url%",
        "%mailing_list_unsubscribe_url%",
        "%%First Name%%",
        "%%=v(@name)=%%",
        "[[x]]",
        '[[data:name:"you"]]',
        "[firstname,fallback=friend]",
        "${x}",
        "${user.name}",
        "#{name}",
        "{$name}",
        "{!Contact.Name}",
        "%7B%7Bname%7D%7D",
        "{name}",
        "{Name}",
        "{first_name}",
        "[First Name]",
        "[FIRST-NAME]",
        "((name))",
        "%NAME%",
        "$name",
        "<<name>>",
        "\u00abFirst_Name\u00bb",
        "&laquo;name&raquo;",
        "{{name}",
        "{{}}",
    ],
)
def test_placeholders_of_another_syntax_are_refused_by_name(foreign):
    text = f"Dear {foreign} of {{{{name}}}}"
    for of in (letter(text), letter(text=text), letter(html=f"<p>{text}</p>")):
        with pytest.raises(ConfigurationError, match=re.escape(foreign)) as error:
            of.check(COLUMNS)
        assert "{{column}}" in str(error.value)
        assert "Nothing was queued" in str(error.value)


@pytest.mark.parametrize(
    "ordinary",
    [
        "<style>a[title]{color:red} @media print{p{margin:0}}</style>",
        "<style>.a{color:{{name}}}</style>",
        "<!--[if mso]><xml><o:PixelsPerInch>96</o:PixelsPerInch></xml><![endif]-->",
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<a href='https://example.com/100%25?x=[1]&amp;y={{name}}'>50% off, 100% wool</a>",
        "{smile} [see below] (name) ((see below)) [1] $5 $names %s %d {x} 5 % of 7 %",
        "\u00ab bonjour \u00bb <<hello>> a << b",
        "C:\\%PATH% *bold* |a|b| **|** #1 ##",
        "{{name}}{{ First Name }}{{title}}",
    ],
)
def test_ordinary_writing_is_no_placeholder(ordinary):
    letter(html=ordinary, text=ordinary).check(COLUMNS)


def test_all_of_them_are_named_at_once_each_once_and_shortly():
    text = "{% if a %} {% if a %} *|B|* " + "".join(f"${{{number}}}" for number in range(20)) + "{% " + "x" * 90 + "%}"
    with pytest.raises(ConfigurationError, match=re.escape("{% if a %}, *|B|*, ${0}")) as error:
        letter(text=text).check(COLUMNS)
    assert str(error.value).count("{% if a %}") == 1
    assert len(str(error.value)) < 500


def test_who_writes_about_placeholders_can_say_so():
    about = letter(text="Write {% if %} and ${x}, dear {{name}}", verbatim=True)
    about.check(COLUMNS)
    assert about.filled(*row(person(name="Ann"))).text == "Write {% if %} and ${x}, dear Ann"


def test_a_value_may_look_like_any_placeholder(read):
    (ann,) = read("email,name\nann@example.org,{% if x %}${y}\n")
    (checked,) = check(letter(text="Dear {{name}}"), [ann])
    assert checked is ann


def test_placeholders_and_columns_are_compared_as_they_look(read):
    (ann,) = read('email,gro\u0308\u00dfe,"First\nName"\nann@example.org,L,Ann\n')
    of = letter(text="{{gr\u00f6\u00dfe}} {{First\u00a0Name}} {{\u200bFirst  Name}}")
    of.check(list(ann.values))
    assert of.filled(*row(ann)).text == "L Ann Ann"


# What is wrong with the letter itself


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"from_email": "nobody"}, "from_email"),
        ({"reply_to": ["help@example.com", "a@example.com, b@example.com"]}, "reply_to[1]"),
        ({"tags": {"campaign": "Spring sale"}}, "tags[0]"),
        ({"configuration_set": "my set"}, "configuration_set"),
        ({"subject": "Two\nlines"}, "subject"),
        ({"subject": "x" * 1000}, "subject"),
        ({"text": ""}, "text"),
        ({"attachments": [Attachment("a.bin", bytes(31_000_000))]}, "attachments"),
    ],
)
def test_it_is_told_once_and_not_as_wrong_rows(said, field):
    of = Letter(**{"subject": "Hello", "text": "Hello", "html": None, "from_email": "shop@example.com"} | said)
    with pytest.raises(InvalidEmail) as error:
        of.check(COLUMNS)
    assert error.value.field == field


# A value is never more than a value

TEMPLATE = """<!DOCTYPE html><body><!-- a comment --><a href="https://example.com/?name={{value}}" title='{{value}}'>
<b>{{value}}</b></a>{{value}}<br></body>"""


class Structure(HTMLParser):
    """All of a page but its text and the values of its attributes; and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[object] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parts.append((tag, [name for name, _ in attrs]))
        self.titles = [value for name, value in attrs if name == "title"]

    def handle_endtag(self, tag: str) -> None:
        self.parts.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.parts.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.parts.append(("declaration", decl))

    def handle_data(self, data: str) -> None:
        self.text += data


markup = st.text(st.sampled_from("<>/\"'=&;!-[] \n\0abc#x2{}`"), max_size=40)


@given(value=st.one_of(markup, names, nasty))
@example("</b><script>alert(1)</script>")
@example('" onclick="alert(1)')
@example("' onmouseover='alert(1)")
@example("--><b>")
@example("&lt;b&gt;")
@example("{{value}}")
def test_a_value_never_changes_the_structure_of_the_html_and_reads_as_it_was_written(value):
    try:
        email = letter(html=TEMPLATE).filled(*row(person(value=value)))
    except InvalidEmail:
        return  # not a character of HTML, such as half a surrogate pair
    page, plain = Structure(email.html or ""), Structure(TEMPLATE.replace("{{value}}", "x"))
    assert page.parts == plain.parts
    assert page.text == plain.text.replace("x", re.sub(r"[\x00-\x08\x0b\x0e-\x1f\x7f]", "", value))


@given(value=st.one_of(names, nasty, st.sampled_from(["a\r\nBcc: x@example.org", "a\nX: y", "a\r", "\u2028", "\x85"])))
def test_a_value_in_the_subject_is_refused_or_stays_in_the_subject(value):
    try:
        email = letter("For {{name}}").filled(*row(person(name=value)))
    except InvalidEmail as error:
        if error.field != "subject":
            raise
        return
    assert email.subject == f"For {value}"
    built = message_from_bytes(mime.build(email, {}), policy=default)
    plain = message_from_bytes(mime.build(letter().filled(*row(person())), {}), policy=default)
    assert sorted(built.keys()) == sorted(plain.keys())


# What may stand behind a column's name


@pytest.mark.parametrize(
    ("text", "name", "filled"),
    [
        ("Dear {{name|friend}}", "Ann", "Dear Ann"),
        ("Dear {{name|friend}}", " ", "Dear friend"),
        ("Dear {{ name | dear friend }}!", "", "Dear dear friend!"),
        ("?n={{name|url}}&x", "A&B/ü", "?n=A%26B%2F%C3%BC&x"),
        ("{{name}}{{name|x}}{{name|url}}", "", "x"),
    ],
)
def test_an_empty_value_has_a_stand_in_and_a_link_an_encoded_one(text, name, filled):
    made = letter(text=text)
    made.check(["email", "name"])
    assert made.filled(*row(person(name=name))).text == filled


def test_a_stand_in_is_escaped_in_html_as_a_value_is():
    assert letter(html="{{name|<you>}}").filled(*row(person(name=""))).html == "&lt;you&gt;"


@pytest.mark.parametrize(
    "wrong", ["{{name|}}", "{{name|a|b}}", "{{email|URL}}", "{{email|ulr}}", "{{email|urlencode}}"]
)
def test_what_stands_behind_a_name_and_means_nothing_is_refused(wrong):
    with pytest.raises(ConfigurationError, match=re.escape(wrong)):
        letter(text=wrong).check(["email", "name"])


@pytest.mark.parametrize("wrong", ["{{nmae|there}}", "{{emial|url}}", "{{unsubscribe_url}}"])
def test_a_misspelt_column_is_refused_whatever_stands_behind_it(wrong):
    with pytest.raises(ConfigurationError, match="no such column"):
        letter(text=wrong).check(["email", "name"])
