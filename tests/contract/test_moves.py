"""The moves that the Lua scripts say at their heads that they make are those that they make: docs/states.md tells them.

Every act of the ledger is tried on a send in every state, under several circumstances, on a real Redis; what moves is
noted with the script that moved it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from redis import Redis

from docs.source import moves
from sesmail.errors import MoveRefused, StaleClaim, UnknownSend
from sesmail.message import Email, Lane
from sesmail.sending.throttle import SendThrottle
from sesmail.settings import Settings
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.people.suppression import OptOut, Scope, SuppressionList
from sesmail.vocabulary import Claim, Reason, State
from tests.conftest import ClockedScripts

ADDRESS = "success@simulator.amazonses.com"
WINDOW_SECONDS, LEASE_SECONDS, MAX_AGE_SECONDS, RETENTION_SECONDS = 60.0, 10.0, 10_000.0, 20_000.0
BEGINNINGS = ("nothing", *State, "scheduled_and_to_expire", "waiting_for_room", "asked_as_often_as_allowed")

Seen = set[tuple[str, str, str]]


class WatchedScripts(ClockedScripts):
    """Notes what each script does to the send `a`."""

    def __init__(self, redis: Redis) -> None:
        self.seen: Seen = set()
        super().__init__(redis, Keys())
        self.begin_anew()

    def begin_anew(self) -> None:
        self.redis.flushdb()
        self.redis.set("test-clock-ms", self.START_MS)
        self.before: list[str | None] = [None, None]
        SendThrottle(self).update_account(rate=-1, quota_24h=-1, sent_24h=0)  # so that each slot is due at once

    def advance(self, seconds: float) -> None:
        self.redis.incrby("test-clock-ms", round(seconds * 1000))

    def run(self, name: str, *arguments: Any) -> Any:
        self.advance(0.001)  # so that a move is seen that leads to the same state
        answer = super().run(name, *arguments)
        found = self.redis.hmget(self.keys("send", "a"), "state", "moved_at")
        after = [text and text.decode() for text in found]
        if after != self.before:
            self.seen.add((name, self.before[0] or "nothing", after[0] or "nothing"))
            self.before = after
        return answer


class Story:
    """One send `a`, from nothing to a state."""

    def __init__(self, scripts: WatchedScripts, ledger: Ledger) -> None:
        scripts.begin_anew()
        self.scripts, self.ledger = scripts, ledger
        self.claim: Claim | None = None

    def to(self, state: str) -> Story:
        getattr(self, state)()
        return self

    def nothing(self) -> None:
        """Not accepted yet."""

    def queued(self, **how: Any) -> None:
        email = Email(ADDRESS, "Hello", "Hi.", from_email="shop@example.com")
        self.ledger.accept("a", email, **how)

    def scheduled(self) -> None:
        self.queued(delay_seconds=5)

    def scheduled_and_to_expire(self) -> None:
        self.queued(delay_seconds=5, expires_in_seconds=15)

    def claimed(self) -> None:
        self.queued()
        self.ledger.heartbeat("ann", LEASE_SECONDS)
        claim = self.ledger.claim("a", "ann", "token")
        self.claim = claim if isinstance(claim, Claim) else None

    def waiting_for_room(self) -> None:
        self.claimed()
        self.ledger.postpone(self.claim, 9.0, "the quota", for_room=True)

    def sending(self) -> None:
        self.claimed()
        self.ledger.begin(self.claim)

    def unknown(self) -> None:
        self.sending()
        self.ledger.outcome_unknown(self.claim, "no answer")

    def sent(self) -> None:
        self.sending()
        self.ledger.sent(self.claim, "ses-1")

    def rejected(self) -> None:
        self.sending()
        self.ledger.rejected(self.claim, "no")

    def cancelled(self) -> None:
        self.queued()
        self.ledger.cancel("a")

    def suppressed(self) -> None:
        opts_out(self)
        self.claimed()

    def expired(self) -> None:
        self.queued(expires_in_seconds=1)
        self.scripts.advance(2)
        self.ledger.claim("a", "ann")

    def abandoned(self) -> None:
        self.ledger.set_aside("a", "{}", "no email")

    def asked_as_often_as_allowed(self) -> None:
        self.unknown()
        self.scripts.advance(WINDOW_SECONDS + 1)
        self.ledger.queue_unproven()
        self.claim = self.ledger.claim("a", "ann", "token")
        self.ledger.begin(self.claim)
        self.ledger.outcome_unknown(self.claim, "no answer")


def nothing_happens(_: Story) -> None:
    """The send is as it came into its state."""


def time_passes(seconds: float) -> Callable[[Story], None]:
    """Time in which Redis was there, as another worker's heartbeats show; the send's own worker is dead at its end."""

    def passes(story: Story) -> None:
        for step_seconds in (seconds, LEASE_SECONDS / 3, LEASE_SECONDS / 3):
            story.scripts.advance(step_seconds)
            story.ledger.heartbeat("another", LEASE_SECONDS)

    return passes


def opts_out(story: Story) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    opt_out = OptOut(address=ADDRESS, scope=Scope(), reason=Reason.COMPLAINED, since=since)
    SuppressionList(story.scripts).add(opt_out)


def opts_out_and_time_passes(story: Story) -> None:
    opts_out(story)
    time_passes(LEASE_SECONDS + 1)(story)


def an_event_came(story: Story) -> None:
    story.ledger.record_evidence("a", "ses-2")


def it_came_and_then_the_worker_died(story: Story) -> None:
    an_event_came(story)
    time_passes(LEASE_SECONDS + 1)(story)


def an_older_release_kept_the_proof_and_the_window_passed(story: Story) -> None:
    """It did not know the form of the row, so it only noted what the event told."""
    row = story.scripts.keys("send", "a")
    if story.scripts.redis.hget(row, "state") == b"unknown":
        story.scripts.redis.hset(row, "evidence", "ses-2")
    time_passes(WINDOW_SECONDS + 1)(story)


def is_erased(ledger: Ledger, record: str) -> None:
    """The recipient is; the email goes to nobody, or, by another record, to another."""
    email = ledger._redis.hget(ledger._key("send", "a"), "email") or b""
    seen = hashlib.sha1(email, usedforsecurity=False).hexdigest()
    ledger._run("erase_send", "a", seen, record, "bob@example.org" if record else "", int(bool(record)), 60_000)


CIRCUMSTANCES = [
    nothing_happens,
    time_passes(WINDOW_SECONDS + 1),
    time_passes(RETENTION_SECONDS + 1),
    opts_out,
    opts_out_and_time_passes,
    an_event_came,
    it_came_and_then_the_worker_died,
    an_older_release_kept_the_proof_and_the_window_passed,
]
ACTS: list[Callable[[Ledger, Any], Any]] = [
    lambda ledger, _: ledger.accept("a", Email(ADDRESS, "Hello", "Hi.", from_email="shop@example.com")),
    lambda ledger, _: ledger.accept(
        "a", Email(ADDRESS, "Hello", "Hi.", from_email="shop@example.com"), delay_seconds=9
    ),
    lambda ledger, _: ledger.set_aside("a", "{}", "no email"),
    lambda ledger, _: ledger.claim("a", "bob"),
    lambda ledger, _: ledger.claim("a", "ann", "token"),  # again, where the answer was lost
    lambda ledger, claim: ledger.begin(claim),
    lambda ledger, claim: SendThrottle(ledger._scripts).acquire(1, Lane.BULK, begins=ledger.beginning(claim)),
    lambda ledger, claim: ledger.sent(claim, "ses-3"),
    lambda ledger, claim: ledger.rejected(claim, "no"),
    lambda ledger, claim: ledger._set_aside("a", claim.token, "cannot be read"),
    lambda ledger, claim: ledger.outcome_unknown(claim, "no answer"),
    lambda ledger, claim: ledger.postpone(claim, 1.0, "the rate"),
    lambda ledger, _: ledger.cancel("a"),
    lambda ledger, _: ledger.reschedule("a", datetime(2030, 1, 1, tzinfo=UTC)),
    lambda ledger, _: ledger.requeue("a"),
    lambda ledger, _: is_erased(ledger, ""),
    lambda ledger, _: is_erased(ledger, "{}"),
    lambda ledger, _: ledger.record_evidence("a", "ses-3"),
    lambda ledger, _: ledger.record_dropped("a", "ses-1", "Reject", "Bad content"),
    lambda ledger, _: ledger.take_back(State.CLAIMED),
    lambda ledger, _: ledger.take_back(State.SENDING),
    lambda ledger, _: [ledger.queue_due(lane) for lane in Lane],
    lambda ledger, _: [ledger.queue_for_room(lane) for lane in Lane],
    lambda ledger, _: ledger.queue_unproven(),
    lambda ledger, _: list(ledger.queue_lost(Lane.TRANSACTIONAL, grace_seconds=15, queue_is_empty=True)),
    lambda ledger, _: ledger.forget_old(),
]
NO_CLAIM = Claim(
    send_id="a", token="", lane=Lane.BULK, express=False, attempts=0, waits=0, email=Email(ADDRESS, "", "Hi.")
)


@pytest.fixture(scope="module")
def seen(redis_server: Any) -> Seen:
    """Every move that was made in any story: script, from, to."""
    said = {"evidence_window_seconds": WINDOW_SECONDS, "lease_seconds": LEASE_SECONDS, "max_attempts": 2}
    said |= {"max_age_seconds": MAX_AGE_SECONDS, "failed_retention_seconds": RETENTION_SECONDS}
    with Redis.from_url(redis_server.url) as redis:
        scripts = WatchedScripts(redis)
        ledger = Ledger(scripts, Settings(**said))
        for beginning, happens, act in product(BEGINNINGS, CIRCUMSTANCES, ACTS):
            story = Story(scripts, ledger).to(beginning)
            happens(story)
            with suppress(MoveRefused, StaleClaim, UnknownSend):
                act(ledger, story.claim or NO_CLAIM)
    return scripts.seen


def test_the_scripts_make_the_moves_that_they_say_and_no_others(seen: Seen) -> None:
    said = {(move.script, origin, move.to) for move in moves() for origin in move.origins}
    assert {"made, not said": seen - said, "said, never made": said - seen} == {
        "made, not said": set(),
        "said, never made": set(),
    }


def test_every_state_is_come_to_and_left(seen: Seen) -> None:
    assert {to for _, _, to in seen} - {"nothing"} == set(State)
    assert {origin for _, origin, _ in seen} - {"nothing"} == set(State)
