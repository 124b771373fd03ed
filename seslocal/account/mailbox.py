"""What the simulator has accepted and refused: records of the last emails, the content of fewer, and counts of all."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from seslocal.account.limits import RollingSecond
from seslocal.message.mime import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seslocal.errors import Kind
    from seslocal.message.submission import Submission
    from seslocal.options import Options

PLOTTED_SECONDS = 600
SHOWN_DUPLICATES = 100


@dataclass(slots=True, kw_only=True)
class Record:
    """One accepted email without its content, and what has happened to it since."""

    number: int
    """Counts from 1 in order of acceptance."""
    message_id: str
    accepted_at: float
    operation: str
    source: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    subject: str
    size_bytes: int
    tags: dict[str, str]
    configuration_set: str | None
    tenant: str | None
    events: list[str] = field(default_factory=list)
    """The types of the events published for it, in order."""

    @classmethod
    def of(cls, submission: Submission, message_id: str, now: float, number: int) -> Record:
        """The record of an email accepted now."""
        return cls(
            number=number,
            message_id=message_id,
            accepted_at=now,
            operation=submission.operation,
            source=decoded(submission.source),
            to=submission.to,
            cc=submission.cc,
            bcc=submission.bcc,
            subject=submission.content.subject,
            size_bytes=submission.content.size_bytes,
            tags=submission.tags,
            configuration_set=submission.configuration_set,
            tenant=submission.tenant,
        )

    @property
    def recipients(self) -> tuple[str, ...]:
        """All bare addresses."""
        return self.to + self.cc + self.bcc

    def as_json(self) -> dict[str, Any]:
        """The record as the pages and tests read it."""
        return {
            "number": self.number,
            "message_id": self.message_id,
            "time": self.accepted_at,
            "operation": self.operation,
            "from": self.source,
            "to": self.to,
            "cc": self.cc,
            "bcc": self.bcc,
            "recipients": self.recipients,
            "recipient_count": len(self.recipients),
            "subject": self.subject,
            "size": self.size_bytes,
            "tags": self.tags,
            "sesmail_id": self.tags.get("sesmail-id"),
            "configuration_set": self.configuration_set,
            "tenant": self.tenant,
            "events": self.events,
        }


class Mailbox:
    """Bounded in memory: the oldest content goes first, then the oldest records; of each tag value one number stays."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._submissions: OrderedDict[str, Submission] = OrderedDict()
        self._seen_tag_values: set[int] = set()
        self._duplicates: Counter[str] = Counter()
        self._accepted_calls = 0
        self._accepted_recipients = 0
        self._first_accepted_at: float | None = None
        self._last_accepted_at: float | None = None
        self._rolling_second = RollingSecond()
        self._refused: Counter[Kind] = Counter()
        self._per_second: deque[list[int]] = deque(maxlen=PLOTTED_SECONDS)

    def accept(self, submission: Submission, message_id: str, now: float) -> Record:
        """Keep an accepted email and count it."""
        self._accepted_calls += 1
        self._accepted_recipients += len(submission.recipients)
        self._first_accepted_at = self._first_accepted_at or now
        self._last_accepted_at = now
        self._rolling_second.add(len(submission.recipients), now)
        self._second(now)[1] += len(submission.recipients)
        self._note_duplicate(submission.tags.get(self._options.duplicate_tag))
        return self._keep(submission, message_id, now)

    def refuse(self, kind: Kind, now: float) -> None:
        """Count a refused call."""
        self._refused[kind] += 1
        self._second(now)[2] += 1

    def records(self, after: int = 0, limit: int | None = None) -> Iterator[Record]:
        """Records in order of acceptance, those numbered above `after`."""
        wanted = (record for record in list(self._records.values()) if record.number > after)
        return islice(wanted, limit)

    def latest(self, limit: int | None = None, search: str = "") -> list[Record]:
        """The newest records first; `search` is looked for in addresses, subjects, tags and ids."""
        found = (
            record for record in reversed(self._records.values()) if not search or _matches(record, search.lower())
        )
        return list(islice(found, limit))

    def clear(self) -> None:
        """Forget the emails themselves. What was counted, and the events that are still to come, stay."""
        self._records.clear()
        self._submissions.clear()

    def record(self, message_id: str) -> Record | None:
        """One email, unless it is too old."""
        return self._records.get(message_id)

    def submission(self, message_id: str) -> Submission | None:
        """One email with its content, unless it is too old."""
        return self._submissions.get(message_id)

    def report(self) -> dict[str, Any]:
        """All counts."""
        return {
            "accepted": {"calls": self._accepted_calls, "recipients": self._accepted_recipients},
            "refused": {kind.value: count for kind, count in sorted(self._refused.items())},
            "refused_calls": self._refused.total(),
            "max_recipients_in_any_second": self._rolling_second.highest,
            "duplicates": {
                "ids": len(self._duplicates),
                "extra_messages": self._duplicates.total(),
                "examples": {value: extra + 1 for value, extra in self._duplicates.most_common(SHOWN_DUPLICATES)},
            },
            "first_accepted_at": self._first_accepted_at,
            "last_accepted_at": self._last_accepted_at,
        }

    def per_second(self) -> list[list[int]]:
        """[second, recipients accepted, calls refused] of the last ten minutes, seconds without either left out."""
        return list(self._per_second)

    def _second(self, now: float) -> list[int]:
        second = int(now)
        if not self._per_second or self._per_second[-1][0] != second:
            self._per_second.append([second, 0, 0])
        return self._per_second[-1]

    def _note_duplicate(self, value: str | None) -> None:
        if value is None:
            return
        if hash(value) in self._seen_tag_values:
            self._duplicates[value] += 1
        self._seen_tag_values.add(hash(value))

    def _keep(self, submission: Submission, message_id: str, now: float) -> Record:
        record = Record.of(submission, message_id, now, self._accepted_calls)
        self._records[message_id] = record
        self._submissions[message_id] = submission
        if len(self._records) > self._options.kept_records:
            self._records.popitem(last=False)
        if len(self._submissions) > self._options.kept_bodies:
            self._submissions.popitem(last=False)
        return record


def _matches(record: Record, search: str) -> bool:
    texts = (record.message_id, record.source, record.subject, *record.recipients, *record.tags.values())
    return any(search in text.lower() for text in texts)
