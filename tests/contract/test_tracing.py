"""One email, one trace: from `.delay` through a throttle, a lost ticket and SES to its bounce."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from celery.worker.request import Request
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sesmail import Client, send_ses_email
from sesmail.celery.current import client_of
from sesmail.embedded import EmbeddedRedis
from sesmail.events.stores import StoredEvent
from sesmail.message import Email, Lane
from sesmail.simulator import Simulator
from sesmail.tracing import TRACE_TAG
from tests.contract.events.site_of_events import event_like

ADDRESS = "zyzzyva@example.org"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


@pytest.fixture(scope="module")
def ses() -> Iterator[Simulator]:
    with Simulator(rate=100, quota=-1, calls_per_second=None) as ses:
        yield ses


@pytest.fixture
def app(redis: object, redis_server: EmbeddedRedis, ses: Simulator) -> Iterator[Celery]:
    app = Celery("traced", broker=redis_server.url, set_as_current=False)
    app.conf.update(
        sesmail_endpoint_url=ses.url,
        sesmail_region="us-east-1",
        sesmail_from_email="shop@example.com",
        sesmail_site="s",
    )
    app.set_current()
    client_of(app).throttle.update_account(rate=100, quota_24h=-1, sent_24h=0)
    yield app
    client_of(app).close()


def run_a_ticket(app: Celery) -> None:
    """As a worker does with a message of the broker."""
    settings = client_of(app).settings
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(
            settings.transactional_queue_name
            if hasattr(settings, "transactional_queue_name")
            else settings.queue_of("transactional"),
            no_ack=True,
        )  # type: ignore[arg-type]
        message = queue.get(timeout=5)
        queue.close()
    task = app.tasks[message.headers["task"]]
    request = Request(message, app=app, task=task, hostname="one@host")
    tracer = build_tracer(task.name, task, app=app, eager=False)
    tracer(request.id, request.args, request.kwargs, request.request_dict)


def lose_the_ticket(client: Client, send_id: str) -> None:
    """The broker has none any more, and it was issued long since."""
    client.scripts.redis.delete(client.settings.queue_of(Lane.TRANSACTIONAL))
    client.scripts.redis.zadd(client.scripts.keys("in", "queued", "transactional"), {send_id: 1})


def sweep_until_queued(client: Client, send_id: str) -> None:
    deadline = time.monotonic() + 30
    while client.ledger.status(send_id).state != "queued" and time.monotonic() < deadline:
        client.sweeper.sweep()


def hear_of(client: Client, send_id: str, ses: Simulator) -> None:
    """SES tells that it bounced, with the tags that it was given."""
    (sent,) = [each for each in ses.messages() if each["tags"].get("sesmail-id") == send_id]
    event = event_like("ev_bounce_permanent_general.json")
    event["mail"]["tags"] = {name: [value] for name, value in sent["tags"].items()}
    stored = StoredEvent(event_id="e1", source="s", message=json.dumps(event), received_at=time.time())
    client.event_store.put([stored])
    assert client.event_processor.process().processed == 1


@pytest.mark.parametrize("instrumented", [True, False])
def test_a_throttle_a_lost_ticket_ses_and_a_bounce_are_one_trace(app, ses, exporter, instrumented) -> None:
    if instrumented:
        CeleryInstrumentor().instrument()
    client = client_of(app)
    try:
        with trace.get_tracer("a site").start_as_current_span("an order") as order:
            send_id = send_ses_email.delay(ADDRESS, "zyzzyva", "zyzzyva").id
        ses.faults(script=["throttle"])
        run_a_ticket(app)
        assert client.ledger.status(send_id).state == "scheduled"
        sweep_until_queued(client, send_id)
        lose_the_ticket(client, send_id)
        assert client.sweeper.sweep().tickets_reissued == 1
        run_a_ticket(app)
        assert client.ledger.status(send_id).state == "sent"
        hear_of(client, send_id, ses)
    finally:
        if instrumented:
            CeleryInstrumentor().uninstrument()
    spans = exporter.get_finished_spans()
    ours = [each for each in spans if each.name.startswith(("deliver ", "SES "))]
    assert {each.context.trace_id for each in ours} == {order.get_span_context().trace_id}
    assert {each.attributes["sesmail.send_id"] for each in ours} == {send_id}
    assert [(each.name, each.attributes.get("sesmail.cause")) for each in ours] == [
        ("SES SendEmail", None),
        ("deliver email", "throttled"),
        ("SES SendEmail", None),
        ("deliver email", None),
        ("SES Bounced", None),
    ]
    parents = {each.context.span_id: each for each in spans}
    assert {parents[each.parent.span_id].name for each in ours if each.name == "SES Bounced"} == {"deliver email"}
    assert "zyzzyva" not in " ".join(each.to_json() for each in spans)


def test_each_ticket_has_the_trace_of_its_own_caller_or_none(app, exporter) -> None:
    tracer, expected, found = trace.get_tracer("a site"), [], []
    for name in ("one", "", "another"):
        if name:
            with tracer.start_as_current_span(name) as span:
                send_ses_email.delay(ADDRESS, name, "Hi.")
                expected.append(f"{span.get_span_context().trace_id:032x}")
        else:
            send_ses_email.delay(ADDRESS, "none", "Hi.")
            expected.append("")
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(client_of(app).settings.queue_of(Lane.TRANSACTIONAL), no_ack=True)
        for _ in range(3):
            carried = queue.get(timeout=5).headers.get("traceparent", "")
            found.append(carried.split("-")[1] if carried else "")
        queue.close()
    assert found == expected


def test_nobody_who_traces_nothing_sends_a_tag_or_starts_a_trace_of_events(app, ses, exporter) -> None:
    client = client_of(app)
    send_id = send_ses_email.delay(ADDRESS, "zyzzyva", "zyzzyva").id
    exporter.clear()
    claim = client.ledger.claim(send_id, "worker")
    assert claim.email.tags == {}
    not_traced = trace.NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)
    with trace.use_span(not_traced):
        request = client.transport.compose(Email(ADDRESS, "s", "t", from_email="shop@example.com"), send_id="a").request
    assert TRACE_TAG not in [tag["Name"] for tag in request["EmailTags"]]
    event = event_like("ev_bounce_permanent_general.json")
    stored = StoredEvent(event_id="e2", source="s", message=json.dumps(event), received_at=time.time())
    client.event_store.put([stored])
    client.event_processor.process()
    assert [each.name for each in exporter.get_finished_spans()] == []
