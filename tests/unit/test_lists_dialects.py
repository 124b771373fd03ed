"""Lists and letters in dialects that are rarer than those of Excel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sesmail.errors import ConfigurationError
from sesmail.sending.letters.letter import Letter
from sesmail.sending.letters.lists import read_people
from sesmail.sending.letters.seen import seen

ROWS = "email;name\nann@example.org;Ann\n"


def mailboxes(path: Path, content: str) -> list[str]:
    (path / "list.csv").write_bytes(content.encode())
    with read_people(path / "list.csv") as people:
        return [person.mailbox for person in people]


@pytest.mark.parametrize("first", ["sep=;;;\n", "sep =;\r\n", '"sep=;"\n', "SEP=;,\n"])
def test_the_line_that_names_the_separator_is_read_as_programs_save_it_anew(tmp_path: Path, first: str) -> None:
    assert mailboxes(tmp_path, first + ROWS) == ["ann@example.org"]


def test_rows_of_blanks_and_the_mark_of_dos_are_no_rows(tmp_path: Path) -> None:
    assert mailboxes(tmp_path, f"\ufeff\n;\u00a0\n{ROWS} ; \n\x1a") == ["ann@example.org"]


@pytest.mark.parametrize("separator", [":", "^", "~"])
def test_a_header_in_one_piece_is_told_what_to_type(tmp_path: Path, separator: str) -> None:
    with pytest.raises(ConfigurationError, match="say it with --delimiter"):
        mailboxes(tmp_path, ROWS.replace(";", separator))
    with pytest.raises(ConfigurationError, match=r"names name\. Name the one"):
        mailboxes(tmp_path, "name\nAnn\n")


@pytest.mark.parametrize(
    "text",
    [
        "{{{name}}}",
        "{{{ name }}}",
        "{{{{name}}}}",
        "{% if name %}",
        "{%- endif -%}",
        "%(name)s",
        "[name|friend]",
        "{name|friend}",
        "(name | friend)",
        "{contact.name}",
        "@name@",
        "@@name@@",
        "##name##",
        "[% name %]",
        "<#if name>",
        "</#if>",
        "&#123;&#123;name&#125;&#125;",
        "&lcub;&lcub; name &rcub;&rcub;",
    ],
)
def test_a_placeholder_of_another_system_is_refused_as_it_stands(text: str) -> None:
    letter = Letter(subject="s", text=None, html=f"<p>Dear {text}", from_email="shop@example.com")
    with pytest.raises(ConfigurationError) as caught:
        letter.check(["email", "name"])
    assert " ".join(text.split()) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["100 % (name)", "a@name.example", "#name", "(name)", "{a.b}", "name|friend", "<p>", "&#123;"]
)
def test_what_people_write_is_no_placeholder(text: str) -> None:
    Letter(subject="s", text=text, html=None, from_email="shop@example.com").check(["email", "name"])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are told by Linux alone")
def test_who_has_been_seen_is_kept_in_a_file_and_not_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def own_files() -> list[str]:
        return [name for each in Path("/proc/self/fd").iterdir() if "etilqs" in (name := os.path.realpath(each))]

    before = len(own_files())
    monkeypatch.setattr("sesmail.sending.letters.seen.CACHED_KIB", 64)
    with seen() as mailboxes:
        for line in range(6000):
            mailboxes.first_line(f"reader{line}@example.org", line)
        assert len(own_files()) > before


def test_the_line_where_somebody_stood_first_is_told_from_however_far_back() -> None:
    with seen() as mailboxes:
        assert [mailboxes.first_line(f"key:{n}@example.org", n) for n in range(1000)] == [*range(1000)]
        assert mailboxes.first_line("key:17@example.org", 2000) == 17
        assert mailboxes.first_line("other:17@example.org", 2001) == 2001
    with seen() as mailboxes:
        assert mailboxes.first_line("key:17@example.org", 5) == 5


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_the_mark_of_utf_16_is_enough_where_there_are_few_ascii_letters(tmp_path: Path, encoding: str) -> None:
    names = "".join(f"p{n}@例え.example,{'山田' * 40}\n" for n in range(5))
    (tmp_path / "list.csv").write_bytes(("\ufeffemail,名前\n" + names).encode(encoding))
    with read_people(tmp_path / "list.csv") as people:
        assert people.names == ["email", "名前"]
        assert [person.mailbox for person in people][4] == "p4@xn--r8jz45g.example"
