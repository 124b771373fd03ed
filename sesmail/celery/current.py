"""Which Celery app this is, and its client: each app has its own, and none is everybody's."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from celery import Celery, shared_task
from celery.local import Proxy

from sesmail.celery.addresses import celery_of_redis, redis_of_broker
from sesmail.celery.broker import SEND, CeleryBroker
from sesmail.celery.internals import app_of_this_thread, apps_of_this_process, hide_our_addresses, is_made_up
from sesmail.celery.queues import STAND_ALONE, routed
from sesmail.client import Client
from sesmail.errors import ConfigurationError
from sesmail.frames import shows_no_email
from sesmail.hosts import django_settings, flask_app, flask_settings, known_flask_apps
from sesmail.message import Lane
from sesmail.settings import ENVIRONMENT_PREFIX, Source, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.settings import Settings

log = logging.getLogger("sesmail")


class HostApp(Celery):  # type: ignore[misc]  # Celery has no types
    """An app that was made for a Django or Flask process that has loaded none."""

    def __init__(self, host: str, missing: str) -> None:
        """`missing` is the line of code that would load the application's own."""
        super().__init__("sesmail-host", set_as_current=False, fixups=[])
        self.host = host
        self.missing = missing
        self.is_told = False

    def tell(self) -> None:
        """Log once that it is used."""
        if not self.is_told:
            self.is_told = True
            log.warning(
                "%s has no Celery app here, so tickets of emails go to the broker that its settings name. Where you "
                "run `celery -A sesmail worker` to send, that is all it takes. Where your project has a Celery app of "
                "its own, it is not loaded. Missing is %s.",
                self.host,
                self.missing,
            )


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
    loaded = loaded_app()
    if loaded is not None:
        return loaded
    made = app_of_host()
    if made is None:
        return _stand_alone()
    made.tell()
    return made


def loaded_app() -> Celery | None:
    """The app that the application has loaded, by the same order. Raises `ConfigurationError` as `current_app` does."""
    of_flask = flask_app()
    if of_flask is not None and isinstance(of_flask.extensions.get("celery"), Celery):
        return of_flask.extensions["celery"]
    current = app_of_this_thread()
    if current is not None and not is_made_up(current):
        return current
    apps = [app for app in apps_of_this_process() if not (_is_ours(app) or is_made_up(app))]
    if len(apps) > 1:
        names = ", ".join(sorted(str(app.main) for app in apps))
        raise ConfigurationError(
            f"This process has several Celery apps ({names}) and this thread has none, so it is not known which one "
            "carries email. Nothing was queued. Call `set_default()` on the right one where it is made."
        )
    return apps[0] if apps else None


def _is_ours(app: Celery) -> bool:
    return app.main == STAND_ALONE or isinstance(app, HostApp)


def _stand_alone() -> Celery:
    from sesmail.celery.standalone import app  # noqa: PLC0415  applications with their own never load it

    return app


# -- Django or Flask without a Celery app ------------------------------------------------------------------------------


def app_of_host() -> HostApp | None:
    """For a web process that has not loaded its project's Celery app: one with the broker that its settings name.

    None where there is neither Django nor Flask. Raises `ConfigurationError` where they name no broker.
    """
    of_flask, of_django = flask_app(), django_settings()
    if of_flask is None and of_django is None:
        of_flask = _the_only(known_flask_apps())
    holder: Any = of_django if of_flask is None else of_flask
    if holder is None:
        return None
    with _lock:
        made: HostApp | None = vars(holder).get("_sesmail_celery")
        if made is None:
            made = _django_host(of_django) if of_flask is None else _flask_host(of_flask)
            vars(holder)["_sesmail_celery"] = made
    return made


def _the_only(known: list[Any]) -> Any:
    if len(known) > 1:
        raise ConfigurationError(
            "This process has several Flask applications and this is in the context of none, so it is not known which "
            "one sends. Nothing was queued. Send within `with app.app_context():`."
        )
    return known[0] if known else None


def _django_host(settings: Any) -> HostApp:
    package, _, inner = str(os.environ.get("DJANGO_SETTINGS_MODULE") or "").partition(".")
    line = f"`from .celery import app as celery_app` in {package if inner else 'your project'}/__init__.py"
    said = getattr(settings, "SESMAIL", None)
    ledger = said.get("REDIS_URL") or said.get("redis_url") if isinstance(said, dict) else None
    app = HostApp("Django", line)
    app.is_told = "sesmail.W001" in getattr(settings, "SILENCED_SYSTEM_CHECKS", ())  # the check says the same
    if getattr(settings, "CELERY_BROKER_URL", None):
        app.config_from_object(settings, namespace="CELERY")
    else:
        app.conf.update(_broker_of_ledger(ledger, f"{line}, or CELERY_BROKER_URL in settings.py"))
    return app


def _flask_host(flask: Any) -> HostApp:
    line = '`app.extensions["celery"] = celery_app` where the Celery app is made'
    said = flask_settings(flask)
    named = said.get("CELERY") or {}
    app = HostApp("Flask", line)
    if isinstance(named, dict) and (named.get("broker_url") or named.get("BROKER_URL")):
        app.config_from_object(named)
    elif said.get("CELERY_BROKER_URL"):
        app.conf.broker_url = said["CELERY_BROKER_URL"]
    else:
        ledger = said.get(f"{ENVIRONMENT_PREFIX}REDIS_URL")
        app.conf.update(_broker_of_ledger(ledger, f'{line}, or app.config["CELERY"] with its broker_url'))
    return app


def _broker_of_ledger(ledger_url: str | None, missing: str) -> dict[str, Any]:
    """Celery's settings for it: the ledger's Redis carries the tickets, too, as it does for the stand-alone app."""
    variables = os.environ.get("CELERY_BROKER_URL"), os.environ.get(f"{ENVIRONMENT_PREFIX}REDIS_URL")
    url = variables[0] or ledger_url or variables[1]
    if not url:
        raise ConfigurationError(
            "This web application has no Celery app, so it is not known who would send its email. Nothing was queued. "
            f"What is missing is {missing}."
        )
    variable = "CELERY_BROKER_URL" if variables[0] else f"{ENVIRONMENT_PREFIX}REDIS_URL"
    said_as = variable if url == ledger_url else f"{variable} in the environment"
    master_name = os.environ.get(f"{ENVIRONMENT_PREFIX}REDIS_MASTER_NAME", "")
    return celery_of_redis(url, master_name=master_name, said_as=said_as)


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
    settings = settings_of(app)
    _check_transport(app)
    return Client(settings, CeleryBroker(app, settings))


def _check_transport(app: Celery) -> None:
    """A broker that kombu knows no transport for is found out before anything is accepted, not after.

    So is the message protocol of Celery 3, which has no place for what a ticket carries.
    """
    if app.conf.task_protocol == 1:
        raise ConfigurationError(
            "Celery's task_protocol is 1, that of Celery 3, by which no ticket can be written. Nothing was queued. "
            "Leave it out: every worker since Celery 4 reads protocol 2."
        )
    try:
        app.connection_for_write().get_transport_cls()
    except Exception as error:  # noqa: BLE001  some transports fail by a NameError where what they need is not installed
        raise ConfigurationError(
            f"Celery knows no way to the broker that is named ({str(error).strip(chr(39))}), so no ticket could be "
            "issued. Nothing was queued. Mend `broker_url` of its configuration, or CELERY_BROKER_URL."
        ) from None


def settings_of(app: Celery) -> Settings:
    """The settings of a Celery app's client as they are by now. Raises `ConfigurationError` when one is wrong."""
    of_celery, of_flask = _celery_source(app), _flask_source(app)
    conf = app.conf
    named = conf.broker_write_url or conf.broker_url
    broker = redis_of_broker(named, conf.broker_use_ssl, conf.broker_transport_options)
    prefix = (conf.broker_transport_options or {}).get("global_keyprefix")
    said = load(of_celery, of_flask, default_redis_url=broker, default_global_key_prefix=prefix)
    return _heeding_routes(app, said)


def _heeding_routes(app: Celery, settings: Settings) -> Settings:
    """A queue that `task_routes` name for emails is that of both lanes, unless a setting of ours names another."""
    if not (queue := routed(app, SEND)):
        return settings
    names = {name: queue for lane in Lane if not getattr(settings, name := f"{lane}_queue")}
    return settings.model_copy(update=names)


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
    flask = _flask_of(app)
    said = {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for name, value in flask_settings(flask).items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }
    if said and not isinstance(app, HostApp) and flask not in known_flask_apps():
        log.warning(
            "SESMAIL_ settings in app.config are seen in requests only: a worker does not know of them, and may look "
            "for email elsewhere. Missing is `SESMail(app)`, of sesmail.contrib.flask, where the Flask app is made."
        )
    return Source(name="Flask's app.config", spelling=f'["{ENVIRONMENT_PREFIX}{{}}"]', said=said)


def _flask_of(app: Celery) -> Any:
    """The Flask application that a Celery app belongs to, or None."""
    here, known = flask_app(), known_flask_apps()
    flasks = known if here is None or here in known else [here, *known]
    for flask in flasks:
        if flask.extensions.get("celery") is app or vars(flask).get("_sesmail_celery") is app:
            return flask
    return flasks[0] if len(flasks) == 1 and "celery" not in flasks[0].extensions else None


hide_our_addresses()


class _Task(Proxy):  # type: ignore[misc]  # Celery has no types
    # Called as a function, it lets no error carry an email away in Celery's frames.
    __doc__ = vars(Proxy)["__doc__"]  # the task's own
    __module__ = vars(Proxy)["__module__"]
    __call__ = shows_no_email(Proxy.__call__)


def task(name: str, **options: Any) -> Callable[[Any], Any]:
    """`shared_task`, but always the current app's, where Celery's own proxy takes the app that it makes up."""

    def register(function: Any) -> Any:
        shared_task(name=name, **options)(function)
        return _Task(lambda: current_app().tasks[name])

    return register
