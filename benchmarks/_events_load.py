"""Posts notifications as SNS does, as fast as they are answered; and starts and measures the servers that take them."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import uvloop

from seslocal.sns.signing import certificate_url
from tests.signing import TOPIC, fixture_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from seslocal.sns.signing import Signer

KINDS = ("ev_send.json", "ev_delivery.json", "ev_open.json", "ev_click.json")


def letters_events(letters: int) -> Iterator[str]:
    """The messages of four events of each letter."""
    documents = [fixture_json(name) for name in KINDS]
    for number in range(letters):
        for document in documents:
            document["mail"]["messageId"] = f"message-{number}"
            document["mail"]["destination"] = [f"reader{number}@example.org"]
            document["mail"]["tags"]["sesmail-id"] = [f"send-{number}"]
            if "delivery" in document:
                document["delivery"]["recipients"] = [f"reader{number}@example.org"]
            yield json.dumps(document, separators=(",", ":"))


def notification(signer: Signer, message: str, version: str = "2") -> dict[str, str]:
    """A message of a topic as the simulator's SNS sends and signs it."""
    envelope = {
        "Type": "Notification",
        "MessageId": str(uuid4()),
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": message,
        "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "SignatureVersion": version,
        "SigningCertURL": certificate_url("us-east-1"),
    }
    return envelope | {"Signature": signer.sign(envelope)}


def requests(signer: Signer, count: int) -> list[bytes]:
    """Posts with distinct signed notifications (SignatureVersion 1: all that django-ses verifies)."""
    envelopes = (notification(signer, message, version="1") for message in letters_events(-(-count // 4)))
    return [request(envelope) for envelope, _ in zip(envelopes, range(count), strict=False)]


def request(envelope: dict) -> bytes:
    body = json.dumps(envelope, indent=2).encode()
    head = (
        "POST /events/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain; charset=UTF-8\r\n"
        f"x-amz-sns-message-type: {envelope['Type']}\r\nx-amz-sns-message-id: {envelope['MessageId']}\r\n"
        f"x-amz-sns-topic-arn: {TOPIC}\r\nUser-Agent: Amazon Simple Notification Service Agent\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """Posts one request after the other; opens a new connection where the server closes this one, as gunicorn's does."""

    def __init__(self, flood: Flood) -> None:
        self.flood, self.waits, self.answer = flood, False, b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.post()

    def post(self) -> None:
        request = next(self.flood.requests, None)
        self.waits = request is not None
        self.answer = b""
        if request is None:
            self.transport.close()
            self.flood.closed()
        else:
            self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        head, end, body = self.answer.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self.waits = False
        self.flood.statuses[int(head[9:12])] = self.flood.statuses.get(int(head[9:12]), 0) + 1
        if b"connection: close" in lower:
            self.transport.close()
            self.flood.reconnect()
        else:
            self.post()

    def connection_lost(self, _error) -> None:
        if self.waits:
            self.flood.statuses[0] = self.flood.statuses.get(0, 0) + 1
            self.flood.reconnect()


class Flood:
    """All requests, over some connections."""

    def __init__(self, port: int, requests: Iterable[bytes], connections: int = 64) -> None:
        self.port, self.requests, self.open = port, iter(requests), connections
        self.statuses: dict[int, int] = {}

    async def run(self) -> float:
        """Seconds until the last answer."""
        self.loop, self.done = asyncio.get_running_loop(), asyncio.Event()
        began = time.perf_counter()
        for _ in range(self.open):
            self.reconnect()
        await self.done.wait()
        return time.perf_counter() - began

    def reconnect(self) -> None:
        task = self.loop.create_task(self.loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.port))
        task.add_done_callback(lambda task: task.exception() and self.closed())

    def closed(self) -> None:
        self.open -= 1
        if not self.open:
            self.done.set()


def flood(port: int, posts: list[bytes]) -> tuple[float, dict[int, int]]:
    """Seconds that all posts took, and how many were answered with which status (0: no answer)."""
    load = Flood(port, posts)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load.run()), load.statuses


class Server:
    """A door in a process of its own, which may be killed and started again at the same port."""

    def __init__(self, door: str, store: str, pem: Path, core: str = "") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.command = [sys.executable, "-m", "benchmarks._events_server", door, store, str(self.port), str(pem), core]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, start_new_session=True)
        while self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"The server did not start: {self.command}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def cpu_seconds(self) -> float:
        """Of this process and its children."""
        return sum(_cpu_seconds(pid) for pid in [self.process.pid, *_children(self.process.pid)])


def _cpu_seconds(pid: int) -> float:
    """Of its threads, to the nanosecond: /proc/PID/stat has ticks of 10 ms, which is much of a short round."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def fresh_name() -> str:
    return f"bench{uuid4().hex[:8]}"
