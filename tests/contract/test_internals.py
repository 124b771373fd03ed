"""What sesmail leans on in Celery, kombu and billiard without their promising it: it is there and behaves as assumed.

A new version of one of them fails here first, and loudly. Where it does: see `sesmail/celery/internals.py`.
"""

from __future__ import annotations

import ast
import logging
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import billiard.pool
import pytest
from celery import Celery, Task, signals
from celery.app.task import Context
from celery.backends import base
from celery.concurrency.base import logger as pool_logger
from celery.exceptions import Retry
from celery.loaders.default import Loader
from celery.worker import strategy
from celery.worker.control import Panel
from celery.worker.pidbox import Pidbox
from celery.worker.request import Request
from kombu import Producer, Queue, pools
from redis import Redis

from sesmail.celery import internals, wishes, worker
from sesmail.celery.current import client_of
from sesmail.celery.worker import shutdown
from sesmail.celery.worker.misfits import wrapped
from sesmail.embedded import EmbeddedRedis

SECRET = "ann@example.org"
ROOT = Path(__file__).parents[2]
ROOM = ROOT / "sesmail" / "celery"


@pytest.fixture
def app() -> Celery:
    made = Celery("internals", broker="memory://", set_as_current=False)
    made.conf.worker_disable_rate_limits = False
    return made


# -- apps and settings --------------------------------------------------------------------------------------------------

APPS = """
import threading
from celery import Celery, current_app
from sesmail.celery.internals import app_of_this_thread, apps_of_this_process, is_made_up

assert app_of_this_thread() is None
assert apps_of_this_process() == []
current_app.conf.task_default_queue  # Celery makes one up
made_up = app_of_this_thread()
assert is_made_up(made_up)
shop = Celery("shop", broker="memory://")
assert app_of_this_thread() is shop
assert set(apps_of_this_process()) == {made_up, shop}
assert not is_made_up(shop)
found = []
thread = threading.Thread(target=lambda: found.append(app_of_this_thread()))
thread.start(), thread.join()
assert found == [made_up]
shop.set_default()
thread = threading.Thread(target=lambda: found.append(app_of_this_thread()))
thread.start(), thread.join()
assert found == [made_up, shop]
del shop
"""


def test_the_apps_of_a_process_and_thread_are_found_without_making_one_up() -> None:
    done = subprocess.run([sys.executable, "-c", APPS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_celerys_settings_are_known_by_their_old_and_new_names() -> None:
    assert internals.NEW_NAMES["CELERY_ACKS_LATE"] == "task_acks_late"
    assert {"task_acks_late", "broker_url", "worker_pool"} <= internals.TODAYS_SETTINGS <= internals.KNOWN_SETTINGS
    assert set(internals.NEW_NAMES.values()) <= internals.TODAYS_SETTINGS


def test_a_misspelt_setting_is_told_and_so_is_one_of_ours_without_its_prefix_but_not_a_files_own_variables() -> None:
    names = ["brokr_url", "from_email", "form_email", "sesmail_from_email", "redis_url", "task_acks_late", "os"]
    meant = {"brokr_url": "broker_url", "from_email": "sesmail_from_email", "form_email": "sesmail_from_email"}
    assert dict(internals.misspelt(names)) == meant


def test_a_configuration_is_imported_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings_of_this_test.py").write_text("task_acks_late = True\n")
    monkeypatch.chdir(tmp_path)
    loader = Loader(app=SimpleNamespace())
    assert internals.import_configuration(loader, "settings_of_this_test").task_acks_late is True
    with pytest.raises(ModuleNotFoundError) as missing:
        internals.import_configuration(loader, "no_such_settings")
    assert missing.value.name == "no_such_settings"
    monkeypatch.delitem(sys.modules, "settings_of_this_test")


@pytest.mark.parametrize("prefix", ["", "alpha:"])
def test_what_redis_pops_can_be_looked_at_before_kombu_makes_a_message_of_it(
    redis: Redis, redis_server: EmbeddedRedis, prefix: str
) -> None:
    options = {"global_keyprefix": prefix, "sep": "#", "priority_steps": [0, 3]}
    app = Celery("pops", broker=redis_server.url, broker_transport_options=options, set_as_current=False)
    seen, bodies = [], []

    def mended(queue: str, item: bytes) -> bytes:
        seen.append((queue, item))
        return wrapped(queue, item)

    def take(message: Any) -> None:
        bodies.append(message.body)
        message.ack()

    for queue in ("popped", "popped#3"):
        redis.lpush(f"{prefix}{queue}", b"\xff garbage")
    with app.connection_for_read() as connection:
        consumer = app.amqp.TaskConsumer(connection, queues=[app.amqp.queues["popped"]], on_message=take)
        internals.look_at_what_redis_pops(consumer.channel, mended)
        with consumer:
            for _ in range(2):
                connection.drain_events(timeout=10)
    assert seen == [("popped", b"\xff garbage")] * 2
    assert bodies == [b"\xff garbage"] * 2


def test_a_channel_that_keeps_its_client_makes_another_one_only_for_other_connections(
    redis_server: EmbeddedRedis,
) -> None:
    app = Celery("kept", broker=redis_server.url, set_as_current=False)
    with app.connection_for_read() as connection, connection.channel() as channel:
        with channel.conn_or_acquire() as one, channel.conn_or_acquire() as another:
            assert one is not another, "kombu keeps its clients itself: keep_client_of is not needed any more"
        internals.keep_client_of(channel)
        with channel.conn_or_acquire() as one, channel.conn_or_acquire() as another:
            assert one is another
            assert one.connection_pool is channel.pool
        channel._disconnect_pools()
        with channel.conn_or_acquire() as another:
            assert another is not one
            assert another.connection_pool is channel.pool
            assert another.ping()
        assert channel._create_client(asynchronous=True) is not channel._create_client(asynchronous=True)


def test_messages_are_noted_and_acknowledged_by_the_client_that_is_kept(
    redis: Redis, redis_server: EmbeddedRedis
) -> None:
    app = Celery("kept", broker=redis_server.url, set_as_current=False)
    taken: list[Any] = []
    with app.connection_for_read() as connection:
        consumer = app.amqp.TaskConsumer(connection, queues=[app.amqp.queues["kept"]], on_message=taken.append)
        internals.keep_client_of(consumer.channel)
        app.amqp.Producer(connection).publish({"what": "ever"}, routing_key="kept", serializer="json")
        with consumer:
            connection.drain_events(timeout=10)
        assert redis.hlen("unacked") == 1
        taken[0].ack()
    assert redis.hlen("unacked") == redis.zcard("unacked_index") == redis.llen("kept") == 0


@pytest.mark.parametrize("broker", ["memory://", "filesystem://"])
def test_a_channel_of_another_kind_is_left_alone(broker: str, tmp_path: Path) -> None:
    folders = {name: str(tmp_path) for name in ("data_folder_in", "data_folder_out", "control_folder")}
    app = Celery("other", broker=broker, broker_transport_options=folders, set_as_current=False)
    with app.connection_for_read() as connection, connection.channel() as channel:
        before = vars(channel).copy()
        internals.keep_client_of(channel)
        assert vars(channel).keys() == before.keys()


# -- publishing and consuming -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("broker", "kind"), [("redis://127.0.0.1:1/0", "redis"), ("amqp://127.0.0.1:1//", "amqp")])
def test_a_connection_knows_without_connecting_which_kind_of_broker_it_is_for(broker: str, kind: str) -> None:
    connection = Celery("kinds", broker=broker, set_as_current=False).connection_for_write()
    assert connection.get_transport_cls().driver_type == kind


def test_connections_with_the_same_options_share_a_pool_of_producers_and_others_do_not() -> None:
    app = Celery("pools", broker="redis://127.0.0.1:1/0", set_as_current=False)
    quick, quick_too, slow = (app.connection_for_write() for _ in range(3))
    for connection in (quick, quick_too):
        connection.transport_options |= {"socket_timeout": 0.25}
    assert pools.producers[quick] is pools.producers[quick_too] is not pools.producers[slow]


def test_a_queue_that_nobody_defined_is_made_as_producers_make_it_and_can_be_selected(app: Celery) -> None:
    queues = app.amqp.queues
    made = queues.add(queues.new_missing("sesmail.bulk"))
    assert (made.name, made.routing_key) == ("sesmail.bulk", "sesmail.bulk")
    queues.select(["sesmail.bulk"])
    assert [*queues.consume_from] == ["sesmail.bulk"]
    queues.deselect(["sesmail.bulk"])
    assert [*queues.consume_from] == []


# -- a message's way through a worker -----------------------------------------------------------------------------------


def message_for(app: Celery, task: str, *args: Any, **kwargs: Any) -> Any:
    """A task's message, as a worker finds it in the broker."""
    queue = Queue(f"internals.{task}")
    with app.connection_for_write() as connection, connection.channel() as channel:
        headers, properties, body, _ = app.amqp.as_task_v2("an-id", task, args, kwargs)
        Producer(channel).publish(body, routing_key=queue.name, headers=headers, declare=[queue], **properties)
        return queue(channel).get(no_ack=True)


class Worker:
    """What a strategy asks of a worker, and what came out."""

    disable_rate_limits = False

    def __init__(self) -> None:
        self.hostname, self.connection_errors, self.pool, self.timer = "worker@here", (), self, self
        self.controller = SimpleNamespace(state=SimpleNamespace(revoked=set()))
        self.event_dispatcher = SimpleNamespace(enabled=True, send=lambda _kind, **event: self.events.append(event))
        self.task_buckets = {"private": object()}
        self.events: list[dict[str, Any]] = []
        self.begun: list[Request] = []
        self.held: list[Request] = []
        self.given_to_pool: list[Any] = []

    def on_task_request(self, request: Request) -> None:
        self.begun.append(request)

    def _limit_task(self, request: Request, *_: Any) -> None:
        self.held.append(request)

    call_at = apply_eta_task = _limit_post_eta = None

    def apply_async(self, _target: Any, args: Any, **_: Any) -> Any:
        self.given_to_pool.append(args)
        return lambda: None


class Hiding(Request):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        internals.hide_arguments(self)


def does_nothing(*_: Any, **__: Any) -> None:
    """A task's body."""


def take(app: Celery, consumer: Any, request: type[Request] = Request) -> None:
    task = app.task(does_nothing, name="private", Request=request, send_events=True)
    take_message = strategy.default(task, app, consumer)
    take_message(message_for(app, "private", SECRET, cc=SECRET), None, None, None, [])


def test_hidden_arguments_are_in_no_log_line_event_or_answer(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    host = Worker()
    with caplog.at_level(logging.INFO):
        take(app, internals.WithoutTokenBuckets(host), Hiding)
    (request,), (event,) = host.begun, host.events
    request.execute_using_pool(host)
    ((_, _, told_the_pool, body, content_type, _),) = host.given_to_pool
    shown = [caplog.text, event, request.info(safe=True), repr(request), request.humaninfo()]
    assert [one for one in shown if SECRET in str(one)] == []
    assert (event["args"], event["kwargs"]) == ("(...)", "{...}")
    assert (told_the_pool["argsrepr"], told_the_pool["kwargsrepr"]) == ("(...)", "{...}")
    assert SECRET not in f"{told_the_pool} {body}"
    assert (request.args, request.kwargs, *body[:2], content_type) == ([], {}, [], {}, None)
    told_the_task = Context(pickle.loads(pickle.dumps(told_the_pool)))  # as the processes of a pool get it
    assert internals.arguments_of(told_the_task, (), {}) == ([SECRET], {"cc": SECRET})


def test_arguments_that_nobody_hides_would_be_shown(app: Celery) -> None:
    take(app, host := Worker())
    assert SECRET in str(host.events)


def test_a_message_with_a_sends_id_alone_is_told_from_one_with_an_email(app: Celery) -> None:
    app.task(does_nothing, name="kinds")
    kinds = [((), {"send_id": "a"}), ((SECRET,), {"send_id": "a"}), ((), {"send_id": "a", "to": SECRET}), ((), {})]
    requests = [Request(message_for(app, "kinds", *args, **kwargs), app=app) for args, kwargs in kinds]
    assert [*map(internals.holds_a_ticket_alone, requests)] == [True, False, False, False]


def test_without_token_buckets_a_worker_holds_nothing_back(app: Celery) -> None:
    take(app, with_buckets := Worker())
    take(app, internals.WithoutTokenBuckets(host := Worker()))
    assert (len(with_buckets.held), len(with_buckets.begun)) == (1, 0)
    assert (len(host.held), len(host.begun)) == (0, 1)


def test_what_a_pool_says_of_messages_at_debug_it_says_in_the_logger_that_is_filtered(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    from celery.concurrency.solo import TaskPool

    assert pool_logger.name == "celery.pool"
    with caplog.at_level(logging.DEBUG, "celery.pool"):
        pool = TaskPool(app=app)
        pool._does_debug = True
        pool.apply_async(lambda *_: None, ("sesmail.send_ses_email", SECRET), {}, callback=lambda _: None)
    (said,) = [record for record in caplog.records if record.name == "celery.pool" and SECRET in record.getMessage()]
    assert not worker._shows_no_email(said)


# -- the end of a task --------------------------------------------------------------------------------------------------


def test_a_retry_that_publishes_nothing_ends_the_task_as_one_that_waits(app: Celery) -> None:
    class Waits(app.Task):  # type: ignore[name-defined,misc]
        def retry(self, *_: Any, exc: BaseException | None = None, **__: Any) -> Retry:
            raise Retry(exc=exc, when=self.request.seconds)

    @app.task(bind=True, base=Waits, autoretry_for=(KeyError,), max_retries=None)
    def waiting(self: Any) -> None:
        self.request.seconds = 7
        raise KeyError

    outcome = waiting.apply()
    assert outcome.state == "RETRY"
    assert (type(outcome.result), outcome.result.when, type(outcome.result.exc)) == (Retry, 7, KeyError)


def test_control_commands_are_answered_by_those_who_were_put_in_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Panel, "data", dict(Panel.data))
    assert {"revoke", "shutdown"} <= set(Panel.data)
    ours = {"revoke": lambda _state: "ours"}
    internals.answer_control_commands(**ours)
    app = Celery("control", broker="memory://", set_as_current=False)
    node = Pidbox(SimpleNamespace(app=app, hostname="here", controller=SimpleNamespace(use_eventloop=False))).node
    assert node.handlers["revoke"] is ours["revoke"]
    assert node.handlers["shutdown"] is Panel.data["shutdown"]


def test_a_child_whose_last_words_nobody_reads_lingers_for_our_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds billiard to a limit that it does not offer to set: a new billiard may call it something else."""
    slept: list[float] = []
    monkeypatch.setattr(billiard.pool, "GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT", 300)
    monkeypatch.setattr(billiard.pool, "time", SimpleNamespace(sleep=slept.append))
    shutdown.linger_less()
    child = object.__new__(billiard.pool.Worker)
    child.on_ready_counter = SimpleNamespace(value=0)
    assert not child._ensure_messages_consumed(completed=1)
    assert sum(slept) == pytest.approx(shutdown.CHILD_LINGERS_SECONDS)


# -- nothing private is used elsewhere ----------------------------------------------------------------------------------

OF_CELERY = ("celery", "kombu", "billiard")


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_uses(code: str) -> list[str]:
    """Names with an underscore that are Celery's: imported, of another object, or inherited."""
    tree = ast.parse(code)
    nodes = list(ast.walk(tree))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and str(node.module).startswith(OF_CELERY)]
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    attributes = [node for node in nodes if isinstance(node, ast.Attribute) and private(node.attr)]
    own |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store) and is_self(node.value)}
    imported = [alias.name for node in imports for alias in node.names]
    return [name for name in imported if private(name)] + [
        node.attr for node in attributes if not (is_self(node.value) and node.attr in own)
    ]


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


@pytest.mark.parametrize("file", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_private_parts_of_celery_are_used_in_internals_alone(file: Path) -> None:
    assert bool(private_uses(file.read_text())) == (file.name == "internals.py")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from celery.app.defaults import _TO_NEW_KEY", ["_TO_NEW_KEY"]),
        ("request._args", ["_args"]),
        ("class Ours(Loader):\n    def read(self):\n        self._import_config_module()", ["_import_config_module"]),
        (
            "class Ours:\n    def __init__(self):\n        self._app = 1\n    def app(self):\n        return self._app",
            [],
        ),
        ("from sesmail.celery.x import _ours\n__all__ = []", []),
    ],
)
def test_a_private_use_is_noticed(code: str, found: list[str]) -> None:
    assert private_uses(code) == found


def test_what_celery_shows_of_its_configuration_masks_our_addresses() -> None:
    app = Celery("shown", set_as_current=False)
    app.conf.update(
        sesmail_redis_url="redis://:s3cr3t@127.0.0.1/0", sesmail_event_store="postgresql://u:s3cr3t@127.0.0.1/events"
    )
    assert "s3cr3t" not in str(app.conf.table(with_defaults=False, censored=True))
    assert "s3cr3t" not in app.bugreport()
    assert "s3cr3t" not in repr(client_of(app).settings)


def probe() -> None:
    """A task's body, which nobody runs."""


def test_celery_composes_a_whole_ticket_for_a_producer_that_only_takes_it() -> None:
    """`MessageTaker`: nothing is connected to, and what instruments put into the headers is there."""
    app = Celery("test", broker="redis://127.0.0.1:1/0", set_as_current=False)
    task = app.task(name="probe", typing=False)(probe)

    def trace(headers: dict[str, Any], **_: Any) -> None:
        headers["traceparent"] = "00-17-4-01"

    taker = internals.MessageTaker(app.connection_for_write())
    signals.before_task_publish.connect(trace)
    try:
        options = {"link": task.si(), "priority": 3, "headers": {"mine": 1}, "ignore_result": True}
        Task.apply_async(task, (), {"send_id": "a"}, task_id="a", producer=taker, **options)
    finally:
        signals.before_task_publish.disconnect(trace)
    ((body, how),) = taker.messages
    assert body[:2] == ((), {"send_id": "a"})
    assert set(body[2]) == {"callbacks", "errbacks", "chain", "chord"}
    assert body[2]["callbacks"][0]["task"] == "probe"
    assert how["priority"] == 3
    assert set(how["headers"]) - internals.HEADERS_OF_CELERY == {"traceparent", "mine"}
    assert set(how["headers"]) - {"traceparent", "mine"} <= internals.HEADERS_OF_CELERY


def test_kept_headers_go_before_those_of_whoever_publishes_again() -> None:
    app = Celery("test", broker="memory://", set_as_current=False)
    task = app.task(name="probe", typing=False)(probe)
    taker = internals.MessageTaker(app.connection_for_write())
    keeper = internals.HeadersKeeper(taker, "a", {"traceparent": "the caller's", "ignore_result": False})

    def trace(headers: dict[str, Any], **_: Any) -> None:
        headers["traceparent"] = "the sweeper's"

    signals.before_task_publish.connect(trace)
    try:
        Task.apply_async(task, (), {}, task_id="a", producer=keeper, ignore_result=True)
    finally:
        signals.before_task_publish.disconnect(trace)
    ((_, how),) = taker.messages
    assert how["headers"]["traceparent"] == "the caller's"
    assert how["headers"]["ignore_result"] is False


def test_a_task_s_request_has_what_ends_it_under_the_names_that_are_set() -> None:
    """celery/app/task.py: `Context`; celery/app/trace.py and celery/backends/base.py read these."""
    for field in (
        *wishes.CONTINUATIONS.values(),
        *wishes.FAMILY.values(),
        "reply_to",
        "correlation_id",
        "ignore_result",
    ):
        assert hasattr(Context, field), field
    request = Context({"id": "a", "callbacks": ["x"], "chain": ["y"], "chord": {"z": 1}, "errbacks": ["e"]})
    wishes.quieten(request)
    assert (request.callbacks, request.chain, request.chord, request.errbacks) == (None,) * 4
    assert base._is_request_ignore_result(request)
    wishes.put_into(request, {"link_error": ["e"], "chain": ["y"], "group_id": "g"}, is_failure=True)
    assert (request.errbacks, request.chain, request.group) == (["e"], ["y"], "g")
    assert not base._is_request_ignore_result(request)
