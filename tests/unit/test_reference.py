"""What the reference pages say of the code is so, and all that is public stands on them."""

from __future__ import annotations

import inspect
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import sesmail
from docs import generate, public_names, source
from sesmail import Attachment, Email, InvalidEmail, SesmailError, UnknownSend, errors, signals
from sesmail.celery import broker
from sesmail.celery.queues import FORMER_EVENTS_QUEUE
from sesmail.celery.worker import progress
from sesmail.settings import Settings
from tests.documents import DOCUMENTS, name

PAGES = generate.pages()


def rows(page: str) -> dict[str, str]:
    """The rows of all tables of a page, by the name in their first cell; of two, the first."""
    found = re.findall(r"^\| \[?`(?:await )?\.?(\w+)[^`]*`[^|]*\| (.+) \|$", PAGES[page], re.MULTILINE)
    return dict(reversed(found))


# -- public names -----------------------------------------------------------------------------------------------------


def test_every_public_name_stands_on_its_page_with_its_meaning():
    told = rows("names.md")
    assert [one for one in sesmail.__all__ if not told.get(one)] == []


IN_CODE = re.compile(r"^from sesmail import (?:\(([\w\s,]+)\)|([\w ,]+))$", re.MULTILINE)
DOTTED = re.compile(r"\bsesmail\.([A-Za-z_]\w*(?:\.\w+)*)")
CHECKS = {f"{kind}{number:03}" for kind in "EWI" for number in range(1, 10)}
NO_NAMES = {"git", "json", *CHECKS}  # an address: sesmail.git; a file: sesmail.json; ids of Django's checks


def names_in_broker() -> set[str]:
    """Queues and tasks have names that look like modules."""
    settings = Settings()
    queues = {*map(settings.queue_of, ("transactional", "bulk")), settings.sweep_queue, settings.events_queue}
    queues |= {Settings(site="shop").events_queue, FORMER_EVENTS_QUEUE, "sesmail.batches"}
    tasks = {broker.SEND, broker.SEND_LOT, broker.SEND_BATCHES, broker.PROCESS_EVENTS, progress.NAME}
    return {one.partition(".")[2] for one in queues | tasks}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_name_of_sesmail_that_a_document_uses_is_public(document):
    text = document.read_text()
    imported = {one.strip() for found in IN_CODE.findall(text) for one in "".join(found).split(",")} - {""}
    assert imported - set(sesmail.__all__) == set()
    modules = {module.partition(".")[2] for module in public_names.MODULES}
    for dotted in {*DOTTED.findall(text)} - names_in_broker() - NO_NAMES:
        assert dotted.split(".")[0] in sesmail.__all__ or any(f"{dotted}.".startswith(f"{one}.") for one in modules), (
            dotted
        )


def test_modules_that_sites_name_are_there_and_say_what_for():
    for module in public_names.MODULES:
        assert f"| `{module}` | " in PAGES["names.md"]
        assert source.first_paragraph(inspect.getdoc(pytest.importorskip(module)))


def test_errors_are_what_python_programs_expect_beside():
    assert issubclass(InvalidEmail, ValueError)
    assert issubclass(UnknownSend, LookupError)
    assert issubclass(sesmail.LedgerUnavailable, ConnectionError)


# -- arguments --------------------------------------------------------------------------------------------------------


def test_every_argument_of_an_email_and_an_attachment_has_its_meaning():
    told = rows("arguments.md")
    expected = {*inspect.signature(Email).parameters, *inspect.signature(Attachment).parameters}
    assert [one for one in expected if not told.get(one, "").rpartition("| ")[2]] == []


def people(count: int) -> list[str]:
    return [f"reader-{n}@example.org" for n in range(count)]


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def attached(**changes: Any) -> dict[str, Any]:
    return {"attachments": [{"filename": "a.txt", "content": "Hi.", **changes}]}


def filled(data: dict[str, str], headers: int = 0) -> dict[str, Any]:
    template = {"TemplateName": "a", "TemplateData": json.dumps(data)}
    named = {f"X-{n}": "a" for n in range(headers)}
    return {"subject": "", "text": None, "headers": named, "ses": {"Content": {"Template": template}}}


SOON = datetime(2030, 1, 1, tzinfo=UTC)
LIMITS = [
    ("to", "50", {"to": people(50)}, {"to": people(51)}),
    ("to", "254", {"to": f"aa@{'b.' * 124}com"}, {"to": f"aaa@{'b.' * 124}com"}),
    ("to", "64", {"to": f"{'a' * 64}@example.org"}, {"to": f"{'a' * 65}@example.org"}),
    ("subject", "989", {"subject": "s" * 989}, {"subject": "s" * 990}),
    ("reply_to", "50", {"reply_to": people(50)}, {"reply_to": people(51)}),
    ("alternatives", "10", {"alternatives": [("a", "text/a")] * 10}, {"alternatives": [("a", "text/a")] * 11}),
    ("headers", "15", {"headers": {f"X-{n}": "a" for n in range(15)}}, {"headers": {f"X-{n}": "a" for n in range(16)}}),
    ("headers", "996", {"headers": {"X-A": "a" * 993}}, {"headers": {"X-A": "a" * 994}}),
    ("attachments", "495", {"attachments": [b"a"] * 495}, {"attachments": [b"a"] * 496}),
    ("attachments", "40 MiB", {"attachments": b"a" * (29 << 20)}, {"attachments": b"a" * (30 << 20)}),
    ("tags", "49", {"tags": [f"t{n}" for n in range(49)]}, {"tags": [f"t{n}" for n in range(50)]}),
    ("tags", "256", {"tags": {"t": "a" * 256}}, {"tags": {"t": "a" * 257}}),
    ("metadata", "16384", {"metadata": {"a": "b" * (16384 - 9)}}, {"metadata": {"a": "b" * (16384 - 8)}}),
    ("metadata", "20", {"metadata": deep(20)}, {"metadata": deep(21)}),
    ("configuration_set", "64", {"configuration_set": "a" * 64}, {"configuration_set": "a" * 65}),
    ("ses", "14", filled({}, headers=14), filled({}, headers=15)),
    ("ses", "262144", filled({"a": "b" * (262_144 - 9)}), filled({"a": "b" * (262_144 - 8)})),
    ("ses", "4096", {"ses": {"TenantName": "a" * 4078}}, {"ses": {"TenantName": "a" * 4079}}),
    ("expires_at", "after it", {"send_at": SOON, "expires_at": SOON + timedelta(1)}, {"send_at": SOON, "expires_at": SOON}),
    ("idempotency_key", "256", {"idempotency_key": "a" * 256}, {"idempotency_key": "a" * 257}),
    ("filename", "255", attached(filename="ä" * 127), attached(filename="ä" * 128)),
    ("content_type", "78", attached(content_type=f"a/{'b' * 76}"), attached(content_type=f"a/{'b' * 77}")),
    ("content_id", "76", attached(content_id="a" * 76), attached(content_id="a" * 77)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "limit", "just", "too_much"), LIMITS, ids=[f"{one[0]} {one[1]}" for one in LIMITS]
)
def test_a_limit_on_the_page_is_the_one_that_holds(argument, limit, just, too_much):
    assert re.search(rf"\b{limit}\b", rows("arguments.md")[argument])
    plain = {"to": "ann@example.org", "subject": "Hello", "text": "Hi."}
    Email(**plain | just)
    with pytest.raises(InvalidEmail):
        Email(**plain | too_much)


def test_every_number_on_the_page_of_arguments_is_tried():
    numbers = {
        (argument, number)
        for argument, words in rows("arguments.md").items()
        for number in re.findall(r"(?<![\w.\"-])\d{2,}(?: MiB)?(?![\w\"-])", words)
    }
    shortened = {("to", "320")}  # tests/contract/compose
    elsewhere = shortened | {("to", "2008"), ("to", "46"), ("headers", "2047"), ("send_at", "8601"), ("task_id", "128")}
    assert numbers - elsewhere == {(argument, limit) for argument, limit, *_ in LIMITS if limit != "after it"}


# -- errors, signals --------------------------------------------------------------------------------------------------


def test_the_tree_of_errors_is_that_of_the_classes():
    lines = re.findall(r"^([ │├└─]*)(\w+)", PAGES["errors.md"].split("```")[1].partition("\n")[2], re.MULTILINE)
    above: list[str] = []
    drawn = {}
    for indent, error in lines:
        depth = len(indent) // 4
        drawn[error] = above[depth - 1] if depth else None
        above[depth:] = [error]
    classes = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SesmailError)}
    assert drawn == {one.__name__: None if one is SesmailError else one.__bases__[0].__name__ for one in classes}


def test_every_error_says_what_it_means_and_what_to_do():
    for error, cells in rows("errors.md").items():
        meaning, to_do, _ = map(str.strip, cells.split("|"))
        assert meaning
        assert to_do or error == "SesmailError"


def test_every_signal_has_its_words():
    told = rows("event-types.md")
    assert [one for one in signals.ALL if not told.get(one)] == []
