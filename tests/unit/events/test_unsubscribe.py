"""One-click unsubscribe: links that only we can make, and a door that does nothing for those who only look."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import asdict
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesmail.errors import ConfigurationError
from sesmail.unsubscribe import Dress, UnsubscribeDoor, UnsubscribeLinks, Unsubscription
from sesmail.unsubscribe.words import LANGUAGES

OLD, NEW = "the old secret of the site", "the new secret of the site"
BASE = "https://alpha.example.com/sesmail/unsubscribe/"
WHO = Unsubscription(site="alpha", recipient="reader@example.org", list="monthly", send_id="send-1")


def token(link: str) -> str:
    return link.rpartition("/")[2]


@given(st.builds(Unsubscription, site=st.text(), recipient=st.text(), list=st.text(), send_id=st.text()))
def test_what_a_link_says_is_what_was_put_in(who) -> None:
    links = UnsubscribeLinks([NEW], BASE)
    assert links.read(token(links.link(who))) == who


def test_the_headers_are_those_of_rfc_8058() -> None:
    links = UnsubscribeLinks([NEW], BASE)
    assert links.headers(WHO) == {
        "List-Unsubscribe": f"<{links.link(WHO)}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert links.link(WHO).startswith(BASE)


def test_links_made_before_a_change_of_secrets_go_on_working() -> None:
    link = UnsubscribeLinks([OLD], BASE).link(WHO)
    assert UnsubscribeLinks([NEW, OLD], BASE).read(token(link)) == WHO


def test_the_first_secret_signs() -> None:
    link = UnsubscribeLinks([NEW, OLD], BASE).link(WHO)
    assert UnsubscribeLinks([NEW], BASE).read(token(link)) == WHO


def test_a_secret_that_is_no_longer_listed_is_no_longer_good() -> None:
    link = UnsubscribeLinks([OLD], BASE).link(WHO)
    assert UnsubscribeLinks([NEW], BASE).read(token(link)) is None


@given(st.data())
def test_a_link_with_any_character_changed_is_refused(data) -> None:
    links = UnsubscribeLinks([NEW], BASE)
    good = token(links.link(WHO))
    place = data.draw(st.integers(0, len(good) - 2))  # the last one may carry unused bits
    other = data.draw(st.sampled_from("abcXYZ019-_.").filter(lambda character: character != good[place]))
    assert links.read(good[:place] + other + good[place + 1 :]) is None


@given(st.text())
def test_a_made_up_link_is_refused(made_up) -> None:
    assert UnsubscribeLinks([NEW], BASE).read(made_up) is None


@pytest.mark.parametrize("base", ["http://alpha.example.com/", "alpha.example.com", "", "ftp://alpha.example.com/"])
def test_a_link_that_mail_providers_would_not_use_is_a_configuration_error(base) -> None:
    with pytest.raises(ConfigurationError):
        UnsubscribeLinks([NEW], base)


@pytest.mark.parametrize("secrets", [[], ["short"], [NEW, ""], NEW])
def test_a_missing_or_weak_secret_is_a_configuration_error(secrets) -> None:
    with pytest.raises(ConfigurationError) as caught:
        UnsubscribeLinks(secrets, BASE)
    assert "the new secret" not in str(caught.value)


def door(opted_out: list, **options) -> UnsubscribeDoor:
    return UnsubscribeDoor(UnsubscribeLinks([NEW], BASE), opted_out.append, **options)


GOOD = token(UnsubscribeLinks([NEW], BASE).link(WHO))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_at_a_link_unsubscribes_nobody(method) -> None:
    opted_out = []
    page = door(opted_out).answer(method, GOOD)
    assert (page.status, "<form" in page.html) == (200, True)
    assert not opted_out


def test_posting_to_a_link_does_it_and_needs_no_second_step() -> None:
    opted_out = []
    page = door(opted_out).answer("POST", GOOD)
    assert (page.status, "<form" in page.html) == (200, False)
    assert opted_out == [WHO]


def test_posting_to_a_made_up_link_does_nothing() -> None:
    opted_out = []
    assert door(opted_out).answer("POST", "made-up").status == 404
    assert not opted_out


def test_an_opt_out_that_could_not_be_written_down_is_not_confirmed() -> None:
    def fail(who) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        UnsubscribeDoor(UnsubscribeLinks([NEW], BASE), fail).answer("POST", GOOD)


def test_a_list_name_cannot_smuggle_html_into_the_page() -> None:
    links = UnsubscribeLinks([NEW], BASE)
    link = links.link(Unsubscription(site="alpha", recipient="a@example.org", list="<script>"))
    assert "<script>" not in UnsubscribeDoor(links, lambda who: None).answer("GET", token(link)).html


def test_the_page_does_not_show_the_address() -> None:
    assert "reader" not in door([]).answer("GET", GOOD).html
    assert "reader" not in repr(WHO)


def test_a_site_may_dress_the_page_as_its_own() -> None:
    page = door([], page=lambda title, text, with_button: f"{title}|{with_button}").answer("GET", GOOD)
    assert page.html == "Unsubscribe|True"


# -- coming back, languages, looks -------------------------------------------------------------------------------------


def test_who_left_may_come_back_by_a_button_and_mail_providers_cannot_press_it() -> None:
    opted_out, back = [], []
    its = door(opted_out, come_back=back.append)
    assert 'name="come-back"' in its.answer("POST", GOOD, body=b"List-Unsubscribe=One-Click").html
    assert (opted_out, back) == ([WHO], [])
    page = its.answer("POST", GOOD, body=b"come-back=1")
    assert (opted_out, back, "<form" in page.html) == ([WHO], [WHO], False)
    assert its.answer("POST", "made-up", body=b"come-back=1").status == 404
    assert len(back) == 1


def test_who_has_left_is_told_so_and_not_asked_again() -> None:
    asks = door([], come_back=lambda who: None, has_left=lambda who: False).answer("GET", GOOD)
    tells = door([], come_back=lambda who: None, has_left=lambda who: True).answer("GET", GOOD)
    assert ("Do you want to leave" in asks.html, 'name="come-back"' in asks.html) == (True, False)
    assert ("Do you want to leave" in tells.html, 'name="come-back"' in tells.html) == (False, True)
    assert "You have left the list “monthly”" in tells.html


def test_who_cannot_come_back_by_a_link_is_not_told_that_it_was_done() -> None:
    back = []
    page = door([], come_back=back.append, has_left=lambda who: True).answer("POST", GOOD, body=b"come-back=1")
    assert (back, "Welcome back" in page.html, "You have left" in page.html, "<form" in page.html) == (
        [WHO],
        False,
        True,
        False,
    )


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"a=" + b"b" * 100_000, b"&".join([b"a=1"] * 50)])
def test_whatever_else_is_posted_unsubscribes(body) -> None:
    opted_out = []
    door(opted_out, come_back=lambda who: None).answer("POST", GOOD, body=body)
    assert opted_out == [WHO]


@pytest.mark.parametrize(
    ("accepted", "language", "button"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de", "Abmelden"),
        ("pl, fr;q=0.2, nl;q=0.7", "nl", "Uitschrijven"),
        ("", "en", "Unsubscribe"),
        ("pl", "en", "Unsubscribe"),
        ("*;q=nonsense,,;;,es", "es", "Darse de baja"),
    ],
)
def test_the_page_is_in_the_readers_language(accepted, language, button) -> None:
    page = door([]).answer("GET", GOOD, languages=accepted)
    assert f"<button>{button}</button>" in page.html
    assert f'<html lang="{language}">' in page.html
    assert (page.headers["Content-Language"], page.headers["Vary"]) == (language, "Accept-Language")


def test_every_language_says_all_of_it_and_names_list_and_sender() -> None:
    for language, words in LANGUAGES.items():
        for name, text in asdict(words).items():
            assert text, (language, name)
            assert ("{list}" in text) == name.endswith("_list"), (language, name)
            assert ("{sender}" in text) == name.endswith(("_list", "_all")), (language, name)


def test_the_page_says_whose_list_it_is() -> None:
    assert "“monthly” of alpha.example.com" in door([]).answer("GET", GOOD).html
    dressed = door([], dress=Dress(sender="Alpha & Sons")).answer("GET", GOOD)
    assert "“monthly” of Alpha &amp; Sons" in dressed.html


def test_our_own_page_loads_nothing_and_its_policy_knows_its_style() -> None:
    page = door([]).answer("GET", GOOD)
    style = page.html.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "http" not in page.html


def test_a_template_makes_the_page_and_is_left_to_the_sites_own_policy(tmp_path) -> None:
    template = tmp_path / "page.html"
    template.write_text("<h1>{{ title }}</h1>{{text}}{{form}}<small>{{sender}} {{language}}</small>")
    dress = Dress(sender="A & B", template=str(template))
    page = door([], dress=dress).answer("GET", GOOD, languages="de")
    assert page.html.startswith("<h1>Abmelden</h1>")
    assert page.html.endswith("<small>A &amp; B de</small>")
    assert "Content-Security-Policy" not in page.headers


@pytest.mark.parametrize("text", ["{{text}}{{form}}{{tittle}}", "{{text}} alone", "{{form}}", None])
def test_a_template_that_would_strand_readers_is_refused_when_it_is_named(tmp_path, text) -> None:
    template = tmp_path / "page.html"
    if text is not None:
        template.write_text(text)
    with pytest.raises(ConfigurationError, match="SESMAIL_UNSUBSCRIBE_TEMPLATE"):
        Dress(template=str(template))
