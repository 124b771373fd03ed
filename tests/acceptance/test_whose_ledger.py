"""Each command works on the ledger of the application that it is started in, and says which that is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sesmail.message import Email
from tests.acceptance.conftest import Site
from tests.acceptance.programs import eventually, fetch

ROOT = Path(__file__).parents[2]
IN_THE_EXAMPLES = "redis://127.0.0.1:6379/0"
SESMAIL = str(Path(sys.executable).with_name("sesmail"))
DJANGO = {"DJANGO_SETTINGS_MODULE": "proj.settings"}
FLASK = [sys.executable, "-m", "flask"]
SECRET = "s3cret"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def head(self) -> str:
        return self.err.partition("\n")[0]

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class Project:
    """An application whose own files say where its ledger is; its environment names none."""

    site: Site

    @property
    def url(self) -> str:
        return self.site.variables["SESMAIL_REDIS_URL"]

    def run(self, *command: str, folder: Path | None = None, **variables: str) -> Answer:
        own = {name: value for name, value in self.site.environment.items() if name not in self.site.variables}
        done = subprocess.run(
            command,
            cwd=folder or self.site.folder,
            env=own | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Answer(code=done.returncode, out=done.stdout, err=done.stderr)

    @property
    def is_paused(self) -> bool:
        return bool(self.site.redis.hexists("{sesmail}:line", "paused:account"))

    def accept(self, send_id: str) -> None:
        self.site.ledger.accept(send_id, Email("ann@example.org", "Hello", "Hi.", from_email="shop@example.com"))


def project(site: Site, example: str, file: str) -> Project:
    """An example whose ledger, as its own file says, is the site's."""
    made = Project(site=site)
    shutil.copytree(ROOT / "examples" / example, site.folder, dirs_exist_ok=True)
    text = (site.folder / file).read_text()
    assert IN_THE_EXAMPLES in text
    (site.folder / file).write_text(text.replace(IN_THE_EXAMPLES, made.url))
    return made


@pytest.fixture(scope="module")
def django(new_site) -> Project:
    return project(new_site(), "django_site", "proj/settings.py")


@pytest.fixture(scope="module")
def flask(new_site) -> Project:
    site = new_site()
    as_installed(site.folder)
    return project(site, "flask_site", "app.py")


@pytest.fixture(scope="module")
def plain(new_site) -> Project:
    made = Project(site=new_site())
    (made.site.folder / "celeryconfig.py").write_text(f'broker_url = "{made.url}"\nsesmail_site = "shop"\n')
    return made


def as_installed(folder: Path) -> None:
    """What pip writes of our entry points, so that other programs find them whatever is installed here."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups.items()]
    metadata = folder / "sesmail-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sesmail\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text("\n".join(lines))


WAYS_INTO_DJANGO = {
    "-A": (SESMAIL, ["-A", "proj"], [], {}, "-A proj"),
    "-A behind": (SESMAIL, [], ["-A", "proj"], {}, "-A proj"),
    "the variable": (SESMAIL, [], [], DJANGO, "Django's settings of proj.settings"),
    "manage.py": (sys.executable, ["manage.py", "sesmail"], [], {}, "Django's settings of proj.settings"),
}
WAYS_INTO_FLASK = {
    "-A": (SESMAIL, ["-A", "make_celery"], [], {}, "-A make_celery"),
    "the variable": (SESMAIL, [], [], {"FLASK_APP": "app"}, "Flask application app"),
    "flask": (FLASK[0], [*FLASK[1:], "--app", "app:create_app", "sesmail"], [], {}, "Flask application app"),
}


def works_on_its_own_ledger(project: Project, way: Any) -> None:
    program, before, behind, variables, whose = way
    project.site.redis.flushdb()
    pause = project.run(program, *before, "pause", "--reason", "ring Kim", *behind, "--json", **variables)
    assert pause.head == f"ledger {project.url}, prefix sesmail, site default ({whose})", pause.err
    assert pause.data == {"scope": "account", "changed": True, "accounts": ["default"]}
    assert project.is_paused
    status = project.run(program, *before, "status", *behind, "--json", **variables)
    assert status.err.splitlines() == [pause.head]
    assert [closure["reason"] for closure in status.data["line"]] == ["ring Kim"]
    add = project.run(program, *before, "suppress", "add", "ann@example.org", *behind, "--json", **variables)
    assert add.data == {"added": True}
    assert project.site.redis.hexists("{sesmail}:optout:everything", "ann@example.org")


@pytest.mark.parametrize("way", WAYS_INTO_DJANGO.values(), ids=WAYS_INTO_DJANGO)
def test_in_a_django_project_the_commands_work_on_its_own_ledger(django: Project, way: Any) -> None:
    works_on_its_own_ledger(django, way)


@pytest.mark.parametrize("way", WAYS_INTO_FLASK.values(), ids=WAYS_INTO_FLASK)
def test_in_a_flask_project_the_commands_work_on_its_own_ledger(flask: Project, way: Any) -> None:
    works_on_its_own_ledger(flask, way)


def test_beside_a_celeryconfig_the_commands_work_on_the_ledger_that_it_names(plain: Project) -> None:
    status = plain.run(SESMAIL, "status", "--json")
    assert status.head.startswith(f"ledger {plain.url}, prefix sesmail, site shop (stand-alone: ")
    assert plain.run(SESMAIL, "--workdir", str(plain.site.folder), "status", folder=Path("/")).head == status.head


def test_an_application_named_by_a_or_manage_py_goes_before_what_the_environment_names(django: Project) -> None:
    wrong = {"DJANGO_SETTINGS_MODULE": "nosuch.settings", "FLASK_APP": "nosuch"}
    assert django.run(SESMAIL, "-A", "proj", "status", FLASK_APP="nosuch").code == 0
    assert django.run(SESMAIL, "-A", "sesmail", "status", FLASK_APP="nosuch", SESMAIL_REDIS_URL=django.url).code == 0
    other = django.run(sys.executable, "manage.py", "sesmail", "status", "--settings", "proj.settings", **wrong)
    assert django.url in other.head, other.err


def test_settings_that_only_django_knows_are_heeded_with_a_celery_app_of_its_own_configuration(django: Project) -> None:
    """Its worker loads Django, and so finds `SESMAIL` there."""
    (django.site.folder / "own.py").write_text(
        f'from celery import Celery\n\napp = Celery("own", broker="{IN_THE_EXAMPLES}")\n'
    )
    (django.site.folder / "own_settings.py").write_text(f'SESMAIL = {{"REDIS_URL": "{django.url}", "SITE": "own"}}\n')
    status = django.run(SESMAIL, "-A", "own", "status", DJANGO_SETTINGS_MODULE="own_settings")
    assert status.head == f"ledger {django.url}, prefix sesmail, site own (-A own)", status.err


def test_a_django_project_that_does_not_load_its_celery_app_is_known_by_its_settings(django: Project) -> None:
    forgetful = django.site.folder / "forgetful"
    shutil.copytree(ROOT / "examples" / "django_site", forgetful)
    (forgetful / "proj" / "__init__.py").write_text("")
    settings = forgetful / "proj" / "settings.py"
    settings.write_text(settings.read_text().replace(IN_THE_EXAMPLES, django.url))
    status = django.run(SESMAIL, "status", folder=forgetful, **DJANGO)
    warning, head = status.err.splitlines()
    assert "Missing is `from .celery import app as celery_app` in proj/__init__.py" in warning
    assert head == f"ledger {django.url}, prefix sesmail, site default (Django's settings of proj.settings)"

    settings.write_text(settings.read_text().replace("CELERY_BROKER_URL", "UNHEARD_OF"))
    pause = django.run(sys.executable, "manage.py", "sesmail", "pause", folder=forgetful)
    (line,) = pause.err.splitlines()
    assert line.startswith("Error: This web application has no Celery app")
    assert "`from .celery import app as celery_app` in proj/__init__.py" in line
    assert pause.code == 78


def test_figures_are_read_from_the_application_s_ledger_also_in_threads(flask: Project) -> None:
    flask.accept("for-the-figures")
    figures = flask.run(SESMAIL, "metrics", FLASK_APP="app")
    assert 'sesmail_sends{lane="transactional",state="queued"} 1.0' in figures.out
    server = flask.site.start(SESMAIL, "metrics", "--port", "0", FLASK_APP="app", CELERY_BROKER_URL="")
    url = server.wait_for("Prometheus may scrape").output.split()[-1]
    assert 'sesmail_sends{lane="transactional",state="queued"} 1.0' in fetch(url)
    assert flask.run(SESMAIL, "cancel", "for-the-figures", FLASK_APP="app").code == 0


def test_the_first_line_shows_the_address_without_user_and_password(plain: Project) -> None:
    status = plain.run(SESMAIL, "status", SESMAIL_REDIS_URL=f"rediss://kim:{SECRET}@127.0.0.1:1/3")
    assert status.head.startswith("ledger rediss://127.0.0.1:1/3, prefix sesmail, site shop ")
    assert (status.code, status.out) == (75, "")
    _, line = status.err.splitlines()
    said_by = "as SESMAIL_REDIS_URL in the environment says"
    assert line.startswith(
        f"Error: Redis cannot be reached (rediss://127.0.0.1:1/3, {said_by}: Error 111 connecting to "
    )
    assert SECRET not in status.err
    assert "kim" not in status.err


@pytest.mark.parametrize("url", ["redi://:{s}@127.0.0.1:6379/5", "redis://:{s}/x@127.0.0.1:6379/5"])
def test_a_typing_error_in_the_address_is_told_in_a_line_that_shows_none_of_it(plain: Project, url: str) -> None:
    pause = plain.run(SESMAIL, "pause", SESMAIL_REDIS_URL=url.format(s=SECRET))
    (line,) = pause.err.splitlines()
    assert line.startswith(
        "Error: The address of a Redis (SESMAIL_REDIS_URL in the environment) is not written as one. "
    )
    assert SECRET not in line
    assert (pause.code, pause.out) == (78, "")


def test_a_database_that_the_server_does_not_have_is_told_in_a_line(plain: Project) -> None:
    pause = plain.run(SESMAIL, "pause", SESMAIL_REDIS_URL=f"{plain.url.rpartition('/')[0]}/4711")
    head, line = pause.err.splitlines()
    assert head.startswith("ledger ")
    assert line.startswith("Error: Redis at redis://127.0.0.1:")
    assert " It has no database of the number " in line
    assert pause.code == 78


def test_a_password_that_redis_refuses_is_not_called_a_redis_that_is_away(plain: Project) -> None:
    pause = plain.run(SESMAIL, "pause", SESMAIL_REDIS_URL=plain.url.replace("//", f"//kim:{SECRET}@"))
    _, line = pause.err.splitlines()
    assert " It refuses the user or password of its address. " in line
    assert SECRET not in pause.err
    assert pause.code == 78


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([SESMAIL, "-A", "nosuch", "pause"], "`-A nosuch` cannot be loaded (ModuleNotFoundError: No module named"),
        ([SESMAIL, "-A", "proj.urls", "pause"], "`-A proj.urls` has no Celery app"),
        ([SESMAIL, "-A", "proj.settings:DEBUG", "pause"], "`-A proj.settings:DEBUG` is of type bool"),
        ([SESMAIL, "-A", "broken", "pause"], "`-A broken` cannot be loaded (ZeroDivisionError: division by zero)"),
    ],
)
def test_a_name_that_leads_to_no_app_is_told_in_a_line(django: Project, command: list[str], words: str) -> None:
    (django.site.folder / "broken.py").write_text("1 / 0\n")
    said = django.run(*command)
    (line,) = said.err.splitlines()
    assert words in line
    assert line.endswith("Nothing was done.")
    assert said.code == 78


@pytest.mark.parametrize("variable", ["DJANGO_SETTINGS_MODULE", "FLASK_APP"])
def test_a_variable_that_leads_to_no_application_is_told_in_a_line(plain: Project, variable: str) -> None:
    pause = plain.run(SESMAIL, "pause", **{variable: "nosuch.settings"})
    (line,) = pause.err.splitlines()
    assert line.startswith(f"Error: {variable}=nosuch.settings cannot be loaded (")
    assert str(plain.site.folder) in line
    assert pause.code == 78


# Whether anybody is there

UNHEARD = "No worker has ever been heard on this ledger: is it the right one?"


def test_who_pauses_suppresses_or_sends_where_no_worker_was_ever_heard_is_told_so(plain: Project) -> None:
    here = {"SESMAIL_REDIS_URL": plain.url}
    (plain.site.folder / "people.csv").write_text("email\nann@example.org\n")
    (plain.site.folder / "letter.txt").write_text("Hi.")
    letter = ["send", "--csv", "people.csv", "--subject", "Hi", "--text", "letter.txt", "--from", "shop@example.com"]
    plain.site.redis.flushdb()
    for command in (["pause"], ["resume"], ["suppress", "add", "eve@example.org"], letter):
        said = plain.run(SESMAIL, *command, **here)
        assert (said.code, UNHEARD in said.err) == (0, True), said.err
    assert UNHEARD not in plain.run(SESMAIL, "status", **here).err

    redis = plain.site.redis
    now_ms = redis.time()[0] * 1000
    redis.hset("{sesmail}:fleet", "heard_at", now_ms - 300_000)
    assert "No worker has been heard for 5 minutes" in plain.run(SESMAIL, "pause", **here).err
    redis.hset("{sesmail}:fleet", "heard_at", now_ms - 3_000)
    assert "No worker" not in plain.run(SESMAIL, "resume", **here).err


def test_a_worker_that_has_nothing_to_do_is_heard(plain: Project) -> None:
    plain.site.redis.flushdb()
    plain.site.start_worker("sesmail", "-c", "1")
    here = {"SESMAIL_REDIS_URL": plain.url}
    eventually(lambda: "No worker" not in plain.run(SESMAIL, "pause", **here).err)


# The same commands everywhere


@pytest.mark.parametrize("words", [["--help"], ["suppress", "add", "--help"], ["send", "--help"]])
def test_manage_py_and_flask_show_the_same_help_and_look_at_no_ledger(
    django: Project, flask: Project, words: list[str]
) -> None:
    shown = [
        django.run(SESMAIL, *words),
        django.run(sys.executable, "manage.py", "sesmail", *words),
        flask.run(*FLASK, "--app", "nosuch", "sesmail", *words),
    ]
    assert {(answer.code, answer.err) for answer in shown} == {(0, "")}
    assert len({answer.out.partition("sesmail ")[2] for answer in shown}) == 1
    if words == ["--help"]:
        assert django.run(sys.executable, "manage.py", "help", "sesmail").out == shown[1].out


def test_a_wrong_command_line_ends_alike_everywhere_and_looks_at_no_ledger(django: Project, flask: Project) -> None:
    for program in ([SESMAIL], [sys.executable, "manage.py", "sesmail"], [*FLASK, "--app", "app", "sesmail"]):
        project = flask if "flask" in program else django
        said = project.run(*program, "suppress", "ad")
        assert said.code == 2
        assert "No such command 'ad'" in said.err
        assert "ledger" not in said.err
        unknown = project.run(*program, "cancel", "nosuch", "--json", **({} if len(program) > 1 else DJANGO))
        assert (unknown.code, unknown.data["refused"]) == (1, 1)


def test_a_project_calls_the_commands_as_it_calls_django_s(django: Project) -> None:
    script = """
import django, proj
django.setup()
from django.core.management import CommandError, call_command
call_command("sesmail", "quota", "--json")
for words in (["cancel", "nosuch", "--json"], ["cancle"], ["-A", "nosuch", "status"]):
    try:
        call_command("sesmail", *words)
    except CommandError as error:
        print(error.returncode)
"""
    said = django.run(sys.executable, "-c", script, **DJANGO)
    assert "max_send_rate" in json.loads(said.out.partition("\n")[0])
    assert [line for line in said.out.splitlines() if line.isdigit()] == ["1", "2", "1"], said.out + said.err
