"""The documents cannot rot: pages made from the code are up to date, and what they tell people to type exists."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import tomllib
from textwrap import dedent

import click
import pytest
from celery.bin.celery import celery

from docs import generate, links
from sesmail import cli
from sesmail.settings import ENVIRONMENT_PREFIX, Settings
from tests.documents import DOCUMENTS, ROOT, name, typed

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
RUN_PY = re.findall(r"run\.py (\w+)", ast.get_docstring(ast.parse((ROOT / "run.py").read_text())) or "")


BLOCK = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```$", re.MULTILINE | re.DOTALL)

HOSTS_THAT_ARE_KNOWN = {
    "anymail.dev", "aws.amazon.com", "datatracker.ietf.org", "developers.google.com", "docs.aws.amazon.com",
    "docs.celeryq.dev", "docs.djangoproject.com", "docs.python.org", "flask-mail.readthedocs.io", "github.com",
    "keepachangelog.com", "owasp.org", "peps.python.org", "redis.io", "semver.org", "sqlite.org", "support.google.com",
    "www.postgresql.org", "www.rfc-editor.org", "www.unicode.org",
}  # fmt: skip
"""Whether a page of theirs is still there, `python -m docs.links` asks, where there is a network."""

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name)


@pytest.mark.parametrize("page", generate.pages())
def test_a_page_made_from_the_code_is_up_to_date(page):
    written = (ROOT / "docs" / page).read_text()
    assert written == generate.pages()[page], "run: .venv/bin/python -m docs.generate"


def test_every_setting_and_every_command_has_its_place():
    pages = generate.pages()
    settings = re.findall(rf"^\| `{ENVIRONMENT_PREFIX}(\w+)`", pages["settings.md"], re.MULTILINE)
    assert [setting.lower() for setting in settings] == list(Settings.model_fields)
    assert re.findall(r"^## sesmail (\S+)", pages["commands.md"], re.MULTILINE) == sorted(cli.COMMANDS)


def test_the_list_of_commands_says_of_each_what_it_does_uncut_on_80_columns() -> None:
    context = click.Context(cli.main, info_name="sesmail", terminal_width=80)
    listed = cli.main.get_help(context).partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == sorted(cli.COMMANDS)
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


@every_document
def test_every_link_to_a_file_leads_to_one(document):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


HOUSE = (ROOT / "CONTRIBUTING.md").read_text()
LAYERS = [
    contract["layers"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    if contract.get("containers") in (["sesmail"], ["seslocal"])
]


def test_every_path_that_contributors_are_shown_is_there():
    paths = set(re.findall(r"\b(?:sesmail|seslocal|docs|tests)(?:/[\w.]+)+|\b\w+\.(?:toml|md)\b", HOUSE))
    assert len(paths) > 50
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_files_named_beside_another_are_beside_it():
    for line in HOUSE.splitlines():
        folders = [ROOT / path for path in re.findall(r"(?:sesmail|seslocal)/[\w/]+(?=/\w+\.py)", line)]
        alone = re.findall(r"(?<![\w/.])\w+\.py\b", line)
        assert [file for file in alone if not any((folder / file).exists() for folder in [ROOT, *folders])] == []


@pytest.mark.parametrize("layers", LAYERS, ids=["sesmail", "seslocal"])
def test_the_floors_that_contributors_are_shown_are_those_that_import_linter_checks(layers):
    drawn = [re.findall(r"^(\w+(?: \| \w+)*)  +", block, re.MULTILINE) for block in HOUSE.split("```")]
    assert layers in drawn


def test_the_steps_of_an_email_and_an_event_are_where_contributors_are_told():
    steps = re.findall(r"^ +(\w+)\.(\w+)\b.* (sesmail/\S+\.py) ", HOUSE, re.MULTILINE)
    assert len(steps) > 8
    for owner, method, file in steps:
        text = (ROOT / file).read_text()
        assert re.search(rf"^class \w*{owner}\b", text, re.MULTILINE), (owner, file)
        assert re.search(rf"^    (?:async )?def {method}\b", text, re.MULTILINE), (method, file)


@every_document
def test_every_variable_that_is_named_is_a_setting(document):
    named = re.findall(rf"\b{ENVIRONMENT_PREFIX}([A-Z0-9_]*[A-Z0-9])\b", document.read_text())
    assert [setting for setting in named if setting.lower() not in Settings.model_fields] == []


def parse_shell(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert not done.stderr


PARSERS = {
    "python": ast.parse,  # and run, unless a comment says why not: tests/acceptance/test_document_examples.py
    "console": lambda text: parse_shell("\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))),
    "bash": parse_shell,
    "json": json.loads,
    "text": str,  # shown to be read: what a program prints, a line of a file of another program
    "diff": lambda text: [line for line in text.splitlines() if line[0] not in " -+"] == [] or pytest.fail(text),
    "mermaid": str,  # compared with the scripts: tests/unit/test_protocol.py
}


@every_document
def test_every_block_is_of_a_known_kind_and_reads_as_that(document):
    for language, text in BLOCK.findall(document.read_text()):
        PARSERS[language](dedent(text))


@every_document
def test_every_command_that_is_typed_exists_with_its_options(document):
    assert [(line, wrong) for line in typed(document) if (wrong := problem(line))] == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("sesmail send --csv people.csv --subject 'News for {{name}}' --key november", ""),
        ("sesmail send --cvs people.csv", "--cvs"),
        ("sesmail quotas", "quotas"),
        ("SESMAIL_REGION=eu-west-1 sesmail status --jsno", "--jsno"),
        ("sesmail -A proj status --jsno", "--jsno"),
        ("sesmail status -A proj", ""),
        ("python manage.py sesmail pause --raeson 'a wrong price'", "--raeson"),
        ("flask --app app sesmail stauts", "stauts"),
        ("celery -A sesmail worker --pool=threads -l INFO  # on each server", ""),
        ("celery -A sesmail wroker", "wroker"),
        ("celery -A sesmail worker --pol=threads", "--pol"),
        ("celery -A sesmail flower --port=0", ""),
        ("python3 run.py tset", "tset"),
        ("pip install 'sesmail[flower,sqll]'", "sqll"),
        ("aws sesv2 get-account --anything", ""),
    ],
)
def test_what_does_not_exist_is_noticed(line, wrong):
    assert problem(line) == wrong


def problem(line: str) -> str:
    """The word of a command line that does not exist; nothing if all do, or if it is another program's."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # not a command line
        return ""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        del words[0]
    match words:
        case (
            ["sesmail", *rest]
            | ["manage.py", "sesmail", *rest]
            | ["python", "manage.py", "sesmail", *rest]
            | ["flask", "sesmail", *rest]
            | ["flask", "--app", _, "sesmail", *rest]
        ) if rest and "..." not in rest:
            return unknown_word(cli.main, rest)
        case ["celery", *rest]:
            return unknown_word(celery, rest)
        case ["python3" | "python", "run.py", command, *_]:
            return "" if command in RUN_PY else command
        case ["pip", "install", *packages]:
            extras = re.findall(r"sesmail\[([\w,]+)\]", " ".join(packages))
            return next((extra for extra in ",".join(extras).split(",") if extra and extra not in EXTRAS), "")
    return ""


def unknown_word(command: click.Command, words: list[str]) -> str:
    """The first option or subcommand that a click command does not have."""
    remaining = iter(words)
    for word in remaining:
        if word.startswith("-") and word not in {"-", "--"}:
            option, _, value = word.partition("=")
            known = {
                name: parameter for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
            }
            if option not in {*known, "--help", "-h"}:
                return "" if command.context_settings.get("ignore_unknown_options") else option
            if not value and not getattr(known.get(option), "is_flag", True):
                next(remaining, None)
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return word
            command = found
    return ""


def test_links_away_lead_to_hosts_that_are_known():
    away = {links.host_of(link) for link in links.links()}
    assert len(away) > 10
    assert away - HOSTS_THAT_ARE_KNOWN == set(), "misspelt? else add it to those that are known"
