"""The stand-alone Celery app: `celery -A sesmail worker`, `... beat`, `... flower`.

For applications that have no Celery app of their own, and for servers that only send mail. A `celeryconfig.py` in the
working directory (or `CELERY_CONFIG_MODULE`) overrides every default below. The app never becomes the default app of a
process that merely imports it: a host's own Celery app stays what it is.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.loaders.default import DEFAULT_CONFIG_MODULE
from celery.loaders.default import Loader as DefaultLoader
from click import ClickException

from sesmail.celery.addresses import celery_of_redis
from sesmail.celery.internals import NEW_NAMES, import_configuration, misspelt
from sesmail.celery.queues import STAND_ALONE
from sesmail.errors import ConfigurationError
from sesmail.hosts import BROKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = logging.getLogger("sesmail")

DEFAULTS: dict[str, Any] = {
    "broker_url": "redis://127.0.0.1:6379/0",
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,  # Celery's 100 would end the worker after a long outage
    "broker_connection_timeout": 4,
    "broker_transport_options": {
        # Names of our own: every consumer with the same names restores the others' messages by its own timeout.
        "unacked_key": "sesmail.unacked",
        "unacked_index_key": "sesmail.unacked_index",
        "unacked_mutex_key": "sesmail.unacked_mutex",
        "unacked_mutex_expire": 30,
        # A ticket delivered twice does nothing, so this may be short; it keeps the table of unacknowledged ones small.
        "visibility_timeout": 300,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "queue_order_strategy": "priority",  # the lanes in the order of task_queues: transactional before bulk
        "health_check_interval": 10,
        "socket_timeout": 15,
        "socket_connect_timeout": 4,
        "socket_keepalive": True,
    },
    "task_default_queue": "sesmail.transactional",
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_acks_on_failure": True,  # what failed is in the ledger with its reason
    "task_ignore_result": True,  # the ledger has the result
    "task_serializer": "json",
    "accept_content": ["json"],
    "worker_pool": "threads",  # waiting for SES and for the rate is all they do
    "worker_concurrency": 16,
    "worker_prefetch_multiplier": 1,  # what one worker holds, others cannot send
    "worker_cancel_long_running_tasks_on_connection_loss": False,  # a send cut off mid-call may go out twice
    "worker_send_task_events": False,  # a fifth of a worker's time; Flower switches them on while it watches
    "worker_hijack_root_logger": False,
    "task_repr_maxlevels": 0,
    "beat_schedule": {
        # Each goes into its own queue by itself: see `QueuedTask`.
        "sesmail-sweep": {"task": "sesmail.sweep", "schedule": 10.0, "options": {"expires": 10}},
        "sesmail-process-events": {"task": "sesmail.process_ses_events", "schedule": 10.0, "options": {"expires": 10}},
    },
}

MERGED = ("broker_transport_options", "beat_schedule")
"""Settings that a user's file adds to, entry by entry, rather than replaces: its own schedule keeps our sweep."""


class BrokenConfiguration(ConfigurationError, ClickException):
    """The user's file cannot be loaded. Celery's commands, which are click's, say so in a line, without a traceback."""


class Loader(DefaultLoader):  # type: ignore[misc]  # Celery has no types
    """Reads `celeryconfig.py` over our defaults. Celery's own `add_defaults` would put ours above the file."""

    def read_configuration(self, fail_silently: bool = True) -> dict[str, Any]:  # noqa: ARG002  Celery's signature
        """The user's file where there is one, completed by `DEFAULTS`.

        Raises `ConfigurationError` where the file has an error. Celery swallows an ImportError there and goes on with
        amqp://localhost: mail would be queued into nowhere.
        """
        user = self._users_settings(os.environ.get("CELERY_CONFIG_MODULE") or DEFAULT_CONFIG_MODULE)
        defaults = _with_broker(DEFAULTS) if not _names_a_broker(user) else DEFAULTS
        merged = {name: {**defaults[name], **(user.get(name) or {})} for name in MERGED}
        # The variable counts in any case, but to Celery alone: redbeat and the like read what is configured.
        broker = {"broker_url": variable} if (variable := os.environ.get("CELERY_BROKER_URL")) else {}
        return {**defaults, **user, **merged, **broker}

    def on_worker_init(self) -> None:
        """For a beat whose schedule django-celery-beat keeps in Django's database, however its scheduler is named."""
        is_beat = not {"beat", "-B", "--beat"}.isdisjoint(sys.argv)
        if is_beat and os.environ.get("DJANGO_SETTINGS_MODULE") and find_spec("django_celery_beat"):
            import django  # noqa: PLC0415  only who has it asks for this

            django.setup()

    def _users_settings(self, name: str) -> dict[str, Any]:
        """What the file says, by today's names of the settings."""
        try:
            module = import_configuration(self, name)
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and error.name == name == DEFAULT_CONFIG_MODULE:
                return {}
            raise BrokenConfiguration(
                f"The configuration `{name}` cannot be loaded ({type(error).__name__}: {error}{_where(error)}). "
                "Nothing was started and no email was queued by this program. Mend the file and start again."
            ) from error
        self.configured = True
        said = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        _warn_of_misspelt(said, name)
        return {NEW_NAMES.get(key, key): value for key, value in said.items()}


def _where(error: Exception) -> str:
    """The line of the user's file at which an error came up, as far as that is known."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "<module>"]
    return f", {Path(lines[-1].filename).name}, line {lines[-1].lineno}" if lines else ""


def _names_a_broker(user: Mapping[str, Any]) -> bool:
    return bool(os.environ.get("CELERY_BROKER_URL") or user.get("broker_url") or user.get("broker_write_url"))


def _with_broker(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The ledger's Redis carries the tickets, too, where it is named alone. Raises `ConfigurationError`."""
    ledger = os.environ.get("SESMAIL_REDIS_URL") or defaults["broker_url"]
    told = {word: os.environ.get(f"SESMAIL_REDIS_{word.upper()}", "") for word in ("master_name", "credentials")}
    said_as = "SESMAIL_REDIS_URL in the environment" if "SESMAIL_REDIS_URL" in os.environ else BROKER
    broker = celery_of_redis(ledger, **told, said_as=said_as)
    merged = {name: {**defaults[name], **broker.get(name, {})} for name in MERGED}
    return {**defaults, **broker, **merged}


def _warn_of_misspelt(said: Iterable[str], file: str) -> None:
    """Celery ignores a name that it does not know, and its default holds. (Names of ours are checked by `Settings`.)"""
    for name, meant in misspelt(said):
        log.warning("%s: there is no setting %s, it has no effect. Is %s meant?", file, name, meant)


app = Celery(
    STAND_ALONE,
    loader="sesmail.celery.standalone:Loader",
    include=["sesmail.tasks"],
    set_as_current=False,
    fixups=[],  # Django's would make this the default app of a process that has another
)
"""The Celery app of `celery -A sesmail`, for applications that have none of their own."""
