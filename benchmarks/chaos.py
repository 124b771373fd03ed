"""The same random, repeatable misfortunes for sesmail and for stock Celery: what is lost, what goes out twice, and why.

Workers (threads and prefork, two with clocks a minute off, one behind a proxy) are killed, frozen, stopped and redeployed;
Redis is killed and restarted, connections are reset, cut at a reply, stalled and refused; the broker is flushed; SES
throttles, fails, resets and hangs, before and after it accepted. All counts are from the simulated SES's own list.

`lost`: accepted emails that SES never got. `duplicates`: second copies; `duplicates_explained`: those of sends that were
`unknown` before, each with its cause among the cases. Nobody tells of what SES took, so what is unknown is sent again after
a window shortened to 10 s. `duplicates_with_events` is of a second run with a window of 200 s, in which SES's events come by
SNS to a `sesmail webhook`, which is behind the proxy, killed and redeployed, too; SNS tries again by the policy of
`deploy/ses-events.yaml`, ten times faster than life. `..._with_failovers` are of a third run, whose Redis is three servers behind
a name: each time it is killed, which here is three times more, a replica takes over; acceptance waits for a replica
(SESMAIL_ACCEPT_WAITS_FOR). `..._with_accounts` are of a fourth run, with a second account that takes over (`fell_back`: how many
emails): connections to the first are cut, so are its answers, it is out of reach, its credentials expire, and it is stopped.
`recovery_seconds_max`: from `kill -9` or freezing of a worker until
SES was asked for the last email that it had claimed, the time that Redis was away not counted. Those whose new ticket was
lost, too, are among the cases, and when SES had the last, whatever else befell it. `stock_lost`: neither at SES nor anywhere
in Redis any more; what waits there for a visibility timeout is `late`.

Of a long honest backlog at 14 a second: `needless_tickets_per_1000`: second tickets for each 1000 first ones, in peace;
`lost_ticket_seconds`: from the loss of one ticket until it is issued again; `flushed_broker_seconds`: from the loss of all
until there are some again.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from benchmarks._accounts import AccountsSide, with_accounts
from benchmarks._failover import FailingOver, ReplicatedSide
from benchmarks._misfortunes import Fate, Misfortune, schedule, with_failovers
from benchmarks._report import Report, parser
from benchmarks._sides import WORKERS, BatchSide, OurSide, OurSideWithEvents, Outcome, Side, StockSide
from sesmail.embedded import EmbeddedRedis
from sesmail.simulator import Simulator
from tests.acceptance.fleet import Fleet, wait_until
from tests.acceptance.proxy import Proxy

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

RATE = 50
UNLIMITED = 1_000_000
SETTLING_SECONDS = 300
SNS_TIME_SCALE = 10
SETTINGS = {
    "SESMAIL_EVIDENCE_WINDOW_SECONDS": "10",
    "SESMAIL_SES_READ_TIMEOUT_SECONDS": "5",
    "SESMAIL_MAX_ATTEMPTS": "20",
}
SETTINGS_WITH_EVENTS = SETTINGS | {"SESMAIL_EVIDENCE_WINDOW_SECONDS": "200"}


def main() -> None:
    options = arguments()
    report = Report("chaos")
    emails = 600 if options.quick else options.emails
    seconds = options.minutes * 60 if options.minutes else emails / RATE * 1.5
    misfortunes = list(schedule(Random(options.seed), seconds, len(WORKERS)))
    if options.batches:
        with_batches(report, emails, seconds, misfortunes)
        report.show(as_json=options.json)
        return
    ours = suffer(OurSide, RATE, emails, seconds, misfortunes, **SETTINGS)
    told = suffer(OurSideWithEvents, RATE, emails, seconds, misfortunes, **SETTINGS_WITH_EVENTS)
    failing_over = with_failovers(misfortunes, seconds)
    replicated = suffer(ReplicatedSide, RATE, emails, seconds, failing_over, FailingOver, **SETTINGS)
    accounts = suffer(AccountsSide, RATE, emails, seconds, with_accounts(misfortunes, seconds), **SETTINGS)
    stock = suffer(StockSide, UNLIMITED, emails, seconds, misfortunes)
    fill(
        report,
        options.seed,
        misfortunes,
        {
            "sesmail": ours,
            "sesmail with events": told,
            "sesmail, failovers": replicated,
            "sesmail, accounts": accounts,
            "stock Celery": stock,
        },
    )
    long_backlog(report, quick=options.quick)
    report.show(as_json=options.json)


def with_batches(report: Report, emails: int, seconds: float, misfortunes: list[Misfortune]) -> None:
    """One letter to all, by single calls and by SendBulkEmail, with SES's events; who queues it is killed, too."""
    for call in ("single", "bulk"):
        outcome = suffer(BatchSide, RATE, emails, seconds, misfortunes, SESMAIL_BATCH_CALL=call, **SETTINGS_WITH_EVENTS)
        for cause, numbers in outcome.causes.items():
            report.cases.append({"case": f"{call}, unknown: {cause}", **numbers})
        report.figure(f"lost_of_batches_{call}", outcome.lost + outcome.late, "0")
        report.figure(f"duplicates_of_batches_{call}", outcome.duplicates, "0")


def arguments() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--emails", type=int, default=3000, help="how many, at 50 a second")
    options.add_argument("--seed", type=int, default=1, help="which misfortunes")
    options.add_argument("--batches", action="store_true", help="a letter to many instead of single emails")
    options.add_argument("--minutes", type=float, help="how long misfortunes last; else 1.5 times what the emails take")
    return options.parse_args()


def fill(report: Report, seed: int, misfortunes: list[Misfortune], outcomes: dict[str, Outcome]) -> None:
    ours, told, replicated, accounts, stock = outcomes.values()
    for kind, times in sorted(Counter(one.kind for one in misfortunes).items()):
        report.cases.append({"case": f"seed {seed}: {kind}", "times": times})
    for side, outcome in (
        ("", ours),
        ("with events, ", told),
        ("with failovers, ", replicated),
        ("with accounts, ", accounts),
    ):
        for cause, numbers in outcome.causes.items():
            report.cases.append({"case": f"{side}unknown: {cause}", **numbers})
    report.cases.append({"case": "with events, SNS", **told.notifications})
    report.cases.append({"case": "with failovers: failovers", "times": replicated.failovers})
    for name, outcome in outcomes.items():
        numbers = {name: getattr(outcome, name) for name in ("accepted", "lost", "late", "duplicates")}
        report.cases.append({"case": name, **numbers})
    for side, outcome in (("", ours), ("with events, ", told)):
        left = {"tried_s": outcome.tried_again_seconds, "sent_s": outcome.sent_again_seconds}
        report.cases.append({"case": f"{side}claimed by dead workers: {outcome.left_by_dead}", **left})
        both = f"{side}of these, tickets lost, too: {outcome.ticket_lost_too}"
        report.cases.append({"case": both, "tried_s": outcome.ticket_lost_too_seconds})
    report.figure("lost", ours.lost + ours.late + told.lost + told.late, "0")
    report.figure("duplicates", ours.duplicates)
    report.figure("duplicates_explained", ours.explained, "all")
    report.figure("duplicates_with_events", told.duplicates, "0")
    report.figure("lost_with_failovers", replicated.lost + replicated.late, "0")
    report.figure("duplicates_with_failovers", replicated.duplicates)
    report.figure("duplicates_with_failovers_explained", replicated.explained, "all")
    report.figure("lost_with_accounts", accounts.lost + accounts.late, "0")
    report.figure("fell_back", accounts.fell_back, ">= 1")
    report.figure("duplicates_with_accounts", accounts.duplicates)
    report.figure("duplicates_with_accounts_explained", accounts.explained, "all")
    report.figure("recovery_seconds_max", max(ours.tried_again_seconds, told.tried_again_seconds), "<= 15")
    report.figure("stock_lost", stock.lost)
    report.figure("stock_duplicates", stock.duplicates)


def suffer(
    kind: type[Side],
    rate: float,
    emails: int,
    seconds: float,
    misfortunes: list[Misfortune],
    server: Callable[[Path], Any] = EmbeddedRedis,
    **settings: str,
) -> Outcome:
    """One side's whole run: fed, struck, and given time to mend."""
    with (
        tempfile.TemporaryDirectory() as name,
        server((folder := Path(name)) / "redis") as redis,
        Simulator(rate=rate, quota=-1, calls_per_second=None, time_scale=SNS_TIME_SCALE) as ses,
        Proxy(redis.port) as proxy,
        kind(folder, redis, ses, proxy, **settings) as side,
    ):
        feeder = threading.Thread(target=side.feed, args=(emails, seconds))
        feeder.start()
        strike(Fate(side), misfortunes)
        feeder.join()
        mend(side)
        return side.outcome()


def strike(fate: Fate, misfortunes: list[Misfortune]) -> None:
    start = time.monotonic()
    for one in misfortunes:
        time.sleep(max(0.0, start + one.at_seconds - time.monotonic()))
        fate.strike(one)
    fate.relent()


def mend(side: Side) -> None:
    end = time.monotonic() + SETTLING_SECONDS
    while not side.is_done() and time.monotonic() < end:
        time.sleep(0.5)


def long_backlog(report: Report, *, quick: bool) -> None:
    """A backlog that would take hours: worked off in peace for a while, then a ticket is lost, and then all."""
    backlog, seconds, rate = (5_000, 25, 14) if quick else (100_000, 60, 14)
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedRedis((folder := Path(name)) / "redis", appendfsync="no") as redis,
        Simulator(rate=rate, quota=-1) as ses,
        Fleet(folder, redis, ses) as fleet,
    ):
        queue(fleet, backlog)
        workers = [fleet.worker(concurrency=16) for _ in range(2)]
        workers[0].wait_until_ready()
        time.sleep(seconds)
        sent = ses.report()["accepted"]["calls"]
        again = sum(int(n) for worker in workers for n in re.findall(r"tickets_reissued=(\d+)", worker.said()))
        report.cases.append({"case": f"honest backlog of {backlog}, {seconds} s", "sent": sent, "tickets_again": again})
        report.figure("needless_tickets_per_1000", 1000 * again / backlog, "0")
        report.figure("lost_ticket_seconds", seconds_until_issued_again(fleet, take_a_ticket(fleet)), "<= 60")
        report.figure("flushed_broker_seconds", seconds_until_work_goes_on(report, fleet), "<= 60")


def take_a_ticket(fleet: Fleet) -> str:
    """The next one, as when the connection breaks in the moment of its delivery."""
    ticket: bytes = fleet.redis.rpop("sesmail.bulk")  # type: ignore[assignment]
    return str(json.loads(ticket)["headers"]["id"])


def seconds_until_issued_again(fleet: Fleet, send_id: str) -> float:
    lost_at = time.monotonic()
    wait_until(lambda: fleet.redis.zscore("{sesmail}:in:queued:bulk", send_id) is None, "it is issued again", 300)
    return time.monotonic() - lost_at


def seconds_until_work_goes_on(report: Report, fleet: Fleet) -> float:
    """After the broker was flushed, until a hundred have tickets again; among the cases, until all have."""

    def without() -> int:
        return fleet.redis.zcount("{sesmail}:in:queued:bulk", "-inf", flushed_at_ms)  # type: ignore[return-value]

    flushed_at, flushed_at_ms = time.monotonic(), time.time() * 1000
    fleet.redis.delete("sesmail.bulk")
    count = without()
    wait_until(lambda: without() <= count - 100, "there are tickets again", 300)
    seconds = time.monotonic() - flushed_at
    wait_until(lambda: not without(), "all are issued again", 900)
    report.cases.append({"case": f"{count} tickets flushed", "issued_again_s": time.monotonic() - flushed_at})
    return seconds


def queue(fleet: Fleet, count: int) -> None:
    """Emails with their tickets, each made from the first: publishing them one by one would take minutes."""
    fleet.send("first", queue="sesmail.bulk", lane="bulk")
    sample = json.loads(fleet.redis.lindex("sesmail.bulk", 0))  # type: ignore[arg-type]
    _, _, embed = json.loads(base64.b64decode(sample["body"]))
    with fleet.redis.pipeline(transaction=False) as pipe:
        for number in range(count):
            send_id = fleet.accept(f"backlog-{number}", lane="bulk")
            body = json.dumps([[], {"send_id": send_id}, embed]).encode()
            headers, properties = {**sample["headers"], "id": send_id}, {**sample["properties"]}
            properties |= {"correlation_id": send_id, "delivery_tag": str(uuid4())}
            ticket = {**sample, "body": base64.b64encode(body).decode(), "headers": headers, "properties": properties}
            pipe.lpush("sesmail.bulk", json.dumps(ticket))
            if number % 1000 == 0:
                pipe.execute()
        pipe.execute()


if __name__ == "__main__":
    main()
