"""A random walk over both ledgers at once: whatever is asked of them, the one in memory answers as the one in Redis."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from redis import Redis

from sesmail.errors import SesmailError
from sesmail.message import Email, Lane
from sesmail.settings import Settings
from sesmail.state.keys import Keys
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.vocabulary import Claim, Reason
from tests.conftest import ClockedScripts
from tests.contract.test_sends_book import in_memory, over_redis

IDS = ("a", "b")
READERS = ("ann@example.org", "bob@example.org")
KEYS = (None, "first", "second")
ids = st.sampled_from(IDS)

url = ""


@pytest.fixture(autouse=True)
def _server(redis: Redis, redis_server: Any) -> None:
    global url  # noqa: PLW0603  Hypothesis makes the machine, so a fixture cannot hand it over
    url = redis_server.url


class BothLedgers(RuleBasedStateMachine):
    """Each rule does the same to both, and compares."""

    @initialize()
    def start(self) -> None:
        self.redis = Redis.from_url(url)
        self.redis.flushdb()
        said = Settings(max_age_seconds=300)
        self.books = over_redis(ClockedScripts(self.redis, Keys()), said), in_memory(said)
        self.tokens = 0
        self.claims: list[Claim] = []

    def teardown(self) -> None:
        if hasattr(self, "redis"):
            self.redis.close()

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The answer of both, or what both raised."""
        answers = []
        for book in self.books:
            try:
                answers.append(getattr(book.ledger, method)(*arguments, **options))
            except SesmailError as error:
                answers.append((type(error), str(error)))
        in_redis, in_memory_ = answers
        assert in_redis == in_memory_, method
        for send_id in IDS:
            self.look_at(send_id)
        return in_redis

    def look_at(self, send_id: str) -> None:
        known = []
        for book in self.books:
            try:
                status = book.ledger.status(send_id)
            except SesmailError as error:
                known.append(type(error))
            else:
                known.append(replace(status, deliveries=book.reputation.deliveries(send_id)))
        assert known[0] == known[1]

    @rule(
        send_id=ids,
        to=st.lists(st.sampled_from(READERS), min_size=1, max_size=2, unique=True),
        lane=st.sampled_from(list(Lane)),
        key=st.sampled_from(KEYS),
        delay=st.sampled_from([0, 10]),
        expires=st.sampled_from([None, 5, 60]),
        content=st.sampled_from(["", "1one", "1other"]),
    )
    def accept(
        self, send_id: str, to: list[str], lane: Lane, key: str | None, delay: int, expires: int | None, content: str
    ) -> None:
        email = Email(to, "s", "t", from_email="shop@example.com", lane=lane, idempotency_key=key)
        self.ask("accept", send_id, email, delay_seconds=delay, expires_in_seconds=expires, content=content)

    @rule(send_id=ids, wish=st.sampled_from(["cancel", "requeue", "metadata"]))
    def wish(self, send_id: str, wish: str) -> None:
        self.ask(wish, send_id)

    @rule(send_id=ids, seconds=st.sampled_from([-5, 20]))
    def reschedule(self, send_id: str, seconds: int) -> None:
        self.ask("reschedule", send_id, datetime.fromtimestamp(self.books[0].now() + seconds, UTC))

    @rule(send_id=ids, message_id=st.sampled_from(["ses-1", "ses-2"]))
    def an_event_comes(self, send_id: str, message_id: str) -> None:
        self.ask("record_evidence", send_id, message_id)

    @rule(send_id=ids)
    def claim(self, send_id: str) -> None:
        self.tokens += 1
        claim = self.ask("claim", send_id, "worker", token=f"token-{self.tokens}")
        if isinstance(claim, Claim):
            self.claims.append(claim)

    @rule(send_id=ids)
    def claim_and_begin(self, send_id: str) -> None:
        known = len(self.claims)
        self.claim(send_id)
        for claim in self.claims[known:]:
            self.ask("begin", claim)

    @rule(data=st.data())
    def claim_again_after_a_lost_reply(self, data: st.DataObject) -> None:
        if self.claims:
            claim = data.draw(st.sampled_from(self.claims))
            self.ask("claim", claim.send_id, "worker", token=claim.token)

    @rule(data=st.data(), move=st.sampled_from(["begin", "begin", "sent", "rejected", "outcome_unknown", "postpone"]))
    def move(self, data: st.DataObject, move: str) -> None:
        if not self.claims:
            return
        claim = data.draw(st.sampled_from(self.claims[-2:]) | st.sampled_from(self.claims))
        arguments = {"begin": (), "sent": ("ses-3",), "postpone": (data.draw(st.sampled_from([0.0, 30.0])), "later")}
        whys = st.sampled_from(["", "rate", "throttled"])
        options = {"backs_off": data.draw(st.booleans()), "why": data.draw(whys)} if move == "postpone" else {}
        self.ask(move, claim, *arguments.get(move, ("words", "Code")), **options)

    @rule(lane=st.sampled_from(list(Lane)))
    def what_is_due_is_queued(self, lane: Lane) -> None:
        self.ask("queue_due", lane)

    @rule(address=st.sampled_from(READERS), reason=st.sampled_from([Reason.UNSUBSCRIBED, Reason.BOUNCED]))
    def opt_out(self, address: str, reason: Reason) -> None:
        for book in self.books:
            since = datetime.fromtimestamp(book.now(), UTC)
            book.opt_outs.add(OptOut(address=address, scope=Scope(), reason=reason, since=since))

    @rule(address=st.sampled_from(READERS))
    def opt_in(self, address: str) -> None:
        for book in self.books:
            book.opt_outs.remove(address, Scope())

    @rule(seconds=st.sampled_from([1, 11, 100, 400]))
    def time_passes(self, seconds: float) -> None:
        for book in self.books:
            book.advance(seconds)


BothLedgers.TestCase.settings = settings(
    max_examples=80, stateful_step_count=60, suppress_health_check=list(HealthCheck), deadline=None
)
TestBothLedgers = BothLedgers.TestCase
