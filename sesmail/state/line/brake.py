"""The brake's books: what became of late of the emails of each list, and which of them it holds up.

What is counted is what SES's events tell (`count_facts.lua`), once each, in two windows or more. Where the brake
has closed a scope of the line, only what is sent from its trial on counts again, or, where an operator has opened it,
from then on: what brought it about must not close it a second time.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sesmail.message import Lane
from sesmail.state.line.line import account_scope, list_scope, site_scope
from sesmail.state.people.reputation import Counter
from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sesmail.state.scripts import Scripts

BULK_SCOPE = f"lane:{Lane.BULK}"
"""What is closed for the whole account."""
PAGE = 1000


class SiteList(NamedTuple):
    """A list of a site; its name is empty for emails of no list."""

    site: str
    list: str
    account: str = ""
    """Where it is for what went through one of several SES accounts alone."""

    @property
    def scope(self) -> str:
        """Its scope of the line."""
        return list_scope(self.site, self.list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of emails, in recipients."""

    sent: int = 0
    bounced: int = 0
    """For good."""
    complained: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.sent + other.sent, self.bounced + other.bounced, self.complained + other.complained)

    @property
    def bounce_rate(self) -> float:
        """Of 1."""
        return self.bounced / self.sent if self.sent else 0.0

    @property
    def complaint_rate(self) -> float:
        """Of 1."""
        return self.complained / self.sent if self.sent else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """How long a scope stays closed, and with how much it is tried then."""

    after_seconds: float
    """Twice as long after each trial that fails."""
    after_seconds_at_most: float
    recipients: int
    seconds: float
    """How long it takes at least: bounces are to be back by then."""


class BrakeBooks:
    """Reads the counts, closes and opens. All methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis: Any = scripts.redis
        self._run = scripts.run
        self._key = scripts.keys

    def sites(self) -> list[str]:
        """Those of which SES has told."""
        with reachable(self._redis):
            return sorted(name.decode() for name in self._redis.hkeys(self._key("heard")))

    def standing(self, account: str) -> str:
        """What SES says of an account, as its throttle was told; empty where nobody knows."""
        with reachable(self._redis):
            said = self._redis.hget(replace(self._key, account=account).of_account("throttle", "facts"), "standing")
        return (said or b"").decode()

    def outcomes(self, sites: Iterable[str]) -> tuple[float, dict[float, dict[SiteList, Outcome]]]:
        """The time by Redis' clock; and by window (seconds) and list, what may be judged."""
        counts: dict[float, dict[SiteList, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        now_ms = 0
        for site in sites:
            now_ms, *counted = self._run("brake_counts", site)
            for window_ms, what, number in zip(counted[::3], counted[1::3], counted[2::3], strict=True):
                kind, _, list_name = what.decode().partition(" ")
                counter, _, account = kind.partition("@")
                counts[window_ms / 1000][SiteList(site, list_name, account)][counter] = number
        found = {window: {place: _outcome(each) for place, each in of.items()} for window, of in counts.items()}
        return now_ms / 1000, found

    def close(self, scope: str, reason: str, trial: Trial, counting_anew: Iterable[SiteList | str]) -> bool:
        """Close a scope until a trial; after a trial that failed, until the next. False where it was closed already.

        From the trial on, these lists, or all lists of these sites, count anew.
        """
        milliseconds = [round(each * 1000) for each in (trial.after_seconds, trial.after_seconds_at_most)]
        numbers = [*milliseconds, trial.recipients, round(trial.seconds * 1000)]
        return bool(self._run("brake", "close", scope, reason, *numbers, *_which(counting_anew)))

    def open(self, scope: str, counting_anew: Iterable[SiteList | str] = ()) -> bool:
        """Open a scope; these count anew from now on. What waits is due. False where the brake had not closed it."""
        opened = bool(self._run("brake", "open", scope, "", 0, 0, 0, 0, *_which(counting_anew)))
        self._hasten(scope)
        return opened

    def _hasten(self, scope: str) -> None:
        """Also where it was open: whoever opened it may have died before this. The sweeper watches the lanes."""
        passed_over = 0
        while not scope.startswith("lane:"):
            looked_at, *found = self._run("hasten", Lane.BULK, scope, passed_over, PAGE)
            passed_over += looked_at - len(found)
            if looked_at < PAGE:
                return


def members_of(scope: str, sites: Iterable[str]) -> list[SiteList | str]:
    """Whose counts a scope is judged by: a list, sites, or an account at each site, as `open` and `close` take them."""
    kind, _, name = scope.partition(":")
    if scope == account_scope(name):
        return [SiteList(site, "", name) for site in sites]
    if kind == "list":
        site, _, list_name = name.partition("/")
        return [SiteList(site, list_name)]
    return [name] if scope == site_scope(name) else [*sites]


def is_of(place: SiteList, members: Iterable[SiteList | str]) -> bool:
    """Whether what is counted at a place is among what `members_of` a scope names."""
    if place.account:
        return SiteList(place.site, "", place.account) in members
    return place in members or place.site in members


def _which(places: Iterable[SiteList | str]) -> list[str]:
    """As `brake.lua` names them."""
    pairs = [(place, "from") if isinstance(place, str) else (place.site, f"from {_name(place)}") for place in places]
    return [part for pair in pairs for part in pair]


def _name(place: SiteList) -> str:
    return f"@{place.account}" if place.account else place.list


def _outcome(counted: Mapping[str, int]) -> Outcome:
    """Where SES does not tell of sends, it may tell of deliveries."""
    bounced = counted.get(Counter.BOUNCED_PERMANENT, 0)
    sent = max(counted.get(Counter.SENT, 0), counted.get(Counter.DELIVERED, 0) + bounced)
    return Outcome(sent=sent, bounced=bounced, complained=counted.get(Counter.COMPLAINED, 0))
