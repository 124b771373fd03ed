"""A page that shows how the sending goes, live: rate, lanes, quota, line and why, workers, what became of the lists.

One place makes it; whoever serves it passes on what `LivePage.answer` and `stream` give: the command `sesmail page` on
loopback; Flask's blueprint, Django's admin and Flower behind their logins. It shows counts, states and reasons, never
an address, a subject or a body; nothing can be done on it, and no request leaves for another place.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, Any

from sesmail.doors import site_client
from sesmail.errors import SesmailError, in_a_line
from sesmail.message import Lane
from sesmail.sending.obstacles import SILENT_SECONDS
from sesmail.state.line.line import ACCOUNT
from sesmail.state.people.reputation import BOUNCES_MARKED, COMPLAINTS_MARKED, Counter, Rates, of_lists
from sesmail.vocabulary import BatchState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sesmail.client import Client
    from sesmail.sending.throttle import Snapshot

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
SAFE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
FIGURES, STREAM = "figures", "stream"
EVENT_STREAM = "text/event-stream; charset=utf-8"
EVERY_SECONDS = 1.0
STREAM_SECONDS = 600.0
"""Then the browser asks anew: a stream that nobody hears any more must not go on for ever."""
MOST_STREAMS = 20
"""At a time, of a process; others ask now and then instead."""
RATED_DAYS = 7
MOST_LISTS = 25
MOST_BATCHES = 25
REVIEWED = {"bounces": BOUNCES_MARKED, "complaints": COMPLAINTS_MARKED}
"""Where AWS would frown, and from where on it reviews an account.

https://docs.aws.amazon.com/ses/latest/dg/reputationdashboardmessages.html
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What is answered to a GET."""

    status: int = 200
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class LivePage:
    """The page, and what it asks for. Safe to use from several threads; figures are read once a second at most."""

    def __init__(
        self,
        client: Client | None = None,
        *,
        streams: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Of this `client`, or of the current one whenever it is asked.

        Without `streams` the page asks every two seconds instead: where each stream would keep a process from serving
        others. `clock` and `sleep` are for tests.
        """
        self._client = client
        self.streams = streams
        self._clock, self._sleep = clock, sleep
        self._reading = threading.Lock()
        self._read: tuple[float, dict[str, Any]] | None = None
        self._open = threading.BoundedSemaphore(MOST_STREAMS)

    def answer(self, path: str) -> Answer:
        """To a GET of a path below that of the page, which ends in `/`. Never raises."""
        if path in FILES:
            name, content_type = FILES[path]
            content = resources.files(__package__).joinpath(name).read_bytes()
            return Answer(body=content, headers={**SAFE, "Content-Type": content_type})
        if path != FIGURES:
            return Answer(status=404, body=b"not found\n", headers={**SAFE, "Content-Type": "text/plain"})
        found = self.figures()
        return Answer(
            status=503 if "away" in found else 200,
            body=json.dumps(found).encode(),
            headers={**SAFE, "Content-Type": "application/json"},
        )

    def figures(self) -> dict[str, Any]:
        """By now, or by a second ago at most; `away` says what cannot be reached, where that is so."""
        with self._reading:
            if self._read is None or self._clock() - self._read[0] >= EVERY_SECONDS * 0.9:
                self._read = (self._clock(), self._look())
            return self._read[1]

    def _look(self) -> dict[str, Any]:
        try:
            return {**figures(self._client or site_client()), "streams": self.streams}
        except SesmailError as error:
            return {"away": in_a_line(error), "streams": self.streams}

    def stream_headers(self) -> dict[str, str]:
        """Of the answer to a GET of `stream`; proxies are told not to hold it back."""
        return {**SAFE, "Content-Type": EVENT_STREAM, "X-Accel-Buffering": "no"}

    def stream(self) -> Iterator[bytes] | None:
        """The figures of each second, as server-sent events; None where there are too many, or it has none."""
        if not self.streams or not self._open.acquire(blocking=False):
            return None
        return self._events()

    def _events(self) -> Iterator[bytes]:
        try:
            ends_at = self._clock() + STREAM_SECONDS
            yield b"retry: 1000\n\n"
            while self._clock() < ends_at:
                yield event_of(self.figures())
                self._sleep(EVERY_SECONDS)
        finally:
            self._open.release()


def event_of(found: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(found)}\n\n".encode()


# -- what is shown ----------------------------------------------------------------------------------------------------


def figures(client: Client) -> dict[str, Any]:
    """What the page shows, as JSON has it. Raises `LedgerUnavailable`, `EventStoreUnavailable`."""
    seen = client.essence()
    now = seen.throttle
    return {
        "at": seen.at,
        "site": client.settings.site,
        "workers": seen.workers,
        "obstacles": [
            {"id": each.id, "level": str(each.level), "what": each.what, "do": each.do} for each in seen.obstacles
        ],
        "closed": [
            {"scope": each.scope, "how": str(each.how), "since": each.since, "next_probe_at": each.next_probe_at}
            for each in now.closures
        ],
        **_of_account(now, seen.at),
        "others": {name: _of_account(of, seen.at) for name, of in seen.other_throttles.items()},
        "lanes": _lanes(client, seen.lanes),
        "states": seen.states,
        "batch_states": client.batches.counts(),
        "events": _events(client, seen.at),
        "batches": _batches(client, seen.at),
        "lists": _lists(client),
    }


def _of_account(now: Snapshot, at: float) -> dict[str, Any]:
    """Rate, quota and standing of an SES account."""
    return {
        "rate": _rate(now, at),
        "quota": {
            "limit": _or_none(now.quota),
            "used": now.quota_used,
            "by_others": now.quota_used_by_others,
            "left": {str(lane): left for lane, left in now.quota_left.items()},
        },
        "account": {
            "standing": now.standing,
            "told_by": now.source,
            "age_seconds": None if now.read_at is None else max(0.0, at - now.read_at),
            "is_closed": any(each.scope == ACCOUNT for each in now.closures),
        },
    }


def _rate(now: Snapshot, at: float) -> dict[str, Any]:
    return {
        "now": now.rate_now,
        "limit": _or_none(now.limit),
        "allowed": _or_none(now.rate),
        "margin": now.margin,
        "throttled": now.refused,
        "throttled_ago_seconds": None if now.refused_at is None else max(0.0, at - now.refused_at),
    }


def _lanes(client: Client, lanes: Any) -> list[dict[str, Any]]:
    queues = {lane: client.settings.queue_of(lane) for lane in Lane}
    takers = client.fleet.takers(list(queues.values()), SILENT_SECONDS)
    return [
        {
            "lane": str(lane),
            "queued": now.queued,
            "scheduled": now.scheduled,
            "oldest_seconds": now.oldest_seconds,
            "next_seconds": now.next_seconds,
            "workers": takers[queues[lane]],
        }
        for lane, now in lanes.items()
    ]


def _events(client: Client, at: float) -> dict[str, Any]:
    site = client.settings.site
    counts, heard_at = client.event_store.counts(site), client.hearing.heard_at(site)
    return {
        "unprocessed": counts.unprocessed,
        "set_aside": counts.set_aside,
        "heard_ago_seconds": None if heard_at is None else max(0.0, at - heard_at),
        "delay_seconds": client.hearing.delay_seconds(site),
    }


def _batches(client: Client, at: float) -> list[dict[str, Any]]:
    """Letters to many that have not ended, the latest first; the page sees their rate by itself."""
    return [
        {
            "id": each.batch_id,
            "list": each.list,
            "account": each.account,
            "state": str(each.state),
            "recipients": each.recipients,
            "done": each.done,
            "waits_seconds": max(0.0, each.waits_until - at) if each.state is BatchState.RUNNING else 0.0,
        }
        for each in client.batches.under_way(MOST_BATCHES)
    ]


def _lists(client: Client) -> list[dict[str, Any]]:
    """The largest lists of the week, with what AWS judges an account by."""
    today = datetime.now(UTC).date()
    week = of_lists(client.reputation.rates(client.settings.site, today - timedelta(days=RATED_DAYS - 1), today))
    largest = sorted(week, key=lambda rates: -rates.counts[Counter.SENT])[:MOST_LISTS]
    return [
        {
            "list": rates.list,
            "sent": rates.counts[Counter.SENT],
            "delivered": rates.counts[Counter.DELIVERED],
            **_judged("bounces", rates.bounce_rate, rates),
            **_judged("complaints", rates.complaint_rate, rates),
        }
        for rates in largest
    ]


def _judged(what: str, ratio: float, rates: Rates) -> dict[str, Any]:
    frowned_at, reviewed_at = REVIEWED[what]
    level = "error" if ratio >= reviewed_at else "warning" if ratio >= frowned_at else "info"
    return {what: ratio if rates.counts[Counter.SENT] else None, f"{what}_level": level}


def _or_none(limit: float) -> float | None:
    """JSON has no infinity; -1 is SES's word for no limit."""
    return None if limit < 0 else limit
