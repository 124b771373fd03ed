"""Opt-outs and counts in this process's memory, for tests and for suppressed sending.

What they answer is what their namesakes over Redis answer; one suite of tests runs over both.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sesmail.errors import LedgerUnavailable
from sesmail.message.addresses import normal_address
from sesmail.state.people.reputation import FURTHEST, Counter, Rates, Sight, in_order
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.vocabulary import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import date

    from sesmail.state.people.reputation import Fact
    from sesmail.state.people.suppression import Passing, SoftBouncePolicy
    from sesmail.vocabulary import Delivery, Reached


class Outage:
    """Whether the memory cannot be reached: a test takes it away, as Redis goes away."""

    def __init__(self) -> None:
        self.is_on = False

    def check(self) -> None:
        """Raise `LedgerUnavailable` while it is on."""
        if self.is_on:
            raise LedgerUnavailable


class MemoryOptOuts:
    """A `SuppressionList` in memory."""

    def __init__(self, outage: Outage | None = None) -> None:
        self._outage = outage or Outage()
        self._entries: dict[tuple[str, str], OptOut] = {}
        self._returned: dict[tuple[str, str], datetime] = {}
        self._passing: dict[str, set[datetime]] = defaultdict(set)
        self._lock = threading.Lock()

    def add(self, opt_out: OptOut) -> bool:
        """Write it down; False when it, or a stronger reason, is there already."""
        self._outage.check()
        reasons = list(Reason)
        place = str(opt_out.scope), normal_address(opt_out.address)
        with self._lock:
            before = self._entries.get(place)
            entry = replace(opt_out, address=place[1], source=opt_out.source.replace("\n", " "))
            if _is_from_ses(entry) and entry.since <= self._returned.get(place, _NEVER):
                return False
            if before and _holds(before) and reasons.index(before.reason) >= reasons.index(entry.reason):
                if _is_from_ses(before) and _is_from_ses(entry) and entry.since > before.since:
                    self._entries[place] = entry
                return False
            self._entries[place] = entry
            return True

    def lift(self, address: str, scope: Scope, came_back_at: datetime, *, by_link: bool = False) -> bool:
        """Somebody came back by SES's own means: end what was opted out of by those, before then. Whether there was."""
        self._outage.check()
        place = str(scope), normal_address(address)
        with self._lock:
            self._returned[place] = max(self._returned.get(place, _NEVER), came_back_at)
            entry = self._entries.get(place)
            is_theirs = entry and (_is_from_ses(entry) or (by_link and entry.source.startswith("link-")))
            if entry is None or not is_theirs or entry.since > came_back_at:
                return False
            del self._entries[place]
            return True

    def count_passing(self, policy: SoftBouncePolicy, passing: Sequence[Passing]) -> int:
        """Count passing bounces and deliveries, in this order; how many addresses are opted out by it."""
        self._outage.check()
        return sum(self._delivered(one) if one.delivered else self._bounced(policy, one) for one in passing)

    def _bounced(self, policy: SoftBouncePolicy, one: Passing) -> int:
        times = self._passing[one.address]
        times.add(one.at)
        latest = max(times)
        times -= {at for at in times if (latest - at).total_seconds() >= policy.window_seconds}
        entry = self._entries.get(("everything", one.address))
        if len(times) < policy.limit or (entry and _holds(entry)):
            return 0
        until = latest + timedelta(seconds=policy.pause_seconds)
        self._entries["everything", one.address] = OptOut(
            address=one.address,
            scope=Scope(),
            reason=Reason.SOFT_BOUNCED,
            since=latest,
            source=one.source,
            until=until,
        )
        return 1

    def _delivered(self, one: Passing) -> int:
        self._passing[one.address] -= {at for at in self._passing[one.address] if at <= one.at}
        entry = self._entries.get(("everything", one.address))
        if entry and entry.reason is Reason.SOFT_BOUNCED and entry.since <= one.at:
            del self._entries["everything", one.address]
        return 0

    def remove(self, address: str, scope: Scope) -> bool:
        """Write to this address again, within one scope; False when it was not there."""
        self._outage.check()
        with self._lock:
            return self._entries.pop((str(scope), normal_address(address)), None) is not None

    def erased_among(self, addresses: Iterable[str], *, within_seconds: float = 0.0) -> dict[str, str]:  # noqa: ARG002
        """Nobody: what is here goes with the process."""
        return {}

    def find(self, address: str) -> list[OptOut]:
        """All entries of one address."""
        address = normal_address(address)
        return [entry for entry in self.read() if entry.address == address]

    def screen(
        self, addresses: Sequence[str], *, site: str = "", list_name: str = "", ignoring: Collection[Reason | str] = ()
    ) -> dict[str, Reason]:
        """Those of the addresses that must not be written to, and why; a ledger asks, as `suppression.lua` does."""
        self._outage.check()
        scopes = ("everything", f"site:{site}", f"list:{site}/{list_name}")
        found = {
            address: [self._entries.get((scope, normal_address(address))) for scope in scopes] for address in addresses
        }
        reasons = {
            address: [entry.reason for entry in entries if entry and _holds(entry)]
            for address, entries in found.items()
        }
        held = {address: [why for why in whys if why not in ignoring] for address, whys in reasons.items()}
        return {address: whys[0] for address, whys in held.items() if whys}

    def read(self) -> Iterator[OptOut]:
        """All entries, in no order."""
        self._outage.check()
        with self._lock:
            return iter([entry for entry in self._entries.values() if _holds(entry)])

    def clear(self) -> None:
        """Forget them."""
        with self._lock:
            self._entries.clear()
            self._returned.clear()
            self._passing.clear()


_NEVER = datetime.min.replace(tzinfo=UTC)


def _holds(entry: OptOut) -> bool:
    return entry.until is None or entry.until > datetime.now(UTC)


def _is_from_ses(entry: OptOut) -> bool:
    """As `is_from_ses` of `suppression.lua`."""
    source = entry.source
    ours = source in {"command", "import"} or source.startswith(("link-", "shared-"))
    return entry.reason is Reason.UNSUBSCRIBED and not ours and source.replace("-", "").isalnum()


class MemoryReputation:
    """A `Reputation` in memory; it forgets nothing by itself."""

    def __init__(self, outage: Outage | None = None) -> None:
        self._outage = outage or Outage()
        self._told_by: dict[tuple[date, str], str] = {}
        self._counts: dict[tuple[str, date, str], dict[Counter, int]] = defaultdict(lambda: defaultdict(int))
        self._reached: dict[str, dict[tuple[str, Delivery], Reached]] = {}
        self._lock = threading.Lock()

    def count(self, facts: Sequence[Fact]) -> list[Sight]:
        """Count each once; answers whether each was known before."""
        self._outage.check()
        with self._lock:
            return [self._counted(fact) for fact in facts]

    def _counted(self, fact: Fact) -> Sight:
        first = self._told_by.setdefault((fact.happened_on, fact.key), "")
        if first:
            return Sight.AGAIN if first == fact.told_by else Sight.TWIN
        self._told_by[fact.happened_on, fact.key] = fact.told_by
        if fact.counter:
            self._counts[fact.site, fact.sent_on, fact.list][fact.counter] += 1
        return Sight.FIRST

    def rates(self, site: str, first: date, last: date) -> list[Rates]:
        """The counts of a site from one day to another, both included, per list. What has none is left out."""
        self._outage.check()
        with self._lock:
            places = sorted((day, name) for of, day, name in self._counts if of == site and first <= day <= last)
            return [
                Rates(site=site, list=name, day=day, counts=dict(self._counts[site, day, name])) for day, name in places
            ]

    def progress(self, told: Sequence[tuple[str, Reached]]) -> None:
        """Note how far emails got, by the ids of their sends. What is further on already stays."""
        self._outage.check()
        with self._lock:
            for send_id, each in told:
                self._reached.setdefault(send_id, {}).setdefault((each.recipient, each.delivery), each)

    def deliveries(self, send_id: str) -> dict[str, Delivery]:
        """How far an email got with each recipient of whom an event told."""
        self._outage.check()
        return dict(sorted(self._reached.get(send_id, ()), key=lambda each: FURTHEST.index(each[1])))

    def reached(self, send_id: str) -> tuple[Reached, ...]:
        """What events told of each recipient, in order."""
        self._outage.check()
        found = self._reached.get(send_id, {}).values()
        return tuple(sorted((each for each in found if each.at), key=in_order))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            for kept in (self._told_by, self._counts, self._reached):
                kept.clear()
