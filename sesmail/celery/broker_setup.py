"""What an application's Celery says of its broker, for those who look what is wrong with a set-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.celery.addresses import place_of
from sesmail.celery.internals import misspelt
from sesmail.doctor import BrokerSetup

if TYPE_CHECKING:
    from celery import Celery

CONNECT_SECONDS = 2.0
KOMBUS_VISIBILITY_SECONDS = 3600.0
"""What holds where nobody says otherwise (kombu/transport/redis.py)."""


def broker_setup(app: Celery) -> BrokerSetup:
    """As the app has it by now; nothing is connected to before it is asked."""
    conf = app.conf
    options = conf.broker_transport_options or {}
    connection = app.connection_for_write()
    is_redis = (connection.transport_cls or "").partition("+")[0] in {"redis", "rediss", "sentinel"}
    prefix = conf.prefix or ""
    names = [name.removeprefix(prefix) for name in conf if name.startswith(prefix)]
    return BrokerSetup(
        place=place_of(app),
        is_redis=is_redis,
        unreachable=lambda: _unreachable(app),
        visibility_timeout_seconds=(
            float(options.get("visibility_timeout", KOMBUS_VISIBILITY_SECONDS)) if is_redis else None
        ),
        is_eager=bool(conf.task_always_eager),
        misspelt=tuple(misspelt(name.lower() if prefix else name for name in names)),
    )


def _unreachable(app: Celery) -> str:
    """Why its broker cannot be reached, in a few words; empty where it can."""
    with app.connection_for_write(connect_timeout=CONNECT_SECONDS) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS)
            connection.default_channel  # noqa: B018  Redis is not asked before
        except Exception as error:  # noqa: BLE001  whatever a transport raises
            return str(error).partition("\n")[0][:200].rstrip(".") or type(error).__name__
    return ""
