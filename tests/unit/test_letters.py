"""A letter for one reader: from a folder, in a language, in Jinja; and an email that is a letter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sesmail import Client, Letter, Settings
from sesmail.errors import ConfigurationError, InvalidEmail
from sesmail.message import Email, Lane
from sesmail.sending.letters import handlebars

JINJA = Letter(
    subject="{{ count }} order{{ 's' if count != 1 }}",
    html="<ul>{% for each in orders %}<li>{{ each.name }}</li>{% endfor %}</ul>",
    jinja=True,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two letters, one of them in German, too."""
    for name, text in {
        "welcome.subject.txt": "Welcome {{name}}\n",
        "welcome.html": "<p>Hello {{name}}</p>",
        "welcome.txt": "Hello {{name}}",
        "de/welcome.subject.txt": "Willkommen {{name}}",
        "de/welcome.txt": "Hallo {{name}}",
        "orders/shipped.subject.txt": "On its way",
        "orders/shipped.txt": "On its way.",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_a_templated_email_is_made_by_name_from_a_folder_and_goes_as_one_of_its_own(folder: Path) -> None:
    letter = Letter.from_folder(folder, "welcome", from_email="shop@example.com", tags={"kind": "welcome"})
    email = letter.email("Ann <ann@example.org>", {"name": "<Ann>"}, metadata={"user": 7})
    assert (email.subject, email.text, email.html) == ("Welcome <Ann>", "Hello <Ann>", "<p>Hello &lt;Ann&gt;</p>")
    assert (email.lane, email.metadata, dict(email.tags)) == (Lane.TRANSACTIONAL, {"user": 7}, {"kind": "welcome"})
    assert Letter.from_folder(folder, "orders/shipped").email("ann@example.org").subject == "On its way"


@pytest.mark.parametrize(
    ("language", "subject"), [("de", "Willkommen A"), ("de-AT", "Willkommen A"), ("de_AT", "Willkommen A")]
)
def test_a_language_falls_back_on_the_one_behind_it_and_its_letter_is_not_mixed(
    folder: Path, language: str, subject: str
) -> None:
    email = Letter.from_folder(folder, "welcome", language=language).email("ann@example.org", {"name": "A"})
    assert (email.subject, email.text, email.html) == (subject, "Hallo A", None)
    assert Letter.from_folder(folder, "orders/shipped", language=language).subject == "On its way"


@pytest.mark.parametrize("name", ["goodbye", "../welcome", "/etc/welcome"])
def test_a_letter_that_there_is_not_is_told_with_where_it_was_looked_for(folder: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="Nothing was queued"):
        Letter.from_folder(folder / "de", name)


def test_a_value_that_the_letter_uses_and_nobody_gives_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"\{\{name\}\}"):
        Letter(subject="Hello {{name}}", text="Hi").email("ann@example.org", {"nmae": "Ann"})
    assert Letter(subject="For {{email}}", text="Hi").email("Ann <ann@example.org>").subject == "For ann@example.org"


def test_jinja_is_rendered_with_conditions_and_loops_and_escapes_in_html_alone() -> None:
    email = JINJA.email("ann@example.org", {"count": 2, "orders": [{"name": "Tea & cake"}, {"name": "<b>"}]})
    assert email.subject == "2 orders"
    assert email.html == "<ul><li>Tea &amp; cake</li><li>&lt;b&gt;</li></ul>"


@pytest.mark.parametrize("context", [{"count": 1}, {"orders": []}])
def test_a_variable_of_a_jinja_letter_that_is_missing_is_named(context: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="no such column"):
        JINJA.email("ann@example.org", context)


def test_what_lies_deeper_and_is_missing_is_refused_without_a_word_of_the_values() -> None:
    with pytest.raises(InvalidEmail, match="html: cannot be rendered with these values") as refused:
        JINJA.email("ann@example.org", {"count": 1, "orders": ["zebra"]})
    assert "zebra" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{% if %}", "no Jinja template: line 1"),
        ("{% extends 'base.html' %}", "another file"),
        ("{% include name %}", "another file"),
    ],
)
def test_what_is_no_template_or_needs_other_files_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Letter(subject="s", text=text, jinja=True).email("ann@example.org", {"name": "x"})


@pytest.mark.parametrize("text", ["{{ ''.__class__.__mro__ }}", "{{ name.append(1) }}", "{{ range(10000000) }}"])
def test_a_template_gets_out_of_no_sandbox(text: str) -> None:
    with pytest.raises(InvalidEmail, match="cannot be rendered"):
        Letter(subject="s", text=text, jinja=True).email("ann@example.org", {"name": []})


def test_an_email_to_nobody_is_a_letter_and_no_outbox_takes_it() -> None:
    letter = Email(None, "Hello", "Hi", from_email="shop@example.com")
    assert letter.replace(subject="Bye").recipient_count == 0
    assert letter.replace(to="ann@example.org").recipients == ("ann@example.org",)
    with pytest.raises(InvalidEmail, match="0 recipients"):
        Client(Settings(suppress_send=True)).send(letter)
    with pytest.raises(InvalidEmail, match="0 recipients"):
        Email([], "Hello", "Hi")


@pytest.mark.parametrize(
    ("text", "by_ses", "names", "needed"),
    [
        ("Hi {{name}} {{ first name }} {{name|there}}", False, None, None),
        ("{{#if vip}}{{name}}{{else}}x{{/if}}", True, {"vip", "name"}, set()),
        ("{{order.total}} {{[first name]}} {{{raw}}} {{& also}}", True, {"order", "first name", "raw", "also"}, ...),
        ("{{#each items as |one|}}{{one.price}} {{@index}} {{this}} {{../shop}}{{/each}}{{x}}", True, None, {"x"}),
        ('{{!-- {{no}} --}}{{! neither }}{{lookup map "key"}}', True, {"map"}, set()),
        ("{{#* inline 'part'}}{{name}}{{/inline}}{{> part}}", True, {"name"}, set()),
        ("{{this}} {{else}}", True, set(), set()),
    ],
)
def test_of_a_template_of_ses_it_is_told_what_only_ses_can_fill_in_and_what_it_needs(
    text: str, by_ses: bool, names: set[str] | None, needed: object
) -> None:
    assert handlebars.needs_ses(text) is by_ses
    assert names is None or handlebars.names(text) == names
    assert needed is None or handlebars.needed(text) == (names if needed is ... else needed)
