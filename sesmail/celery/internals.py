"""Each private part of Celery, kombu and billiard that sesmail leans on, and the version in which it was read.

Those by which tickets are taken in groups stand in `groups.py`.

With a new version of Celery, look here first: `tests/contract/test_internals.py` fails where one of them has changed.
All were read in celery 5.7.0, kombu 5.7.0 and billiard 4.3.0; they hold in celery 5.5.3 with kombu 5.5.4, and in celery
5.6.2 with kombu 5.6.0.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from celery import Task, _state, signals
from celery.app import amqp, base, trace, utils
from celery.app.defaults import _TO_NEW_KEY, SETTING_KEYS
from celery.app.routes import MapRoute
from celery.loaders.default import Loader as DefaultLoader
from kombu.messaging import Producer

from sesmail.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import ModuleType

    from celery import Celery
    from celery.worker.request import Request

NEW_NAMES: dict[str, str] = _TO_NEW_KEY
"""Celery's old, upper-case names of settings, with today's (celery/app/defaults.py)."""
KNOWN_SETTINGS: frozenset[str] = frozenset({*SETTING_KEYS, *_TO_NEW_KEY})
"""Every name of a setting that Celery knows (celery/app/defaults.py)."""
TODAYS_SETTINGS: frozenset[str] = frozenset(SETTING_KEYS)
_OURS = sorted({name for name in Settings.model_fields if "_" in name} - {"redis_url"})
"""Without their prefix. A plain word, or the address of a Redis, may be a file's own variable."""


def misspelt(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names of settings that Celery does not know, each with the one that is most likely meant.

    Ours are left out, but for those without `sesmail_` in front.
    """
    for name in (name for name in names if name not in KNOWN_SETTINGS and not name.lower().startswith("sesmail_")):
        if similar := get_close_matches(name.lower(), TODAYS_SETTINGS, n=1, cutoff=0.8):
            yield name, similar[0]
        elif ours := get_close_matches(name.lower(), _OURS, n=1, cutoff=0.85):
            yield name, f"sesmail_{ours[0]}"


def hide_our_addresses() -> None:
    """Have `celery report`, `inspect conf` and Flower mask our addresses, which may hold passwords, as Celery's own.

    celery/app/utils.py: `HIDDEN_SETTINGS`, which `filter_hidden_settings` searches for in the names of settings.
    """
    ours = "SESMAIL_REDIS_URL|SESMAIL_EVENT_STORE"
    if ours not in utils.HIDDEN_SETTINGS.pattern:
        utils.HIDDEN_SETTINGS = re.compile(f"{utils.HIDDEN_SETTINGS.pattern}|{ours}", re.IGNORECASE)


def app_of_this_thread() -> Celery | None:
    """The current app of this thread or the default one, and None where Celery's `current_app` would make one up.

    celery/_state.py: `_tls.current_app`, `default_app`.
    """
    return _state._tls.current_app or _state.default_app  # noqa: SLF001


def apps_of_this_process() -> list[Celery]:
    """Every app that was made in this process and is still used (celery/_state.py: `_get_active_apps`)."""
    return list(_state._get_active_apps())  # noqa: SLF001


def is_made_up(app: Celery) -> bool:
    """Whether Celery made this app up, for a process or thread without one (celery/_state.py: `_get_current_app`)."""
    return bool(app.main == "default" and type(app.loader) is DefaultLoader)


def import_configuration(loader: DefaultLoader, name: str) -> ModuleType:
    """A configuration module, also one in the working directory (celery/loaders/base.py: `_import_config_module`)."""
    module: ModuleType = loader._import_config_module(name)  # noqa: SLF001
    return module


def answer_control_commands(**handlers: Callable[..., Any]) -> None:
    """Have these functions answer `celery control ...` instead of Celery's own.

    celery/worker/control.py: `Panel.data`. The decorator that Celery documents would also replace what `--help` says.
    """
    from celery.worker.control import Panel  # noqa: PLC0415  only workers have it

    Panel.data |= handlers


_HIDDEN = "sesmail_arguments"


JSON = ("json", "application/json")


def read_json(app: Celery, hostname: str) -> None:
    """Have a worker that is being set up read JSON, too, whatever else its host's messages are written in.

    celery/app/trace.py: `setup_worker_optimizations`, which may be called again, notes what is accepted for the pool's
    part, before any signal tells of the worker; the consumer asks the configuration.
    """
    accepted = app.conf.accept_content or ()
    if not set(JSON) & set(accepted):
        app.conf.accept_content = [*accepted, JSON[0]]
        if app.use_fast_trace_task:  # others ask the configuration each time
            trace.setup_worker_optimizations(app, hostname)


class HiddenArguments:
    """The arguments of a task, handed past everything between a worker and the task's own code."""

    __slots__ = ("args", "kwargs")

    def __init__(self, args: Any, kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        return "(...)"


def arguments_of(request: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A task's arguments in its own code: what was hidden of them, or what it was called with."""
    hidden = getattr(request, _HIDDEN, None)
    return (hidden.args, dict(hidden.kwargs)) if hidden else (args, kwargs)


def hide_arguments(request: Request) -> None:
    """Let nothing show what a message holds: logs, events, Flower, `inspect`, results, whatever watches the task.

    celery/worker/request.py: `Request.__init__`. celery/app/trace.py: `trace_task_ret` takes a body that is read.
    """
    request._argsrepr = request._request_dict["argsrepr"] = "(...)"  # noqa: SLF001
    request._kwargsrepr = request._request_dict["kwargsrepr"] = "{...}"  # noqa: SLF001
    kept = HiddenArguments(request._args, request._kwargs)  # noqa: SLF001
    args: list[Any] = []
    kwargs = {name: value for name, value in request._kwargs.items() if name == "send_id"}  # noqa: SLF001
    request._request_dict |= {"args": args, "kwargs": kwargs, _HIDDEN: kept}  # noqa: SLF001
    request._args, request._kwargs = args, kwargs  # noqa: SLF001
    request._body = request._Request__payload = (args, kwargs, request._Request__payload[2])  # noqa: SLF001
    request._content_type = request._content_encoding = None  # noqa: SLF001  the body is read already


def holds_a_ticket_alone(request: Request) -> bool:
    """Whether a message has no argument but the id of a send (celery/worker/request.py: `_args`, `_kwargs`)."""
    return set(request._kwargs) == {"send_id"} and not request._args  # noqa: SLF001


def look_at_what_redis_pops(channel: Any, mended: Callable[[str, bytes], bytes]) -> None:
    """Have a function look at each item of a queue, and replace it, before kombu makes a message of it.

    kombu/transport/redis.py: `Channel._brpop_read` reads by `client.parse_response`, whose callbacks are redis-py's
    own. Other transports carry any bytes.
    """
    if not hasattr(channel, "_brpop_read"):
        return
    client, prefix = channel.client, getattr(channel, "global_keyprefix", "") or ""
    before = client.response_callbacks.get("BRPOP")

    def popped(response: Any, **options: Any) -> Any:
        found = before(response, **options) if before else response
        if not found:
            return found
        queue, item = found
        name = queue.decode().removeprefix(prefix).rsplit(channel.sep, 1)[0]
        return queue, mended(name, item)

    client.set_response_callback("BRPOP", popped)


def keep_client_of(channel: Any) -> None:
    """Have a channel note and acknowledge messages by one client of redis-py, instead of a new one for each of both.

    Making them is a third of all that Celery does with a ticket. kombu/transport/redis.py: `Channel._create_client`,
    whose clients hold nothing but `Channel.pool`; after a disconnect that is another one, and so is the client. Other
    transports have neither.
    """
    make = getattr(channel, "_create_client", None)
    if make is None or not hasattr(channel, "pool"):
        return
    kept: Any = None

    def kept_or_new(asynchronous: bool = False) -> Any:
        nonlocal kept
        client = None if asynchronous else kept
        if client is None or client.connection_pool is not channel.pool:
            client = make(asynchronous=asynchronous)
        if not asynchronous:
            kept = client
        return client

    channel._create_client = kept_or_new  # noqa: SLF001


class WithoutTokenBuckets:
    """A consumer as a task's strategy sees it, with `disable_rate_limits` on (celery/worker/strategy.py)."""

    disable_rate_limits = True

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


def linger_at_most(seconds: float) -> None:
    """Bound how long a prefork child waits at its end for the parent to read what became of its tasks.

    billiard/pool.py: `GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT`, in steps of `..._INTERVAL`; 30 seconds otherwise.
    """
    import billiard.pool  # noqa: PLC0415  only these processes have it

    steps = seconds / billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL
    billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = round(steps)


HEADERS_OF_CELERY = frozenset(
    {
        *("lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id"),
        *("parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting"),
        *("stamped_headers", "stamps"),
    }
)
"""What Celery itself puts into a message's headers (celery/app/amqp.py: `as_task_v2`); all else is the caller's."""


class MessageTaker:
    """A producer that takes what Celery would publish, and publishes nothing (celery/app/amqp.py: `send_task_message`).

    Celery asks its connection for nothing but the names of errors, so that it need not be connected.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.messages: list[tuple[Any, dict[str, Any]]] = []
        """Each a body with the options of kombu's `Producer.publish`; the task is the first."""

    def publish(self, body: Any, **how: Any) -> None:
        """Take one."""
        self.messages.append((body, how))


def leads_to(producer: Any, connection: Any) -> bool:
    """Whether a producer is one of a pool of connections like this one, as a group of Celery's hands it to its members.

    kombu/pools.py: a pool for each `Connection.__eqhash__`. kombu/messaging.py: `Producer.__connection__`, which is
    None for who brings a channel.
    """
    its = getattr(producer, "__connection__", None)
    return its is not None and its.__eqhash__() == connection.__eqhash__()


class HeadersKeeper:
    """A producer that publishes a task under the headers that were kept for it, whatever others write over them.

    Instruments put the trace of whoever publishes into `before_task_publish`; the caller's is the one that counts.
    """

    def __init__(self, producer: Any, task_id: str, headers: dict[str, Any]) -> None:
        self._producer = producer
        self._task_id = task_id
        self._headers = headers

    def publish(self, body: Any, **how: Any) -> Any:
        """Publish it."""
        headers = how.get("headers") or {}
        if headers.get("id") == self._task_id:
            headers.update(self._headers)
        return self._producer.publish(body, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


def is_called_as_a_function(task: Task) -> bool:
    """Whether somebody waits for a task who called it as a function, and not `map`, `starmap` or `chunks` in a worker.

    celery/app/builtins.py: these call the task so, too.
    """
    around = task.app.current_worker_task
    return bool(task.request.called_directly) and getattr(around, "name", None) not in ("celery.map", "celery.starmap")


# -- what kombu pushes ------------------------------------------------------------------------------------------------


def is_watched(app: Celery) -> bool:
    """Whether anybody hears of each message that is published, or the message depends on who publishes it.

    celery/app/amqp.py: `send_task_message` tells these signals. celery/app/base.py: `send_task` gives what a task
    publishes the marks of that task.
    """
    told = signals.before_task_publish.receivers or signals.after_task_publish.receivers or signals.task_sent.receivers
    return bool(told) or app.current_worker_task is not None


def is_instrumented(app: Celery) -> bool:
    """Whether somebody has put a function of their own around one of Celery's or kombu's that publish.

    Sentry, ddtrace and New Relic do. `functools.wraps` copies everything but the globals of a function.
    """
    return type(app.amqp) is not amqp.AMQP or not _are_own(
        Task.apply_async, type(app).send_task, amqp.AMQP.send_task_message.func, Producer.publish
    )


@lru_cache(maxsize=16)
def _are_own(*publishing: Callable[..., Any]) -> bool:
    modules = (_module_of(Task), base, amqp, _module_of(Producer))
    return all(
        getattr(function, "__globals__", None) is vars(module)
        for function, module in zip(publishing, modules, strict=True)
    )


def _module_of(kind: type) -> ModuleType:
    return sys.modules[kind.__module__]


def routes_by_name_alone(app: Celery) -> bool:
    """Whether all tasks of one name are routed alike (celery/app/routes.py: `MapRoute`; functions may look closer)."""
    return all(isinstance(route, MapRoute) for route in app.amqp.router.routes or ())


def tells_backend_of_calls(app: Celery) -> bool:
    """Whether the result backend has to know of a call before its message is there: `rpc://`, or one of a stranger.

    celery/app/base.py: `send_task`. Celery's Redis subscribes then, and again when somebody waits for the result.
    """
    from celery.backends.base import Backend  # noqa: PLC0415  programs that only send mail have none
    from celery.backends.redis import RedisBackend  # noqa: PLC0415

    return type(app.backend).on_task_call not in (Backend.on_task_call, RedisBackend.on_task_call)


def is_kombu_s_redis(connection: Any) -> bool:
    """Whether kombu's own transport for one Redis carries the messages, and no other that is built upon it."""
    from kombu.transport import redis  # noqa: PLC0415  others need not have loaded it

    transport = connection.get_transport_cls()
    return transport is redis.Transport and transport.Channel is redis.Channel


def pushed_by_kombu(transport_options: Mapping[str, Any], body: Any, how: Mapping[str, Any]) -> tuple[str, str]:
    """The list, and what kombu's Redis transport would push to its left, for a body and options of `Producer.publish`.

    kombu does it itself, to a list of ours. kombu/transport/redis.py: `Channel._put`, which needs `conn_or_acquire`
    and `_expires`. Raises `AttributeError` where it would do anything else.
    """
    from kombu.transport.redis import Channel  # noqa: PLC0415  as above

    class Pushed(Channel):
        def __init__(self) -> None:  # kombu's would connect
            self._expires: dict[str, int] = {}
            self.pushed: list[tuple[str, str]] = []
            for name in self.from_transport_options:
                if name in transport_options:
                    setattr(self, name, transport_options[name])

        @contextmanager
        def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
            yield client or self

        def lpush(self, key: str, message: str) -> None:
            self.pushed.append((key, message))

    channel = Pushed()
    producer: Any = Producer(channel, auto_declare=False)  # type: ignore[no-untyped-call]  # kombu has none
    producer.publish(body, **{**how, "retry": False, "declare": []})
    (only,) = channel.pushed
    return only
