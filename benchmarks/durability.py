"""What it costs to know that an accepted email survives its Redis, and how soon mail goes on after a failover.

`accept_us_...`: how long an email takes to be accepted, in the middle of the times measured, by one caller after the
other: `plain` as always, `replica` and `disk` with SESMAIL_ACCEPT_WAITS_FOR, the latter for `appendfsync always`, and
among the cases for `everysec`. All servers are on this machine: a replica elsewhere costs a round trip to it, more.

`recovery_seconds_after_failover`: from the moment in which another server takes the writes, until a running web process
has had an email accepted and a running worker has sent one of those; the slowest of the set-ups among the cases, whose
broker is not the Redis that failed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks._report import Report, parser
from sesmail import Client, Settings
from sesmail.message import Email
from tests.acceptance.setups.servers import cluster_and_redis, sentinels_and_redis, stable_name
from tests.acceptance.setups.site import Site
from tests.redis_servers import Server

EMAIL = Email("success@simulator.amazonses.com", "Hello", "Hi.", from_email="shop@example.com")
FAILOVERS = {
    "Sentinels, the master dies": sentinels_and_redis,
    "a cluster, the node dies": cluster_and_redis,
    "a stable name, the master is demoted": stable_name,
}


def main() -> None:
    options = parser(__doc__).parse_args()
    report = Report("durability")
    with tempfile.TemporaryDirectory() as name:
        acceptance(report, Path(name), emails=200 if options.quick else 2000)
        failovers(report, Path(name), times=1 if options.quick else 3)
    report.show(as_json=options.json)


def acceptance(report: Report, folder: Path, *, emails: int) -> None:
    with (
        Server(folder / "master", appendfsync="everysec") as master,
        Server(folder / "replica") as replica,
        Server(folder / "always", appendfsync="always") as always,
        Server(folder / "everysec", appendfsync="everysec") as everysec,
    ):
        replica.follow(master)
        report.figure("accept_us_plain", accept_us(report, "plain", master, emails))
        report.figure("accept_us_replica", accept_us(report, "a replica", master, emails, accept_waits_for="replica"))
        report.figure("accept_us_disk", accept_us(report, "the disk, always", always, emails, accept_waits_for="disk"))
        accept_us(report, "the disk, everysec", everysec, max(10, emails // 50), accept_waits_for="disk")


def accept_us(report: Report, case: str, server: Server, emails: int, **settings: str) -> float:
    client = Client(Settings(redis_url=server.url, **settings))
    took = []
    for number in range(emails + 10):
        start = time.perf_counter()
        client.send(EMAIL, send_id=f"{case.replace(', ', '-').replace(' ', '-')}-{number}")
        took.append((time.perf_counter() - start) * 1e6)
    client.close()
    kept = sorted(took[10:])  # without those that make the connections
    middle, most = statistics.median(kept), kept[int(len(kept) * 0.95)]
    report.cases.append({"case": f"acceptance waits for: {case}", "median_us": middle, "p95_us": most})
    return middle


def failovers(report: Report, folder: Path, *, times: int) -> None:
    slowest = 0.0
    for case, set_up in FAILOVERS.items():
        for number in range(times):
            place = folder / f"{set_up.__name__}{number}"
            (place / "site").mkdir(parents=True)
            (place / "servers").mkdir()
            with set_up(place / "servers") as servers, Site(place / "site", servers.conf) as site:
                site.wait_for_mail()
                servers.befall()
                accepted, sent = site.recover()
                lost, doubled = site.settle()
                numbers = {"accepted_s": accepted, "sent_s": sent, "lost": len(lost), "doubled": len(doubled)}
                report.cases.append({"case": case, **numbers})
                slowest = max(slowest, sent)
    report.figure("recovery_seconds_after_failover", slowest, "<= 5")


if __name__ == "__main__":
    main()
