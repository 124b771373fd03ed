"""What an email says, and to whom, is shown nowhere: everything that an operator can look at is searched for it."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest

from sesmail.simulator import Simulator
from tests.acceptance.programs import CELERY, eventually, fetch, free_port

BOUNCE = Path(__file__).parents[1] / "fixtures" / "events" / "ev_bounce_permanent_general.json"
SECRET = "zyzzyva"
"""In every address, subject, body, file name, header, tag, key and piece of metadata below, and nowhere else."""

CELERYCONFIG = """
import os
result_backend = os.environ["CELERY_BROKER_URL"]
task_ignore_result = False
task_send_sent_event = worker_send_task_events = True
worker_prefetch_multiplier = 4
imports = ["broken_transport", "watched"]
result_extended = True
"""

BROKEN_TRANSPORT = """
from sesmail.ses.transport import SesTransport

whole = SesTransport.send_composed

def send(self, composed):
    email = composed.email
    if "broken" in email.tags:
        raise UnicodeEncodeError("ascii", f"{email.to} {email.subject} {email.text}", 0, 1, "an error that quotes the email")
    return whole(self, composed)

SesTransport.send_composed = send
"""

WATCHED = """
import os
import sentry_sdk
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from sentry_sdk.transport import Transport


class ToFile(Transport):
    def capture_envelope(self, envelope):
        with open(f"sentry-{os.getpid()}", "ab") as file:
            file.write(envelope.serialize() + b"\\n")


options = {"traces_sample_rate": 1.0, "transport": ToFile, "send_default_pii": os.environ.get("PII", "1") == "1"}
sentry_sdk.init(dsn="http://public@127.0.0.1:1/1", max_value_length=100_000, **options)
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=open(f"spans-{os.getpid()}", "a"))))
for instrumentor in (BotocoreInstrumentor, CeleryInstrumentor, RedisInstrumentor):
    instrumentor().instrument(tracer_provider=provider)
"""

EVERY_ERROR = f"""
import asyncio, contextlib, datetime, os, sys
import watched
import sentry_sdk
from sesmail import Attachment, Client, Email, Settings, current_client, send_ses_email, signals
from sesmail.events.stores import StoredEvent
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.vocabulary import Reason

class Own:  # a program's own variables are its own affair
    good = {{"to": "{SECRET}@example.org", "subject": "{SECRET}", "text": "{SECRET}", "from_email": "{SECRET}@example.com",
             "metadata": {{"customer": "{SECRET}"}}}}
    bad = good | {{"to": "{SECRET} at example.org"}}
    address = "{SECRET}@example.net"
    opt_out = OptOut(address=address, scope=Scope(), reason=Reason.MANUAL, since=datetime.datetime.now(datetime.timezone.utc))

@contextlib.contextmanager
def told(kind, what):
    try:
        yield
    except kind as error:
        sentry_sdk.capture_exception(error)
        print(what)
    else:
        print(f"no {{kind.__name__}}: {{what}}")

def every_way(kind, email):
    with told(kind, "delay"):
        send_ses_email.delay(**Own.__dict__[email])
    with told(kind, "apply_async"):
        send_ses_email.apply_async(kwargs=Own.__dict__[email])
    with told(kind, "adelay"):
        asyncio.run(send_ses_email.adelay(**Own.__dict__[email]))
    with told(kind, "called"):
        send_ses_email(**Own.__dict__[email])
    with told(kind, "client"):
        current_client().send(Email(**Own.__dict__[email]))
    with told(kind, "outbox"):
        current_client().outbox.send_lot([Email(**Own.__dict__[email])])

with sentry_sdk.start_transaction(name="all is well"):
    send_ses_email.delay(**Own.good)
    opt_outs = current_client().suppression
    opt_outs.add(Own.opt_out); opt_outs.find(Own.address); opt_outs.remove(Own.address, Scope())
    with told(Exception, "file"):
        Attachment("{SECRET}.exe", b"{SECRET}")
    every_way(Exception, "bad")
    client, message = current_client(), open(os.environ["BOUNCE"]).read().replace("gone@", "{SECRET}@").replace("0100019a7c3", "0100019a7c" + os.environ["PII"])
    assert "{SECRET}" in message
    client.event_store.put([StoredEvent(event_id=os.environ["PII"], source="default", message=message, received_at=1.0)])

    @signals.email_bounced.connect
    def receiver(site, event, metadata):
        raise ValueError(event.recipient)

    assert client.event_processor.process().failed == 1
    print(*client.suppression.read())
broken = Client(Settings(redis_url=current_client().settings.redis_url.rpartition("/")[0] + "/99"))
with told(Exception, "refused"):
    broken.send(Email(**Own.good))
with told(Exception, "opt-outs"):
    broken.suppression.add(Own.opt_out)
with told(Exception, "away"):
    Client(Settings(redis_url="redis://127.0.0.1:1/0")).send(Email(**Own.good))
print("done")
"""

BY_DDTRACE = f"""
import ddtrace
from ddtrace.trace import TraceFilter, tracer

kept = []

class Keep(TraceFilter):
    def process_trace(self, trace):
        kept.extend((span.name, span.resource, str(span.get_tags())) for span in trace)
        return None  # nothing is sent to an agent

tracer.configure(trace_processors=[Keep()])
ddtrace.patch(redis=True, celery=True, botocore=True)
from sesmail import InvalidEmail, current_client, send_ses_email, status
from sesmail.message import Email

email = {{"to": "{SECRET}@example.org", "subject": "{SECRET}", "text": "{SECRET}", "from_email": "{SECRET}@example.com"}}
with tracer.trace("a view"):
    assert send_ses_email(**email)["state"] == "sent"  # the worker's half, here and now
    send_ses_email.delay(**email)
    current_client().outbox.send_lot([Email(**email, lane="bulk")] * 2)
    try:
        send_ses_email.delay(**email | {{"to": "{SECRET} at example.org"}})
    except InvalidEmail:
        pass
    else:
        raise SystemExit("no InvalidEmail")
print(*kept, sep="\\n")
"""

EMAIL = f"""
import json, logging, sys
logging.basicConfig(level=logging.DEBUG)
from sesmail import current_client, send_ses_email
email = dict(
    to=["{SECRET} <{SECRET}@example.org>"], cc="{SECRET}@example.net", subject="{SECRET}", text="{SECRET}",
    html="<p>{SECRET}</p>" * 200, from_email="{SECRET}@example.com", reply_to="{SECRET}@example.com",
    headers={{"X-Own": "{SECRET}"}}, metadata={{"customer": "{SECRET}"}}, tags={{"own": "{SECRET}"}},
    attachments=[{{"filename": "{SECRET}.txt", "content": "{SECRET}"}}])
"""
DELAY = """
from sesmail import Email
for lane in ("transactional", "bulk"):
    send_ses_email.delay(**email, lane=lane)
current_client().outbox.send_lot([Email(**email, lane="bulk")] * 2)
"""
BY_NAME = """
from uuid import uuid4
from sesmail import app
app.conf.task_send_sent_event = False  # or the producer itself would show its arguments to Flower
email["attachments"] = [{"filename": email["subject"] + ".txt", "content": email["text"]}]
def by_name(email, **options):
    return app.send_task("sesmail.send_ses_email", kwargs=email, **options).id
"""
EVERY_WAY = (
    EMAIL
    + """
many = {"to": [f"zyzzyva{n}@example.org" for n in range(99)]}
ids = {way: send_ses_email.delay(**email).id for way in ("rejected", "unknown")}
ids["unverified"] = send_ses_email.delay(**email | {"from_email": "zyzzyva@example.net"}).id
ids["throttled"] = send_ses_email.delay(**email).id
ids["a bug"] = send_ses_email.delay(**email | {"tags": {"broken": "1"}}).id
try:
    send_ses_email.delay(**email | many)
except Exception as error:
    logging.debug("%s %r", error, error)
"""
    + BY_NAME
    + """
ids["by name"] = by_name(email)
ids["invalid"] = by_name(email | many)
ids["no such field"] = by_name({"recipient": email.pop("to")})
with app.connection_for_write() as broker:  # in another language, with no more headers than Celery's protocol asks for
    ids["other language"] = str(uuid4())
    headers = {"lang": "js", "task": "sesmail.send_ses_email", "id": ids["other language"]}
    message = [["zyzzyva@example.org", "zyzzyva", "zyzzyva"], {"from_email": "zyzzyva@example.com"}, {}]
    broker.Producer().publish(message, routing_key="sesmail.transactional", headers=headers, serializer="json")
print(json.dumps(ids))
"""
)
BECOMES = {
    "rejected": "rejected",
    "unknown": "unknown",
    "unverified": "scheduled",
    "throttled": "sent",
    "a bug": "unknown",
    "by name": "sent",
    "invalid": "abandoned",
    "no such field": "abandoned",
    "other language": "sent",
}


@pytest.fixture(scope="module")
def own_ses():
    """Faults are everybody's, so this module has a local SES of its own."""
    with Simulator(rate=500, calls_per_second=None, identities=("example.com",)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def place(new_site, own_ses):
    site = new_site(own_ses)
    (site.folder / "celeryconfig.py").write_text(CELERYCONFIG)
    (site.folder / "broken_transport.py").write_text(BROKEN_TRANSPORT)
    (site.folder / "watched.py").write_text(WATCHED)
    return site


@pytest.fixture(scope="module")
def events(place):
    program = place.start(*CELERY, "-A", "sesmail", "events", "--dump")
    return program.wait_for("evdump: starting capture")


@pytest.fixture(scope="module")
def flower(place):
    port = free_port()
    options = [
        f"--port={port}",
        "--address=127.0.0.1",
        "--persistent=True",
        "--db=flower.db",
        "--state_save_interval=200",
    ]
    program = place.start(
        *CELERY, "-A", "sesmail", "flower", "-l", "DEBUG", *options, FLOWER_UNAUTHENTICATED_API="true"
    )
    program.wait_for("Connected to")
    return f"http://127.0.0.1:{port}", program


@pytest.fixture(scope="module")
def tickets(place):
    """What the broker holds of emails that were sent with `delay`, before any worker has come."""
    place.python(EMAIL + DELAY)
    messages = place.redis.lrange("sesmail.transactional", 0, -1) + place.redis.lrange("sesmail.bulk", 0, -1)
    assert len(messages) == 3
    return [message.decode() + base64.b64decode(json.loads(message)["body"]).decode() for message in messages]


@pytest.fixture(scope="module")
def worker(place, tickets, events, flower):
    worker = place.start_worker("sesmail", "-c", "1", "-l", "DEBUG", "-E")
    eventually(lambda: place.ledger.counts()["sent"] == 4)
    return worker


@pytest.fixture(scope="module")
def sent_every_way(place, own_ses, worker):
    """What a producer said while it sent emails that met everything an email can meet, and their ids."""
    own_ses.faults(script=["rejected", "reset_after", "ok", "throttle"])
    said = place.python(EVERY_WAY)
    ids = json.loads(said.splitlines()[-1])
    for way, state in BECOMES.items():
        place.status(ids[way], state)
    return said, ids


INSPECT = """
import json, socket
from sesmail import app
worker = app.control.inspect([f"celery@{socket.gethostname()}"], timeout=20)
print(json.dumps({what: json.dumps(getattr(worker, what)()) for what in ("active", "reserved", "scheduled", "conf")}))
"""


@pytest.fixture(scope="module")
def inspected(place, own_ses, sent_every_way):
    """What `celery inspect` answers while one email is being sent, others wait in the worker, and one for its time."""
    own_ses.faults(rules=[{"fault": "slow", "seconds": 50, "calls": 1}])
    place.python(EMAIL + BY_NAME + "by_name(email, countdown=600); by_name(email); by_name(email); by_name(email)")
    eventually(lambda: own_ses.report()["faults"].get("slow"))
    return json.loads(place.python(INSPECT).splitlines()[-1])


def assert_secret(text: str) -> None:
    at = text.lower().find(SECRET)
    assert at < 0, text[max(0, at - 1000) : at + 200]
    encoded = [base64.b64encode(b" " * shift + SECRET.encode())[4:-4].decode() for shift in range(3)]
    assert not any(part in text for part in encoded)


def test_tickets_hold_nothing(tickets):
    for ticket in tickets:
        assert_secret(ticket)


def test_a_producer_says_nothing_at_debug_level(sent_every_way):
    said, _ = sent_every_way
    assert "has too many entries" in said
    assert_secret(said)


def test_the_worker_s_log_at_debug_level_holds_nothing(worker, sent_every_way, inspected):
    _, ids = sent_every_way
    assert all(send_id in worker.output for send_id in ids.values())
    assert "UnicodeEncodeError while SES was asked" in worker.output
    assert "broken_transport.py" in worker.output  # where the bug is, is shown
    assert_secret(worker.output)


@pytest.mark.parametrize("way", ["rejected", "invalid", "no such field"])
def test_an_email_that_cannot_be_sent_is_one_line_in_the_worker_s_log_without_a_traceback(worker, sent_every_way, way):
    _, ids = sent_every_way
    lines = eventually(lambda: [line for line in worker.output.splitlines() if f"[{ids[way]}] raised" in line])
    assert [(": INFO/" in line, "raised expected: " in line) for line in lines] == [(True, True)]
    after = worker.output.partition(lines[0])[2].splitlines()[1]
    assert after.startswith("["), f"more than a line: {after}"


@pytest.mark.usefixtures("sent_every_way")
def test_a_bug_is_shown_with_its_traceback(worker):
    at = eventually(lambda: worker.output.partition("a bug cut off a send")[2])
    assert at.splitlines()[1].startswith("Traceback")


@pytest.mark.parametrize("what", ["active", "reserved", "scheduled", "conf"])
def test_inspect_shows_nothing(inspected, what):
    assert "sesmail.send_ses_email" in inspected[what] or what == "conf"
    assert_secret(inspected[what])


def test_events_hold_nothing(events, sent_every_way):
    _, ids = sent_every_way
    eventually(
        lambda: all(send_id in events.output for send_id in ids.values()),
        explain=lambda: f"missing: {[way for way in ids if ids[way] not in events.output]}",
    )
    assert_secret(events.output)


def test_flower_shows_and_keeps_nothing(place, flower, sent_every_way, inspected):
    url, program = flower
    _, ids = sent_every_way
    eventually(lambda: all(send_id in fetch(f"{url}/api/tasks") for send_id in ids.values()))
    table = {
        "draw": 1,
        "start": 0,
        "length": 100,
        "search[value]": "",
        "order[0][column]": 0,
        "order[0][dir]": "asc",
        "columns[0][data]": "name",
    }
    pages = [
        "",
        "workers",
        "tasks",
        f"tasks/datatable?{urlencode(table)}",
        "broker",
        "metrics",
        "api/tasks",
        "api/workers?refresh=1",
    ]
    pages += [f"task/{send_id}" for send_id in ids.values()] + [f"api/task/info/{send_id}" for send_id in ids.values()]
    for page in pages:
        assert_secret(fetch(f"{url}/{page}"))
    assert_secret(program.output)

    def kept() -> bytes:
        with suppress(FileNotFoundError):  # it is just being saved
            return b"".join(path.read_bytes() for path in place.folder.glob("flower.db*"))
        return b""

    eventually(lambda: ids["by name"].encode() in kept())
    program.kill()  # when asked to end while it saves, it may forget that
    assert_secret(kept().decode(errors="replace"))


def test_neither_results_nor_names_of_keys_hold_anything(place, sent_every_way):
    _, ids = sent_every_way
    keys = [key.decode() for key in place.redis.scan_iter()]
    results = {key: place.redis.get(key).decode() for key in keys if key.startswith("celery-task-meta-")}
    assert {f"celery-task-meta-{send_id}" for send_id in ids.values()} <= set(results)
    assert_secret("\n".join(keys))
    for result in results.values():
        assert_secret(result)


def test_reasons_that_are_kept_for_operators_hold_nothing(place, sent_every_way):
    _, ids = sent_every_way
    for send_id in ids.values():
        assert_secret(repr(place.ledger.status(send_id)))


def test_what_the_worker_tells_sentry_and_opentelemetry_holds_nothing(place, worker, sent_every_way, inspected):
    for kind, expected in (("sentry", "SendRejected"), ("spans", "SendEmail")):
        told = "".join(path.read_text() for path in place.folder.glob(f"{kind}-*"))
        assert expected in told
        assert_secret(told)


@pytest.mark.parametrize("pii", ["0", "1"])
def test_no_error_of_a_producer_carries_an_email_to_sentry_or_opentelemetry(place, tmp_path, pii):
    (tmp_path / "watched.py").write_text(WATCHED)
    said = place.python(EVERY_ERROR, folder=tmp_path, PII=pii, BOUNCE=str(BOUNCE))
    assert "no Exception" not in said
    told = {kind: "".join(path.read_text() for path in tmp_path.glob(f"{kind}-*")) for kind in ("sentry", "spans")}
    assert all(name in told["sentry"] for name in ("InvalidEmail", "LedgerRefuses", "LedgerUnavailable", "EVALSHA"))
    assert "EVALSHA" in told["spans"]
    for text in told.values():
        assert_secret(text)


def test_what_ddtrace_is_told_holds_nothing(place, tmp_path):
    """Its spans hold each command to Redis as it is given."""
    pytest.importorskip("ddtrace")
    told = place.python(BY_DDTRACE, folder=tmp_path, DD_INSTRUMENTATION_TELEMETRY_ENABLED="0")
    assert "redis.raw_command" in told
    assert "EVALSHA" in told
    assert_secret(told)
