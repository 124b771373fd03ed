"""Celery's continuations, whatever an email has to wait for and whoever ends it: each runs, once, and `.get()` ends."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from sesmail.simulator import Simulator
from sesmail.vocabulary import State
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
        self.backends = {"redis": redis, "rpc": "rpc://", "database": f"db+sqlite:///{site.folder}/results.db"}
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
            assert [one["state"] for one in each] == ["sent"] * len(each), name


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
    eventually(lambda: canvas.tickets())
    first.stop()
    canvas.worker("two")
    return program


PAUSE = "from sesmail import current_client; current_client().throttle.line.pause('account', 'by a test')"
GET_QUOTA = """
from datetime import datetime, timezone
from sesmail import current_client
client = current_client()
client.throttle.update_account(rate=100, quota_24h=90_000, sent_24h=0)
for key in client.scripts.redis.scan_iter("{sesmail}:send:*"):
    client.ledger.reschedule(key.decode().rpartition(":")[2], datetime.now(timezone.utc))
"""
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
