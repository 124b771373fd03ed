"""Several applications in one process, and web processes without a Celery app: each email goes from its own ledger."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.conftest import Site
from tests.acceptance.programs import run

EXAMPLES = Path(__file__).parents[2] / "examples"
SENT = 'delay("ann@example.org", "Hello", "Hi.", from_email="shop@example.com")'
NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True, kw_only=True)
class Shop:
    """One application's ledger and broker, a Redis database, and who its email is from."""

    site: Site
    sender: str

    @property
    def url(self) -> str:
        return self.site.variables["SESMAIL_REDIS_URL"]

    def has_sent(self, send_id: str) -> bool:
        """From its own ledger, under its own name."""
        assert self.site.status(send_id, "sent")
        return self.site.received(send_id)["from"] == self.sender


@pytest.fixture(scope="module")
def shops(new_site: Callable[..., Site]) -> tuple[Shop, Shop]:
    """Two, each with a stand-alone worker that has a sender of its own."""
    one, other = (Shop(site=new_site(), sender=f"{name}@example.com") for name in ("shop", "club"))
    for shop in (one, other):
        shop.site.start_worker("sesmail", "-c", "2", SESMAIL_FROM_EMAIL="worker@example.com")
    return one, other


@pytest.fixture
def program(shops: tuple[Shop, Shop], tmp_path: Path) -> Callable[..., list[str]]:
    """Runs a script that knows both shops' addresses, and whose environment names neither; the lines that it printed.

    A folder is an example that is copied to where it runs.
    """

    def run_it(script: str, folder: Path | None = None, **variables: str) -> list[str]:
        site = shops[0].site
        own = {name: value for name, value in site.environment.items() if name not in site.variables}
        where = folder or tmp_path
        (where / "shops.py").write_text(f"SHOP, CLUB = {shops[0].url!r}, {shops[1].url!r}\n")
        done = run(sys.executable, "-c", script, folder=where, environment=own | variables)
        assert done.returncode == 0, done.stdout
        return done.stdout.splitlines()

    return run_it


IN_A_THREAD = """
import threading
def in_a_thread(what):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(what()))
    thread.start(); thread.join()
    return answers[0]
"""

# Celery apps

CELERY_APPS = """
from celery import Celery
from shops import CLUB, SHOP
from sesmail import send_ses_email
shop, club = Celery("shop", broker=SHOP), Celery("club", broker=CLUB)
shop.conf.sesmail_from_email, club.conf.sesmail_from_email = "shop@example.com", "club@example.com"
def delay(task=send_ses_email):
    return task.delay("ann@example.org", "Hello", "Hi.").id
"""


def test_each_of_two_celery_apps_sends_from_its_own_ledger_in_its_own_name(shops, program):
    shop, club = shops
    script = CELERY_APPS + (
        "for app in shop, club, shop:\n"
        "    app.set_current()\n"
        "    print(delay())\n"
        "for app in club, shop:\n"
        "    print(delay(app.tasks['sesmail.send_ses_email']))\n"
    )
    first, second, third, fourth, fifth = program(script)
    assert all(map(shop.has_sent, (first, third, fifth)))
    assert all(map(club.has_sent, (second, fourth)))


def test_threads_send_from_the_ledger_of_the_default_app_or_of_the_one_they_set(shops, program):
    shop, club = shops
    script = (
        IN_A_THREAD
        + CELERY_APPS
        + """
club.set_default()
def delay_for_the_shop():
    shop.set_current()
    return delay()
print(in_a_thread(delay), in_a_thread(delay_for_the_shop), in_a_thread(delay))
"""
    )
    first, second, third = program(script)[0].split()
    assert club.has_sent(first)
    assert shop.has_sent(second)
    assert club.has_sent(third)


def test_what_was_asked_before_the_app_existed_leaves_it_its_own_ledger(shops, program):
    shop, _ = shops
    script = (
        IN_A_THREAD
        + f"""
import sesmail
sesmail.app.conf.broker_url = {NOWHERE!r}
def ask():
    try:
        return sesmail.status("x")
    except sesmail.SesmailError as error:
        return type(error).__name__
print(ask(), in_a_thread(ask))
from celery import Celery
from shops import SHOP
app = Celery("shop", broker=SHOP)
app.conf.sesmail_from_email = "shop@example.com"
print(ask(), in_a_thread(ask))
print(sesmail.send_ses_email.delay("ann@example.org", "Hello", "Hi.").id)
print(in_a_thread(lambda: sesmail.send_ses_email.delay("ann@example.org", "Hello", "Hi.").id))
"""
    )
    before, after, *sent = program(script)
    assert before == "LedgerUnavailable LedgerUnavailable"
    assert after == "UnknownSend UnknownSend"
    assert all(map(shop.has_sent, sent))


PREFIXED = {"SESMAIL_KEY_PREFIX": "club"}


def test_two_installations_on_one_broker_and_machine_send_each_its_own_email_whatever_prefix_they_have(new_site):
    """Their workers have the same name: what one is told is no matter of the other's."""
    shop = Shop(site=new_site(), sender="shop@example.com")
    shop.site.start_worker("sesmail", "-c", "1")
    stranger = shop.site.start_worker("sesmail", "-c", "1", **PREFIXED)
    script = f"from sesmail import send_ses_email\nfor _ in range(8):\n    print(send_ses_email.{SENT}.id)"
    while "no longer takes from that queue" not in stranger.output:
        own = shop.site.python(script).split()
        strangers = shop.site.python(script, **PREFIXED).split()
        assert all(map(shop.has_sent, own))
        assert {shop.site.received(send_id)["from"] for send_id in strangers} == {shop.sender}


# Flask applications

FLASK_APPS = (
    IN_A_THREAD
    + """
from celery import Celery
from flask import Flask
from shops import CLUB, SHOP
from sesmail import SesmailError, send_ses_email
from sesmail.contrib.flask import SESMail

def create_app(name, celery=None, extension=True, **config):
    app = Flask(name)
    app.config.update(config)
    if celery:
        celery_app = app.extensions["celery"] = Celery(name)
        celery_app.config_from_object(celery)
        celery_app.set_default()
    if extension:
        SESMail(app)
    @app.post("/order")
    def order():
        return delay()
    return app

def delay():
    try:
        return send_ses_email.delay("ann@example.org", "Hello", "Hi.").id
    except SesmailError as error:
        return f"{type(error).__name__}: {error}"

def order(app):
    return app.test_client().post("/order").text
"""
)

OF_TWO_FACTORIES = {
    "with the extension, in app.config": (
        'shop = create_app("a", {"broker_url": SHOP}, SESMAIL_FROM_EMAIL="shop@example.com")\n'
        'club = create_app("b", {"broker_url": CLUB}, SESMAIL_FROM_EMAIL="club@example.com")\n'
    ),
    "with the extension, the ledger beside the broker": (
        'shop = create_app("a", {"broker_url": SHOP}, SESMAIL_REDIS_URL=SHOP, SESMAIL_FROM_EMAIL="shop@example.com")\n'
        'club = create_app("b", {"broker_url": CLUB}, SESMAIL_REDIS_URL=CLUB, SESMAIL_FROM_EMAIL="club@example.com")\n'
    ),
    "without it, in app.config": (
        'shop = create_app("a", {"broker_url": SHOP}, extension=False, SESMAIL_FROM_EMAIL="shop@example.com")\n'
        'club = create_app("b", {"broker_url": CLUB}, extension=False, SESMAIL_FROM_EMAIL="club@example.com")\n'
    ),
    "without it, in Celery's configuration": (
        'shop = create_app("a", {"broker_url": SHOP, "sesmail_from_email": "shop@example.com"}, extension=False)\n'
        'club = create_app("b", {"broker_url": CLUB, "sesmail_from_email": "club@example.com"}, extension=False)\n'
    ),
}


@pytest.mark.parametrize("factories", OF_TWO_FACTORIES.values(), ids=OF_TWO_FACTORIES)
def test_each_of_two_flask_applications_sends_from_its_own_ledger_in_its_own_name(shops, program, factories):
    shop, club = shops
    script = FLASK_APPS + factories + "print(order(shop), order(club), order(shop))\n"
    script += "print(in_a_thread(lambda: order(shop)), in_a_thread(lambda: order(club)))"
    first, second = program(script)[-2:]
    assert [*map(shop.has_sent, (*first.split()[::2], second.split()[0]))] == [True] * 3
    assert [*map(club.has_sent, (first.split()[1], second.split()[1]))] == [True] * 2


def test_settings_in_app_config_that_a_worker_would_not_know_of_are_warned_of(program):
    script = FLASK_APPS + OF_TWO_FACTORIES["without it, in app.config"] + "order(shop)"
    assert ["Missing is `SESMail(app)`" in line for line in program(script)] == [True]
    script = FLASK_APPS + OF_TWO_FACTORIES["with the extension, in app.config"] + "order(shop)"
    assert program(script) == []


MAKE_CELERY = (
    FLASK_APPS
    + """
celery_app = create_app(
    "a", {"broker_url": SHOP, "include": ["sesmail.tasks"]}, SESMAIL_REDIS_URL=CLUB, SESMAIL_KEY_PREFIX="flask",
    SESMAIL_FROM_EMAIL="flask@example.com",
).extensions["celery"]
import gc
gc.collect()  # nothing else holds the Flask application
"""
)


def test_a_worker_finds_the_settings_of_its_flask_application_whatever_else_holds_on_to_it(shops, program, tmp_path):
    shop, club = shops
    (tmp_path / "make_celery.py").write_text(MAKE_CELERY)
    (send_id,) = program("from make_celery import celery_app, delay; print(delay())")
    environment = dict.fromkeys(shop.site.variables, "")
    shop.site.start_worker("make_celery", "-P", "threads", "-c", "1", folder=tmp_path, **environment)
    assert shop.site.received(send_id)["from"] == "flask@example.com"
    assert club.site.redis.exists(f"{{flask}}:send:{send_id}")


WITHOUT_A_CELERY_APP = {
    "Celery's configuration": 'CELERY={"broker_url": SHOP, "sesmail_from_email": "shop@example.com"}',
    "CELERY_BROKER_URL": 'CELERY_BROKER_URL=SHOP, SESMAIL_FROM_EMAIL="shop@example.com"',
    "SESMAIL_REDIS_URL": 'SESMAIL_REDIS_URL=SHOP, SESMAIL_FROM_EMAIL="shop@example.com"',
}


@pytest.mark.parametrize("settings", WITHOUT_A_CELERY_APP.values(), ids=WITHOUT_A_CELERY_APP)
@pytest.mark.parametrize("extension", [True, False])
def test_a_flask_application_without_a_celery_app_uses_the_broker_of_its_settings(shops, program, settings, extension):
    shop, _ = shops
    warning, send_id = program(FLASK_APPS + f'print(order(create_app("a", extension={extension}, {settings})))')
    assert '`app.extensions["celery"] = celery_app`' in warning
    assert shop.has_sent(send_id)


def test_a_flask_application_without_a_celery_app_sends_from_threads_of_its_own_too(shops, program):
    shop, _ = shops
    script = (
        FLASK_APPS + f'app = create_app("a", {WITHOUT_A_CELERY_APP["SESMAIL_REDIS_URL"]})\nprint(in_a_thread(delay))'
    )
    assert shop.has_sent(program(script)[-1])


def test_a_flask_application_of_which_nobody_says_where_email_goes_is_told_which_line_is_missing(program):
    script = FLASK_APPS + 'print(order(create_app("a", SESMAIL_FROM_EMAIL="shop@example.com")))'
    (said,) = program(script)
    assert said.startswith("ConfigurationError: This web application has no Celery app")
    assert "Nothing was queued." in said
    assert '`app.extensions["celery"] = celery_app`' in said


def test_outside_of_the_contexts_of_several_flask_applications_nothing_is_queued(program):
    config = WITHOUT_A_CELERY_APP["SESMAIL_REDIS_URL"]
    script = FLASK_APPS + f'apps = [create_app(name, {config}) for name in "ab"]\nprint(delay())'
    (said,) = program(script)
    assert said.startswith("ConfigurationError: This process has several Flask applications")
    assert "with app.app_context()" in said


# Django

DJANGO = {"DJANGO_SETTINGS_MODULE": "proj.settings"}
DELAY = (
    IN_A_THREAD
    + """
import django
django.setup()
from sesmail import SesmailError, send_ses_email
def delay():
    try:
        return send_ses_email.delay("ann@example.org", "Hello", "Hi.").id
    except SesmailError as error:
        return f"{type(error).__name__}: {error}"
print(delay())
print(in_a_thread(delay))
"""
)


@pytest.fixture
def django(tmp_path: Path) -> Path:
    """The example; `settings.py` may be written to, and says nothing of a broker or a ledger."""
    shutil.copytree(EXAMPLES / "django_site", tmp_path, dirs_exist_ok=True)
    settings = tmp_path / "proj" / "settings.py"
    lines = [
        line for line in settings.read_text().splitlines() if not line.startswith(("CELERY_BROKER_URL", "SESMAIL"))
    ]
    settings.write_text("\n".join(["from shops import CLUB, SHOP", *lines, ""]))
    return tmp_path


def add(django: Path, *lines: str) -> None:
    with (django / "proj" / "settings.py").open("a") as settings:
        settings.writelines(f"{line}\n" for line in lines)


def check(program: Callable[..., list[str]]) -> str:
    """What `manage.py check` says."""
    script = """
import subprocess, sys
done = subprocess.run([sys.executable, "manage.py", "check"], capture_output=True, text=True)
print(done.returncode, done.stdout, done.stderr)
"""
    return "\n".join(program(script))


def test_django_sends_in_its_own_name_beside_a_stand_alone_worker_and_a_stand_alone_program_in_its(
    shops, program, django
):
    shop, club = shops
    add(django, "CELERY_BROKER_URL = SHOP", 'SESMAIL = {"FROM_EMAIL": "shop@example.com"}')
    assert all(map(shop.has_sent, program(DELAY, **DJANGO)))
    (django / "celeryconfig.py").write_text(f"broker_url = {club.url!r}\nsesmail_from_email = {club.sender!r}\n")
    script = "from sesmail import send_ses_email\nprint(send_ses_email.delay('ann@example.org', 'Hello', 'Hi.').id)"
    assert all(map(club.has_sent, program(script)))
    assert check(program).startswith("0 System check identified no issues")


WITHOUT_THE_IMPORT = {
    "CELERY_BROKER_URL": ["CELERY_BROKER_URL = SHOP", 'SESMAIL = {"FROM_EMAIL": "shop@example.com"}'],
    "the ledger's address": ['SESMAIL = {"FROM_EMAIL": "shop@example.com", "REDIS_URL": SHOP}'],
    "several brokers": ["CELERY_BROKER_URL = [SHOP, CLUB]", 'SESMAIL = {"FROM_EMAIL": "shop@example.com"}'],
}


@pytest.mark.parametrize("settings", WITHOUT_THE_IMPORT.values(), ids=WITHOUT_THE_IMPORT)
def test_django_without_the_import_of_its_celery_app_uses_the_broker_of_its_settings_and_says_so(
    shops, program, django, settings
):
    shop, _ = shops
    (django / "proj" / "__init__.py").write_text("")
    add(django, *settings)
    warning, *sent = program(DELAY, **DJANGO)
    assert "`from .celery import app as celery_app` in proj/__init__.py" in warning
    assert [*map(shop.has_sent, sent)] == [True, True]
    checked = check(program)
    assert checked.startswith("0 ")
    assert "(sesmail.W001)" in checked
    assert "Write `from .celery import app as celery_app` in proj/__init__.py" in checked


def test_django_without_the_import_and_without_a_broker_is_told_which_line_is_missing(program, django):
    (django / "proj" / "__init__.py").write_text("")
    add(django, 'SESMAIL = {"FROM_EMAIL": "shop@example.com"}')
    for said in (*program(DELAY, **DJANGO), check(program)):
        assert "This web application has no Celery app" in said
        assert "Nothing was queued." in said
        assert "`from .celery import app as celery_app` in proj/__init__.py" in said
    assert check(program).startswith("1 ")


def test_once_the_app_is_there_it_is_used_also_where_email_was_sent_before(shops, program, django):
    shop, club = shops
    (django / "proj" / "__init__.py").write_text("")
    add(django, "CELERY_BROKER_URL = SHOP", 'SESMAIL = {"FROM_EMAIL": "shop@example.com"}')
    script = DELAY + "from celery import Celery\nfrom shops import CLUB\napp = Celery('late', broker=CLUB)\n"
    script += "app.conf.sesmail_from_email = 'club@example.com'\nprint(delay())\n"
    _, *before, after = program(script, **DJANGO)
    assert all(map(shop.has_sent, before))
    assert club.has_sent(after)


def test_manage_py_check_finds_wrong_settings_before_a_request_does(program, django):
    add(django, "CELERY_BROKER_URL = SHOP", 'SESMAIL = {"FORM_EMAIL": "shop@example.com"}')
    checked = check(program)
    assert checked.startswith("1 ")
    assert "(sesmail.E001)" in checked
    assert 'is SESMAIL["FROM_EMAIL"] meant?' in checked


def test_manage_py_check_says_what_is_missing_where_only_the_tasks_are_installed(program, django):
    add(django, "CELERY_BROKER_URL = SHOP", 'INSTALLED_APPS = ["sesmail"]', "SESMAIL = None")
    checked = check(program)
    assert checked.startswith("0 ")
    assert "(sesmail.I001)" in checked
    assert '"sesmail.contrib.django"' in checked
    add(django, 'INSTALLED_APPS = ["sesmail", "sesmail.contrib.django"]')
    assert check(program).startswith("0 System check identified no issues")
