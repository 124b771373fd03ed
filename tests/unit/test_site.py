"""The site of the documents: what counts as a fault of it, and how its pages come from ours. `run.py docs` builds it."""

from __future__ import annotations

import re

import pytest

from docs import site
from tests.documents import DOCUMENTS, ROOT

INDEX = '<a href="a.html">A</a> <form action="search.html"></form> <link href="style.css">'


@pytest.fixture
def built(tmp_path):
    """A site without a fault."""
    files = {
        "index.html": INDEX,
        "a.html": '<h2 id="here"></h2> <a href="b.html"></a> <a href="#here"></a> <a href="https://example.com/"></a>',
        "b.html": '<a href="a.html#here"></a> <a href="index.html"></a>',
        "search.html": "",
        "style.css": 'a { background: url("picture.png") }',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_site_whose_links_lead_somewhere_has_no_fault(built):
    assert site.problems(built) == []


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("b.html", '<a href="c.html"></a>', "b.html: c.html leads nowhere"),
        ("b.html", '<a href="a.html#there"></a>', "b.html: a.html#there leads nowhere"),
        ("b.html", '<script src="https://example.com/x.js"></script>', "https://example.com/x.js is loaded from elsewhere"),
        ("b.html", '<img src="//example.com/x.png">', "//example.com/x.png is loaded from elsewhere"),
        ("style.css", '@import "https://example.com/font.css";', "https://example.com/font.css is loaded from elsewhere"),
        ("c.html", "", "c.html is not reached in 2 clicks"),
    ],
)  # fmt: skip
def test_each_fault_is_named(built, file, text, fault):
    (built / file).write_text(text)
    assert len(site.problems(built)) == 1
    assert site.problems(built)[0].endswith(fault)


def test_a_page_three_clicks_away_is_too_far(built):
    (built / "b.html").write_text('<a href="c.html"></a>')
    (built / "c.html").write_text("")
    assert site.problems(built) == ["c.html is not reached in 2 clicks"]


def test_every_document_is_among_the_sites_contents_once():
    listed = re.findall(r" <([\w-]+)>$", site.contents(), re.MULTILINE)
    assert sorted(listed) == sorted({site.page_name(path) for path in DOCUMENTS} - {"index"} | {"changelog"})


def test_what_pages_link_to_beside_the_documents_is_shown_on_the_site(tmp_path):
    site.Stage(tmp_path).write()
    shown = (tmp_path / "files" / "examples-django_site.md").read_text()
    assert "proj/settings.py" in shown
    assert (ROOT / "examples/django_site/proj/settings.py").read_text().rstrip() in shown
    assert "](files/examples-django_site.md)" in (tmp_path / "django.md").read_text()
    assert "<!--" not in (tmp_path / "django.md").read_text()


def test_headings_have_a_level_and_wide_blocks_can_be_scrolled_by_keys():
    page = site.for_everybody('<p class="caption" role="heading"><span>Start</span></p><pre>$ celery</pre>')
    assert page == (
        '<p class="caption" role="heading" aria-level="2"><span>Start</span></p><pre tabindex="0">$ celery</pre>'
    )
