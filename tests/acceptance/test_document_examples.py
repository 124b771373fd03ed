"""The Python in README.md and docs/ runs: each document in a process of its own, with a Redis and a local SES."""

from __future__ import annotations

import sys

import pytest

from tests.acceptance.programs import run
from tests.documents import DOCUMENTS, ROOT, name


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if "```python" in path.read_text()], ids=name)
def test_its_examples_run(document, site):
    environment = site.environment | {
        "SESMAIL_FROM_EMAIL": "shop@example.com",
        "SESMAIL_UNSUBSCRIBE_URL": "https://shop.example.com/mail/unsubscribe/",
        "SESMAIL_UNSUBSCRIBE_SECRETS": '["a secret of the documents"]',
        "AWS_ENDPOINT_URL_SES": site.ses.url,
        "AWS_ENDPOINT_URL_SNS": site.ses.url,
    }
    command = [sys.executable, "-W", "error", "-m", "tests.documents", str(document)]
    done = run(*command, folder=site.folder, environment=environment)
    assert done.returncode == 0, f"{name(document)}, {done.stdout}"


def test_an_example_that_fails_is_noticed(site, tmp_path):
    (tmp_path / "page.md").write_text('```python\nname = "Ann"\n```\n\n```python\nassert name == "Bob"\n```\n')
    done = run(
        sys.executable, "-m", "tests.documents", str(tmp_path / "page.md"), folder=ROOT, environment=site.environment
    )
    assert done.returncode == 1
    assert 'page.md", line 6' in done.stdout


@pytest.mark.parametrize(
    ("comment", "code", "outcome"),
    [
        ("not run: needs AWS", "import no_such_module", 0),
        ("not run: needs AWS", "no Python at all", 1),
        ("examples/plain.py", "from sesmail import send_ses_email", 0),
        ("examples/plain.py", "from sesmail import something_else", 1),
    ],
)
def test_a_comment_says_what_is_done_with_the_block_below_it_and_no_other(site, tmp_path, comment, code, outcome):
    (tmp_path / "page.md").write_text(f"<!-- {comment} -->\n```python\n{code}\n```\n\n```python\nprint('ran')\n```\n")
    done = run(
        sys.executable, "-m", "tests.documents", str(tmp_path / "page.md"), folder=ROOT, environment=site.environment
    )
    assert done.returncode == outcome, done.stdout
    assert ("ran" in done.stdout) == (outcome == 0)
