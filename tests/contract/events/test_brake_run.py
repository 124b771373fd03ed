"""A list with 6 % dead addresses stops itself; password resets go on; the cleaned list resumes by command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from sesmail import Client, Settings
from sesmail.embedded import EmbeddedRedis
from sesmail.message import LIST_TAG, Email, Lane
from sesmail.simulator import Simulator
from sesmail.state.line.line import list_scope
from sesmail.vocabulary import Claim, State

LETTERS, MINIMUM, HEARD_EVERY = 160, 60, 10
DEAD = {f"letter-{n}" for n in range(LETTERS) if n % 16 == 3}
"""6.3 %."""
RESUME = [str(Path(sys.executable).with_name("sesmail")), "resume", "--list", "monthly", "--json"]


class Run:
    """What a worker does, and SNS, one after the other."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._unheard: list[str] = []

    def accept(self, send_id: str, lane: Lane = Lane.BULK) -> None:
        tags = {LIST_TAG: "monthly"} if lane is Lane.BULK else {}
        to = f"{send_id}@example.org"
        self.client.ledger.accept(send_id, Email(to, "s", "t", from_email="shop@example.com", lane=lane, tags=tags))

    def work(self, send_id: str) -> State:
        claim = self.client.delivery.claim(send_id)
        if isinstance(claim, Claim):
            self.client.delivery.work(claim, None)
        status = self.client.ledger.status(send_id)
        if status.state is State.SENT:
            self._unheard.append(send_id)
        if len(self._unheard) == HEARD_EVERY:
            self._hear()
        return status.state

    def _hear(self) -> None:
        """SES's events of what was sent come through a door, and are processed."""
        for send_id in self._unheard:
            self._take(send_id, {"eventType": "Send", "send": {}})
            if send_id in DEAD:
                rows = [{"emailAddress": f"{send_id}@example.org"}]
                bounce = {"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": rows}
                self._take(send_id, {"eventType": "Bounce", "bounce": bounce | {"timestamp": _now()}})
        self._unheard.clear()
        while self.client.event_processor.process().gathered:
            pass

    def _take(self, send_id: str, document: dict[str, object]) -> None:
        tags = {"sesmail-id": [send_id], LIST_TAG: ["monthly"]}
        message_id = self.client.ledger.status(send_id).message_id
        mail = {"timestamp": _now(), "messageId": message_id, "destination": [f"{send_id}@example.org"], "tags": tags}
        assert not self.client.intake.take({"message": json.dumps({**document, "mail": mail})})


def command(*words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    done = subprocess.run(words, env=os.environ, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def _now() -> str:
    return datetime.now(UTC).isoformat()


@pytest.fixture
def run(redis: Redis, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    with Simulator(rate=5000, quota=100_000) as ses:
        said = {"endpoint_url": ses.url, "region": "us-east-1"}
        brake = {"brake_minimum_emails": MINIMUM, "verify_queues": False, "raw_delivery_site": "default"}
        monkeypatch.setenv("SESMAIL_REDIS_URL", redis_server.url)
        client = Client(Settings(redis_url=redis_server.url, **said, **brake))  # type: ignore[arg-type]
        yield Run(client)
        client.close()


def test_a_list_with_dead_addresses_stops_itself_and_goes_on_when_it_is_cleaned(run: Run) -> None:
    letters = [f"letter-{n}" for n in range(LETTERS)]
    for letter in letters:
        run.accept(letter)
    states = {letter: run.work(letter) for letter in letters}
    sent = [letter for letter, state in states.items() if state is State.SENT]
    assert MINIMUM <= len(sent) <= MINIMUM + 2 * HEARD_EVERY
    assert len(DEAD & set(sent)) < len(sent) / 10
    assert {states[letter] for letter in letters if letter not in sent} == {State.SCHEDULED}
    assert "hard bounces" in (run.client.ledger.status(letters[-1]).reason or "")

    run.accept("reset", Lane.TRANSACTIONAL)
    assert run.work("reset") is State.SENT

    cleaned = [letter for letter in letters if letter not in DEAD and letter not in sent]
    for letter in DEAD - set(sent):
        run.client.ledger.cancel(letter)
    code, _, said = command(*RESUME)
    assert (code, "say so for `sesmail audit`: --why" in " ".join(said.split())) == (2, True)
    code, told, _ = command(*RESUME, "--why", "cleaned")
    assert (code, json.loads(told)["scope"]) == (0, list_scope("default", "monthly"))
    assert [(act.what, act.why) for act in run.client.audit.read(1)] == [("resume", "cleaned")]

    due = {ticket.send_id for ticket in run.client.ledger.queue_due(Lane.BULK, 1000)}
    assert due == set(cleaned), "they wait for nothing more"
    deadline = time.monotonic() + 120
    while any(run.work(letter) is not State.SENT for letter in cleaned):
        assert time.monotonic() < deadline
    assert run.client.throttle.line.closures() == ()
