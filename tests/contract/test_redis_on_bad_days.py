"""A ledger whose Redis fails over, is held up by somebody's script, or forbids what it allowed a moment ago."""

from __future__ import annotations

import re
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from redis import Redis
from redis.exceptions import ResponseError

from sesmail import Client
from sesmail.celery.current import close_clients
from sesmail.cli import main
from sesmail.embedded import EmbeddedRedis
from sesmail.errors import LedgerRefuses, LedgerUnavailable
from sesmail.sending.patience import Patience
from sesmail.settings import Settings
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.scripts import Scripts
from sesmail.state.server.connection import connect
from sesmail.vocabulary import State
from tests.acceptance.fleet import wait_until
from tests.acceptance.proxy import Proxy
from tests.ledger_use import EMAIL, sending, use_all_of
from tests.signing import Signer
from tests.tickets import Broker


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server of its own, to be treated badly."""
    with EmbeddedRedis(tmp_path / "redis", appendfsync="no") as server:
        yield server


def ledger_at(url: str) -> Ledger:
    return Ledger(Scripts(connect(url, timeout_seconds=2), Keys()), Settings())


def port_of(server: EmbeddedRedis) -> int:
    return int(server.url.rpartition(":")[2].partition("/")[0])


def test_after_a_failover_behind_a_stable_name_a_running_process_goes_on_with_the_new_master(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    """Old connections lead to the old master for ever, which is a replica now; new ones to the new one."""
    with EmbeddedRedis(tmp_path / "other", appendfsync="no") as other, Proxy(port_of(server)) as proxy:
        old, new = Redis.from_url(server.url), Redis.from_url(other.url)
        new.replicaof("127.0.0.1", port_of(server))
        wait_until(lambda: new.info("replication")["master_link_status"] == "up", "the replica follows")
        ledger = ledger_at(f"redis://127.0.0.1:{proxy.port}/0")
        ledger.accept("before", EMAIL)
        wait_until(lambda: new.exists("{sesmail}:send:before"), "it is replicated")
        new.replicaof("NO", "ONE")
        old.replicaof("127.0.0.1", port_of(other))
        proxy.lead_to(port_of(other))
        wait_until(lambda: old.info("replication")["role"] == "slave", "the old master follows")
        for number in range(20):
            ledger.accept(f"after-{number}", EMAIL)
        assert new.zcard("{sesmail}:in:queued:transactional") == 21
        old.close()
        new.close()


@pytest.fixture
def busy(server: EmbeddedRedis) -> Iterator[Callable[[], None]]:
    """Holds the server up with a script without an end; called again, it ends it."""
    redis = Redis.from_url(server.url)
    redis.config_set("lua-time-limit", 20)
    looping: list[threading.Thread] = []

    def loop() -> None:
        with suppress(ResponseError):  # it is killed
            Redis.from_url(server.url).eval("while true do end", 0)

    def toggle() -> None:
        if looping:
            redis.script_kill()
            looping.pop().join()
            return
        looping.append(threading.Thread(target=loop, daemon=True))
        looping[0].start()
        wait_until(lambda: not answers(redis), "it is busy")

    yield toggle
    if looping:
        toggle()
    redis.close()


def answers(redis: Redis) -> bool:
    try:
        redis.get("anything")
    except ResponseError as error:
        return not str(error).startswith("BUSY")
    return True


def test_whoever_asks_a_redis_that_is_held_up_by_a_script_is_told_to_come_again(server: EmbeddedRedis, busy) -> None:
    ledger = ledger_at(server.url)
    busy()
    with pytest.raises(LedgerUnavailable):
        ledger.accept("a", EMAIL)


@pytest.mark.parametrize("trouble", ["busy", "forbidden"])
def test_ses_s_yes_is_written_down_through_any_trouble_of_redis(
    server: EmbeddedRedis, busy: Callable[[], None], trouble: str
) -> None:
    admin = Redis.from_url(server.url)
    admin.acl_setuser("mail", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    ledger = ledger_at(server.url.replace("redis://", "redis://mail:any@"))
    claim = sending(ledger)
    begins, ends = {
        "busy": (busy, busy),
        "forbidden": (
            lambda: admin.acl_setuser("mail", enabled=True, nopass=True, keys=["*"], commands=["-@all"]),
            lambda: admin.acl_setuser("mail", enabled=True, nopass=True, keys=["*"], commands=["+@all"]),
        ),
    }[trouble]
    begins()
    tries, done = [], threading.Event()

    def write_down() -> None:
        Patience().whatever_happens(lambda: tries.append(1) or ledger.sent(claim, "ses-1"))
        done.set()

    threading.Thread(target=write_down, daemon=True).start()
    wait_until(lambda: len(tries) >= 2, "it was tried in vain")
    ends()
    assert done.wait(20)
    assert ledger.status("a").state is State.SENT
    admin.close()


REFUSED = {
    "a wrong password": ("redis://mail:s3cr3t@", "/0", [], "refuses the user or password"),
    "no password": ("redis://", "/0", ["CONFIG SET requirepass s3cr3t"], "wants a password"),
    "missing rights": ("redis://mail:any@", "/0", ["ACL SETUSER mail on nopass ~* +@read +hello"], "does not permit"),
    "no such database": ("redis://", "/99", [], "no database of the number"),
}
PASSES = {
    "a replica": ("REPLICAOF 127.0.0.1 1", "it is a replica"),
    "full memory": ("CONFIG SET maxmemory 1", "its memory is full"),
    "too few replicas": ("CONFIG SET min-replicas-to-write 1", "too few replicas"),
    "too many connections": ("CONFIG SET maxclients 1", "as many connections as it takes"),
}


def changed(url: str, scheme: str, database: str) -> str:
    return url.replace("redis://", scheme).removesuffix("/0") + database


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_waiting_mends_is_a_mistake_in_a_setting_told_with_the_address_and_what_to_do(
    server: EmbeddedRedis, what: str
) -> None:
    scheme, database, commands, meaning = REFUSED[what]
    with Redis.from_url(server.url) as admin:
        for command in commands:
            admin.execute_command(*command.split(" "))
    url = changed(server.url, scheme, database)
    with pytest.raises(LedgerRefuses, match=meaning) as caught:
        ledger_at(url).accept("a", EMAIL)
    assert f"at {changed(server.url, 'redis://', database)}" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    close_clients()
    done = CliRunner().invoke(main, ["status"], env={"SESMAIL_REDIS_URL": url})
    close_clients()
    said = " ".join(done.output.split())
    assert (done.exit_code, meaning in said) == (78, True), said
    assert "no database" not in meaning or "SESMAIL_REDIS_URL in the environment names it" in said
    assert "HELLO" not in said


@pytest.mark.parametrize("what", PASSES)
def test_a_condition_that_passes_is_told_with_the_address_what_redis_said_and_what_helps(
    server: EmbeddedRedis, what: str
) -> None:
    command, meaning = PASSES[what]
    with Redis.from_url(server.url) as admin:
        admin.execute_command(*command.split(" "))
        with pytest.raises(LedgerUnavailable, match=f"is there, but takes nothing .*{server.url}.*{meaning}"):
            ledger_at(server.url).accept("a", EMAIL)


class Greeter(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(100)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


class SelfSigned(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):
            self.server.tls.wrap_socket(self.request, server_side=True).recv(100)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("handler", "scheme", "meaning"),
    [
        (Greeter, "redis", "does not speak as Redis does"),
        (Greeter, "rediss", "TLS cannot be spoken"),
        (SelfSigned, "rediss", "certificate is not believed"),
    ],
)
def test_another_server_or_one_with_a_stranger_s_certificate_is_a_mistake_in_a_setting(
    tmp_path: Path, handler: type, scheme: str, meaning: str
) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as other:
        other.tls = self_signed(tmp_path)  # type: ignore[attr-defined]
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(LedgerRefuses, match=meaning):
            ledger_at(f"{scheme}://127.0.0.1:{other.server_address[1]}/0").accept("a", EMAIL)
        other.shutdown()


def self_signed(folder: Path) -> ssl.SSLContext:
    signer = Signer()
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "server.pem").write_bytes(signer.key.private_bytes(*form) + signer.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def rights() -> list[str]:
    """As docs/reliability.md has them."""
    (line,) = re.findall(r"^ACL SETUSER mail on >PASSWORD (.*)$", Path("docs/reliability.md").read_text(), re.MULTILINE)
    return line.split()


def test_the_rights_that_the_documents_name_are_enough_for_all_that_is_done_with_a_ledger(
    server: EmbeddedRedis,
) -> None:
    with Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "mail", "on", ">any", *rights())
    client = Client(Settings(redis_url=server.url.replace("redis://", "redis://mail:any@")), Broker())
    use_all_of(client)
    client.close()
