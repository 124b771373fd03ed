"""Celery's continuations, whatever an email has to wait for and whoever ends it: each runs, once, and `.get()` ends."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from sesmail.simulator import Simulator
from sesmail.state.keys import Keys
from sesmail.state.scripts import Scripts
from sesmail.state.suppression import OptOut, Scope, SuppressionList
from sesmail.vocabulary import Reason
from tests.acceptance.conftest import Site
from tests.acceptance.programs import Program, eventually

APP = "tests.acceptance.canvas_app"
MARKS = {
    "link": ["link"],
    "links": ["links-1", "links-2"],
    "linked-group": ["linked-1", "linked-2"],
    "chain": ["chain"],
    "chain-of-emails": ["first", "chain-of-emails"],
    "chord": ["chord"],
    "ignored": ["ignored"],
}
"""What each canvas runs once its emails are sent."""
EMAILS = 13
AT_ONCE = EMAILS - 1
"""All but the second one of a chain."""
SENT = {name: name for name in ("chain", "chain-of-emails", "chord")} | {"ignored": None}
"""What `.get()` answers, where that is not the emails' own."""


@pytest.fixture
def own_ses() -> Iterator[Simulator]:
    with Simulator(rate=100, calls_per_second=None) as simulator:
        yield simulator


@pytest.fixture
def canvas(new_site: Callable[..., Site], own_ses: Simulator) -> Canvas:
    return Canvas(new_site(own_ses, SESMAIL_FROM_EMAIL="shop@example.com"))


class Canvas:
    """A site with that app."""

    def __init__(self, site: Site) -> None:
        self.site = site
        redis = site.variables["SESMAIL_REDIS_URL"]
        self.backends = {
            "redis": redis,
            "rpc": "rpc://",
            "database": f"db+sqlite:///{site.folder}/results.db?timeout=60",
        }
        self.backend = "redis"

    def worker(self, name: str = "one", **environment: str) -> Program:
        own = {"CANVAS_BACKEND": self.backends[self.backend], **environment}
        return self.site.start_worker(APP, "--pool", "threads", "-c", "4", "-n", f"{name}@test", **own)

    def publish(self, *kinds: str, **environment: str) -> Program:
        """Start the program that queues; what it says last is what each `.get()` answered."""
        own = {"CANVAS_BACKEND": self.backends[self.backend], **environment}
        return self.site.start("python", "-m", APP, *kinds, **own).wait_for("published")

    def marks(self) -> Counter[str]:
        return Counter(json.loads(mark)[0] for mark in self.site.redis.lrange("marks", 0, -1))

    def tickets(self) -> list[tuple[str, str | None, int | None]]:
        return [tuple(json.loads(ticket)) for ticket in self.site.redis.lrange("tickets", 0, -1)]

    def answers(self, program: Program) -> dict[str, object]:
        """Once all has ended."""
        assert program.wait() == 0, program.output
        return json.loads(program.output.strip().splitlines()[-1])

    def wait_for_states(self, **counts: int) -> None:
        eventually(
            lambda: all(self.site.ledger.counts()[state] == n for state, n in counts.items()),
            explain=lambda: repr(self.site.ledger.counts()),
        )

    def nothing_is_left(self) -> bool:
        """Whether every caller is answered, and what was kept for that is gone."""
        rows = [self.site.redis.hkeys(key) for key in self.site.redis.scan_iter("{sesmail}:send:*")]
        left = [name for row in rows for name in row if name.startswith((b"caller", b"answering", b"asked"))]
        return not left and not self.site.redis.zcard("{sesmail}:unanswered")


def all_ran_once(canvas: Canvas, program: Program, kinds: dict[str, list[str]] = MARKS) -> None:
    answers = canvas.answers(program)
    expected = Counter(name for marks in kinds.values() for name in marks)
    eventually(lambda: canvas.marks().total() >= expected.total(), explain=lambda: repr(canvas.marks()))
    eventually(canvas.nothing_is_left)
    assert canvas.marks() == expected
    for name, answer in answers.items():
        if name in SENT:
            assert answer == SENT[name], name
        else:
            each = answer if isinstance(answer, list) else [answer]
            assert [isinstance(one, dict) and one["state"] for one in each] == ["sent"] * len(each), answers


def without_wait(canvas: Canvas) -> Program:
    canvas.worker()
    return canvas.publish()


def throttled_once(canvas: Canvas) -> Program:
    canvas.site.ses.faults(script=["throttle"] * EMAILS)
    canvas.worker()
    return canvas.publish()


def paused(canvas: Canvas) -> Program:
    canvas.site.python(PAUSE)
    canvas.worker()
    program = canvas.publish()
    canvas.wait_for_states(scheduled=AT_ONCE)
    canvas.site.python(RESUME)
    return program


def with_countdown(canvas: Canvas) -> Program:
    canvas.worker()
    return canvas.publish(CANVAS_OPTIONS='{"countdown": 1.5}')


def quota_used_up(canvas: Canvas) -> Program:
    """Others have used it up; then the account gets a larger one."""
    canvas.site.ses.faults(rules=[{"fault": "daily_quota"}])
    canvas.worker()
    program = canvas.publish(CANVAS_TO="ann@example.org")
    canvas.wait_for_states(scheduled=AT_ONCE)
    canvas.site.ses.faults()
    canvas.site.python(GET_QUOTA)
    return program


def lost_ticket(canvas: Canvas) -> Program:
    program = canvas.publish()
    canvas.site.redis.delete("sesmail.transactional", "sesmail.bulk")
    canvas.worker(SESMAIL_TICKET_GRACE_SECONDS="1")
    return program


def another_worker(canvas: Canvas) -> Program:
    """The one that had the ticket is gone when the email is sent."""
    canvas.site.ses.faults(script=["throttle"] * EMAILS)
    first = canvas.worker("one")
    program = canvas.publish()
    eventually(canvas.tickets)
    first.stop()
    canvas.worker("two")
    return program


PAUSE = "from sesmail import current_client; current_client().throttle.line.pause('account', 'by a test')"
GET_QUOTA = "from sesmail import current_client; current_client().throttle.update_account(rate=100, quota_24h=90_000, sent_24h=0)"
RESUME = "from sesmail import current_client; current_client().throttle.line.resume('account')"


@pytest.mark.parametrize(
    "waits", [without_wait, throttled_once, paused, with_countdown, quota_used_up, lost_ticket, another_worker]
)
def test_every_continuation_runs_once(canvas: Canvas, waits: Callable[[Canvas], Program]) -> None:
    program = waits(canvas)
    all_ran_once(canvas, program)
    assert canvas.site.ses.report()["duplicates"]["ids"] == 0
    of_headers = [(trace, priority) for send_id, trace, priority in canvas.tickets() if send_id == "headers"]
    assert set(of_headers) == {("00-17-4-01", 3)}, "each ticket, also one issued again, is as good as the first"


# -- who ends it, and how ---------------------------------------------------------------------------------------------

FAILED = {"link": ["link-error"], "chain": [], "group": [], "chord": [], "plain": []}
FIVE = tuple(FAILED)


def ended_by_an_operator(canvas: Canvas) -> Program:
    """Nobody has a ticket by then: the emails wait, and their sends are cancelled."""
    program = canvas.publish(*FIVE, CANVAS_OPTIONS='{"countdown": 3600}')
    canvas.site.python(f"{FOR_EACH}\n    client.ledger.cancel(send_id)")
    canvas.worker()
    return program


def expired(canvas: Canvas) -> Program:
    program = canvas.publish(*FIVE, CANVAS_OPTIONS='{"expires": 0.2}')
    canvas.worker()
    return program


def suppressed(canvas: Canvas) -> Program:
    opt_out = OptOut(
        address="success@simulator.amazonses.com", scope=Scope(), reason=Reason.MANUAL, since=datetime.now(UTC)
    )
    SuppressionList(Scripts(canvas.site.redis, Keys())).add(opt_out)
    canvas.worker()
    return canvas.publish(*FIVE)


def rejected(canvas: Canvas) -> Program:
    canvas.site.ses.faults(rules=[{"fault": "rejected"}])
    canvas.worker()
    return canvas.publish(*FIVE)


def abandoned(canvas: Canvas) -> Program:
    """SES never gives a clear answer, and no event comes: the sweeper gives it up."""
    canvas.site.ses.faults(rules=[{"fault": "reset_before"}])
    canvas.worker(SESMAIL_MAX_ATTEMPTS="1", SESMAIL_EVIDENCE_WINDOW_SECONDS="1")
    return canvas.publish(*FIVE)


FOR_EACH = """
from sesmail import current_client
client = current_client()
for key in client.scripts.redis.scan_iter("{sesmail}:send:*"):
    send_id = key.decode().rpartition(":")[2]"""


@pytest.mark.parametrize("ends", [ended_by_an_operator, expired, suppressed, rejected, abandoned])
def test_whatever_ends_it_unsent_link_error_is_called_once_and_get_raises(
    canvas: Canvas, ends: Callable[[Canvas], Program]
) -> None:
    program = ends(canvas)
    answers = canvas.answers(program)
    eventually(canvas.nothing_is_left)
    error = "SendRejected" if ends is rejected else "NotSent"
    assert set(answers.values()) == {error}
    assert canvas.marks() == Counter(["link-error"])


def test_unknown_is_no_success_and_what_follows_runs_when_an_event_settles_it(canvas: Canvas) -> None:
    canvas.site.ses.faults(script=["reset_after"] * 2)
    canvas.worker()
    program = canvas.publish("link", "chain")
    canvas.wait_for_states(unknown=2)
    assert not canvas.marks()
    canvas.site.python(f"{FOR_EACH}\n    client.ledger.record_evidence(send_id, f'ses-{{send_id}}')")
    answers = canvas.answers(program)
    eventually(canvas.nothing_is_left)
    assert answers == {"link": {"state": "sent", "message_id": "ses-link"}, "chain": "chain"}
    assert canvas.marks() == Counter(["link", "chain"])


@pytest.mark.parametrize("step", ["after_begin", "before_ack"])
def test_what_follows_runs_though_the_worker_died(canvas: Canvas, step: str) -> None:
    """Before SES was asked, and when its yes was written down but nothing had followed yet."""
    dying = canvas.worker("dying", SESMAIL_EVIDENCE_WINDOW_SECONDS="1", SESMAIL_LEASE_SECONDS="2", STRIKE="KILL self")
    program = canvas.publish("link", CANVAS_IDS=f"{step}-")
    eventually(dying.has_ended)
    canvas.worker("next", SESMAIL_EVIDENCE_WINDOW_SECONDS="1", SESMAIL_LEASE_SECONDS="2")
    assert canvas.answers(program)["link"]["state"] == "sent"
    eventually(canvas.nothing_is_left)
    assert canvas.marks() == Counter(["link"])


@pytest.mark.parametrize("backend", ["rpc", "database"])
def test_get_ends_with_every_result_backend(canvas: Canvas, backend: str) -> None:
    """After a wait, where it is sent and where it is not."""
    canvas.backend = backend
    if backend == "database":  # before several processes make its tables at once
        canvas.site.python(
            "from tests.acceptance.canvas_app import app; app.backend.get_state('none')",
            CANVAS_BACKEND=canvas.backends[backend],
        )
    canvas.site.ses.faults(script=["throttle"] * 5)
    program = canvas.publish("link", "chain", "group", "headers", "ignored")
    canvas.site.redis.delete("sesmail.transactional")
    cancelled = canvas.publish("plain", CANVAS_OPTIONS='{"countdown": 3600}')
    canvas.site.python("from sesmail import cancel; cancel('plain')")
    canvas.worker(SESMAIL_TICKET_GRACE_SECONDS="1")
    assert canvas.answers(cancelled) == {"plain": "NotSent"}
    kinds = {name: MARKS[name] for name in ("link", "chain", "ignored")}
    all_ran_once(canvas, program, kinds)


def test_the_same_idempotency_key_twice_calls_what_either_call_gave(canvas: Canvas) -> None:
    """Once while the email waits, and once when it has been sent long since."""
    canvas.worker()
    call = """
import sys
from tests.acceptance.canvas_app import mark, send
for name in sys.argv[1:]:
    options = {"link": mark.si(name=name), "countdown": 1}
    send.apply_async(("ann@example.org", "s", "t"), {"idempotency_key": "order-17"}, **options)
"""
    canvas.site.python(f"import sys; sys.argv[1:] = ['first', 'second']\n{call}")
    eventually(lambda: canvas.marks() == Counter(["first", "second"]), explain=lambda: repr(canvas.marks()))
    canvas.site.python(f"import sys; sys.argv[1:] = ['third']\n{call}")
    eventually(lambda: canvas.marks() == Counter(["first", "second", "third"]), explain=lambda: repr(canvas.marks()))
    eventually(canvas.nothing_is_left)
    assert canvas.site.ledger.counts()["sent"] == 1


def test_what_cannot_be_kept_is_refused_before_anything_is_queued(canvas: Canvas) -> None:
    script = """
from sesmail import InvalidEmail
from tests.acceptance.canvas_app import mark, send
for argument in (object(), "x" * 1_000_001):
    try:
        send.apply_async(("ann@example.org", "s", "t"), link=mark.si(argument, name="never"))
    except InvalidEmail as error:
        print(error.field, error.problem)
"""
    said = canvas.site.python(script).splitlines()
    assert [line.partition(" ")[0] for line in said] == ["link", "link"]
    assert canvas.site.ledger.counts()["queued"] == 0
