"""Acceptance that waits for a replica of Redis, or for its disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sesmail import Client, Settings
from sesmail.errors import ConfigurationError, LedgerRefuses, LedgerUnavailable
from sesmail.message import Email
from sesmail.sending.delivery.outcomes import Sent
from sesmail.simulator import Simulator
from sesmail.vocabulary import Claim, Postponed, State
from tests.contract.test_redis_on_bad_days import rights
from tests.ledger_use import EMAIL, sending, use_all_of
from tests.redis_servers import Server
from tests.services import absent
from tests.tickets import Broker

WAIT_SECONDS = 0.2


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "master") as server:
        yield server


@pytest.fixture
def replica(master: Server, tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "replica") as server:
        server.follow(master)
        yield server
        server.thaw()


@pytest.fixture
def new_client() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def new(server: Server, waits_for: str, **settings: object) -> Client:
        said = {"redis_url": server.url, "accept_waits_for": waits_for, "accept_wait_seconds": WAIT_SECONDS}
        made.append(Client(Settings(**said | settings), Broker()))
        return made[-1]

    yield new
    for client in made:
        client.close()


def test_with_a_replica_that_follows_an_email_is_there_too_once_it_is_accepted(
    master: Server, replica: Server, new_client
) -> None:
    client = new_client(master, "replica", accept_wait_seconds=5)
    for number in range(50):
        client.send(EMAIL, send_id=f"send-{number}")
        assert replica.client.exists(f"{{sesmail}}:send:send-{number}")
    use_all_of(client)


def test_while_no_replica_follows_whoever_sends_is_told_that_the_email_may_be_accepted_and_under_which_id(
    master: Server, replica: Server, new_client
) -> None:
    client = new_client(master, "replica")
    client.send(EMAIL, send_id="before")
    replica.freeze()
    with pytest.raises(LedgerUnavailable, match=r"took the email send-1, but no replica .* may be accepted"):
        client.send(EMAIL, send_id="send-1")
    assert client.ledger.status("send-1").state is State.QUEUED


def test_calling_again_waits_for_what_the_first_call_wrote(master: Server, replica: Server, new_client) -> None:
    """The second finds the email there and writes nothing of its own; on a new connection, WAIT would answer at once."""
    client = new_client(master, "replica")
    client.send(EMAIL, send_id="before")
    replica.freeze()
    for _ in range(2):
        client.real_outbox  # noqa: B018  made, with its connections
        client.scripts.redis.connection_pool.disconnect()
        with pytest.raises(LedgerUnavailable, match="may be accepted"):
            client.send(EMAIL, send_id="send-1")
        master.client.client_kill_filter(_type="normal", skipme=True)
    replica.thaw()
    assert client.send(EMAIL, send_id="send-1").new is False


def test_ses_is_not_asked_before_a_replica_knows_of_it(master: Server, replica: Server, new_client) -> None:
    with Simulator(rate=100, quota=-1) as ses:
        said = {"endpoint_url": ses.url, "region": "us-east-1", "patience_seconds": 1}
        client = new_client(master, "replica", **said)
        client.send(EMAIL, send_id="a")
        claim = client.delivery.claim("a")
        assert isinstance(claim, Claim)
        replica.freeze()
        assert isinstance(client.delivery.work(claim, None), Postponed)
        assert ses.messages() == []
        assert client.ledger.status("a").attempts == 0
        replica.thaw()
        client.sweeper.sweep()
        again = client.delivery.claim("a")
        assert isinstance(again, Claim)
        assert isinstance(client.delivery.work(again, None), Sent)


def test_ses_s_yes_is_with_the_replica_too_and_a_worker_goes_on_where_there_is_none(
    master: Server, replica: Server, new_client
) -> None:
    ledger = new_client(master, "replica", accept_wait_seconds=5).ledger
    ledger.sent(sending(ledger, "a"), "ses-a")
    assert replica.client.hget("{sesmail}:send:a", "state") == b"sent"
    claim = sending(ledger, "b")
    replica.freeze()
    assert new_client(master, "replica").ledger.sent(claim, "ses-b") is State.SENT


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
def test_what_waited_for_the_disk_is_there_after_the_server_was_killed(tmp_path: Path, new_client, appendfsync) -> None:
    with Server(tmp_path / "redis", appendfsync=appendfsync) as server:
        client = new_client(server, "disk", accept_wait_seconds=5)
        client.send(EMAIL, send_id="a")
        aof = b"".join(path.read_bytes() for path in sorted((tmp_path / "redis" / "appendonlydir").iterdir()))
        assert b"{sesmail}:send:" in aof or b"send:a" in aof
        server.kill()
        server.start()
        assert client.ledger.status("a").state is State.QUEUED


def test_a_disk_that_is_never_made_sure_of_is_not_waited_for_in_vain_unawares(
    master: Server, new_client, caplog: pytest.LogCaptureFixture
) -> None:
    """`appendfsync no`."""
    with pytest.raises(LedgerUnavailable, match="the disk of Redis does not have it yet"):
        new_client(master, "disk").send(EMAIL)
    assert "Is appendfsync no?" in caplog.text


def test_without_an_append_only_file_nothing_is_accepted_and_it_is_said_why(tmp_path: Path, new_client) -> None:
    with Server(tmp_path, appendonly="no") as server:
        client = new_client(server, "disk")
        with pytest.raises(ConfigurationError, match="append-only file is off"):
            client.send(EMAIL, send_id="a")
        with pytest.raises(ConfigurationError, match="append-only file is off"):
            client.check_durability()
        assert not server.client.exists("{sesmail}:send:a")


def test_a_redis_that_does_not_know_waitaof_is_refused(tmp_path: Path, new_client) -> None:
    binary = shutil.which("redis-server") or absent("needs a redis-server older than 7.2 in PATH")
    with Server(tmp_path, binary=binary) as server:
        if server.client.info("server")["redis_version"] >= "7.2":
            absent("needs a redis-server older than 7.2 in PATH")
        with pytest.raises(ConfigurationError, match="does not know WAITAOF"):
            new_client(server, "disk").send(EMAIL)


def test_a_user_without_the_right_to_wait_is_refused_and_one_with_the_documented_rights_is_not(
    master: Server, replica: Server, new_client
) -> None:
    admin = master.client
    admin.execute_command("ACL", "SETUSER", "mail", "on", ">any", *rights())
    admin.execute_command("ACL", "SETUSER", "less", "on", ">any", *rights(), "-wait")
    url = master.url.replace("redis://", "redis://{}:any@")
    new_client(master, "replica", redis_url=url.format("mail")).send(EMAIL, send_id="a")
    with pytest.raises(LedgerRefuses):
        new_client(master, "replica", redis_url=url.format("less")).send(EMAIL, send_id="b")
    assert not admin.exists("{sesmail}:send:b")


def test_an_idempotency_key_that_comes_again_is_answered_as_before(master: Server, replica: Server, new_client) -> None:
    client = new_client(master, "replica")
    email = Email("ann@example.org", "s", "t", from_email="shop@example.com", idempotency_key="order-1")
    first, second = client.send(email), client.send(email)
    assert (first.send_id, first.new, second.new) == (second.send_id, True, False)
