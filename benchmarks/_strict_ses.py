"""A strict SES of one rule: never more than the rate, in recipients, in any second; the first above it is refused.

It knows two languages: a line with the number of recipients, answered by "1" or "0" (so that it costs little), and the
HTTP of SES v2's SendEmail, one recipient each (for boto3).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

ACCEPTED = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{"MessageId": "1"}'
REFUSAL = b'{"message":"Maximum sending rate exceeded."}'
REFUSED = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
    b"x-amzn-ErrorType: TooManyRequestsException\r\nContent-Length: %d\r\n\r\n%s" % (len(REFUSAL), REFUSAL)
)


@dataclass
class StrictSes:
    rate: int
    latency: tuple[float, float] = (0.0, 0.0)
    """Seconds that a call is under way before it is judged, uniformly between the two."""
    others: float = 0.0
    """The part of the rate that somebody else sends, paced and without telling."""
    answers: list[tuple[float, int, bool]] = field(default_factory=list)
    accepted_of_others: list[float] = field(default_factory=list)
    window: deque[tuple[float, int]] = field(default_factory=deque)
    used: int = 0

    def judge(self, recipients: int) -> bool:
        now = time.monotonic()
        while self.window and self.window[0][0] <= now - 1.0:
            self.used -= self.window.popleft()[1]
        accepted = self.used + recipients <= self.rate or not self.used
        if accepted:
            self.window.append((now, recipients))
            self.used += recipients
        return accepted

    def answer(self, recipients: int) -> bool:
        accepted = self.judge(recipients)
        self.answers.append((time.monotonic(), recipients, accepted))
        return accepted

    async def send_for_others(self) -> None:
        due = time.monotonic()
        while self.others:
            due += 1 / (self.others * self.rate)
            await asyncio.sleep(due - time.monotonic())
            if self.judge(1):
                self.accepted_of_others.append(time.monotonic())

    async def serve(self, announce: Any) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self, loop), "127.0.0.1", 0)
        announce.send(server.sockets[0].getsockname()[1])
        await asyncio.gather(server.serve_forever(), self.send_for_others())


class _Connection(asyncio.Protocol):
    def __init__(self, ses: StrictSes, loop: asyncio.AbstractEventLoop) -> None:
        self.ses = ses
        self.loop = loop
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (call := self._next_call()) is not None:
            delay = random.uniform(*self.ses.latency)
            if delay:
                self.loop.call_later(delay, self._answer, *call)
            else:
                self._answer(*call)

    def _next_call(self) -> tuple[int, bool] | None:
        if self.buffer.startswith(b"P"):  # POST
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if not found or len(rest) < length:
                return None
            self.buffer = rest[length:]
            return 1, True
        line, found, rest = self.buffer.partition(b"\n")
        if not found:
            return None
        self.buffer = rest
        if line == b"report":
            report = {"answers": self.ses.answers, "others": self.ses.accepted_of_others}
            self.transport.write(json.dumps(report).encode() + b"\n")
            return None
        return int(line), False

    def _answer(self, recipients: int, http: bool) -> None:
        accepted = self.ses.answer(recipients)
        if http:
            self.transport.write(ACCEPTED if accepted else REFUSED)
        else:
            self.transport.write(b"1\n" if accepted else b"0\n")


def _run(ses: StrictSes, announce: Any) -> None:
    with suppress(PermissionError):  # the judge must not be the one who is late
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    asyncio.run(ses.serve(announce))


class StrictSesProcess:
    """A StrictSes in a process of its own."""

    def __init__(self, ses: StrictSes) -> None:
        here, there = get_context("forkserver").Pipe()
        self._process = get_context("forkserver").Process(target=_run, args=(ses, there), daemon=True)
        self._process.start()
        self.port: int = here.recv()

    def report(self) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"report\n")
            return json.loads(connection.makefile().readline())

    def stop(self) -> None:
        self._process.kill()
        self._process.join()


class SesCaller:
    """One thread's connection to a StrictSes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, recipients: int) -> bool:
        self._socket.sendall(b"%d\n" % recipients)
        return self._socket.recv(2) == b"1\n"
