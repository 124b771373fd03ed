"""What AWS does not document of an account, found out by a few emails to its mailbox simulator.

They go to SES at once, past the throttle: nothing else should be sent meanwhile.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sesmail.errors import SendThrottled, SesError
from sesmail.message import Email, Lane
from sesmail.ses.bulk import MOST_ENTRIES, Entry, Template, send_bulk_email_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.ses.transport import SesTransport

ADDRESS = "success@simulator.amazonses.com"
MOST_CALLS_FOR_SEVERAL = 4
MOST_AT_ONCE = 200
"""Emails of the burst: more than twice the rate tells no more."""
THREADS = 16
PAUSE_SECONDS = 3.0
"""For what was sent before to count no longer."""


class Soundings:
    """Asked of one account, which lets so many recipients a second go."""

    def __init__(
        self, transport: SesTransport, *, rate: float, from_email: str, pause: Callable[[float], object] = time.sleep
    ) -> None:
        self._transport, self._rate, self._from_email, self._pause = transport, rate, from_email, pause

    @property
    def most_emails(self) -> int:
        """How many it may take at most."""
        return self._calls * MOST_ENTRIES + self._burst_size + 1

    @property
    def _calls(self) -> int:
        """Calls for several that are clearly more than a second's worth, as far as that can be had."""
        return max(1, min(MOST_CALLS_FOR_SEVERAL, round(3 * self._rate / MOST_ENTRIES)))

    @property
    def _burst_size(self) -> int:
        return round(min(MOST_AT_ONCE, 2 * self._rate + 20)) if self._rate > 0 else 0

    def take(self) -> dict[str, Any]:
        """All of them, each in words and figures."""
        found: dict[str, Any] = {}
        for name, sounding in (("empty_body", self._empty_body), ("burst", self._burst), ("bulk_calls", self._bulk)):
            self._pause(PAUSE_SECONDS)
            found[name] = sounding()
        return found

    def _email(self, text: str | None = "Hi.") -> Email:
        return Email(ADDRESS, "sesmail loadtest", text, from_email=self._from_email, lane=Lane.BULK)

    def _empty_body(self) -> dict[str, Any]:
        """Whether SES takes an email that says nothing."""
        try:
            self._transport.send(self._email(""), send_id="sounding-empty")
        except SesError as error:
            return {"said": "SES refuses an empty body", "code": error.code}
        return {"said": "SES takes an empty body"}

    def _burst(self) -> dict[str, Any]:
        """How many go at once beyond the rate, before the first is throttled."""
        composed = [self._transport.compose(self._email(), send_id=f"sounding-{n}") for n in range(self._burst_size)]
        stopped, taken = threading.Event(), [0] * len(composed)

        def ask(number: int) -> None:
            if stopped.is_set():
                return
            try:
                self._transport.send_composed(composed[number])
                taken[number] = 1
            except SendThrottled:
                stopped.set()

        self._transport.prepare()
        began = time.monotonic()
        with ThreadPoolExecutor(THREADS) as threads:
            answers = [threads.submit(ask, number) for number in range(len(composed))]
        seconds = time.monotonic() - began
        failed = [error for answer in answers if (error := answer.exception())]
        if failed:
            return {"said": f"it cannot be told: {failed[0]}"}
        beyond = max(0.0, sum(taken) - self._rate * seconds)
        figures: dict[str, Any] = {"taken": sum(taken), "seconds": round(seconds, 2), "rate": self._rate}
        if not stopped.is_set():
            return {"said": f"SES throttled none of {sum(taken)} in {seconds:.1f} s", **figures}
        return {"said": f"SES forgives about {beyond:.0f} beyond the rate", "beyond": round(beyond), **figures}

    def _bulk(self) -> dict[str, Any]:
        """Whether recipients of calls for several count to the rate, or the calls."""
        entries = [
            Entry(send_id=f"sounding-{n}", mailbox=ADDRESS, values={}, headers={}, tags={}) for n in range(MOST_ENTRIES)
        ]
        template = Template(subject="sesmail loadtest", text="Hi.", html=None)
        request, answers = send_bulk_email_request(self._email(), template, entries), []
        began = time.monotonic()
        try:
            for _ in range(self._calls):
                answers += self._transport.send_bulk(self._email(), request)
        except SendThrottled:
            return {"said": "SES throttles whole calls for several", "taken": len(answers)}
        except SesError as error:
            return {"said": f"it cannot be told: {error}", "code": error.code}
        seconds = time.monotonic() - began
        throttled = sum(isinstance(each, SendThrottled) for each in answers)
        figures: dict[str, Any] = {"calls": self._calls, "recipients": len(answers), "throttled": throttled}
        figures |= {"seconds": round(seconds, 2)}
        if throttled:
            return {"said": "each recipient of a call for several counts to the rate", **figures}
        if self._rate < 0 or len(answers) <= 2 * self._rate * max(1.0, seconds):
            return {"said": "whether calls for several count as one cannot be told at this rate", **figures}
        return {"said": "a call for several counts as one, or so many are forgiven", **figures}
