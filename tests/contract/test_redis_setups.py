"""The ledger on Redis as people run it: watched by Sentinels, in a cluster, over TLS, with passwords that expire."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.credentials import CredentialProvider

from sesmail import Client, Settings
from sesmail.embedded import EmbeddedRedis
from sesmail.errors import LedgerRefuses, LedgerUnavailable
from sesmail.state.ledger.ledger import Ledger
from sesmail.vocabulary import State
from tests.acceptance.fleet import wait_until
from tests.acceptance.proxy import Proxy
from tests.contract.test_redis_on_bad_days import rights
from tests.ledger_use import EMAIL, use_all_of
from tests.redis_servers import (
    MASTER_NAME,
    SLOTS,
    Authority,
    Cluster,
    Server,
    Watched,
    free_port,
    is_master,
    redis_with_tls,
    sentinel_by_tls,
)
from tests.tickets import Broker

RECOVERY_SECONDS = 30.0
"""By itself, on a busy machine. How fast it is on a calm one is measured: benchmarks/durability.py."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with Watched(tmp_path_factory.mktemp("watched")) as group:
        yield group


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def new_client() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def new(url: str, **settings: object) -> Client:
        made.append(Client(Settings(redis_url=url, **settings), Broker()))
        return made[-1]

    yield new
    for client in made:
        client.close()


def url_of(watched: Watched) -> str:
    return f"sentinel://{','.join(watched.hosts)}/0?master_name={MASTER_NAME}"


def seconds_until_accepted(ledger: Ledger, send_id: str) -> float:
    start = time.monotonic()

    def accepts() -> bool:
        try:
            return ledger.accept(send_id, EMAIL).state == State.QUEUED
        except LedgerUnavailable:
            return False

    wait_until(accepts, "emails are accepted again")
    return time.monotonic() - start


# -- Sentinels and clusters -----------------------------------------------------------------------------------------------


def test_behind_sentinels_all_that_is_done_with_a_ledger_is_done(watched: Watched, new_client) -> None:
    use_all_of(new_client(url_of(watched)))


def test_in_a_cluster_all_that_is_done_with_a_ledger_is_done(cluster: Cluster, new_client) -> None:
    use_all_of(new_client(cluster.url))


def test_a_ledger_of_any_prefix_is_on_one_node_of_a_cluster(cluster: Cluster, new_client) -> None:
    for prefix in ("alpha", "beta", "gamma"):
        client = new_client(cluster.url, key_prefix=prefix)
        client.ledger.accept("a", EMAIL)
        having = [server for server in cluster.servers if server.client.keys(f"{{{prefix}}}:*")]
        assert len(having) <= 2, "its owner, and the replica of that"


def test_when_a_node_of_a_cluster_dies_the_ledger_is_with_its_replica(cluster: Cluster, new_client) -> None:
    ledger = new_client(cluster.url).ledger
    ledger.accept("before", EMAIL)
    died = cluster.master
    died.kill()
    wait_until(lambda: cluster.servers[3] is cluster.master, "its replica takes over")
    assert seconds_until_accepted(ledger, "after") < RECOVERY_SECONDS
    assert ledger.status("before").state is State.QUEUED
    died.start()


def test_when_the_master_dies_sentinels_lead_to_the_next(watched: Watched, new_client) -> None:
    ledger = new_client(url_of(watched)).ledger
    ledger.accept("before", EMAIL)
    died = watched.master
    died.kill()
    wait_until(lambda: any(map(is_master, watched.servers)), "there is another")
    assert seconds_until_accepted(ledger, "after") < RECOVERY_SECONDS
    assert ledger.status("before").state is State.QUEUED
    died.start()


def test_one_node_of_a_cluster_that_is_named_as_a_redis_says_how_to_name_the_cluster(
    cluster: Cluster, new_client
) -> None:
    with pytest.raises(LedgerRefuses, match=r"redis\+cluster://HOST:6379"):
        new_client(cluster.strangers[0].url).ledger.accept("a", EMAIL)


def test_while_a_slot_is_being_moved_nothing_is_done_on_half_of_a_ledger(cluster: Cluster, new_client) -> None:
    """redis-py's client of clusters would follow ASK, and run a script where only some of the keys are."""
    client = new_client(cluster.url, key_prefix="moving", redis_timeout_seconds=1)
    client.ledger.accept("a", EMAIL)
    key, (owner, target) = "{moving}:", cluster.owner_and_another("{moving}:")
    slot, ids = cluster.slot(key), [cluster.id_of(owner), cluster.id_of(target)]
    target.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
    owner.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
    with pytest.raises(LedgerUnavailable):
        client.ledger.accept("b", EMAIL)
    assert not target.client.keys("{moving}:*")
    for server in (owner, target):
        server.client.execute_command("CLUSTER SETSLOT", slot, "STABLE")
    client.ledger.accept("b", EMAIL)
    assert client.ledger.counts()["queued"] == 2


@pytest.mark.parametrize(("scheme", "said"), [("sentinel", "Sentinel is none"), ("redis+cluster", "is no cluster")])
def test_a_redis_that_is_named_as_what_it_is_not_says_so(
    redis_server: EmbeddedRedis, new_client, scheme: str, said: str
) -> None:
    client = new_client(f"{scheme}://127.0.0.1:{redis_server.port}", redis_master_name="mail")
    with pytest.raises(LedgerRefuses, match=said):
        client.ledger.accept("a", EMAIL)


@pytest.mark.parametrize("scheme", ["sentinel", "redis+cluster"])
def test_where_nobody_answers_that_is_known_within_a_second(new_client, scheme: str) -> None:
    client = new_client(f"{scheme}://127.0.0.1:1,127.0.0.1:2", redis_master_name="mail")
    took = []
    for _ in range(3):
        start = time.monotonic()
        with pytest.raises(LedgerUnavailable):
            client.outbox.send(EMAIL)
        took.append(time.monotonic() - start)
    assert min(took) < 1, "a busy machine may hold up one or another"


# -- who connects, and how long that may take -----------------------------------------------------------------------------


def test_a_user_who_may_not_give_a_name_can_send(tmp_path: Path, new_client) -> None:
    with Server(tmp_path) as server:
        rights = ["~{sesmail}:*", "+@all", "-@dangerous", "-@admin", "-client|setname"]
        server.client.execute_command("ACL", "SETUSER", "mail", "on", ">any", *rights)
        new_client(server.url.replace("redis://", "redis://mail:any@")).ledger.accept("a", EMAIL)


def test_a_redis_far_away_is_reached_when_it_is_given_time_to_connect(redis_server: EmbeddedRedis, new_client) -> None:
    with Proxy(redis_server.port) as far_away:
        far_away.delay_seconds = 0.4
        said = {"accept_timeout_seconds": 2, "key_prefix": "far"}
        url = f"redis://127.0.0.1:{far_away.port}/0"
        with pytest.raises(LedgerUnavailable):
            new_client(url, **said).outbox.send(EMAIL)
        new_client(url, redis_connect_timeout_seconds=1, **said).outbox.send(EMAIL)


def test_in_a_cluster_a_user_needs_one_more_right_than_elsewhere(cluster: Cluster, new_client) -> None:
    for server in cluster.servers:
        server.client.execute_command("ACL", "SETUSER", "mail", "on", ">any", *rights(), "+cluster|slots")
        server.client.execute_command("ACL", "SETUSER", "less", "on", ">any", *rights())
    url = cluster.url.replace("://", "://{}:any@", 1)
    new_client(url.format("mail")).ledger.accept("permitted", EMAIL)
    with pytest.raises(LedgerRefuses, match=r"\+cluster\|slots"):
        new_client(url.format("less")).ledger.counts()


class Token(CredentialProvider):
    """A password that changes, as those of IAM do."""

    current = "first"
    asked = 0

    def get_credentials(self) -> tuple[str, str]:
        Token.asked += 1
        return "mail", Token.current


@pytest.fixture
def by_tls(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A Redis that speaks TLS with a certificate of an authority of its own, and the query that names it."""
    authority = Authority(tmp_path)
    with Server(tmp_path / "redis", binary=redis_with_tls(), **authority.redis_options()) as server:
        yield server, f"ssl_ca_certs={authority.certificate}"


def test_each_connection_asks_anew_who_connects(by_tls: tuple[Server, str], new_client) -> None:
    server, query = by_tls
    admin = server.client
    admin.execute_command("ACL", "SETUSER", "mail", "on", ">first", "~*", "+@all")
    client = new_client(f"rediss://127.0.0.1:{server.tls_port}/0?{query}", redis_credentials=f"{__name__}.Token")
    client.ledger.accept("a", EMAIL)
    before = Token.asked
    admin.execute_command("ACL", "SETUSER", "mail", "<first", ">second")
    Token.current = "second"
    admin.execute_command("CLIENT", "KILL", "USER", "mail")
    client.ledger.accept("b", EMAIL)
    assert Token.asked > before


def test_a_cluster_is_spoken_to_by_tls(tmp_path: Path, new_client) -> None:
    authority = Authority(tmp_path)
    options = authority.redis_options() | {"tls_cluster": "yes", "cluster_port": str(free_port())}
    with Server(tmp_path / "node", binary=redis_with_tls(), cluster_enabled="yes", **options) as node:
        node.client.execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
        client = new_client(f"rediss+cluster://127.0.0.1:{node.tls_port}?ssl_ca_certs={authority.certificate}")
        wait_until(lambda: answers(client), "it has all slots")
        use_all_of(client)


def test_sentinels_and_their_master_are_spoken_to_by_tls(tmp_path: Path, new_client) -> None:
    authority = Authority(tmp_path)
    with (
        Server(tmp_path / "redis", binary=redis_with_tls(), **authority.redis_options()) as master,
        sentinel_by_tls(tmp_path / "sentinel", authority, master.tls_port) as port,
    ):
        query = f"master_name={MASTER_NAME}&ssl_ca_certs={authority.certificate}"
        client = new_client(f"rediss+sentinel://127.0.0.1:{port}/0?{query}")
        wait_until(lambda: answers(client), "the Sentinel knows its master")
        use_all_of(client)


def answers(client: Client) -> bool:
    try:
        return bool(client.ledger.counts())
    except LedgerUnavailable:
        return False
