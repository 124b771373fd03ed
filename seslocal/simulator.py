"""The simulator in a process of its own that dies with this one."""

from __future__ import annotations

import http.client
import json
import os
import select
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from seslocal.cannot_start import check_installed
from seslocal.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

START_SECONDS = 20
NOT_STARTED = "The simulator did not start; its own messages are on standard error."


class Simulator:
    """A simulated SES account in a process of its own, for tests and demos; takes the fields of `Options`.

    >>> with Simulator(rate=14, quota=50_000) as ses:
    ...     boto3.client("sesv2", endpoint_url=ses.url)
    """

    def __init__(self, **options: Any) -> None:
        self.options = Options(**options)
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server; returns when it answers. Its standard input is what ties it to this process's life.

        Raises NotInstalled without the extra `simulator`, RuntimeError if it does not start for another reason.
        """
        check_installed()
        command = [sys.executable, "-m", "seslocal.child", json.dumps(asdict(self.options)), str(os.getpid())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.url = self._read_url(self._process)
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop the server and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        process.communicate()

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "the simulator is not running"
        return self._process.pid

    def report(self) -> dict[str, Any]:
        """What it accepted and refused: see docs/simulator.md."""
        return dict(self.control("GET", "/_sim/report"))

    def messages(self, after: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
        """The emails that it accepted, in order, from the one after number `after`."""
        upto = "" if limit is None else f"&limit={limit}"
        return list(self.control("GET", f"/_sim/messages?after={after}{upto}"))

    def faults(
        self, *, script: Sequence[str] = (), rules: Sequence[Mapping[str, Any]] = (), seed: int | None = None
    ) -> None:
        """Replace the faults that the next sending calls meet; none given clears them."""
        self.control("PUT", "/_sim/faults", {"script": list(script), "rules": list(rules), "seed": seed})

    def change(self, **switches: Any) -> None:
        """Change the account while it runs: `rate`, `quota`, `sending_enabled`, …; see `account.Changes`."""
        self.control("PUT", "/_sim/account", switches)

    def reset(self) -> None:
        """Make it forget everything, as if just started."""
        self.control("POST", "/_sim/reset")

    def event_faults(self, **faults: Any) -> None:
        """Replace the trouble with events (`EventFaults`): `duplicates`, `hold`, …; none given ends it."""
        self.control("PUT", "/_sim/event-faults", faults)

    def outcomes(self, patterns: Mapping[str, str]) -> None:
        """What becomes of mail to addresses of a pattern: `{"*@example.net": "bounce"}`."""
        self.control("PUT", "/_sim/outcomes", patterns)

    def burst(self, count: int, *, per_second: float = 1000, events: Sequence[str] = ("delivery",)) -> None:
        """Publish invented events to the topic of the options; their tag `sesmail-id` is burst-1, burst-2, …"""
        self.control("POST", "/_sim/events", {"count": count, "per_second": per_second, "events": list(events)})

    def certificate_pem(self) -> bytes:
        """The certificate of SNS's signatures; no verifier can fetch it from the address that notifications name."""
        return self._request("GET", "/_sim/certificate.pem")[1]

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call one of the simulator's own endpoints: its JSON, or ValueError with its words if it refuses."""
        status, answer = self._request(method, path, None if body is None else json.dumps(body))
        if status >= 400:
            raise ValueError(f"{method} {path}: {answer.decode(errors='replace')}")
        return json.loads(answer)

    def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _wait_until_ready(self) -> None:
        try:
            self.report()
        except (OSError, http.client.HTTPException) as error:
            self.stop()
            raise RuntimeError(NOT_STARTED) from error

    def _read_url(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            self.stop()
            raise RuntimeError(NOT_STARTED)
        return str(json.loads(line)["url"])
