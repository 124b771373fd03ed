"""An installation of a test's own, for tests with a real Redis and worker: nothing is there before, nothing stays."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING
from unittest.mock import patch
from uuid import uuid4

from redis.exceptions import RedisError

from sesmail.celery.current import clients_of_this_process, close_clients
from sesmail.celery.queues import delete_queues, lanes
from sesmail.client import Client
from sesmail.sending.memory import switch
from sesmail.state.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from sesmail.settings import Settings


@contextmanager
def own_installation(**settings: str) -> Iterator[str]:
    """While it lasts, clients read their settings anew, and email is sent; answers the key prefix that they have.

    By SESMAIL_KEY_PREFIX, so programs that are started have it too: a site that sets one in its own configuration
    keeps that, and what is under it. `settings` are more of them, for the environment. At the end, keys and queues of
    this prefix are deleted.
    """
    prefix = f"sesmail-test-{uuid4().hex[:12]}"
    said = {"key_prefix": prefix, "suppress_send": "0", **settings}
    with patch.dict(os.environ, {f"SESMAIL_{name.upper()}": value for name, value in said.items()}), switch(None):
        close_clients()
        try:
            yield prefix
        finally:
            used = [(app, client.settings) for app, client in clients_of_this_process()]
            close_clients()
            for app, found in used:
                _delete(app, found, prefix)


def _delete(app: Celery, settings: Settings, prefix: str) -> None:
    """What was left under the prefix, where it was that; a Redis that is gone by now took it along."""
    with closing(Client(settings)) as client, suppress(RedisError):
        redis = client.scripts.redis
        for key in redis.scan_iter(match=f"{Keys(prefix).base}*", count=1000):
            redis.delete(key)
    queues = [*lanes(settings), settings.sweep_queue, settings.batches_queue, settings.events_queue]
    delete_queues(app, [name for name in queues if name.startswith(prefix)])
