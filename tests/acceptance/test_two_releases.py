"""Workers of an earlier release and of this one on one Redis, both killed at times: an upgrade, or the way back, half done.

What each accepts, either sends. Emails in `sending` when their worker is killed are `unknown`; SES's own list tells in the
end whether it has them, as its events would. `TEST_TWO_RELEASES_EMAILS=2000` takes more of them than the suite does.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sesmail.embedded import EmbeddedRedis
from sesmail.simulator import Simulator
from sesmail.state.ledger.former import former_rows
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import State
from tests.acceptance.fleet import ROOT, Fleet, Worker, wait_until
from tests.acceptance.programs import python
from tests.unpacking import unpack

EARLIER = "6a3183830e496ce900af02a8b8428a7a71533f18"
"""The last commit whose rows, books and events say no version that anybody reads."""
EMAILS = int(os.environ.get("TEST_TWO_RELEASES_EMAILS", "240"))
RATE = 30
EMAILS_A_KILL = 60
QUICK = {
    "SESMAIL_LEASE_SECONDS": "2",
    "SESMAIL_SWEEP_INTERVAL_SECONDS": "0.5",
    "SESMAIL_TICKET_GRACE_SECONDS": "1.5",
    "SESMAIL_EVIDENCE_WINDOW_SECONDS": "3600",
}
PRODUCE = """
from sesmail import send_ses_email
for number in range({first}, {first} + {count}):
    email = {{"lane": ("transactional", "bulk")[number % 2], "html": "<p>A long letter.</p>" * 100 * (number % 3)}}
    send_ses_email.apply_async(("success@simulator.amazonses.com", "Hello", "Hi."), email, task_id=f"{name}-{{number}}")
import sesmail
print(sesmail.__file__)
"""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the earlier release, with its tests' own means to start workers."""
    folder = tmp_path_factory.mktemp("earlier")
    archive = ["git", "archive", "--format=tar", EARLIER, "sesmail", "tests"]
    try:
        code = subprocess.run(archive, cwd=ROOT, capture_output=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip(f"this copy of the project has no history back to {EARLIER[:7]}")
    with tarfile.open(fileobj=io.BytesIO(code)) as tar:
        unpack(tar, folder)
    return folder


@pytest.fixture(params=["the default prefix", "a prefix of its own"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    prefix = {} if request.param == "the default prefix" else {"SESMAIL_KEY_PREFIX": "shop"}
    ses = Simulator(rate=RATE, quota=-1, calls_per_second=None)
    with ses, EmbeddedRedis(tmp_path / "redis") as redis, Fleet(tmp_path, redis, ses, **QUICK, **prefix) as fleet:
        yield fleet


def accept(fleet: Fleet, name: str, release: Path, first: int, count: int) -> list[str]:
    """Have a program of a release accept emails; their ids."""
    script = PRODUCE.format(name=name, first=first, count=count)
    said = python(script, folder=fleet.folder, environment=fleet.environment | {"PYTHONPATH": str(release)})
    assert Path(said).is_relative_to(release)
    return [f"{name}-{number}" for number in range(first, first + count)]


def version_of(fleet: Fleet, send_id: str) -> bytes | None:
    """What its row says."""
    return fleet.redis.hget(fleet.ledger._key("send", send_id), "v")


def accepted_by_ses(fleet: Fleet) -> int:
    return int(fleet.ses.report()["accepted"]["calls"])


def kill_now_and_then(fleet: Fleet, workers: list[Worker], emails: int) -> None:
    """One after the other, while email goes out; each is started again, as a supervisor does."""
    for number in range(1, emails // EMAILS_A_KILL):
        wait_until(lambda number=number: accepted_by_ses(fleet) >= number * EMAILS_A_KILL, "email goes out")
        worker = workers[number % len(workers)]
        worker.kill()
        worker.start()


def wait_until_only_ses_knows_the_rest(fleet: Fleet, emails: list[str]) -> list[str]:
    """Those whose worker was killed while it asked SES."""
    unsettled = set(emails)

    def settled() -> bool:
        unsettled.difference_update([one for one in unsettled if fleet.state(one) in (State.SENT, State.UNKNOWN)])
        return not unsettled

    wait_until(settled, f"{unsettled} sent, or unknown", seconds=120 + 2 * len(emails) / RATE)
    return [one for one in emails if fleet.state(one) is State.UNKNOWN]


def tell_what_ses_has(fleet: Fleet, unknown: list[str]) -> None:
    """As events of SES would: what it has is sent, what it does not have an operator sends again."""
    has = {message["sesmail_id"]: message["message_id"] for message in fleet.ses.messages()}
    for send_id in unknown:
        if send_id in has:
            assert fleet.ledger.record_evidence(send_id, has[send_id]) == "settled"
        else:
            fleet.ledger.requeue(send_id)
            fleet.ticket(send_id)
    fleet.wait_for(unknown)


def test_an_earlier_release_and_this_one_side_by_side_lose_nothing_double_nothing_and_keep_the_rate(
    fleet: Fleet, earlier: Path
) -> None:
    half = EMAILS // 4
    old = fleet.worker(PYTHONPATH=str(earlier))
    emails = accept(fleet, "old", earlier, 0, half) + accept(fleet, "new", ROOT, 0, half)
    assert (version_of(fleet, "old-0"), version_of(fleet, "new-0")) == (b"1", b"2")
    new = fleet.worker()
    for worker in (old, new):
        worker.wait_until_ready()
    emails += accept(fleet, "old", earlier, half, half) + accept(fleet, "new", ROOT, half, half)
    kill_now_and_then(fleet, [old, new], len(emails))
    tell_what_ses_has(fleet, wait_until_only_ses_knows_the_rest(fleet, emails))

    copies = fleet.copies()
    assert [send_id for send_id in emails if copies[send_id] == 0] == [], "lost"
    assert [send_id for send_id in emails if copies[send_id] > 1] == [], "doubled"
    assert fleet.ses.report()["refused_calls"] <= 5 + len(emails) / 200, "more than what a busy machine's delays cost"
    for worker in (old, new):
        assert worker.starts > 1, f"{worker.name} was not killed"
        assert "'state': 'sent'" in worker.said(), f"{worker.name} sent nothing"
    snapshot = fleet.throttle.snapshot()
    assert (snapshot.rate, snapshot.source) == (RATE, "ses")
    assert former_rows(Scripts(fleet.redis, fleet.ledger._key)) == {}
