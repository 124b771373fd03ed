"""Who must not be written to, and why: hard bounces, complaints, unsubscribes, and what operators add."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, Self

from sesmail.frames import shows_no_email
from sesmail.message.addresses import former_addresses, normal_address
from sesmail.state.people.pseudonyms import Pseudonyms
from sesmail.state.server.exchange import unreadable
from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sesmail.state.scripts import Scripts


@dataclass(frozen=True, slots=True)
class Scope:
    """How far an opt-out reaches: `Scope()` everything, `Scope(site)` a site, `Scope(site, list)` one list of it."""

    site: str = ""
    list: str = ""

    def __post_init__(self) -> None:
        if self.list and not self.site:
            raise ValueError("A list belongs to a site: name it too.")
        if "/" in self.site:
            raise ValueError("The name of a site has no slash.")

    def __str__(self) -> str:
        """`everything`, `site:alpha` or `list:alpha/monthly`: how commands, files and Redis spell it."""
        if self.list:
            return f"list:{self.site}/{self.list}"
        return f"site:{self.site}" if self.site else "everything"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From what `str()` gives. Raises ValueError for anything else."""
        site, _, list_name = text.partition(":")[2].partition("/")
        scope = cls(site, list_name)
        if str(scope) != text:
            raise ValueError(f"{text!r} is no scope: write everything, site:NAME or list:SITE/NAME.")
        return scope


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """One entry of the list."""

    address: str = field(repr=False)
    scope: Scope
    reason: Reason
    since: datetime
    source: str = ""
    """The id of the event that it came from, or what an operator gave."""
    until: datetime | None = None
    """When it ends by itself, if it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftBouncePolicy:
    """So many passing bounces of an address, no further apart, with no delivery between, opt it out for so long."""

    limit: int
    window_seconds: float
    pause_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """A passing bounce of an address, or a delivery to it."""

    address: str = field(repr=False)
    delivered: bool
    at: datetime
    source: str


RETURN_SECONDS = 30 * 86_400.0
"""How long it is remembered that somebody came back, for opt-outs that are told late."""


class OptOutBook(Protocol):
    """Where opt-outs are written down: in Redis, or in memory where nothing is sent."""

    def add(self, opt_out: OptOut) -> bool:
        """Write it down; False when it, or a stronger reason, is there already."""

    def lift(self, address: str, scope: Scope, came_back_at: datetime, *, by_link: bool = False) -> bool:
        """Somebody came back by SES's own means: end what was opted out of by those, before then. Whether there was.

        `by_link`: by one of our own links, which ends also what came from those.
        """

    def find(self, address: str) -> list[OptOut]:
        """All entries of one address."""

    def count_passing(self, policy: SoftBouncePolicy, passing: Sequence[Passing]) -> int:
        """Count passing bounces and deliveries, in this order; how many addresses are opted out by it."""

    def erased_among(self, addresses: Iterable[str], *, within_seconds: float) -> dict[str, str]:
        """Those whose traces were erased of late, and what they are called since."""


class SuppressionList:
    """The opt-outs, in Redis. All methods raise `LedgerUnavailable` when Redis cannot be reached.

    A script that claims a send asks the same list through `suppression.lua`, so an opt-out also holds for email
    that was queued before it.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._run = scripts.run
        self._redis = scripts.redis
        self._key = scripts.keys
        self._pseudonyms = Pseudonyms(scripts)

    @shows_no_email
    def add(self, opt_out: OptOut) -> bool:
        """Write it down; False when it, or a stronger reason, is there already."""
        reasons = list(Reason)
        weaker = reasons[: reasons.index(opt_out.reason)]
        since_ms = round(opt_out.since.timestamp() * 1000)
        address, scope = normal_address(opt_out.address), str(opt_out.scope)
        source = opt_out.source.replace("\n", " ")
        until_ms = "" if opt_out.until is None else round(opt_out.until.timestamp() * 1000)
        return bool(self._run("suppress", address, scope, opt_out.reason, since_ms, source, until_ms, *weaker))

    def lift(self, address: str, scope: Scope, came_back_at: datetime, *, by_link: bool = False) -> bool:
        """Somebody came back by SES's own means: end what was opted out of by those, before then. Whether there was.

        `by_link`: by one of our own links, which ends also what came from those.
        """
        came_back_ms = round(came_back_at.timestamp() * 1000)
        arguments = (normal_address(address), str(scope), came_back_ms, round(RETURN_SECONDS), int(by_link))
        return bool(self._run("lift", *arguments))

    @shows_no_email
    def count_passing(self, policy: SoftBouncePolicy, passing: Sequence[Passing]) -> int:
        """Count passing bounces and deliveries, in this order; how many addresses are opted out by it."""
        limits = (policy.limit, round(policy.window_seconds * 1000), round(policy.pause_seconds * 1000))
        arguments = [
            argument
            for one in passing
            for argument in (
                "delivery" if one.delivered else "bounce",
                hashlib.sha256(one.address.encode()).hexdigest(),
                one.address,
                round(one.at.timestamp() * 1000),
                one.source.replace("\n", " "),
            )
        ]
        return int(self._run("soft_bounces", *limits, *arguments)) if passing else 0

    def remove(self, address: str, scope: Scope) -> bool:
        """Write to this address again, within one scope; False when it was not there."""
        normal = normal_address(address)
        names = normal, *former_addresses(normal), *self.erased_among([normal]).values()
        with reachable(self._redis):
            return bool(self._redis.hdel(self._key("optout", str(scope)), *map(unreadable, names)))

    def erased_among(self, addresses: Iterable[str], *, within_seconds: float = math.inf) -> dict[str, str]:
        """Those that were erased, of late or ever, and what the list calls them since."""
        return self._pseudonyms.erased_among(addresses, within_seconds=within_seconds)

    def rewrite_former(self, normal: str) -> None:
        """What former releases wrote down of an address in another spelling is from now on written as today's is."""
        for former in former_addresses(normal):
            for opt_out in self._found(former):
                self.add(replace(opt_out, address=normal))
                with reachable(self._redis):
                    self._redis.hdel(self._key("optout", str(opt_out.scope)), unreadable(former))

    @shows_no_email
    def find(self, address: str) -> list[OptOut]:
        """All entries of one address; of one that was erased, under what it is called since."""
        normal = normal_address(address)
        self.rewrite_former(normal)
        names = normal, *self.erased_among([normal]).values()
        return [opt_out for name in names for opt_out in self._found(name)]

    def _found(self, address: str) -> list[OptOut]:
        scopes = self._scopes()
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipeline:
            for scope in scopes:
                pipeline.hget(self._key("optout", scope), unreadable(address))
            records = pipeline.execute()
        found = [_opt_out(address, scope, record) for scope, record in zip(scopes, records, strict=True) if record]
        return [*filter(_holds, found)]

    def read(self) -> Iterator[OptOut]:
        """All entries, in no order. One that is added or removed meanwhile may be missed."""
        for scope in self._scopes():
            with reachable(self._redis):
                for address, record in self._redis.hscan_iter(self._key("optout", scope), count=500):
                    opt_out = _opt_out(address.decode(), scope, record)
                    if _holds(opt_out):
                        yield opt_out

    def _scopes(self) -> list[str]:
        """Those that we can tell; a newer release may have more, which it heeds itself."""
        with reachable(self._redis):
            scopes: Any = self._redis.smembers(self._key("optouts"))
        return sorted(filter(_is_scope, map(bytes.decode, scopes)))


def _is_scope(text: str) -> bool:
    try:
        Scope.parse(text)
    except ValueError:
        return False
    return True


def _opt_out(address: str, scope: str, record: bytes) -> OptOut:
    """What a newer release puts behind it is not read; a reason of its own holds as an operator's does."""
    first, _, more = record.decode().partition("\n")
    reason, since_ms, source = first.split(" ", 2)
    until_ms = next((field.partition("=")[2] for field in more.split("\n") if field.startswith("ends=")), "")
    if reason not in {*Reason}:
        reason, source = Reason.MANUAL, f"{reason}, by a newer release: {source}"
    return OptOut(
        address=address,
        scope=Scope.parse(scope),
        reason=Reason(reason),
        since=_time(since_ms),
        source=source,
        until=_time(until_ms) if until_ms else None,
    )


def _time(ms: str) -> datetime:
    """A former release wrote down whatever time an event told; one in no year must not hide the entry."""
    try:
        return datetime.fromtimestamp(int(ms) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _holds(opt_out: OptOut) -> bool:
    return opt_out.until is None or opt_out.until > datetime.now(UTC)
