"""The ledger's Redis: whether it is there, keeps what it is given, and answers in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from sesmail.doctor.table import Level, Said, Section
from sesmail.errors import ConfigurationError, LedgerRefuses, LedgerUnavailable, in_a_line
from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.doctor.patient import Patient

CROWDED = 0.9
OLDEST = (6, 2)
HARMLESS: dict[str, tuple[Any, ...]] = {
    # Each leaves a key that is not there as it is.
    "EVAL": ("EVAL", "return 1", 1, "{key}"),
    "GET": ("GET", "{key}"),
    "SET": ("SET", "{key}", "1", "XX"),
    "DEL": ("DEL", "{key}"),
    "PEXPIRE": ("PEXPIRE", "{key}", 1),
    "HGETALL": ("HGETALL", "{key}"),
    "HDEL": ("HDEL", "{key}", "none"),
    "ZADD": ("ZADD", "{key}", "XX", 1, "none"),
    "ZREM": ("ZREM", "{key}", "none"),
    "ZRANGE": ("ZRANGE", "{key}", 0, 0),
    "SREM": ("SREM", "{key}", "none"),
    "RPUSHX": ("RPUSHX", "{key}", "none"),
    "LPOP": ("LPOP", "{key}"),
    "TIME": ("TIME",),
}
"""Commands as sesmail needs them, by name."""


_of_redis = Section("Redis", docs="reliability.md#what-you-must-run")


@_of_redis(
    "redis-unreachable",
    Level.ERROR,
    "Start it, or mend SESMAIL_REDIS_URL (or the broker's address, where that names the ledger) as it says.",
    "deployment.md",
)
def redis_unreachable(of: Patient) -> str | None:
    """The ledger's Redis is away, or refuses: a password, a certificate, rights, a database. Nothing is accepted."""
    try:
        with reachable(redis := of.client.scripts.redis):
            redis.ping()
    except (LedgerUnavailable, ConfigurationError) as error:
        return in_a_line(error).partition(" Nothing was ")[0]
    return None


@_of_redis(
    "redis-replica",
    Level.ERROR,
    "Name the primary, or what always leads to it: Sentinel, the primary endpoint of a hosted one.",
    "deployment.md",
)
def redis_replica(of: Patient) -> str | None:
    """The Redis that is named is a replica: it takes no writes, so no email is accepted or sent."""
    if of.info("replication").get("role") != "slave":
        return None
    primary = of.info("replication").get("master_host", "another")
    return f"Redis is a replica (its primary is {primary}): it takes no writes."


@_of_redis("redis-failover", Level.WARNING, "Wait: it ends by itself within seconds.", "deployment.md")
def redis_failover(of: Patient) -> str | None:
    """A failover is in progress: writes are refused until it ends."""
    state = of.info("replication").get("master_failover_state", "no-failover")
    return None if state == "no-failover" else f"Redis is in a failover ({state}): writes wait until it ends."


@_of_redis("redis-version", Level.ERROR, "Run Redis 6.2 or newer, or Valkey.", "deployment.md")
def redis_version(of: Patient) -> str | None:
    """Redis is older than the scripts and commands need."""
    said = str(of.info("server").get("redis_version", ""))
    numbers = tuple(int(part) for part in said.split(".")[:2] if part.isdigit())
    return (
        f"Redis is {said}: scripts of sesmail fail on what is older than 6.2." if numbers and numbers < OLDEST else None
    )


@_of_redis("redis-rights", Level.ERROR, "Give the user the rights of docs/reliability.md.")
def redis_rights(of: Patient) -> str | None:
    """The user of Redis lacks a right that sesmail needs; what needs it fails when it comes to that."""
    denied = [name for name, command in HARMLESS.items() if not _is_permitted(of, command)]
    return f"The user of Redis has no right to {', '.join(denied)}, which sesmail needs." if denied else None


def _is_permitted(of: Patient, command: tuple[Any, ...]) -> bool:
    key = of.client.scripts.keys("doctor", "none")
    said = [part.format(key=key) if isinstance(part, str) else part for part in command]
    try:
        with reachable(redis := of.client.scripts.redis):
            redis.execute_command(*said)  # type: ignore[no-untyped-call]
    except LedgerRefuses as error:
        if isinstance(error.__cause__, NoPermissionError):
            return False
        raise
    return True


@_of_redis(
    "redis-forgets",
    Level.ERROR,
    "Set `appendonly yes` and `appendfsync everysec`, and `maxmemory-policy noeviction`; where it is meant, say "
    "SESMAIL_REDIS_MAY_FORGET=1.",
)
def redis_forgets(of: Patient) -> Iterator[str]:
    """Redis' append-only file is off, or its policy throws keys away: what was accepted may be lost."""
    yield from of.client.redis_health.warnings()


@_of_redis(
    "redis-syncs-never",
    Level.WARNING,
    "Set `appendfsync everysec`.",
)
def redis_syncs_never(of: Patient) -> str | None:
    """The append-only file is written whenever the system pleases: a power loss may cost half a minute of email."""
    if of.settings.redis_may_forget:
        return None
    try:
        with reachable(redis := of.client.scripts.redis):
            said: Any = redis.config_get("appendfsync")
    except (ConfigurationError, NoPermissionError, ResponseError):  # hosted ones forbid CONFIG
        return None
    if said.get("appendfsync") != "no":
        return None
    return "Redis syncs its append-only file never (appendfsync no): a power loss costs what was accepted lately."


@_of_redis("redis-evicted", Level.ERROR, "Give it more memory, and set `maxmemory-policy noeviction`.")
def redis_evicted(of: Patient) -> str | None:
    """Redis was full and has thrown keys away: emails that were accepted may be lost, others may go out twice."""
    evicted = of.info("stats").get("evicted_keys") or 0
    return f"Redis has thrown away {evicted} keys since it was started: some may have been emails." if evicted else None


@_of_redis(
    "redis-full",
    Level.ERROR,
    "Raise `maxmemory`, or keep less: SESMAIL_SENT_RETENTION_SECONDS; `sesmail status` says what is kept.",
)
def redis_full(of: Patient) -> Iterator[Said]:
    """Redis' memory is nearly used up; then new email is refused."""
    yield from map(Said.by, of.in_the_way("redis-full"))


@_of_redis("redis-disk", Level.ERROR, "See Redis' log, and free the disk.")
def redis_disk(of: Patient) -> Iterator[str]:
    """Redis could not write to its disk: it refuses writes, or would lose them with its process."""
    names = {"aof_last_write_status": "append-only file", "rdb_last_bgsave_status": "last snapshot"}
    for name, file in names.items():
        if of.info("persistence").get(name, "ok") != "ok":
            yield f"Redis could not write its {file}: it refuses new email, or would lose it with its process."


@_of_redis("redis-crowded", Level.WARNING, "Raise `maxclients`, or end connections that nobody needs.")
def redis_crowded(of: Patient) -> str | None:
    """Nearly as many connections as Redis takes are open: the next processes are refused."""
    clients = of.info("clients")
    here, most = clients.get("connected_clients", 0), clients.get("maxclients") or 0
    return (
        f"Redis has {here} connections of at most {most}: soon it refuses more."
        if most and here >= CROWDED * most
        else None
    )


@_of_redis("redis-slow", Level.WARNING, "See SLOWLOG and its host's load, or run the workers nearer to it.")
def redis_slow(of: Patient) -> Iterator[Said]:
    """Redis takes long to answer; each email asks it several times, so that sending is slow."""
    yield from map(Said.by, of.in_the_way("redis-slow"))


@_of_redis(
    "redis-durability",
    Level.ERROR,
    "Give it what SESMAIL_ACCEPT_WAITS_FOR waits for, or unset that.",
    "deployment.md",
)
def redis_durability(of: Patient) -> Said | None:
    """Acceptance waits for a replica or the disk, which this Redis has not: each `.delay()` fails."""
    waits_for = of.settings.accept_waits_for
    try:
        of.client.check_durability()
    except ConfigurationError as error:
        return Said(what=str(error))
    replicas = of.info("replication").get("connected_slaves", 0)
    if waits_for == "replica" and not replicas:
        return Said(what="SESMAIL_ACCEPT_WAITS_FOR=replica, but Redis has no replica: each `.delay()` fails.")
    return None


@_of_redis("clock-redis", Level.WARNING, "Have both hosts keep time by NTP.", "throttle.md")
def clock_redis(of: Patient) -> str | None:
    """The clocks of Redis and of this host differ: `send_at` and expiry are off by as much, and so are the logs."""
    with reachable(redis := of.client.scripts.redis):
        seconds, microseconds = redis.time()
    apart = seconds + microseconds / 1e6 - of.now()
    if abs(apart) < 2:
        return None
    return f"Redis' clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this host's."
