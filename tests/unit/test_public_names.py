"""What a user finds: the public names, what importing them costs, and files to copy that say what is true."""

from __future__ import annotations

import ast
import importlib
import pickle
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from celery.app.defaults import DEFAULTS as CELERY_S_DEFAULTS

import sesmail
from sesmail.celery.standalone import DEFAULTS, MERGED
from sesmail.errors import InvalidEmail, SendingPaused, SendPostponed, SendRejected, StaleClaim
from sesmail.settings import Settings
from tests.services import LOWEST_VERSIONS

ROOT = Path(__file__).parents[2]
CELERYCONFIG = (ROOT / "celeryconfig.py").read_text()
SHOWN = re.findall(r"^# (\w+) = (.+)$", CELERYCONFIG, re.MULTILINE)


@pytest.mark.parametrize("name", sesmail.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    thing = getattr(sesmail, name)
    assert thing.__doc__
    assert name in dir(sesmail)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'send_mail'"):
        _ = sesmail.send_mail


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import sesmail", {"celery", "redis", "boto3", "pydantic", "django", "flask"}),
        ("from sesmail import Email, InvalidEmail", {"celery", "redis", "boto3", "django", "flask"}),
        ("from sesmail import Client, Settings; Client(Settings())", {"celery", "boto3", "django", "flask"}),
        ("from sesmail import send_ses_email", {"boto3", "botocore", "flask", "sesmail.celery.standalone"}),
    ],
)
def test_importing_loads_no_more_than_is_needed(statement, absent):
    script = f"import sys; {statement}; print(*{absent!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def type_check(file: Path) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", str(file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


@pytest.mark.skipif(LOWEST_VERSIONS, reason="older packages have older types")
def test_the_public_api_is_typed_as_its_examples_use_it():
    assert type_check(ROOT / "tests" / "typing" / "api.py").startswith("Success")


@pytest.mark.skipif(LOWEST_VERSIONS, reason="older packages have older types")
def test_wrong_calls_are_reported_by_a_type_checker_and_nothing_else_is():
    file = ROOT / "tests" / "typing" / "wrong.py"
    reported = re.findall(
        rf"^{re.escape(str(file.relative_to(ROOT)))}:(\d+): error: .* \[([a-z-]+)\]$", type_check(file), re.MULTILINE
    )
    numbered = enumerate(file.read_text().splitlines(), start=1)
    expected = {(n, found[1]) for n, line in numbered if (found := re.search(r"  # error: ([a-z-]+)$", line))}
    assert {(int(line), code) for line, code in reported} == expected
    assert len(expected) > 20


@pytest.mark.parametrize(
    "error",
    [
        InvalidEmail("to", "is wrong", "at most 50"),
        SendRejected("no", code="MessageRejected"),
        SendingPaused("paused", code="SendingPausedException", scope="account"),
        SendPostponed(1.5, "the rate"),
        StaleClaim(),
    ],
)
def test_errors_come_whole_out_of_a_prefork_child(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def default(setting: str) -> object:
    if setting == "sesmail_redis_url":  # it follows the broker
        setting = "broker_url"
    if setting.startswith("sesmail_"):
        return Settings.model_fields[setting.removeprefix("sesmail_")].default
    ours = {name: value for name, value in DEFAULTS.items() if name not in MERGED}
    return ours.get(setting, CELERY_S_DEFAULTS.get(setting))


@pytest.mark.parametrize(("setting", "value"), SHOWN)
def test_what_the_example_configuration_shows_commented_is_the_default(setting, value):
    assert ast.literal_eval(value) == default(setting)


def test_the_example_configuration_as_it_is_wins_over_nothing_that_the_environment_says():
    assert [ast.unparse(line) for line in ast.parse(CELERYCONFIG).body[1:]] == []


def test_every_setting_of_the_example_configuration_has_its_reason_above_it():
    lines = CELERYCONFIG.splitlines()
    for setting, _ in SHOWN:
        (at,) = (n for n, line in enumerate(lines) if line.startswith(f"# {setting} = "))
        above = lines[at - 1]
        assert above.startswith("# ")


@pytest.mark.parametrize(
    "module",
    ["sesmail.celery.tasks", "sesmail.celery.worker", "sesmail.celery.standalone", "sesmail.client", "sesmail.api"],
)
def test_what_a_public_function_is_for_can_be_read(module):
    public = {n: v for n, v in vars(importlib.import_module(module)).items() if not n.startswith("_") and callable(v)}
    own = [n for n, v in public.items() if getattr(v, "__module__", "") == module]
    assert [n for n in own if not public[n].__doc__] == []


GUIDES = [ROOT / "docs" / f"{name}.md" for name in ("plain-python", "django", "flask")]
BLOCK = re.compile(r"(?:<!-- (?P<file>\S+) -->\n\s*)?```python\n(?P<code>.*?)```", re.DOTALL)
BLOCKS = [
    (guide.name, found["file"], dedent(found["code"]))
    for guide in GUIDES
    for found in BLOCK.finditer(guide.read_text())
]


@pytest.mark.parametrize(("guide", "file", "code"), BLOCKS)
def test_code_in_the_guides_is_that_of_the_examples_or_at_least_python(guide, file, code):
    if file:
        assert code in (ROOT / file).read_text()
    else:
        compile(code, guide, "exec")
