"""Lists as people have them: what is told from a file and used, and what is refused because it cannot be told."""

from __future__ import annotations

import codecs
import io
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesmail.errors import ConfigurationError
from sesmail.sending.letters.letter import BadRow, Letter, check, other_keys
from sesmail.sending.letters.lists import Person, read_people

Read = Callable[..., list[Person]]


@pytest.fixture
def a_list(tmp_path) -> Callable[[str | bytes], Path]:
    def a_list(content: str | bytes) -> Path:
        (tmp_path / "people.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "people.csv"

    return a_list


@pytest.fixture
def read(a_list) -> Read:
    def read(content: str | bytes, column: str | None = None, **said: str) -> list[Person]:
        with read_people(a_list(content), column, **said) as people:
            return list(people)

    return read


@pytest.fixture
def remarks(a_list) -> Callable[..., list[str]]:
    def remarks(content: str | bytes, column: str | None = None, **said: str) -> list[str]:
        with read_people(a_list(content), column, **said) as people:
            return people.remarks

    return remarks


def addresses(people: list[Person]) -> list[str]:
    return [person.address for person in people]


# Which column is the address


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("To,email,name", "old@example.org,ann@example.org,Ann"),
        ("name,address,email", "Ann,12 High Street,ann@example.org"),
        ("address,to,E-Mail", "12 High Street,old@example.org,ann@example.org"),
        ("address,to,name", "12 High Street,ann@example.org,Ann"),
        ("Address,Email Address", "12 High Street,ann@example.org"),
        ("email_address,Email", "old@example.org,ann@example.org"),
        ("from,to,Mail", "Oslo,Bergen,ann@example.org"),
    ],
)
def test_email_comes_before_to_and_to_before_address(read, header, row):
    assert addresses(read(f"{header}\n{row}\n")) == ["ann@example.org"]


@pytest.mark.parametrize(
    "header",
    [
        "Email Address",
        "E-mail Address",
        "EMAIL",
        "EmailAddress",
        "email-address",
        "E-mail 1 - Value",
        "E-Mail-Adresse",
        "Adresse e-mail",
        "Correo electrónico",
        "e\u200bmail",
        "Email\u00a0Address",
        '"Email\nAddress"',
    ],
)
def test_the_headers_of_known_services_are_known(read, header):
    assert addresses(read(f"Name,{header}\nAnn,ann@example.org\n")) == ["ann@example.org"]


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("email,name,email", "email"),
        ("email,name,city,name", "name"),
        ("a,email,b,a,b", "a, b"),
        ("email,gr\u00f6\u00dfe,gro\u0308\u00dfe", "gr\u00f6\u00dfe"),
        ("email, name ,name", "name"),
    ],
)
def test_two_columns_of_one_name_are_refused_with_it(read, header, named):
    with pytest.raises(ConfigurationError, match=f"more than one column {named}:.*Nothing was queued"):
        read(f"{header}\n")


@pytest.mark.parametrize("header", ["Email,name,email", "E-Mail,email", "Email Address,email_address"])
def test_two_columns_that_are_both_called_email_are_refused_and_either_can_be_named(read, header):
    first = header.split(",")[0]
    content = f"{header}\n{','.join(['ann@example.org'] * len(header.split(',')))}\n"
    with pytest.raises(ConfigurationError, match=f"{first} and .*--column"):
        read(content)
    assert addresses(read(content, first)) == ["ann@example.org"]


def test_spreadsheets_columns_without_a_name_are_not_doubled(read):
    assert addresses(read("email,,\nann@example.org,,\n")) == ["ann@example.org"]


@pytest.mark.parametrize("header", ["name,address", "name,to", "name,mail"])
def test_a_column_that_may_be_the_address_and_holds_none_is_not_taken(read, header):
    with pytest.raises(ConfigurationError, match=r"holds no email addresses.*--column"):
        read(f"{header}\nAnn,12 High Street\nBob,\n")


def test_but_one_whose_first_rows_are_only_partly_wrong_is_and_so_is_an_empty_one(read):
    assert len(read("name,address\nAnn,12 High Street\nBob,bob@example.org\n")) == 2
    assert read("name,address\n") == []


def test_it_is_said_when_another_column_could_have_been_meant(remarks):
    (said,) = remarks("To,email\nold@example.org,ann@example.org\n")
    assert "from the column email, not from To (--column" in said
    assert remarks("To,email\nold@example.org,ann@example.org\n", "email") == []
    assert remarks("Email Address,Address\nann@example.org,12 High Street\n") == []


def test_a_list_without_a_header_is_refused_without_showing_the_first_person(read):
    with pytest.raises(ConfigurationError, match="first line must name the columns") as error:
        read("zoe@example.org,Zoe\nbob@example.org,Bob\n")
    assert "zoe" not in str(error.value).lower()


# What stands between values


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_told_from_the_header(read, delimiter):
    (ann,) = read(
        delimiter.join(["name", "email", "city\n"]) + delimiter.join(['"Lee, Ann"', "ann@example.org", "a\n"])
    )
    assert ann.values == {"name": "Lee, Ann", "email": "ann@example.org", "city": "a"}


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("email;name, first;city", ";"),
        ("email,a;b", ","),
        ("a|b;email", ";"),
        ('"a;b;c",email', ","),
        ("Email Address\tName, Title", "\t"),
    ],
)
def test_what_stands_in_a_column_s_name_is_no_delimiter(read, header, delimiter):
    values = ["ann@example.org"] * (header.replace('"a;b;c"', "a").count(delimiter) + 1)
    assert addresses(read(f"{header}\n{delimiter.join(values)}\n")) == ["ann@example.org"]


def test_a_delimiter_that_cannot_be_told_is_refused_with_what_to_type(read):
    with pytest.raises(ConfigurationError, match=r"commas or semicolons.*cannot be told.*--delimiter"):
        read("a,b;c\nann@example.org,b;c\n")
    assert addresses(read("a,b;c\nann@example.org,x\n", "a", delimiter=",")) == ["ann@example.org"]
    assert addresses(read("a,b;c\nann@example.org,x\n", "a")) == ["ann@example.org"], "the column tells"


def test_it_is_said_which_delimiter_was_told_but_not_repeated_when_named(remarks):
    assert "with semicolons between values (--delimiter" in remarks("email;name\n")[0]
    assert remarks("email;name\n", delimiter=";") == []
    assert remarks("email,name\n") == []


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;", "sep=; "])
def test_excel_s_line_is_followed_and_lines_are_still_counted_from_the_top(read, line):
    ann, bob = read(f'{line}\r\nemail;name\r\nann@example.org;"A\r\nB"\r\nbob@example.org;"Lee; Bob"\r\n')
    assert (ann.line, bob.line, bob.values["name"]) == (3, 5, "Lee; Bob")


def test_a_separator_line_may_name_any_character_and_the_option_goes_over_it(read):
    assert addresses(read("sep=^\nemail^name\nann@example.org^Ann\n")) == ["ann@example.org"]
    assert addresses(read("sep=,\nemail;name\nann@example.org;Ann\n", delimiter=";")) == ["ann@example.org"]


@pytest.mark.parametrize("empty", [",", ",,,,", " , ", '"",""', "   ", "\u00a0,"])
def test_rows_of_commas_only_are_passed_over_and_counted(read, empty):
    people = read(f"{empty}\nemail,name\n{empty}\nann@example.org,Ann\n{empty}\n")
    assert [(one.line, one.address) for one in people] == [(4, "ann@example.org")]


# How letters are written

GREETED = 'email,name\nann@example.org,Jürg Größe\nbob@example.org,"José Núñez, 3º B"\ncid@example.org,Zoé O’Brien\n'


@pytest.mark.parametrize(
    "content",
    [
        GREETED.encode(),
        codecs.BOM_UTF8 + GREETED.encode(),
        2 * codecs.BOM_UTF8 + GREETED.encode(),
        codecs.BOM_UTF8 + "ï»¿".encode() + GREETED.encode(),
        GREETED.encode("cp1252"),
        GREETED.encode("utf-16"),
        codecs.BOM_UTF16_BE + GREETED.encode("utf-16-be"),
        2 * codecs.BOM_UTF16_LE + GREETED.encode("utf-16-le"),
        GREETED.encode("utf-16-le"),
        GREETED.encode("utf-16-be"),
        GREETED.encode("utf-32"),
        GREETED.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
    ],
)
def test_an_encoding_that_can_be_told_is_used(read, content):
    assert [one.values["name"].split()[0] for one in read(content)] == ["Jürg", "José", "Zoé"]


@pytest.mark.parametrize(
    ("encoding", "rows"),
    [
        ("cp1250", ["Kovačević", "Dvořák", "Łukasz"]),
        ("cp1250", ["Němec"]),
        ("cp1250", ["Kamiński"]),
        ("cp1250", ["Marković"]),
        ("cp1250", ["Erdős"]),
        ("cp1250", ["Brăila"]),
        ("cp1250", ["Jiří Novák"]),
        ("cp1251", ["Иван", "Анна"]),
        ("cp1251", ["Юля и Ян"]),
        ("cp1253", ["Γιώργος"]),
        ("cp1254", ["Şükrü"]),
        ("cp1254", ["Yılmaz"]),
        ("cp1255", ["דוד"]),
        ("cp1257", ["Jānis Bērziņš"]),
        ("cp1257", ["Pēteris"]),
        ("mac_roman", ["José"]),
        ("mac_roman", ["Müller"]),
        ("mac_roman", ["Muñoz"]),
        ("mac_roman", ["Zoë"]),
        ("mac_roman", ["García"]),
        ("mac_roman", ["Özil"]),
        ("mac_roman", ["Ça ira"]),
        ("mac_roman", ["maître"]),
        ("mac_roman", ["Lunedì"]),
        ("cp850", ["Jürg"]),
        ("shift_jis", ["山田太郎"]),
        ("gb18030", ["张三", "王伟"]),
        ("euc_kr", ["김철수"]),
        ("koi8_r", ["Пётр"]),
        ("iso8859_2", ["Łódź"]),
    ],
)
def test_one_that_cannot_is_refused_with_what_to_type_rather_than_guessed(read, encoding, rows):
    content = "email,name\n" + "".join(f"ann@example.org,{name}\n" for name in rows)
    with pytest.raises(ConfigurationError, match=r"people.csv is not in UTF-8 \(near line 2\).*--encoding.*cp1252"):
        read(content.encode(encoding))
    assert [one.values["name"] for one in read(content.encode(encoding), encoding=encoding)] == rows


def test_one_row_that_is_not_western_is_enough_and_so_is_one_in_utf_8(read):
    western = GREETED.encode("cp1252")
    for other in ("Dvořák".encode("cp1250"), "Jürg".encode()):
        with pytest.raises(ConfigurationError, match="not in UTF-8"):
            read(western + b"dan@example.org," + other + b"\n")


WESTERN = [
    "Müller",
    "Groß",
    "STRAßE",
    "Größe",
    "Österreich",
    "Élise",
    "Noël",
    "Ça",
    "François",
    "Hélène",
    "Œuvre",
    "cœur",
    "août",
    "Où",
    "naïf",
    "Garçon",
    "Zoë",
    "Héloïse",
    "José",
    "Muñoz",
    "Ñandú",
    "Güell",
    "Àngels",
    "Història",
    "João",
    "Conceição",
    "Magalhães",
    "Camões",
    "Irmã",
    "Niccolò",
    "Città",
    "perché",
    "Lunedì",
    "Gesù",
    "Åse",
    "Jørgen",
    "Bjørn",
    "Håkon",
    "Sørensen",
    "Sæther",
    "Ståhl",
    "Mäkinen",
    "Hyvärinen",
    "Çelik",
    "Gökçe",
    "Daniël",
    "Seán",
    "Siobhán",
    "Übel",
    "O’Brien",
    "D’Angelo",
    "Dell’Orto",
    "Anna’s",
    "you’re",
    "l’été",
    "„Anna“",
    "“Annie”",
    "‘Ned’",
    "wait…",
]


@given(names=st.lists(st.sampled_from(WESTERN), min_size=1, max_size=5))
def test_western_names_in_cp1252_are_told(names, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "western.csv"
    path.write_bytes(f"email,name\nann@example.org,{' '.join(names)}\n".encode("cp1252"))
    with read_people(path) as people:
        assert [one.values["name"] for one in people] == [" ".join(names)]


def test_it_is_said_which_encoding_was_told(remarks):
    assert "in cp1252 (--encoding says otherwise)" in remarks(GREETED.encode("cp1252"))[0]
    assert remarks(GREETED.encode("cp1252"), encoding="cp1252") == []
    assert remarks(codecs.BOM_UTF8 + GREETED.encode()) == []
    both = remarks(GREETED.replace(",", "\t").encode("utf-16"))
    assert len(both) == 1
    assert "utf-16-le" in both[0]
    assert "tabs" in both[0]


def test_a_named_encoding_is_used_as_it_is_and_refused_where_the_file_is_not_in_it(read):
    assert read(GREETED.encode("utf-16-le"), encoding="utf-16-le")[0].values["name"] == "Jürg Größe"
    assert read(GREETED.encode("utf-16"), encoding="utf-16")[0].values["name"] == "Jürg Größe"
    assert read(codecs.BOM_UTF8 + GREETED.encode(), encoding="utf-8")[0].values["name"] == "Jürg Größe"
    with pytest.raises(ConfigurationError, match=r"not in UTF-8 \(near line 2\)\. Nothing"):
        read(GREETED.encode("cp1252"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="says itself that it is in utf-8: leave --encoding out"):
        read(codecs.BOM_UTF8 + GREETED.encode(), encoding="cp1252")


def test_the_line_that_cannot_be_read_is_named_wherever_it_stands(read):
    rows = "".join(f"person{number}@example.org,Bob\n" for number in range(9_000))
    with pytest.raises(ConfigurationError, match="near line 9002"):
        read(b"email,name\n" + rows.encode() + b"ann@example.org,J\x9frg\n")


@pytest.mark.parametrize("content", [b"PK\x03\x04rest", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_a_workbook_is_told_from_a_list(read, content):
    with pytest.raises(ConfigurationError, match="is a workbook, not CSV: save it as CSV"):
        read(content)


@given(content=st.binary(max_size=80))
def test_no_file_is_a_surprise(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    with suppress(ConfigurationError), read_people(path) as people:
        list(people)


# Read twice, held never


def test_a_list_is_read_as_often_as_it_is_asked(a_list):
    with read_people(a_list("email\nann@example.org\nbob@example.org\n")) as people:
        assert addresses(list(people)) == addresses(list(people)) == ["ann@example.org", "bob@example.org"]


def test_standard_input_and_pipes_are_kept_in_a_file_that_nobody_else_sees(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[GREETED.encode("cp1252")])
    writer.start()
    with read_people(tmp_path / "pipe") as people:
        assert len(list(people)) == len(list(people)) == 3
        kept = os.fstat(people._file.fileno())
        assert stat.S_IMODE(kept.st_mode) == 0o600
        assert kept.st_nlink == 0, "it has no name"
    writer.join()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GREETED.encode())))
    with read_people(Path("-")) as people:
        assert len(list(people)) == len(list(people)) == 3


def test_a_list_that_changes_while_it_is_read_is_not_read_on(a_list):
    path = a_list("email\nann@example.org\nbob@example.org\n")
    with read_people(path) as people:
        rows = iter(people)
        next(rows)
        with path.open("a") as file:
            file.write("cid@example.org\n")
        with pytest.raises(ConfigurationError, match="was changed while it was read"):
            list(rows)


CHECKS_A_LIST = r"""
import re, resource, sys
from pathlib import Path
from sesmail.sending.letters.letter import Letter, check
from sesmail.sending.letters.lists import Person, read_people

def peak_bytes():
    status = Path("/proc/self/status")
    if status.exists():  # getrusage() counts what the process was before it became this program, too
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

letter = Letter(subject="For {{name}}", text="Hello", html=None)
with read_people(Path(sys.argv[1])) as people:
    letter.check(people.names)
    before = peak_bytes()
    good = sum(isinstance(row, Person) for row in check(letter, people))
print(good, peak_bytes() - before)
"""


def test_a_long_list_is_checked_in_little_memory(a_list):
    rows = 50_000
    path = a_list("email,name,note\n" + "".join(f"p{n}@example.org,Ann,{'x' * 1000}\n" for n in range(rows)))
    out = subprocess.run([sys.executable, "-c", CHECKS_A_LIST, path], stdout=subprocess.PIPE, check=True).stdout
    checked, grown_bytes = map(int, out.split())
    assert checked == rows
    assert grown_bytes < 5 * 1024 * 1024, "100 bytes a row; the rows themselves have more than 1,000 each"


# One mailbox in several spellings


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann@b\u00fccher.example", "ann@xn--bcher-kva.example"),
        ("ann@b\u00fccher.example", "ann@bu\u0308cher.example"),
        ("ann@B\u00dcCHER.example", "Ann Lee <ANN@xn--bcher-kva.EXAMPLE>"),
        ("ann@exam\u00adple.\u4f8b\u3048.example", "ann@example.\u4f8b\u3048.example"),
        ("ann@example.org", '""ann""@example.org'),
        ("ann@example.org", "Ann@Example.ORG"),
    ],
)
def test_one_mailbox_in_several_spellings_is_mailed_once(a_list, one, other):
    letter = Letter(subject="Hello", text="Hello", html=None)
    with read_people(a_list(f'email\n"{one}"\n"{other}"\n')) as people:
        first, again = check(letter, people)
    assert isinstance(first, Person)
    assert again == BadRow(line=3, problem="the same address stands in line 2")


@pytest.mark.parametrize("address", ["ann@bücher.example", "ann@xn--bcher-kva.example", "Ann <ANN@BÜCHER.example>"])
def test_whom_earlier_releases_queued_is_known_by_all_spellings_that_they_may_have_kept(address):
    assert {"november:ann@xn--bcher-kva.example", "november:ann@bücher.example"} <= {*other_keys(address, "november")}


def test_of_most_addresses_there_is_one_spelling():
    assert other_keys("Ann <Ann@Example.org>", "november") == ["november:ann@example.org"]
    assert 'november:"ann"@example.org' in other_keys('"ann"@example.org', "november")
