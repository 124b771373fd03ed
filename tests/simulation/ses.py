"""SES as it is at its strictest: a second's recipients to the letter, a quota, moods; and the events that it tells."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sesmail.errors import (
    DailyQuotaExceeded,
    OutcomeUnknown,
    SendingPaused,
    SendRejected,
    SendThrottled,
    SesError,
    SesUnavailable,
)
from sesmail.message import ID_TAG, LIST_TAG, Email
from sesmail.ses.transport import Account
from tests.simulation.faults import Faults
from tests.simulation.scheduler import Scheduler

RESERVE = "reserve"
"""The second account, where there is one; the account `default` falls back to it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One acceptance."""

    send_id: str
    message_id: str
    email: Email
    at: float
    begun_at: float


class Ses:
    """One account."""

    def __init__(
        self, scheduler: Scheduler, faults: Faults, rng: random.Random, *, rate: int, quota: int, name: str = "default"
    ) -> None:
        self._scheduler, self._faults, self._rng = scheduler, faults, rng
        self.name = name
        self.rate, self.quota = rate, quota
        self.first_quota, self.highest_rate = quota, rate
        self.paused_until = self.down_until = 0.0
        self.down_at = self.troubled_at = 0.0
        """When the present outage began; when SES last gave no clear answer, or could not be reached."""
        self._down: Callable[[], Exception] = _out_of_reach
        self.unknown_while_down = 0
        self._met: dict[str, bool] = {}
        """Whether nobody will ever learn what becomes of a send: it brings down whatever stands before SES."""
        self.on_outage: Callable[[], None] = lambda: None
        self.offered: list[tuple[float, int]] = []
        self.taken = 0
        self.throttled: list[tuple[int, float]] = []
        """The number of the call, and when."""
        self.refused_for_quota = self.calls = 0
        self._second: deque[tuple[float, int]] = deque()
        self.on_call: Callable[[str, Email], None] = lambda _id, _email: None
        self.on_taken: Callable[[Taken], None] = lambda _taken: None
        self.on_answer: Callable[[str, str], None] = lambda _id, _answer: None
        self.disturb: Callable[[float], None] = lambda _seconds: None

    def account(self) -> Account:
        """As GetAccount answers."""
        self._scheduler.sleep(0.03)
        if self._scheduler.now < self.down_until or self._faults.strikes("ses_unreachable"):
            self.troubled_at = self._scheduler.now
            raise _out_of_reach()
        return Account(
            max_send_rate=float(self.rate),
            max_24_hour_send=float(self.quota),
            sent_last_24_hours=float(self.taken),
            sending_enabled=self._scheduler.now >= self.paused_until,
            production_access=True,
            enforcement_status="HEALTHY",
        )

    def send(self, email: Email, send_id: str) -> str:
        """As SendEmail answers, or does not."""
        begun_at = self._scheduler.current().begun.get(send_id, 0.0)
        self.on_call(send_id, email)
        self._scheduler.sleep(0.01 + self._rng.expovariate(1 / 0.01))
        self._changes_its_mind()
        if self._scheduler.now < self.down_until:
            failure = self._down()
            self.unknown_while_down += isinstance(failure, OutcomeUnknown)
            raise self._said(send_id, failure)
        if self._faults.strikes("ses_unreachable", send_id):
            raise self._said(send_id, _out_of_reach())
        if send_id not in self._met:
            self._met[send_id] = self._faults.strikes("ses_never_answers", send_id)
        if self._met[send_id]:
            raise self._said(send_id, OutcomeUnknown("the connection was closed", code="ConnectionClosedError"))
        if self._faults.strikes("ses_fails_before", send_id):
            raise self._said(send_id, _answers_500())
        self._refuse(email, send_id)
        return self._take(email, send_id, begun_at)

    def send_several(self, emails: Mapping[str, Email]) -> list[str | SesError]:
        """As SendBulkEmail answers for each, or does not for any."""
        ids, begun = [*emails], self._scheduler.current().begun.copy()
        for send_id, email in emails.items():
            self.on_call(send_id, email)
        self._scheduler.sleep(0.01 + self._rng.expovariate(1 / 0.01))
        self._changes_its_mind()
        for send_id in ids:
            self._met.setdefault(send_id, self._faults.strikes("ses_never_answers", send_id))
        if failure := self._fails_as_a_whole(ids):
            raise self._said_of(ids, failure)
        answers = [self._judged(send_id, email, begun.get(send_id, 0.0)) for send_id, email in emails.items()]
        if self._faults.strikes("ses_fails_after", ids[0]):
            raise self._said_of(ids, _answers_500())
        if self._faults.strikes("ses_cut_off", ids[0]):
            raise RuntimeError("a bug cut off the call")
        self._answer_comes(ids[0])
        for send_id, answer in zip(ids, answers, strict=True):
            if isinstance(answer, str):
                self.on_answer(send_id, answer)
        return answers

    def _fails_as_a_whole(self, ids: list[str]) -> Exception | None:
        if self._scheduler.now < self.down_until:
            failure = self._down()
            self.unknown_while_down += isinstance(failure, OutcomeUnknown)
            return failure
        if self._faults.strikes("ses_unreachable", ids[0]):
            return _out_of_reach()
        if any(self._met[send_id] for send_id in ids):
            return OutcomeUnknown("the connection was closed", code="ConnectionClosedError")
        return _answers_500() if self._faults.strikes("ses_fails_before", ids[0]) else None

    def _judged(self, send_id: str, email: Email, begun_at: float) -> str | SesError:
        try:
            self._refuse(email, send_id)
        except SesError as error:
            error.is_answer = True
            return error
        return self._taken(email, send_id, begun_at)

    def _said_of(self, ids: list[str], error: Exception) -> Exception:
        for send_id in ids:
            self._said(send_id, error)
        return error

    def _changes_its_mind(self) -> None:
        now, faults = self._scheduler.now, self._faults
        if now >= self.down_until and faults.strikes("ses_is_down"):
            self.down_at, self.down_until = now, now + faults.choose(5.0, 15.0, 40.0)
            self._down = _answers_500 if faults.choose(0, 1) else _out_of_reach
            self.unknown_while_down = 0
            self.disturb(self.down_until - now + 60.0)
            self.on_outage()
        if faults.strikes("ses_pauses"):
            self.paused_until = now + faults.choose(20.0, 90.0)
            self.disturb(self.paused_until - now + 130.0)
        if faults.strikes("ses_rate_changes"):
            self.rate = int(faults.choose(5, 10, 20, 50))
            self.disturb(200.0)
        if faults.strikes("ses_quota_changes"):
            self.quota = int(faults.choose(self.taken + 5, self.taken + 50, self.first_quota, 50_000))
            self.disturb(800.0)

    def _refuse(self, email: Email, send_id: str) -> None:
        now, recipients = self._scheduler.now, email.recipient_count
        self.calls += 1
        if now < self.paused_until:
            raise self._said(send_id, SendingPaused("Email sending has been paused", code="SendingPausedException"))
        self.highest_rate = max(self.highest_rate, self.rate)
        self.offered.append((now, recipients))
        while self._second and self._second[0][0] <= now - 1.0:
            self._second.popleft()
        if sum(count for _, count in self._second) + recipients > self.rate:
            self.throttled.append((self.calls, now))
            raise self._said(send_id, SendThrottled("Maximum sending rate exceeded.", code="TooManyRequestsException"))
        if self.taken + recipients > self.quota:
            self.refused_for_quota += 1
            raise self._said(send_id, DailyQuotaExceeded("Daily quota exceeded.", code="TooManyRequestsException"))
        if any(address.startswith("refused") for address in email.recipients):
            raise self._said(send_id, SendRejected("Address is not valid.", code="MessageRejected"))

    def _take(self, email: Email, send_id: str, begun_at: float) -> str:
        faults, message_id = self._faults, self._taken(email, send_id, begun_at)
        if faults.strikes("ses_fails_after", send_id):
            raise self._said(send_id, _answers_500())
        if faults.strikes("ses_hangs", send_id):
            self._scheduler.sleep(60.0)
            raise self._said(send_id, OutcomeUnknown("no answer in time", code="ReadTimeoutError"))
        if faults.strikes("ses_cut_off", send_id):
            raise RuntimeError("a bug cut off the call")
        self._answer_comes(send_id)
        self.on_answer(send_id, message_id)
        return message_id

    def _answer_comes(self, send_id: str) -> None:
        """At once; or late, but before anybody has given it up."""
        is_slow = self._faults.strikes("ses_is_slow", send_id)
        self._scheduler.sleep(self._faults.choose(5.0, 20.0, 45.0) if is_slow else 0.005)

    def _taken(self, email: Email, send_id: str, begun_at: float) -> str:
        now = self._scheduler.now
        self._second.append((now, email.recipient_count))
        self.taken += email.recipient_count
        mark = "" if self.name == "default" else "r"
        message_id = f"ses-{send_id}-{mark}{len(self.offered)}"
        self.on_taken(Taken(send_id, message_id, email, now, begun_at))
        return message_id

    def _said(self, send_id: str, error: Exception) -> Exception:
        if isinstance(error, OutcomeUnknown | SesUnavailable):
            self.troubled_at = self._scheduler.now
        self.on_answer(send_id, type(error).__name__)
        return error


def _out_of_reach() -> Exception:
    return SesUnavailable("no connection", code="EndpointConnectionError")


def _answers_500() -> Exception:
    return OutcomeUnknown("SES answered 500", code="InternalFailure")


@dataclass(frozen=True, slots=True)
class Letter:
    """An email as it would be asked for."""

    email: Email
    send_id: str


class Transport:
    """What a worker has for a `sesmail.ses.transport.SesTransport`. Its process may die or freeze on the way."""

    def __init__(self, ses: Ses, step: Callable[[], None]) -> None:
        self._ses, self._step = ses, step

    def prepare(self) -> None:
        """Nothing is loaded."""

    def account(self) -> Account:
        return self._ses.account()

    def compose(self, email: Email, *, send_id: str) -> Letter:
        return Letter(email, send_id)

    can_send_bulk = True

    def template(self, name: str) -> dict[str, str]:
        """One that SES keeps, and that only SES can fill in."""
        return {"subject": "Number {{n}}", "text": f"{name}: {{{{#if n}}}}{{{{n}}}}{{{{/if}}}}"}

    def send_bulk(self, letter: Email, request: dict[str, Any]) -> list[str | SesError]:
        emails: dict[str, Email] = {}
        for entry in request["BulkEmailEntries"]:
            tags = {each["Name"]: each["Value"] for each in entry["ReplacementTags"]}
            (to,) = entry["Destination"]["ToAddresses"]
            emails[tags.pop(ID_TAG)] = letter.personal(to, subject="x", text="x", html=None, tags=tags)
        self._step()
        answers = self._ses.send_several(emails)
        self._step()
        return answers

    def send_composed(self, composed: Letter) -> str:
        self._step()
        message_id = self._ses.send(composed.email, composed.send_id)
        self._step()
        return message_id


def event(kind: str, taken: Taken, now: float, **details: Any) -> str:
    """SES's JSON of one event."""
    email, sent_at = taken.email, _iso(taken.at)
    tags = {"sesmail-id": [taken.send_id]}
    if list_name := email.tags.get(LIST_TAG):
        tags[LIST_TAG] = [list_name]
    mail = {
        "timestamp": sent_at,
        "messageId": taken.message_id,
        "destination": list(email.recipients),
        "tags": tags,
        "headers": [],
    }
    part = {"Rendering Failure": "failure"}.get(kind, kind.lower())
    return json.dumps({"eventType": kind, "mail": mail, part: {"timestamp": _iso(now), **details}})


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
