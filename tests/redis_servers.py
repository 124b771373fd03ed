"""Redis as people run it, on 127.0.0.1: watched by Sentinels, as a cluster, behind TLS; each ends with the tests."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from sesmail import embedded
from sesmail.embedded import EmbeddedRedis, supervised
from tests.acceptance.fleet import wait_until
from tests.services import absent

MASTER_NAME = "mail"
SLOTS = 16_384


class Server(EmbeddedRedis):
    """The embedded server, told more than it is in a demo."""

    def __init__(self, folder: Path, *, binary: str = "", appendfsync: Any = "no", **options: str) -> None:
        super().__init__(folder, appendfsync=appendfsync)
        options = {"repl_diskless_sync_delay": "0", **options}
        self._binary = binary
        self._more = {name.replace("_", "-"): value for name, value in options.items()}

    def _launch(self, binary: str, port: int) -> int:
        return super()._launch(self._binary or binary, port)

    def _options(self, port: int) -> list[str]:
        return [*super()._options(port), *(part for name, value in self._more.items() for part in (f"--{name}", value))]

    @property
    def client(self) -> Redis:
        return Redis(port=self.port, socket_timeout=5)

    @property
    def tls_port(self) -> int:
        return int(self._more["tls-port"])

    def will_follow(self, master: Server) -> None:
        """Be its replica after the next start."""
        self._more["replicaof"] = f"127.0.0.1 {master.port}"

    def stop_following(self) -> None:
        """Be a master, also after a restart."""
        self._more.pop("replicaof", None)
        with self.client as client:
            client.replicaof("NO", "ONE")

    def follow(self, master: Server) -> None:
        """Be its replica, also after a restart."""
        self.will_follow(master)
        with self.client as client:
            client.replicaof("127.0.0.1", master.port)
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the replica follows")

    def freeze(self) -> None:
        """Say nothing any more, as when its host is cut off."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on as if nothing had happened."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)


def is_master(server: Server) -> bool:
    try:
        with server.client as client:
            return bool(client.info("replication")["role"] == "master")
    except RedisError:
        return False


class Watched:
    """A master and its replicas that three Sentinels watch. A context manager."""

    def __init__(self, folder: Path, *, replicas: int = 1, **options: str) -> None:
        """`options` are those of the servers."""
        self._folder = folder
        self._ending = ExitStack()
        self.servers = [Server(folder / f"server{number}", **options) for number in range(replicas + 1)]
        self.sentinel_ports: list[int] = []

    def __enter__(self) -> Self:
        for server in self.servers:
            self._ending.enter_context(server)
        for server in self.servers[1:]:
            server.follow(self.servers[0])
        for number in range(3):
            self._start_sentinel(self._folder / f"sentinel{number}")
        wait_until(self._is_agreed, "the Sentinels know each other and the replicas")
        return self

    def __exit__(self, *exception: object) -> None:
        self._ending.close()

    @property
    def hosts(self) -> list[str]:
        """The Sentinels."""
        return [f"127.0.0.1:{port}" for port in self.sentinel_ports]

    @property
    def master(self) -> Server:
        return next(server for server in self.servers if is_master(server))

    def _start_sentinel(self, folder: Path) -> None:
        folder.mkdir()
        port = free_port()
        (folder / "sentinel.conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {self.servers[0].port} 2\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} 800\n"
            f"sentinel failover-timeout {MASTER_NAME} 3000\n"
        )
        with (folder / "log").open("ab") as log:
            command = [embedded._find_binary(), str(folder / "sentinel.conf"), "--sentinel"]
            self._ending.callback(end, supervised(command, stdout=log, stderr=log))
        self.sentinel_ports.append(port)

    def _is_agreed(self) -> bool:
        return all(
            state and state["num-other-sentinels"] == 2 and state["num-slaves"] == len(self.servers) - 1
            for state in map(self._state, self.sentinel_ports)
        )

    @staticmethod
    def _state(port: int) -> dict[str, Any] | None:
        try:
            with Redis(port=port) as client:
                return client.sentinel_masters().get(MASTER_NAME)  # type: ignore[no-any-return]
        except RedisError:
            return None


class Authority:
    """A certificate authority of one's own, and a server's certificate by it."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "authority.pem"
        self._key, self._server = folder / "server.key", folder / "server.pem"
        authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        by = _certificate("authority", authority.public_key(), "authority", authority, is_authority=True)
        of_server = _certificate("server", server.public_key(), "authority", authority)
        self.certificate.write_bytes(by.public_bytes(serialization.Encoding.PEM))
        self._server.write_bytes(of_server.public_bytes(serialization.Encoding.PEM))
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self._key.write_bytes(server.private_bytes(*form))

    def redis_options(self) -> dict[str, str]:
        """For a server that speaks TLS at a port of its own."""
        return {
            "tls_port": str(free_port()),
            "tls_ca_cert_file": str(self.certificate),
            "tls_cert_file": str(self._server),
            "tls_key_file": str(self._key),
            "tls_auth_clients": "no",
        }


def _certificate(subject: str, key: Any, issuer: str, signing: Any, *, is_authority: bool = False) -> x509.Certificate:
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")])
    return (
        x509.CertificateBuilder(names[1], names[0], key, x509.random_serial_number())
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2045, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(here, critical=False)
        .sign(signing, hashes.SHA256())
    )


class Cluster:
    """Three masters, and a replica of the one that has the ledger. A context manager."""

    def __init__(self, folder: Path, key: str = "{sesmail}:") -> None:
        self._ending = ExitStack()
        self._slot = key_slot(key.encode())
        self.servers = [
            Server(
                folder / f"node{number}",
                cluster_enabled="yes",
                cluster_node_timeout="1000",
                cluster_port=str(free_port()),
                cluster_replica_validity_factor="0",
            )
            for number in range(4)
        ]

    def __enter__(self) -> Self:
        for server in self.servers:
            self._ending.enter_context(server)
        masters, replica = self.servers[:3], self.servers[3]
        first = masters[0].client
        for number, server in enumerate(masters):
            range_ = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            server.client.execute_command("CLUSTER ADDSLOTSRANGE", *range_)
        for server in self.servers[1:]:
            first.execute_command("CLUSTER MEET", "127.0.0.1", server.port, server._more["cluster-port"])
        wait_until(lambda: all(self._knows(server, 4) for server in self.servers), "the nodes have met")
        wait_until(lambda: all(self._is_ok(server) for server in self.servers), "the cluster is there")
        replica.client.execute_command("CLUSTER REPLICATE", self.id_of(self.master))
        wait_until(lambda: replica.client.info("replication").get("master_link_status") == "up", "the replica follows")
        wait_until(lambda: all(self._knows_replica(server) for server in self.servers), "all know of the replica")
        return self

    def __exit__(self, *exception: object) -> None:
        self._ending.close()

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.servers[0].port},127.0.0.1:{self.servers[1].port}"

    @property
    def master(self) -> Server:
        """Who has the ledger."""
        for server in self.servers:
            if is_master(server) and self._has_it(server):
                return server
        raise AssertionError("nobody has the ledger")

    def slot(self, key: str) -> int:
        return int(key_slot(key.encode()))

    def owner_and_another(self, key: str) -> tuple[Server, Server]:
        """The node that has a key, and a master that does not."""
        ranges: Any = self.master.client.execute_command("CLUSTER SLOTS")
        (port,) = [owner[1] for first, last, owner, *_ in ranges if first <= self.slot(key) <= last]
        masters = [server for server in self.servers if server.pid and is_master(server)]
        return next(one for one in masters if one.port == port), next(one for one in masters if one.port != port)

    @property
    def strangers(self) -> list[Server]:
        """Nodes that do not have the ledger."""
        return [server for server in self.servers if server is not self.master and is_master(server)]

    def _has_it(self, server: Server) -> bool:
        ranges: Any = server.client.execute_command("CLUSTER SLOTS")
        return any(first <= self._slot <= last and owner[1] == server.port for first, last, owner, *_ in ranges)

    @staticmethod
    def id_of(server: Server) -> bytes:
        found: bytes = server.client.execute_command("CLUSTER MYID")
        return found

    @staticmethod
    def _text(server: Server, what: str) -> str:
        found: Any = server.client.execute_command(f"CLUSTER {what}")
        return found.decode() if isinstance(found, bytes) else str(found)

    def _is_ok(self, server: Server) -> bool:
        return "cluster_state:ok" in self._text(server, "INFO") or "'cluster_state': 'ok'" in self._text(server, "INFO")

    def _knows(self, server: Server, count: int) -> bool:
        with server.client as client:
            return len(client.execute_command("CLUSTER NODES")) == count

    def _knows_replica(self, server: Server) -> bool:
        ranges: Any = server.client.execute_command("CLUSTER SLOTS")
        return any(len(range_) > 3 for range_ in ranges)


def free_port() -> int:
    """Most likely free: of the range that systems give to nobody by themselves."""
    return random.choice(range(20_000, 32_000))


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    process.stdin.close()  # type: ignore[union-attr]  # always a pipe


def redis_with_tls() -> str:
    """A server that speaks TLS; the embedded one does not."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    return found or absent("needs a redis-server or valkey-server with TLS in PATH")


@contextmanager
def sentinel_by_tls(folder: Path, authority: Authority, master_port: int) -> Iterator[int]:
    """A Sentinel that speaks TLS alone, also with the master at this port; answers its own."""
    folder.mkdir()
    options = authority.redis_options()
    lines = [f"{name.replace('_', '-')} {value}" for name, value in options.items()]
    lines += ["port 0", "bind 127.0.0.1", f"dir {folder}", "tls-replication yes"]
    lines += [f"sentinel monitor {MASTER_NAME} 127.0.0.1 {master_port} 1"]
    (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
    with (folder / "log").open("ab") as log:
        command = [redis_with_tls(), str(folder / "sentinel.conf"), "--sentinel"]
        process = supervised(command, stdout=log, stderr=log)
    try:
        yield int(options["tls_port"])
    finally:
        end(process)
