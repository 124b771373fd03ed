"""Celery's continuations, whatever an email has to wait for and whoever ends it: each runs, once, and `.get()` ends.

One fleet has all that is sent in the end, another all that is not: an account of SES for each kind of trouble keeps them
apart, so that every email of a fleet is under way at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from sesmail import Client, Settings
from sesmail.errors import UnknownSend
from sesmail.simulator import Simulator
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.vocabulary import Reason, State
from tests.acceptance.conftest import Site
from tests.acceptance.programs import Program, eventually

APP = "tests.acceptance.canvas_app"
MARKS = {
    "link": ["link"],
    "links": ["links-1", "links-2"],
    "linked-group": ["linked-1", "linked-2"],
    "chain": ["chain"],
    "chain-of-emails": ["first", "chain-of-emails"],
    "group": [],
    "chord": ["chord"],
    "headers": [],
    "ignored": ["ignored"],
    "plain": [],
}
"""What each kind of canvas runs once its emails are sent."""
AT_ONCE = (
    *("link", "links", "linked-group", "chain", "second", "group-1", "group-2", "chord-1", "chord-2", "headers"),
    *("ignored", "plain"),
)
"""Its emails, but for the one that another has to go before."""
SENT = {"chain": "chain", "chain-of-emails": "chain-of-emails", "chord": "chord", "ignored": None}
"""What `.get()` answers, where that is not the emails' own."""


class Canvas:
    """A site with that app, and a local SES for each account that it sends through, by the part before a dot."""

    def __init__(self, new_site: Callable[..., Site], servers: ExitStack, *accounts: str) -> None:
        def start() -> Simulator:
            return servers.enter_context(Simulator(rate=200, calls_per_second=None))

        first, self.ses = start(), {name: start() for name in accounts if "." not in name}
        self._accounts = {name: {"endpoint_url": self.ses[name.partition(".")[0]].url} for name in accounts}
        self.ses["default"] = first
        more = {"SESMAIL_ACCOUNTS": json.dumps(self._accounts)} if accounts else {}
        self.site = new_site(first, SESMAIL_FROM_EMAIL="shop@example.com", **more)
        redis = self.site.variables["SESMAIL_REDIS_URL"]
        self.backends = {
            "redis": redis,
            "rpc": "rpc://",
            "database": f"db+sqlite:///{self.site.folder}/results.db?timeout=60",
        }
        self.backend = "redis"

    @cached_property
    def client(self) -> Client:
        return Client(Settings(redis_url=self.site.variables["SESMAIL_REDIS_URL"], accounts=self._accounts))

    def worker(self, name: str = "one", threads: int = 4, **environment: str) -> Program:
        own = {"CANVAS_BACKEND": self.backends[self.backend], **environment}
        return self.site.start_worker(APP, "--pool", "threads", "-c", str(threads), "-n", f"{name}@test", **own)

    def publish(self, *waits: dict[str, Any]) -> Program:
        """Start the program that queues; what it says last is what each `.get()` answered."""
        own = {"CANVAS_BACKEND": self.backends[self.backend]}
        return self.site.start("python", "-m", APP, json.dumps(waits), **own).wait_for("published")

    def marks(self, wait: str = "") -> Counter[str]:
        """What ran, of those that waited for this, without its name."""
        prefix = f"{wait}-" if wait else ""
        names = (json.loads(mark)[0] for mark in self.site.redis.lrange("marks", 0, -1))
        return Counter(name.removeprefix(prefix) for name in names if name.startswith(prefix))

    def tickets(self) -> list[tuple[str, str | None, int | None]]:
        return [tuple(json.loads(ticket)) for ticket in self.site.redis.lrange("tickets", 0, -1)]

    def lose_tickets(self, prefix: str) -> int:
        """As a broker loses them that was restarted; how many there were."""
        redis, lost = self.site.redis, 0
        for queue in [*redis.scan_iter("sesmail.transactional*", _type="list")]:  # kombu has one for each priority
            for ticket in redis.lrange(queue, 0, -1):
                if json.loads(ticket)["headers"]["id"].startswith(prefix):
                    lost += redis.lrem(queue, 1, ticket)
        return lost

    def state(self, send_id: str) -> State | None:
        try:
            return self.client.ledger.status(send_id).state
        except UnknownSend:
            return None

    def wait_for_state(self, state: State, wait: str, names: Iterable[str] = AT_ONCE) -> None:
        ids = [f"{wait}-{name}" for name in names]
        eventually(
            lambda: all(self.state(send_id) is state for send_id in ids),
            explain=lambda: repr({send_id: self.state(send_id) for send_id in ids}),
        )

    def wait_for_marks(self, wait: str, kinds: Iterable[str] = MARKS) -> None:
        expected = Counter(name for kind in kinds for name in MARKS[kind])
        eventually(lambda: not expected - self.marks(wait), explain=lambda: repr(self.marks(wait)))

    def answers(self, program: Program) -> dict[str, Any]:
        """Once all has ended."""
        assert program.wait() == 0, program.output
        answers: dict[str, Any] = json.loads(program.output.strip().splitlines()[-1])
        eventually(self.nothing_is_left)
        return answers

    def nothing_is_left(self, *but: str) -> bool:
        """Whether every caller is answered, and what was kept for that is gone, but for those who wait for this."""
        sends = {key.decode().rpartition(":")[2]: key for key in self.site.redis.scan_iter("{sesmail}:send:*")}
        rows = [self.site.redis.hkeys(key) for send_id, key in sends.items() if not send_id.startswith(but)]
        left = [name for row in rows for name in row if name.startswith((b"caller", b"answering", b"asked"))]
        return not left and (bool(but) or not self.site.redis.zcard("{sesmail}:unanswered"))


def all_ran_once(canvas: Canvas, wait: str, answers: dict[str, Any], kinds: Iterable[str] = MARKS) -> None:
    assert canvas.marks(wait) == Counter(name for kind in kinds for name in MARKS[kind])
    for kind in kinds:
        answer = answers[f"{wait}-{kind}"]
        if kind in SENT:
            assert answer == (SENT[kind] and f"{wait}-{SENT[kind]}"), kind
        else:
            each = answer if isinstance(answer, list) else [answer]
            assert [isinstance(one, dict) and one["state"] for one in each] == ["sent"] * len(each), kind


# -- what is sent in the end ------------------------------------------------------------------------------------------

WAITS: dict[str, dict[str, Any]] = {
    "none": {},
    "throttled": {"account": "throttled"},
    "paused": {"account": "paused"},
    "countdown": {"options": {"countdown": 1.5}},
    "quota": {"account": "quota", "to": "ann@example.org"},  # SES's own test addresses are outside the quota
    "lost": {},
    "other": {"account": "other"},
    "after_begin": {},
    "before_ack": {},
}
"""What each waits for: `lost` for a new ticket, `other` for another worker, since the one that had the ticket is gone; the
last two had one that died: when SES was to be asked, and when its yes was written down and nothing had followed yet."""
HELD = ("after_begin", "before_ack")
LATER = ("other", *HELD)
"""What the second worker sees to, when the first is gone."""
UNKNOWN = ("link", "chain")


@pytest.fixture(scope="module")
def sending(new_site: Callable[..., Site]) -> Iterator[tuple[Canvas, dict[str, Any], dict[str, Any]]]:
    """A fleet through which all these have gone, what each `.get()` answered, and what had run while SES was unclear."""
    with ExitStack() as servers:
        canvas = Canvas(new_site, servers, "throttled", "paused", "quota", "other", "unclear")
        canvas.ses["throttled"].faults(script=["throttle"] * len(AT_ONCE))
        canvas.ses["quota"].faults(rules=[{"fault": "daily_quota"}])
        canvas.ses["unclear"].faults(script=["reset_after"] * len(UNKNOWN))
        accounts = canvas.client.accounts
        for name in ("paused", "other"):
            accounts[name].throttle.line.pause("account", "by a test")
        waits = [{"wait": wait, **how} for wait, how in WAITS.items()]
        program = canvas.publish({"wait": "unclear", "kinds": UNKNOWN, "account": "unclear"}, *waits)
        assert canvas.lose_tickets("lost-") == len(AT_ONCE) - 1, "all but the second one of a chain"
        first = canvas.worker("one", 48, STRIKE="HOLD thread", SESMAIL_TICKET_GRACE_SECONDS="1")

        for wait in ("paused", "quota", "other"):
            canvas.wait_for_state(State.SCHEDULED, wait)
        accounts["paused"].throttle.line.resume("account")
        canvas.ses["quota"].faults()
        accounts["quota"].throttle.update_account(rate=100, quota_24h=90_000, sent_24h=0)
        canvas.wait_for_state(State.UNKNOWN, "unclear", UNKNOWN)
        meanwhile = canvas.marks("unclear")
        for name in UNKNOWN:
            canvas.client.ledger.record_evidence(f"unclear-{name}", f"ses-{name}")
        program.wait_for("lost-ended")  # the last of those that this worker sees to
        for wait in WAITS.keys() - {*LATER}:
            canvas.wait_for_marks(wait)
        canvas.wait_for_marks("unclear", UNKNOWN)
        eventually(lambda: canvas.nothing_is_left(*LATER))
        files = [Path(canvas.site.folder, f"{step}-{name}") for step in HELD for name in AT_ONCE]
        eventually(lambda: all(file.exists() for file in files), explain=lambda: repr(canvas.site.ledger.counts()))
        first.kill()

        canvas.worker("two", SESMAIL_EVIDENCE_WINDOW_SECONDS="1", SESMAIL_LEASE_SECONDS="2")
        accounts["other"].throttle.line.resume("account")
        yield canvas, canvas.answers(program), meanwhile
        canvas.client.close()


@pytest.mark.parametrize("wait", WAITS)
def test_every_continuation_runs_once(sending: tuple[Canvas, dict[str, Any], Any], wait: str) -> None:
    canvas, answers, _ = sending
    all_ran_once(canvas, wait, answers)
    of_headers = {ticket[1:] for ticket in canvas.tickets() if ticket[0] == f"{wait}-headers"}
    assert of_headers == {("00-17-4-01", 3)}, "each ticket, also one issued again, is as good as the first"


def test_no_email_goes_out_twice(sending: tuple[Canvas, Any, Any]) -> None:
    canvas, _, _ = sending
    assert [ses.report()["duplicates"]["ids"] for ses in canvas.ses.values()] == [0] * len(canvas.ses)


def test_unknown_is_no_success_and_what_follows_runs_when_an_event_settles_it(
    sending: tuple[Canvas, dict[str, Any], Counter[str]],
) -> None:
    canvas, answers, meanwhile = sending
    assert not meanwhile
    assert answers["unclear-link"] == {"state": "sent", "message_id": "ses-link"}
    assert answers["unclear-chain"] == "unclear-chain"
    assert canvas.marks("unclear") == Counter(["link", "chain"])


def test_the_same_idempotency_key_twice_calls_what_either_call_gave(sending: tuple[Canvas, Any, Any]) -> None:
    """Once while the email waits, and once when it has been sent long since."""
    canvas, _, _ = sending
    call = """
from tests.acceptance.canvas_app import mark, send
for name in {names}:
    options = {{"link": mark.si(name=f"key-{{name}}"), "countdown": 1}}
    send.apply_async(("ann@example.org", "s", "t"), {{"idempotency_key": "order-17"}}, **options)
"""
    sent = canvas.site.ledger.counts()["sent"]
    for expected in (["first", "second"], ["first", "second", "third"]):
        canvas.site.python(call.format(names=expected[-2:] if len(expected) == 2 else expected[2:]))
        eventually(lambda names=expected: canvas.marks("key") == Counter(names), explain=lambda: repr(canvas.marks()))
    eventually(canvas.nothing_is_left)
    assert canvas.site.ledger.counts()["sent"] == sent + 1


# -- what is not ------------------------------------------------------------------------------------------------------

FIVE = ("link", "chain", "plain", "group", "chord")
ENDS: dict[str, dict[str, Any]] = {
    "cancelled": {"options": {"countdown": 3600}},
    "expired": {"options": {"expires": 0.2}},
    "suppressed": {"to": "gone@example.org"},
    "rejected": {"account": "rejects"},
    "abandoned": {"account": "resets", "kinds": FIVE[:3]},
    "abandoned2": {"account": "resets.too", "kinds": FIVE[3:]},  # the breaker would try more one by one
}


@pytest.fixture(scope="module")
def failing(new_site: Callable[..., Site]) -> Iterator[tuple[Canvas, dict[str, Any]]]:
    """A fleet in which an operator, the clock, the list of opt-outs, SES and the sweeper end emails."""
    with ExitStack() as servers:
        canvas = Canvas(new_site, servers, "rejects", "resets", "resets.too")
        canvas.ses["rejects"].faults(rules=[{"fault": "rejected"}])
        canvas.ses["resets"].faults(rules=[{"fault": "reset_before"}])
        opt_out = OptOut(address="gone@example.org", scope=Scope(), reason=Reason.MANUAL, since=datetime.now(UTC))
        canvas.client.suppression.add(opt_out)
        program = canvas.publish(*({"wait": end, "kinds": FIVE, **how} for end, how in ENDS.items()))
        for name in ("link", "chain", "group-1", "group-2", "chord-1", "chord-2", "plain"):
            canvas.client.ledger.cancel(f"cancelled-{name}")
        canvas.worker(threads=16, SESMAIL_MAX_ATTEMPTS="1", SESMAIL_EVIDENCE_WINDOW_SECONDS="1")
        yield canvas, canvas.answers(program)
        canvas.client.close()


@pytest.mark.parametrize("ends", ENDS)
def test_whatever_ends_it_unsent_link_error_is_called_once_and_get_raises(
    failing: tuple[Canvas, dict[str, Any]], ends: str
) -> None:
    canvas, answers = failing
    error = "SendRejected" if ends == "rejected" else "NotSent"
    kinds = ENDS[ends].get("kinds", FIVE)
    assert {answers[f"{ends}-{kind}"] for kind in kinds} == {error}
    assert canvas.marks(ends) == Counter(["link-error"] * kinds.count("link"))


# -- the rest ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def canvas(new_site: Callable[..., Site]) -> Iterator[Canvas]:
    with ExitStack() as servers:
        canvas = Canvas(new_site, servers)
        yield canvas
        canvas.client.close()


@pytest.mark.parametrize("backend", ["rpc", "database"])
def test_get_ends_with_every_result_backend(canvas: Canvas, backend: str) -> None:
    """After a wait, where it is sent and where it is not."""
    canvas.backend = backend
    if backend == "database":  # before several processes make its tables at once
        canvas.site.python(
            "from tests.acceptance.canvas_app import app; app.backend.get_state('none')",
            CANVAS_BACKEND=canvas.backends[backend],
        )
    canvas.ses["default"].faults(script=["throttle"] * 5)
    kinds = ("link", "chain", "group", "headers", "ignored")
    cancelled = {"wait": "cancelled", "kinds": ["plain"], "options": {"countdown": 3600}}
    program = canvas.publish({"wait": "throttled", "kinds": kinds}, cancelled)
    assert canvas.lose_tickets("throttled-")
    canvas.client.ledger.cancel("cancelled-plain")
    canvas.worker(SESMAIL_TICKET_GRACE_SECONDS="1")
    answers = canvas.answers(program)
    assert answers["cancelled-plain"] == "NotSent"
    all_ran_once(canvas, "throttled", answers, kinds)


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
