"""What became of the emails: counts per site, list and day, and how far each got with each recipient.

Events come more than once, under the same id and under others, and in any order. So each fact is counted under a key of
its own, once, and the delivery status is the furthest that any event has proved.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import Delivery, Reached

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sesmail.state.scripts import Scripts

SEEN_DAYS = 7
"""How long a fact is remembered, so that it is not counted again; 45 bytes each. Twins come within hours."""
RATES_DAYS = 400
BOUNCES_MARKED = (0.02, 0.05)
"""Hard bounces per email sent: mailbox providers mind the first; AWS reviews an account from the second on."""
COMPLAINTS_MARKED = (0.0005, 0.001)
"""The same of complaints. https://docs.aws.amazon.com/ses/latest/dg/reputationdashboardmessages.html"""
DELIVERY_DAYS = 30


class Counter(StrEnum):
    """What is counted, per site, list and day."""

    SENT = "sent"  #: recipients that SES took an email for
    DELIVERED = "delivered"  #: recipients whose server took it
    BOUNCED_PERMANENT = "bounced_permanent"  #: hard bounces: what AWS judges an account by
    BOUNCED_TRANSIENT = "bounced_transient"  #: full mailboxes, out-of-office answers, ...
    BOUNCED_UNDETERMINED = "bounced_undetermined"  #: SES cannot tell which of the two
    BOUNCED_SUPPRESSED = "bounced_suppressed"  #: not sent by SES: on a list of its own; AWS does not count it
    COMPLAINED = "complained"  #: complaints
    OPENED = "opened"  #: opens by people, repeated ones too
    CLICKED = "clicked"  #: clicks by people
    UNSUBSCRIBED = "unsubscribed"  #: opt-outs through SES or our links


class Sight(StrEnum):
    """Whether a fact was known before."""

    FIRST = "first"  #: nobody told of it before
    AGAIN = "again"  #: the same notification told of it: it is processed once more, after a crash or a failure
    TWIN = "twin"  #: another notification told of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something to be counted once."""

    key: str = field(repr=False)
    """The same for the same fact, whoever tells of it."""
    former_key: str = field(default="", repr=False)
    """That of the former release, where it was another: what that has counted is not counted again."""
    told_by: str
    """The id of the notification that tells of it."""
    happened_on: date
    site: str
    list: str
    sent_on: date
    """The day it is counted for: bounces of today belong to the letter of yesterday."""
    counter: Counter | None
    sent_at: datetime | None = None
    """When its email was sent; without it the brake does not judge by it."""
    batch: str = ""
    """The id of the batch that its email is of, which counts it, too."""
    send_id: str = ""
    """Whose row tells through which SES account its email went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The counts of one site and list on one day."""

    site: str
    list: str
    day: date
    counts: Mapping[Counter, int]

    @property
    def bounce_rate(self) -> float:
        """Hard bounces per email sent. AWS reviews an account from 0.05 on, and may pause it from 0.1 on."""
        return self._per_sent(Counter.BOUNCED_PERMANENT)

    @property
    def complaint_rate(self) -> float:
        """Complaints per email sent. AWS reviews an account from 0.001 on, and may pause it from 0.005 on."""
        return self._per_sent(Counter.COMPLAINED)

    @property
    def bounce_mark(self) -> str:
        """Empty, `high`, or `reviewed`, as AWS would do."""
        return _mark(self.bounce_rate, BOUNCES_MARKED)

    @property
    def complaint_mark(self) -> str:
        """The same of complaints."""
        return _mark(self.complaint_rate, COMPLAINTS_MARKED)

    def _per_sent(self, counter: Counter) -> float:
        sent = self.counts.get(Counter.SENT, 0)
        return self.counts.get(counter, 0) / sent if sent else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every counter, also those at 0."""
        counts = {str(counter): self.counts.get(counter, 0) for counter in Counter}
        rates = {"bounce_rate": self.bounce_rate, "complaint_rate": self.complaint_rate}
        marks = {"bounce_mark": self.bounce_mark, "complaint_mark": self.complaint_mark}
        return {"site": self.site, "list": self.list, "day": self.day.isoformat(), **counts, **rates, **marks}


def _mark(rate: float, marked: tuple[float, float]) -> str:
    high, reviewed = marked
    return "reviewed" if rate >= reviewed else "high" if rate >= high else ""


def of_lists(days: Iterable[Rates]) -> list[Rates]:
    """The counts of several days, added up for each list; the day is the last one."""
    added: dict[tuple[str, str], Rates] = {}
    for rates in days:
        before = added.get((rates.site, rates.list), rates)
        counts = {name: rates.counts.get(name, 0) for name in Counter}
        if before is not rates:
            counts = {name: before.counts.get(name, 0) + count for name, count in counts.items()}
        added[rates.site, rates.list] = Rates(site=rates.site, list=rates.list, day=rates.day, counts=counts)
    return list(added.values())


class Tally(Protocol):
    """Where it is written down what became of emails: in Redis, or in memory where nothing is sent."""

    def count(self, facts: Sequence[Fact]) -> list[Sight]:
        """Count each once; answers whether each was known before."""

    def progress(self, told: Sequence[tuple[str, Reached]]) -> None:
        """Note how far emails got, by the ids of their sends."""


class Reputation:
    """The counts and statuses, in Redis. All methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(
        self, scripts: Scripts, brake_windows_seconds: Sequence[float] = (), *, by_account: bool = False
    ) -> None:
        """What is counted is also counted for the brake, in these windows; `by_account`, for each SES account, too."""
        self._by_account = by_account
        self._run = scripts.run
        self._redis = scripts.redis
        self._key = scripts.keys
        self._windows = " ".join(str(round(seconds * 1000)) for seconds in brake_windows_seconds)

    def count(self, facts: Sequence[Fact]) -> list[Sight]:
        """Count each once, in one act; answers whether each was known before."""
        arguments: Iterable[str | bytes | int] = chain.from_iterable(
            (
                fact.happened_on.isoformat(),
                _digest(fact.key) + (_digest(fact.former_key) if fact.former_key else b""),
                _digest(fact.told_by),
                fact.site,
                fact.sent_on.isoformat(),
                f"{fact.counter} {fact.list}" if fact.counter else "",
                round(fact.sent_at.timestamp() * 1000) if fact.sent_at else 0,
                fact.batch,
                fact.send_id if self._by_account else "",
            )
            for fact in facts
        )
        answer = self._run("count_facts", SEEN_DAYS * 86_400, RATES_DAYS * 86_400, self._windows, *arguments)
        return [Sight(sight.decode()) for sight in answer]

    def rates(self, site: str, first: date, last: date) -> list[Rates]:
        """The counts of a site from one day to another, both included, per list. What has none is left out."""
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipeline:
            for day in days:
                pipeline.hgetall(self._key("rates", site, day.isoformat()))
            rows = pipeline.execute()
        return [rates for day, row in zip(days, rows, strict=True) for rates in _by_list(site, day, row)]

    def progress(self, told: Sequence[tuple[str, Reached]]) -> None:
        """Note how far emails got, by the ids of their sends. What is further on already stays."""
        arguments = chain.from_iterable(
            (send_id, each.recipient, each.delivery, f"{each.at:.0f} {each.why}".rstrip() if each.at else "")
            for send_id, each in told
        )
        if told:
            self._run("progress", ",".join(Delivery), DELIVERY_DAYS * 86_400, *arguments)

    def deliveries(self, send_id: str) -> dict[str, Delivery]:
        """How far an email got with each recipient of whom an event told."""
        row = self._told(send_id)
        return {recipient: _DELIVERIES[said] for recipient, said in row.items() if said in _DELIVERIES}

    def reached(self, send_id: str) -> tuple[Reached, ...]:
        """What events told of each recipient, in order; not what a former release noted."""
        found = []
        for name, said in self._told(send_id).items():
            status, _, recipient = name.partition(" ")
            at, _, why = said.partition(" ")
            if status in _DELIVERIES and at.isdecimal():
                found.append(Reached(at=float(at), recipient=recipient, delivery=_DELIVERIES[status], why=why))
        return tuple(sorted(found, key=in_order))

    def _told(self, send_id: str) -> dict[str, str]:
        with reachable(self._redis):
            row: Any = self._redis.hgetall(self._key("delivery", send_id))
        return {name.decode(): said.decode() for name, said in row.items()}


FURTHEST = [*Delivery]
_DELIVERIES = {status.value: status for status in Delivery}  # a newer release may know more


def in_order(reached: Reached) -> tuple[float, int]:
    """For sorting: by time, and within a second by how far it got."""
    return reached.at, FURTHEST.index(reached.delivery)


def recipient_of(name: str) -> str:
    """Whom a field of a row of deliveries is about."""
    status, _, recipient = name.partition(" ")
    return recipient if status in _DELIVERIES else name


def _digest(text: str) -> bytes:
    """8 bytes: among 10 million facts a day, two are taken for one about once in 400,000 days."""
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _by_list(site: str, day: date, row: Mapping[bytes, bytes]) -> Iterator[Rates]:
    counts: dict[str, dict[Counter, int]] = {}
    known = {str(counter): counter for counter in Counter}  # a newer release may count more
    for name, count in row.items():
        counter, _, list_name = name.decode().partition(" ")
        if counter in known:
            counts.setdefault(list_name, {})[known[counter]] = int(count)
    for list_name in sorted(counts):
        yield Rates(site=site, list=list_name, day=day, counts=counts[list_name])
