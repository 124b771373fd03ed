"""Which Celery app this is, and its client: each app has its own, and none is everybody's."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from celery import Celery, shared_task
from celery.local import Proxy

from sesmail.celery.broker import CeleryBroker
from sesmail.celery.internals import app_of_this_thread, apps_of_this_process, is_made_up
from sesmail.celery.queues import STAND_ALONE
from sesmail.client import Client
from sesmail.errors import ConfigurationError
from sesmail.hosts import django_settings, flask_app, flask_settings, known_flask_apps
from sesmail.settings import ENVIRONMENT_PREFIX, Source, load

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("sesmail")

HOST = "sesmail-host"
"""The name of an app that was made for a Django or Flask process that had loaded none."""

_apps_with_a_client: WeakSet[Celery] = WeakSet()
_lock = threading.RLock()


def current_app() -> Celery:
    """The Celery app that carries the tickets of whoever calls.

    That of the Flask application whose context this is; else Celery's current app; else the only one that there is;
    else one for the Django or Flask that this process runs; else the stand-alone app.

    Celery instead makes up an app without a broker, for a process without one, and for each thread of an application
    that never called `set_default()`; the emails' tickets would go nowhere. Raises `ConfigurationError` where such a
    thread could belong to several apps, and where Django or Flask name no broker.
    """
    of_flask = flask_app()
    if of_flask is not None and isinstance(of_flask.extensions.get("celery"), Celery):
        return of_flask.extensions["celery"]
    current = app_of_this_thread()
    if current is not None and not is_made_up(current):
        return current
    apps = [app for app in apps_of_this_process() if app.main not in (STAND_ALONE, HOST) and not is_made_up(app)]
    if len(apps) > 1:
        names = ", ".join(sorted(str(app.main) for app in apps))
        raise ConfigurationError(
            f"This process has several Celery apps ({names}) and this thread has none, so it is not known which one "
            "carries email. Nothing was queued. Call `set_default()` on the right one where it is made."
        )
    return apps[0] if apps else _app_of_host() or _stand_alone()


def _stand_alone() -> Celery:
    from sesmail.celery.standalone import app  # noqa: PLC0415  applications with their own never load it

    return app


# -- Django or Flask without a Celery app ------------------------------------------------------------------------------


def _app_of_host() -> Celery | None:
    """For a web process that has not loaded its project's Celery app: one with the broker that its settings name."""
    of_flask, of_django = flask_app(), django_settings()
    holder: Any = of_flask if of_flask is not None else of_django
    if holder is None:
        return None
    with _lock:
        made = vars(holder).get("_sesmail_celery")
        if made is None:
            made = _flask_host(of_flask) if of_flask is not None else _django_host(of_django)
            vars(holder)["_sesmail_celery"] = made
    return made


def _django_host(settings: Any) -> Celery:
    app = Celery(HOST, set_as_current=False, fixups=[])
    package = str(os.environ.get("DJANGO_SETTINGS_MODULE") or "proj").partition(".")[0]
    line = f"`from .celery import app as celery_app` in {package}/__init__.py"
    ledger = {str(name).upper(): value for name, value in (getattr(settings, "SESMAIL", None) or {}).items()}
    if getattr(settings, "CELERY_BROKER_URL", None):
        app.config_from_object(settings, namespace="CELERY")
    else:
        app.conf.broker_url = _broker_of_ledger(ledger.get("REDIS_URL"), f"{line}, or CELERY_BROKER_URL in settings.py")
    log.warning("Django has no Celery app here; tickets go to the broker of its settings. Missing is %s.", line)
    return app


def _flask_host(flask: Any) -> Celery:
    app = Celery(HOST, set_as_current=False, fixups=[])
    line = '`app.extensions["celery"] = celery_app` where the Celery app is made'
    said = flask_settings(flask)
    named = said.get("CELERY") or {}
    if isinstance(named, dict) and (named.get("broker_url") or named.get("BROKER_URL")):
        app.config_from_object(named)
    elif said.get("CELERY_BROKER_URL"):
        app.conf.broker_url = said["CELERY_BROKER_URL"]
    else:
        ledger = said.get(f"{ENVIRONMENT_PREFIX}REDIS_URL")
        app.conf.broker_url = _broker_of_ledger(ledger, f'{line}, or app.config["CELERY"] with its broker_url')
    log.warning("Flask has no Celery app here; tickets go to the broker of its settings. Missing is %s.", line)
    return app


def _broker_of_ledger(ledger_url: str | None, missing: str) -> str:
    """The ledger's Redis carries the tickets, too, as it does for the stand-alone app."""
    environment = (os.environ.get(name) for name in ("CELERY_BROKER_URL", f"{ENVIRONMENT_PREFIX}REDIS_URL"))
    url = next(filter(None, environment), None) or ledger_url
    if not url:
        raise ConfigurationError(
            "This web application has no Celery app, so it is not known who would send its email. Nothing was queued. "
            f"What is missing is {missing}."
        )
    return url


# -- Clients -------------------------------------------------------------------------------------------------


def client_of(app: Celery) -> Client:
    """The client of a Celery app in this process, made when it is first asked for; after a fork, another one.

    Raises `ConfigurationError` when a setting is wrong.
    """
    client: Client | None = vars(app).get("_sesmail_client")
    if client is None or client.pid != os.getpid():
        with _lock:
            client = vars(app).get("_sesmail_client")
            if client is None or client.pid != os.getpid():
                client = _new_client(app)
                vars(app)["_sesmail_client"] = client
                _apps_with_a_client.add(app)
    return client


def current_client() -> Client:
    """The client of the current app: its outbox, ledger, throttle and all else. Raises `ConfigurationError`."""
    return client_of(current_app())


def close_clients() -> None:
    """Close the clients of all apps in this process; settings are read anew by the next. For tests."""
    with _lock:
        for app, client in clients_of_this_process():
            del vars(app)["_sesmail_client"]
            client.close()
        _apps_with_a_client.clear()


def clients_of_this_process() -> list[tuple[Celery, Client]]:
    """The apps of this process that have a client, each with it."""
    found = [(app, vars(app).get("_sesmail_client")) for app in list(_apps_with_a_client)]
    return [(app, client) for app, client in found if client is not None and client.pid == os.getpid()]


def _new_client(app: Celery) -> Client:
    of_celery, of_flask = _celery_source(app), _flask_source(app)
    settings = load(of_celery, of_flask, default_redis_url=_redis_of_broker(app))
    return Client(settings, CeleryBroker(app, settings))


def _celery_source(app: Celery) -> Source:
    """Settings in Celery's configuration: `sesmail_region = ...`, or `CELERY_SESMAIL_REGION` in Django's."""
    names = [*app.conf]  # this loads it; what it is then knows its prefix
    conf = app.conf
    ours = f"{conf.prefix or ''}sesmail_"
    said = {name[len(ours) :].lower(): conf[name] for name in names if name.lower().startswith(ours.lower())}
    spelling = f"{ours.upper()}{{}}" if conf.prefix else "sesmail_{}"
    return Source(name="Celery's configuration", spelling=spelling, said=said)


def _flask_source(app: Celery) -> Source:
    """Settings in the configuration of the Flask application that has this Celery app."""
    said = {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for name, value in flask_settings(_flask_of(app)).items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }
    return Source(name="Flask's app.config", spelling=f'["{ENVIRONMENT_PREFIX}{{}}"]', said=said)


def _flask_of(app: Celery) -> Any:
    """The Flask application that a Celery app belongs to, or None."""
    known = known_flask_apps()
    here = flask_app()
    for flask in [here, *known] if here is not None else known:
        if flask.extensions.get("celery") is app or vars(flask).get("_sesmail_celery") is app:
            return flask
    without = [flask for flask in known if "celery" not in flask.extensions]
    return without[0] if len(without) == len(known) == 1 else None


def _redis_of_broker(app: Celery) -> str | None:
    """The broker's address, where it is a Redis that can keep the ledger, too."""
    broker = app.conf.broker_write_url or app.conf.broker_url or ""
    if broker.startswith("redis+socket://"):  # kombu's spelling of what redis-py calls unix://
        broker = broker.replace("redis+socket", "unix", 1).replace("virtual_host=", "db=")
    return broker if broker.startswith(("redis://", "rediss://", "unix://")) else None


def task(name: str, **options: Any) -> Callable[[Any], Any]:
    """`shared_task`, but always the current app's, where Celery's own proxy takes the app that it makes up."""

    def register(function: Any) -> Any:
        shared_task(name=name, **options)(function)
        return Proxy(lambda: current_app().tasks[name])

    return register
