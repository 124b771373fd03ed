"""The Celery app that carries our tickets: whose it is, how our tasks are found in it, what its configuration says."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from celery import _state, shared_task
from celery.loaders.default import Loader as DefaultLoader
from celery.local import Proxy
from kombu import pools

from sesmail import runtime
from sesmail.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery

STAND_ALONE = "sesmail"
"""The name of the stand-alone app."""


def carrier() -> Celery:
    """The Celery app that carries our tickets: the application's own; the stand-alone one where there is none.

    Celery instead makes up an app without a broker, for a process without one, and for each thread of an application
    that never called `set_default()`; the emails' tickets would go nowhere. Raises `ConfigurationError` where such a
    thread could belong to several apps.
    """
    current = _state._tls.current_app or _state.default_app  # noqa: SLF001  `current_app` would make one up
    if current is not None and not _is_made_up(current):
        return current
    apps = [app for app in _state._get_active_apps() if app.main != STAND_ALONE and not _is_made_up(app)]  # noqa: SLF001
    if not apps:
        from sesmail.celery import app  # noqa: PLC0415  applications with their own never load it

        return app
    if len(apps) > 1:
        names = ", ".join(sorted(str(app.main) for app in apps))
        raise ConfigurationError(
            f"This process has several Celery apps ({names}) and this thread has none, so it is not known which one "
            "carries email. Nothing was queued. Call `set_default()` on the right one where it is made."
        )
    return apps[0]


def _is_made_up(app: Celery) -> bool:
    return bool(app.main == "default" and type(app.loader) is DefaultLoader)


TICKET_TIMEOUT_SECONDS = 0.25
"""A ticket is a kilobyte; with one retry, a Redis that hangs holds up a caller for less than a second."""
_ONE_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


@contextmanager
def publishing_quickly(app: Celery) -> Iterator[dict[str, Any]]:
    """Options of `apply_async` for callers who cannot wait: by itself, Celery waits minutes for a Redis that hangs."""
    with pools.producers[_quick_connection(app)].acquire(block=True) as producer:
        yield {"producer": producer, "retry_policy": _ONE_RETRY}


@lru_cache(maxsize=4)
def _quick_connection(app: Celery) -> Any:
    """A pattern for kombu's pool, never connected itself."""
    connection = app.connection_for_write()
    if connection.get_transport_cls().driver_type == "redis":  # for others, these options have other names
        timeouts = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), TICKET_TIMEOUT_SECONDS)
        connection.transport_options |= timeouts | _ONE_RETRY  # with the latter, as kombu adds them when it publishes
    return connection


def task(name: str, **options: Any) -> Callable[[Any], Any]:
    """`shared_task`, but always the carrier's, where Celery's own proxy takes the app that it makes up."""

    def register(function: Any) -> Any:
        shared_task(name=name, **options)(function)
        return Proxy(lambda: carrier().tasks[name])

    return register


def _from_celery() -> dict[str, Any]:
    """Settings in Celery's configuration: `sesmail_region = ...`, or `CELERY_SESMAIL_REGION` in Django's."""
    conf = carrier().conf
    ours = f"{conf.prefix or ''}sesmail_".lower()
    said = {name[len(ours) :].lower(): conf[name] for name in conf if name.lower().startswith(ours)}
    broker = conf.broker_write_url or conf.broker_url or ""
    if broker.startswith("redis+socket://"):  # kombu's spelling of what redis-py calls unix://
        broker = broker.replace("redis+socket", "unix", 1).replace("virtual_host=", "db=")
    if broker.startswith(("redis://", "rediss://", "unix://")):
        said.setdefault("default_redis_url", broker)
    return said


runtime.add_source(_from_celery)
