"""How much of a core the simulator costs, and whether it ever lets more through than its limit.

`sends_per_second_per_core`: SendEmail calls answered per second of the simulator's own processor time, so that a busy
machine or a slow client does not count. `max_over_limit_in_any_second`: recipients accepted in the busiest rolling second
beyond the limit, under twice the limit's load; anything but 0 is a fault.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from urllib.parse import urlsplit

from benchmarks._report import Report, arguments
from sesmail.simulator import Simulator

CONNECTIONS = 8
SECONDS, QUICK_SECONDS = 15.0, 5.0
LIMIT = 100


def request_for(ses: Simulator, number: int) -> bytes:
    body = json.dumps(
        {
            "FromEmailAddress": "News <news@example.com>",
            "Destination": {"ToAddresses": [f"reader{number}@example.org"]},
            "Content": {
                "Simple": {
                    "Subject": {"Data": "November issue"},
                    "Body": {"Html": {"Data": "<p>news</p>" * 460}, "Text": {"Data": "news"}},
                    "Headers": [{"Name": "X-Sesmail-Id", "Value": f"id-{number}"}],
                }
            },
            "EmailTags": [{"Name": "sesmail-id", "Value": f"id-{number}"}],
        }
    ).encode()
    head = (
        f"POST /v2/email/outbound-emails HTTP/1.1\r\nHost: {urlsplit(ses.url).netloc}\r\n"
        "Authorization: AWS4-HMAC-SHA256 Credential=A/20261121/us-east-1/ses/aws4_request, SignedHeaders=host, Signature=0\r\n"
        f"X-Amz-Date: 20261121T000000Z\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def one_connection(ses: Simulator, first: int, until: float, gap_seconds: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(ses.url).port)
    calls = 0
    while time.monotonic() < until:
        writer.write(request_for(ses, first + calls * CONNECTIONS))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        calls += 1
        if gap_seconds:
            await asyncio.sleep(gap_seconds)
    writer.close()
    return calls


async def flood(ses: Simulator, seconds: float, calls_per_second: float | None = None) -> int:
    until = time.monotonic() + seconds
    gap = CONNECTIONS / calls_per_second if calls_per_second else 0.0
    return sum(await asyncio.gather(*[one_connection(ses, n, until, gap) for n in range(CONNECTIONS)]))


def processor_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        user, system = stat.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def sends_per_second_per_core(report: Report, seconds: float) -> None:
    with Simulator(rate=1_000_000, quota=-1) as ses:
        before = processor_seconds(ses.pid)
        calls = asyncio.run(flood(ses, seconds))
        used = processor_seconds(ses.pid) - before
        seen = ses.report()
    assert seen["accepted"]["calls"] == calls, (seen, calls)
    assert seen["duplicates"]["ids"] == 0, seen
    report.cases.append({"case": f"{CONNECTIONS} connections", "sends": calls, "processor_seconds": used})
    report.figure("sends_per_second_per_core", calls / used, ">= 1500")


def max_over_limit_in_any_second(report: Report, seconds: float) -> None:
    with Simulator(rate=LIMIT, quota=-1) as ses:
        asyncio.run(flood(ses, seconds, 2 * LIMIT))
        seen = ses.report()
    accepted, most = seen["accepted"]["calls"], seen["max_recipients_in_any_second"]
    assert accepted >= LIMIT * (seconds - 1), seen
    report.cases.append({"case": f"twice a limit of {LIMIT}/s", "accepted": accepted, "most_in_any_second": most})
    report.figure("max_over_limit_in_any_second", max(0, most - LIMIT), "0")


def main() -> None:
    options = arguments(__doc__)
    report, seconds = Report("simulator"), QUICK_SECONDS if options.quick else SECONDS
    sends_per_second_per_core(report, seconds)
    max_over_limit_in_any_second(report, seconds)
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
