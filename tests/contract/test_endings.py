"""How a site's functions hear of the ends of its sends: at least once, whatever settles them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from sesmail.message import Email
from sesmail.sending.telling import FIRST_PAUSE_SECONDS, LEASE_SECONDS, MOST_ATTEMPTS, Teller
from sesmail.settings import Settings
from sesmail.signals import email_failed, email_sent
from sesmail.state.ledger.endings import LISTENING_SECONDS, Endings
from sesmail.state.ledger.ledger import Ledger
from sesmail.vocabulary import Claim, State, Status
from tests.conftest import ClockedScripts

Heard = list[tuple[str, Status, dict[str, object]]]


@pytest.fixture
def ledger(clocked_scripts: ClockedScripts) -> Ledger:
    return Ledger(clocked_scripts, Settings(site="shop", max_age_seconds=1000))


@pytest.fixture
def teller(clocked_scripts: ClockedScripts) -> Teller:
    return Teller("shop", Endings(clocked_scripts))


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What a site's two receivers were told."""
    said: Heard = []

    def sent(site: str, *, status: Status, metadata: dict[str, object]) -> None:
        said.append((site, status, metadata))

    async def failed(site: str, *, status: Status, metadata: dict[str, object]) -> None:
        await asyncio.sleep(0)
        said.append((site, status, metadata))

    with email_sent.connected_to(sent), email_failed.connected_to(failed):
        yield said


def accept(ledger: Ledger, send_id: str, **more: object) -> str:
    email = {"metadata": {"order": 17}, "from_email": "shop@example.com"} | more
    ledger.accept(send_id, Email("ann@example.org", "s", "t", **email))
    return send_id


def claimed(ledger: Ledger, send_id: str) -> Claim:
    claim = ledger.claim(send_id, "worker")
    assert isinstance(claim, Claim)
    ledger.begin(claim)
    return claim


def is_sent(ledger: Ledger, send_id: str) -> None:
    ledger.sent(claimed(ledger, send_id), "ses-1")


def is_proved(ledger: Ledger, send_id: str) -> None:
    ledger.outcome_unknown(claimed(ledger, send_id), "no answer")
    ledger.record_evidence(send_id, "ses-1")


def is_refused(ledger: Ledger, send_id: str) -> None:
    ledger.rejected(claimed(ledger, send_id), "no", "MessageRejected")


def is_cancelled(ledger: Ledger, send_id: str) -> None:
    ledger.cancel(send_id)


def is_too_old(ledger: Ledger, send_id: str) -> None:
    ledger._redis.hset(ledger._key("send", send_id), "accepted_at", 1)
    assert ledger.claim(send_id, "worker") is State.ABANDONED


@pytest.mark.parametrize(
    ("settled", "state"),
    [
        (is_sent, State.SENT),
        (is_proved, State.SENT),
        (is_refused, State.REJECTED),
        (is_cancelled, State.CANCELLED),
        (is_too_old, State.ABANDONED),
    ],
)
def test_whatever_settles_a_send_its_end_is_told_once_with_what_the_caller_gave(
    ledger: Ledger, teller: Teller, heard: Heard, settled: Callable[[Ledger, str], None], state: State
) -> None:
    teller.listen()
    settled(ledger, accept(ledger, "a"))
    assert teller.tell_what_ended() == 1
    ((site, status, metadata),) = heard
    assert (site, status.send_id, status.state, metadata) == ("shop", "a", state, {"order": 17})
    assert status == ledger.status("a")
    assert teller.tell_what_ended() == 0


def test_a_send_that_is_still_unknown_has_not_ended(ledger: Ledger, teller: Teller, heard: Heard) -> None:
    teller.listen()
    ledger.outcome_unknown(claimed(ledger, accept(ledger, "a")), "no answer")
    assert teller.tell_what_ended() == 0
    assert heard == []


def test_ends_are_noted_only_where_somebody_listens_and_only_of_that_site(
    clocked_scripts: ClockedScripts, ledger: Ledger, teller: Teller
) -> None:
    ledger.cancel(accept(ledger, "before"))
    assert not teller.listen(), "nobody in this process listens"
    Endings(clocked_scripts).listen("another")
    ledger.cancel(accept(ledger, "of-nobody"))
    assert not clocked_scripts.redis.exists(clocked_scripts.keys("untold", "shop"))


def test_when_no_worker_of_a_site_has_listened_for_a_day_ends_are_no_longer_noted(
    clocked_scripts: ClockedScripts, ledger: Ledger, teller: Teller, heard: Heard
) -> None:
    teller.listen()
    clocked_scripts.advance(LISTENING_SECONDS + 1)
    ledger.cancel(accept(ledger, "a"))
    assert teller.tell_what_ended() == 0


def test_what_a_worker_that_died_was_telling_is_told_by_another(
    clocked_scripts: ClockedScripts, ledger: Ledger, teller: Teller, heard: Heard
) -> None:
    teller.listen()
    ledger.cancel(accept(ledger, "a"))
    assert len(Endings(clocked_scripts).gather("shop", limit=10, lease_seconds=LEASE_SECONDS)) == 1
    assert teller.tell_what_ended() == 0
    clocked_scripts.advance(LEASE_SECONDS)
    assert teller.tell_what_ended() == 1
    assert [status.send_id for _, status, _ in heard] == ["a"]


def test_a_receiver_that_raises_is_told_again_later_and_the_others_are_not(
    clocked_scripts: ClockedScripts, ledger: Ledger, teller: Teller, heard: Heard
) -> None:
    angry: list[str] = []

    def raises(site: str, *, status: Status, **_: object) -> None:
        angry.append(status.send_id)
        raise ValueError("ann@example.org")

    with email_failed.connected_to(raises):
        teller.listen()
        ledger.cancel(accept(ledger, "a"))
        teller.tell_what_ended()
        kept = clocked_scripts.redis.hget(clocked_scripts.keys("send", "a"), "told_in_vain_to")
        assert kept.decode().endswith(".raises")
        for attempt in range(MOST_ATTEMPTS):
            clocked_scripts.advance(FIRST_PAUSE_SECONDS * 2**attempt)
            teller.tell_what_ended()
    assert (len(angry), len(heard)) == (MOST_ATTEMPTS, 1)


def test_a_send_that_is_sent_again_before_its_end_was_told_is_told_of_when_it_ends_anew(
    ledger: Ledger, teller: Teller, heard: Heard
) -> None:
    teller.listen()
    ledger.cancel(accept(ledger, "a"))
    ledger.requeue("a")
    assert teller.tell_what_ended() == 0
    is_sent(ledger, "a")
    assert teller.tell_what_ended() == 1
    assert [status.state for _, status, _ in heard] == [State.SENT]


def test_an_expired_send_is_told_of(ledger: Ledger, teller: Teller, heard: Heard) -> None:
    teller.listen()
    ledger.accept(
        "a",
        Email("ann@example.org", "s", "t", from_email="shop@example.com", expires_at=datetime(2020, 1, 1, tzinfo=UTC)),
    )
    assert ledger.claim("a", "worker") is State.EXPIRED
    assert teller.tell_what_ended() == 1
    assert [status.reason for _, status, _ in heard] == ["its expiry time passed before it could be sent"]


def test_an_end_that_comes_while_an_earlier_one_is_told_is_told_too(
    clocked_scripts: ClockedScripts, ledger: Ledger, teller: Teller, heard: Heard
) -> None:
    """An event proves that SES took an email that was given up."""

    def proves(site: str, *, status: Status, **_: object) -> None:
        clocked_scripts.advance(1)
        ledger.record_evidence(status.send_id, "ses-1")

    with email_failed.connected_to(proves):
        teller.listen()
        is_too_old(ledger, accept(ledger, "a"))
        teller.tell_what_ended()
    assert [status.state for _, status, _ in heard] == [State.ABANDONED, State.SENT]
    assert teller.tell_what_ended() == 0


def test_who_failed_to_hear_of_an_earlier_end_is_not_the_only_one_to_hear_of_the_next(
    clocked_scripts: ClockedScripts, ledger: Ledger, teller: Teller, heard: Heard
) -> None:
    def raises(site: str, **_: object) -> None:
        raise ValueError

    with email_failed.connected_to(raises):
        teller.listen()
        is_too_old(ledger, accept(ledger, "a"))
        teller.tell_what_ended()
    clocked_scripts.advance(1)
    ledger.record_evidence("a", "ses-1")
    assert teller.tell_what_ended() == 1
    assert [status.state for _, status, _ in heard] == [State.ABANDONED, State.SENT]
