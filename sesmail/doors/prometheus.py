"""What Prometheus scrapes: by `sesmail metrics --port`, or through `SesmailCollector` in a registry of your own.

    from prometheus_client import REGISTRY
    from sesmail.doors.prometheus import SesmailCollector

    REGISTRY.register(SesmailCollector())

The figures are those of the whole fleet, read from Redis at each scrape: one process that tells them is enough. Labels
hold no address; `identity:DOMAIN` in a scope is the domain of one of your own senders.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from math import inf, isinf
from typing import TYPE_CHECKING, Any

from sesmail.doors import site_client
from sesmail.errors import ConfigurationError, EventStoreUnavailable, LedgerUnavailable, MissingExtra
from sesmail.message import Lane
from sesmail.sending.obstacles import SILENT_SECONDS
from sesmail.sending.sweeper import SweepReport
from sesmail.state.line.line import ACCOUNT, How
from sesmail.state.people.reputation import Counter, of_lists
from sesmail.vocabulary import State

try:
    from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app, start_http_server
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
    )
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtra(
        "Prometheus can be told nothing: prometheus_client is not installed. Email is sent all the same. Install it "
        "with `pip install 'sesmail[metrics]'`."
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.core import Metric

    from sesmail.client import Client
    from sesmail.sending.throttle import Snapshot
    from sesmail.state.fleet.meters import Histogram


RATED_DAYS = 7
MOST_LISTS = 100
"""The largest lists of the week; each is a label, and a monitor suffers from too many."""


class SesmailCollector(Collector):
    """Reads sends, workers, rate, quota, line, events and what came of emails at each scrape.

    `collect` raises `LedgerUnavailable` or `EventStoreUnavailable` when they cannot be read, so that the scrape fails:
    zeroes would say that all is well.
    """

    def __init__(self, client: Client | None = None) -> None:
        """Of this `client`, or of the current one at each scrape."""
        self._client = client

    def describe(self) -> list[Metric]:
        """Nothing, so that registering it does not need Redis."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All figures as they are by now."""
        client = self._client or site_client()
        yield _sends(client.ledger.counts())
        yield _sweeps(client.meters.swept())
        yield _not_accepted(client.meters.not_accepted())
        yield _held_back(client.meters.held_back())
        yield _door_answers(client.meters.door_answers())
        accounts = {name: account.throttle.snapshot() for name, account in client.accounts.items()}
        yield from _rate(accounts)
        yield from _quota(accounts)
        yield _line(accounts)
        yield from _watched(client, accounts)
        yield from _histograms(client)
        yield from _events(client)
        yield from _reputation(client)
        yield from _batches(client)


def registry(client: Client | None = None) -> CollectorRegistry:
    """A registry of these figures alone, without those of the process that tells them."""
    alone = CollectorRegistry()
    alone.register(SesmailCollector(client))
    return alone


def text(client: Client | None = None) -> str:
    """The figures by now, in Prometheus' text format."""
    return generate_latest(registry(client)).decode()


def serve(host: str, port: int, client: Client | None = None) -> WSGIServer:
    """Answer scrapes at any path, in threads of its own, until `shutdown`. Port 0 takes a free one.

    Raises `ConfigurationError` when it cannot listen there.
    """
    try:
        server, _ = start_http_server(port, host, alone := registry(client))
    except OSError as error:
        raise ConfigurationError(f"Cannot listen on {host}:{port} ({error.strerror}). Name another --port.") from None
    server.set_app(_or_unavailable(make_wsgi_app(alone)))
    return server


def _or_unavailable(application: Callable[..., Any]) -> Callable[..., Any]:
    """The WSGI application, answering 503 with the reason where Prometheus' own would show a bug."""

    def answer(environ: Any, start_response: Callable[..., Any]) -> Any:
        try:
            return application(environ, start_response)
        except (LedgerUnavailable, EventStoreUnavailable) as error:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{error}\n".encode()]

    return answer


def _sends(counts: Mapping[str, int]) -> Metric:
    meaning = "Sends in each state, those that wait by the lane of their ticket; final ones until their retention ends."
    by_state = {name.partition(":")[::2]: count for name, count in counts.items()}
    for total in (State.QUEUED, State.SCHEDULED):
        del by_state[total.value, ""]
    return _gauge("sesmail_sends", meaning, ("state", "lane"), by_state.items())


def _batches(client: Client) -> Iterator[Metric]:
    """Those under way, the latest 25: each has an id of its own, and there is no end of them."""
    under_way = client.batches.under_way()
    meaning = "Recipients of the batches under way, by state."
    counts = [((one.batch_id, one.list, state), count) for one in under_way for state, count in one.counts.items()]
    yield _gauge("sesmail_batch_recipients", meaning, ("batch", "list", "state"), counts)
    meaning = "What SES's events and readers' links have told of the batches under way so far."
    told = [((one.batch_id, one.list, what), count) for one in under_way for what, count in one.events.items()]
    yield _gauge("sesmail_batch_events", meaning, ("batch", "list", "event"), told)


def _sweeps(swept: Mapping[str, int]) -> Metric:
    totals = CounterMetricFamily("sesmail_sweep", "Sends that sweeps have dealt with, by cause.", labels=["cause"])
    for cause in fields(SweepReport):
        totals.add_metric([cause.name], swept.get(cause.name, 0))
    return totals


def _not_accepted(by_error: Mapping[str, int]) -> Metric:
    meaning = "Messages of Django that were not accepted under fail_silently, by the error that nobody saw."
    totals = CounterMetricFamily("sesmail_not_accepted", meaning, labels=["error"])
    for error, total in {"InvalidEmail": 0, **by_error}.items():
        totals.add_metric([error], total)
    return totals


def _held_back(count: int) -> Metric:
    meaning = "Sends set aside as too many an hour to one address, by SESMAIL_HOURLY_LIMIT_PER_ADDRESS."
    return CounterMetricFamily("sesmail_held_back", meaning, value=count)


def _rate(accounts: Mapping[str, Snapshot]) -> Iterator[Metric]:
    def by_account(name: str, meaning: str, value: Callable[[Snapshot], float]) -> GaugeMetricFamily:
        return _gauge(name, meaning, ("account",), {(of,): value(now) for of, now in accounts.items()}.items())

    allowed = "Recipients a second that SES allows; +Inf is no limit."
    yield by_account("sesmail_max_send_rate", allowed, lambda now: _or_infinite(now.rate))
    given = "Recipients a second that the throttle gives out by now."
    yield by_account("sesmail_send_rate_limit", given, lambda now: _or_infinite(now.limit))
    margin = "Head-room that the throttle keeps below what SES allows, as a ratio."
    yield by_account("sesmail_send_rate_margin", margin, lambda now: now.margin)
    granted = CounterMetricFamily(
        "sesmail_recipients_granted", "Recipients that the throttle gave slots to.", labels=["account"]
    )
    meaning = "Recipients that SES refused because of its send rate; they were tried again."
    throttled = CounterMetricFamily("sesmail_recipients_throttled", meaning, labels=["account"])
    says = InfoMetricFamily(
        "sesmail_account", "What SES says of the account, and who told its limits.", labels=["account"]
    )
    for name, now in accounts.items():
        granted.add_metric([name], now.granted)
        throttled.add_metric([name], now.refused)
        says.add_metric([name], {"standing": now.standing or "not known", "told_by": now.source or "nobody"})
    yield from (granted, throttled, says)


def _quota(accounts: Mapping[str, Snapshot]) -> Iterator[Metric]:
    allowed = "Recipients in 24 hours that SES allows; +Inf is no limit."
    quotas = {(name,): _or_infinite(now.quota) for name, now in accounts.items()}
    yield _gauge("sesmail_quota_recipients", allowed, ("account",), quotas.items())
    used = "Recipients in the last 24 hours, those of others on the account included."
    by_account = {(name,): now.quota_used for name, now in accounts.items()}
    yield _gauge("sesmail_quota_used_recipients", used, ("account",), by_account.items())
    left = "Recipients that a lane may still send to by the 24-hour quota; +Inf is no limit."
    by_lane = {
        (name, lane.value): inf if recipients is None else recipients
        for name, now in accounts.items()
        for lane, recipients in now.quota_left.items()
    }
    yield _gauge("sesmail_quota_left_recipients", left, ("account", "lane"), by_lane.items())


def _line(accounts: Mapping[str, Snapshot]) -> Metric:
    """The account and the lanes are always there, so that an alert on them has something to look at."""
    meaning = "1 where sending is closed: paused by an operator, stopped as SES would refuse it, or braked."
    usual = [ACCOUNT, *(f"lane:{lane}" for lane in Lane)]
    all_open = {(name, scope, how.value): 0 for name in accounts for scope in usual for how in How}
    closed = {(name, each.scope, each.how.value): 1 for name, now in accounts.items() for each in now.closures}
    return _gauge("sesmail_line_closed", meaning, ("account", "scope", "how"), (all_open | closed).items())


def _watched(client: Client, accounts: Mapping[str, Snapshot]) -> Iterator[Metric]:
    """What stands still: who takes tickets, what waits for longest, how old the account's figures are."""
    queues = {lane: client.settings.queue_of(lane) for lane in Lane}
    takers = client.fleet.takers(list(queues.values()), SILENT_SECONDS)
    alive = "Workers that were heard to take the tickets of a lane in the last 20 seconds."
    yield _gauge("sesmail_workers", alive, ("lane",), [((lane.value,), takers[queues[lane]]) for lane in Lane])
    waiting = client.obstacles.waiting
    time = waiting.now()
    oldest = "How long the email waits that has had a ticket for longest in a lane; 0 where none waits for a worker."
    accepted_at = {lane: waiting.oldest_at(lane) or time for lane in Lane}
    ages = [((lane.value,), max(0.0, time - accepted_at[lane])) for lane in Lane]
    yield _gauge("sesmail_oldest_waiting_seconds", oldest, ("lane",), ages)
    age = "How long ago the account's rate and quota were read; +Inf if never."
    read = [((name,), inf if now.read_at is None else time - now.read_at) for name, now in accounts.items()]
    yield _gauge("sesmail_account_age_seconds", age, ("account",), read)


def _histograms(client: Client) -> Iterator[Metric]:
    took = "Seconds that SES took to answer, by what followed: sent, rejected, put off, or unknown for no answer."
    yield _histogram("sesmail_ses_answer_seconds", took, "answer", client.meters.seconds_to_answer())
    took = "Seconds from an email's acceptance, or the time that was asked for, until SES took it."
    yield _histogram("sesmail_sent_after_seconds", took, "lane", client.meters.seconds_to_sent())


def _histogram(name: str, meaning: str, label: str, found: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, meaning, labels=[label])
    for value, histogram in sorted(found.items()):
        buckets = [("+Inf" if isinf(bound) else str(bound), count) for bound, count in histogram.up_to]
        family.add_metric([value], buckets, histogram.sum_seconds)
    return family


def _door_answers(by_status: Mapping[str, int]) -> Metric:
    meaning = "Posts of SNS that the HTTP doors have answered, by status; 503 makes SNS come again."
    totals = CounterMetricFamily("sesmail_webhook_answers", meaning, labels=["status"])
    for status, total in {"200": 0, "503": 0, **by_status}.items():
        totals.add_metric([status], total)
    return totals


def _events(client: Client) -> Iterator[Metric]:
    site, hearing = client.settings.site, client.hearing
    counts = client.event_store.counts(site)
    meaning = "Events of SES for this site that wait to be processed, or were set aside after failures."
    by_state = {(site, "unprocessed"): counts.unprocessed, (site, "set_aside"): counts.set_aside}
    yield _gauge("sesmail_events", meaning, ("site", "state"), by_state.items())
    heard_at, delay_seconds, silence = hearing.heard_at(site), hearing.delay_seconds(site), hearing.silence(site)
    age = "How long ago the last event of the site was processed; +Inf if none ever was."
    age_seconds = inf if heard_at is None else max(0.0, client.obstacles.waiting.now() - heard_at)
    yield _gauge("sesmail_events_heard_age_seconds", age, ("site",), [((site,), age_seconds)])
    delay = "How long SES's first word of an email takes of late until it is processed, on average."
    yield _gauge("sesmail_events_delay_seconds", delay, ("site",), [((site,), delay_seconds or 0.0)])
    unheard = "Emails sent for more than an hour, a hundred or more, without any event of SES; 0 where all is well."
    yield _gauge("sesmail_events_unheard_emails", unheard, ("site",), [((site,), silence.sent if silence else 0)])


def _reputation(client: Client) -> Iterator[Metric]:
    """By list; the ratios of a whole site are sums of the counts, as AWS judges an account by all that it sends."""
    today, site = datetime.now(UTC).date(), client.settings.site
    week = of_lists(client.reputation.rates(site, today - timedelta(days=RATED_DAYS - 1), today))
    counted = "Recipients of emails sent in the last seven days, by the list and what became of them."
    lists = sorted(week, key=lambda rates: -rates.counts.get(Counter.SENT, 0))[:MOST_LISTS]
    counts = [
        ((site, rates.list, counter.value), rates.counts.get(counter, 0)) for rates in lists for counter in Counter
    ]
    yield _gauge("sesmail_week_recipients", counted, ("site", "list", "outcome"), counts)
    bounced = "Hard bounces per email sent in the last seven days. AWS reviews an account from 0.05 on."
    ratios = [((site, rates.list), rates.bounce_rate) for rates in lists]
    yield _gauge("sesmail_bounce_ratio", bounced, ("site", "list"), ratios)
    complained = "Complaints per email sent in the last seven days. AWS reviews an account from 0.001 on."
    ratios = [((site, rates.list), rates.complaint_rate) for rates in lists]
    yield _gauge("sesmail_complaint_ratio", complained, ("site", "list"), ratios)


def _gauge(
    name: str, meaning: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for value_of_labels, value in values:
        family.add_metric(value_of_labels, value)
    return family


def _or_infinite(limit: float) -> float:
    """-1 is SES's word for no limit; an alert that compares with it would always go off."""
    return inf if limit < 0 else limit
