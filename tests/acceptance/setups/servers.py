"""Set-ups as teams have them: the servers, how Celery is configured for them, and what befalls their Redis."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from kombu import Connection
from moto.server import ThreadedMotoServer

from tests.acceptance.fleet import wait_until
from tests.acceptance.proxy import Proxy
from tests.contract.test_redis_on_bad_days import rights
from tests.redis_servers import MASTER_NAME, Authority, Cluster, Server, Watched, is_master, redis_with_tls
from tests.services import absent

RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """Servers that run, how Celery is configured for them, and what befalls them; that ends when they work again."""

    conf: dict[str, Any]
    befall: Callable[[], object]


@contextmanager
def sentinels(folder: Path) -> Iterator[SetUp]:
    """Broker and ledger alike, as Celery has it; the master dies."""
    with Watched(folder) as group:
        broker = ";".join(f"sentinel://{host}" for host in group.hosts)
        conf = {"broker_url": broker, "broker_transport_options": {"master_name": MASTER_NAME}}
        yield SetUp(conf=conf, befall=lambda: dies(group))


@contextmanager
def sentinels_and_wait(folder: Path) -> Iterator[SetUp]:
    """Acceptance waits for the replica; RabbitMQ carries the tickets. The master is cut off, and comes back demoted."""
    with Watched(folder, replicas=2) as group, rabbitmq() as conf:  # the next master has one to wait for, too
        url = f"sentinel://{','.join(group.hosts)}/0?master_name={MASTER_NAME}"
        conf |= {"sesmail_redis_url": url, "sesmail_accept_waits_for": "replica"}
        yield SetUp(conf=conf, befall=lambda: is_cut_off_and_comes_back(group))


@contextmanager
def sentinels_and_redis(folder: Path) -> Iterator[SetUp]:
    """Another Redis carries the tickets; the master dies."""
    with Watched(folder) as group, Server(folder / "broker") as broker:
        url = f"sentinel://{','.join(group.hosts)}/0?master_name={MASTER_NAME}"
        yield SetUp(conf={"broker_url": broker.url, "sesmail_redis_url": url}, befall=lambda: dies(group))


@contextmanager
def cluster_and_redis(folder: Path) -> Iterator[SetUp]:
    """Another Redis carries the tickets; the node that has the ledger dies."""
    with Cluster(folder) as nodes, Server(folder / "broker") as broker:
        yield SetUp(
            conf={"broker_url": broker.url, "sesmail_redis_url": nodes.url}, befall=lambda: its_node_dies(nodes)
        )


@contextmanager
def cluster(folder: Path) -> Iterator[SetUp]:
    """SQS carries the tickets; the node that has the ledger dies."""
    with Cluster(folder) as nodes, sqs() as conf:
        yield SetUp(conf=conf | {"sesmail_redis_url": nodes.url}, befall=lambda: its_node_dies(nodes))


@contextmanager
def stable_name(folder: Path) -> Iterator[SetUp]:
    """A name that moves with the master; the broker is another Redis. The master is demoted."""
    with Server(folder / "old") as old, Server(folder / "new") as new, Server(folder / "broker") as broker:
        new.follow(old)
        with Proxy(old.port) as name:

            def befall() -> None:
                old.client.execute_command("FAILOVER")
                wait_until(lambda: is_master(new) and not is_master(old), "they have changed places")
                name.lead_to(new.port)

            url = f"redis://127.0.0.1:{name.port}/0"
            yield SetUp(conf={"broker_url": broker.url, "sesmail_redis_url": url}, befall=befall)


@contextmanager
def tls_and_rights(folder: Path) -> Iterator[SetUp]:
    """An authority of one's own and a user of few rights, in Celery's spelling; the server is killed and restarted."""
    authority = Authority(folder)
    options = authority.redis_options()
    with Server(folder / "redis", binary=redis_with_tls(), **options) as server, rabbitmq() as conf:
        file = folder / "redis" / "users.acl"
        file.write_text(f"user default on nopass ~* &* +@all\nuser mail on >s3cret/@ {' '.join(rights())}\n")
        server._more["aclfile"] = str(file)
        server.restart()

        def befall() -> None:
            server.kill()
            server.start()

        url = f"rediss://mail:s3cret%2F%40@127.0.0.1:{server.tls_port}/0?ssl_cert_reqs=CERT_REQUIRED"
        yield SetUp(conf=conf | {"sesmail_redis_url": f"{url}&ssl_ca_certs={authority.certificate}"}, befall=befall)


@contextmanager
def disk(folder: Path) -> Iterator[SetUp]:
    """Acceptance waits for the disk; one Redis for all, which is killed and restarted."""
    with Server(folder, appendfsync="always") as server:

        def befall() -> None:
            server.kill()
            server.start()

        yield SetUp(conf={"broker_url": server.url, "sesmail_accept_waits_for": "disk"}, befall=befall)


def dies(group: Watched) -> None:
    group.master.kill()
    wait_until(lambda: any(map(is_master, group.servers)), "Sentinels choose another")


def its_node_dies(nodes: Cluster) -> None:
    nodes.master.kill()
    wait_until(lambda: is_master(nodes.servers[3]), "its replica takes over")


def is_cut_off_and_comes_back(group: Watched) -> None:
    old = group.master
    old.freeze()
    wait_until(lambda: any(is_master(server) for server in group.servers if server is not old), "there is another")
    old.thaw()


@contextmanager
def rabbitmq() -> Iterator[dict[str, Any]]:
    prefix = f"sesmail-test-{uuid4().hex[:12]}"
    queues = [f"{prefix}.{name}" for name in ("transactional", "bulk", "sweep", "events.default")]
    with Connection(RABBITMQ, connect_timeout=1) as connection:
        try:
            connection.connect()
        except Exception:
            absent("there is no RabbitMQ with the usual guest account on 127.0.0.1:5672")
        names = {f"sesmail_{lane}_queue": f"{prefix}.{lane}" for lane in ("transactional", "bulk")}
        yield {"broker_url": RABBITMQ, "task_default_queue": f"{prefix}.celery", **names}
        for queue in (*queues, f"{prefix}.celery"):
            connection.default_channel.queue_delete(queue)


@contextmanager
def sqs() -> Iterator[dict[str, Any]]:
    if not find_spec("pycurl"):
        absent("Celery's workers need pycurl for SQS")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each of its requests
    server.start()
    host, port = server.get_host_and_port()
    try:
        boto3.client("sqs", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").list_queues()
        yield {
            "broker_url": f"sqs://test:test@{host}:{port}",
            "broker_transport_options": {"region": "us-east-1", "is_secure": False, "polling_interval": 0.2},
            "worker_enable_remote_control": False,
        }
    finally:
        server.stop()
