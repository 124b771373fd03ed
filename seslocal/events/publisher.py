"""From an accepted email to the notifications about it: what happens when, who is told, and the trouble on the way."""

from __future__ import annotations

import asyncio
import html
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from seslocal import clock
from seslocal.account.mailbox import Record
from seslocal.errors import Refused, invalid
from seslocal.events import payload
from seslocal.events.outcomes import PATTERNS, Happening, Outcome, Planned, outcome_of, plan
from seslocal.message.submission import Content, Submission, is_to_mailbox_simulator
from seslocal.typed import check_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seslocal.account.account import Account
    from seslocal.account.configuration_sets import ConfigurationSet
    from seslocal.account.suppression import SuppressionList
    from seslocal.sns.topics import Sns

SUBJECT = "Amazon SES Email Event Notification"
VALIDATED = "Successfully validated SNS topic for Amazon SES event publishing."
ANSWER_AFTER_EVENTS_SECONDS = 0.5

_LINK = re.compile(r'<a\b(?![^>]*\bses:no-track\b)[^>]*\bhref="(https?://[^"]+)"', re.IGNORECASE)
"""The first link that SES tracks."""
_REASONS = {Happening.BOUNCE: "BOUNCE", Happening.COMPLAINT: "COMPLAINT"}
_SUPPRESSED = {"BOUNCE": Outcome.SUPPRESSED, "COMPLAINT": Outcome.SUPPRESSED_COMPLAINT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What an email's events need to know of it, without its content."""

    record: Record
    mail: dict[str, Any] | None
    """None if nobody wants its events."""
    facts: dict[str, str]
    sender: str
    source_ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFaults:
    """Trouble with events. Probabilities are between 0 and 1."""

    duplicates: float = 0.0
    """A notification is delivered twice, under one MessageId."""
    new_id_duplicates: float = 0.0
    """An event is published twice, under two MessageIds."""
    shuffle_seconds: float = 0.0
    """Every event is late by up to so much, so that they overtake each other."""
    before_response: bool = False
    """Events go out at once and the answers to calls wait: the event is there before the sender knows the MessageId."""
    hold: bool = False
    """Events are kept back; when this is switched off they all go at once."""

    def __post_init__(self) -> None:
        check_types(self)
        if not (0 <= self.duplicates <= 1 and 0 <= self.new_id_duplicates <= 1 and self.shuffle_seconds >= 0):
            raise ValueError("duplicates are probabilities between 0 and 1, shuffle_seconds is at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Invented events: so many, this fast, of these kinds in turn."""

    count: int
    per_second: float = 1000
    events: tuple[str, ...] = ("delivery",)
    topic_arn: str | None = None
    """None is the topic of the options."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.count < 1 or self.per_second <= 0:
            raise ValueError("count must be at least 1, per_second above 0")
        if not self.events:
            raise ValueError("events must name at least one")
        for name in self.events:
            Happening(name)  # or ValueError


class Publisher:
    """Plans what happens to each email and publishes it to the topics that want it."""

    def __init__(self, account: Account, sns: Sns) -> None:
        self._account = account
        self._sns = sns
        self._held: list[tuple[str, str, str | None]] = []
        self._bursts: set[asyncio.Task[None]] = set()
        self.faults = EventFaults()
        self.patterns: dict[str, Outcome] = dict(PATTERNS)
        self.events_published = 0
        self._closed = False

    def stop(self) -> None:
        """Nothing more happens to any email, and nothing more is delivered."""
        self._closed = True
        for task in self._bursts:
            task.cancel()
        self._sns.stop()

    async def close(self) -> None:
        """Stop; returns when the attempts to deliver that were under way have ended."""
        self.stop()
        await self._sns.ended()

    def accepted(self, record: Record, submission: Submission) -> None:
        """Plan all that happens to an email that was just accepted."""
        configuration_set = self._account.configuration_sets[record.configuration_set or ""]
        story = Story(
            record=record,
            mail=self._mail(record, submission, configuration_set),
            facts=_facts(submission),
            sender=submission.sender,
            source_ip=submission.source_ip,
        )
        for planned in self._plan(submission, configuration_set):
            asyncio.get_running_loop().call_later(self._delay(planned), self._happen, planned, story)

    def validate_topic(self, topic_arn: str) -> None:
        """What SES does when an event destination is made: see that the topic is there, by publishing to it."""
        try:
            self._sns.publish(topic_arn, VALIDATED)
        except Refused as refused:
            raise invalid(f"SNS topic <{topic_arn}> not found: create it at the simulator first.") from refused

    def set_faults(self, given: Mapping[str, Any]) -> None:
        """Replace the trouble in force; raises TypeError for an unknown kind."""
        self.faults = EventFaults(**given)
        if not self.faults.hold:
            self._release()

    def set_outcomes(self, given: Mapping[str, str]) -> None:
        """What becomes of mail to addresses of these patterns; they go before the built-in ones."""
        own = {pattern.lower(): Outcome(fate) for pattern, fate in given.items()}
        self.patterns = own | {pattern: fate for pattern, fate in PATTERNS.items() if pattern not in own}

    def burst(self, topic_arn: str, burst: Burst) -> None:
        """Publish events of emails that never were, numbered in the tag `sesmail-id` as `burst-1` and so on."""
        self._sns.topic(topic_arn)
        task = asyncio.get_running_loop().create_task(self._burst(topic_arn, burst))
        self._bursts.add(task)
        task.add_done_callback(self._bursts.discard)

    def report(self) -> dict[str, Any]:
        """How many events, and what became of the notifications."""
        held = {"events": self.events_published, "held": len(self._held)}
        return held | self._sns.report() | {"faults": asdict(self.faults)}

    def _plan(self, submission: Submission, configuration_set: ConfigurationSet) -> list[Planned]:
        if submission.rendering_failure is not None:
            return [Planned(0.1, Happening.RENDERING_FAILURE, submission.recipients)]
        kept, reasons = self._suppression(submission.tenant, configuration_set)
        fates = [(address, self._outcome(address, kept, reasons)) for address in submission.recipients]
        planned = plan(fates, self._account.random, configuration_set.max_delivery_seconds)
        return [one for one in planned if one.happening not in submission.untracked]

    def _outcome(self, address: str, kept: SuppressionList, reasons: tuple[str, ...]) -> Outcome:
        reason = kept.reason(address)
        if reason in reasons:
            return _SUPPRESSED[reason] if kept is self._account.suppression else Outcome.TENANT_SUPPRESSED
        return outcome_of(address, self.patterns)

    def _suppression(
        self, tenant: str | None, configuration_set: ConfigurationSet
    ) -> tuple[SuppressionList, tuple[str, ...]]:
        return self._account.suppression_of(tenant, configuration_set.options.get("SuppressionOptions", {}))

    def _mail(
        self, record: Record, submission: Submission, configuration_set: ConfigurationSet
    ) -> dict[str, Any] | None:
        if not configuration_set.publishes() and not self._account.identities.topics:
            return None
        return payload.mail_object(record, submission, self._account.options.region)

    def _delay(self, planned: Planned) -> float:
        delay = 0.0 if self.faults.before_response else planned.after_seconds / self._account.options.time_scale
        if self.faults.shuffle_seconds:
            delay += self._account.random.uniform(0, self.faults.shuffle_seconds)
        return delay

    def _happen(self, planned: Planned, story: Story) -> None:
        if self._closed:
            return
        story.record.events.append(payload.EVENT_TYPES[planned.happening])
        configuration_set = self._account.configuration_sets.get(story.record.configuration_set or "")
        if configuration_set is None:
            return
        self._suppress(planned, story.record, configuration_set)
        if story.mail is not None:
            self._tell(planned, story, story.mail, configuration_set)

    def _tell(self, planned: Planned, story: Story, mail: dict[str, Any], configuration_set: ConfigurationSet) -> None:
        name = payload.EVENT_TYPES[planned.happening]
        facts = story.facts | {"feedback_id": self._account.new_message_id()}
        event = payload.event(planned.happening, mail, planned.recipients, clock.now(), **facts)
        for topic_arn in configuration_set.topics_for(payload.API_EVENT_TYPES[name]):
            self._publish(topic_arn, event, SUBJECT)
        if name in payload.IDENTITY_NOTIFICATIONS:
            self._notify_identity(event, name, story)

    def _notify_identity(self, event: dict[str, Any], name: str, story: Story) -> None:
        for topic_arn, with_headers in self._account.identities.notified(story.sender, name):
            notification = payload.identity_notification(event, story.source_ip, with_headers=with_headers)
            self._publish(topic_arn, notification, None)

    def _suppress(self, planned: Planned, record: Record, configuration_set: ConfigurationSet) -> None:
        reason = _REASONS.get(planned.happening)
        kept, reasons = self._suppression(record.tenant, configuration_set)
        if reason is None or reason not in reasons:
            return
        for address in planned.recipients:
            if not is_to_mailbox_simulator(address):
                kept.add(address, reason, clock.now(), MessageId=record.message_id)

    def _publish(self, topic_arn: str, event: dict[str, Any], subject: str | None) -> None:
        self.events_published += 1
        text = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        times = 2 if self._chance(self.faults.new_id_duplicates) else 1
        for _ in range(times):
            if self.faults.hold:
                self._held.append((topic_arn, text, subject))
            else:
                self._notify(topic_arn, text, subject)

    def _notify(self, topic_arn: str, text: str, subject: str | None) -> None:
        copies = 2 if self._chance(self.faults.duplicates) else 1
        self._sns.publish(topic_arn, text, subject, copies)

    def _release(self) -> None:
        held, self._held = self._held, []
        for topic_arn, text, subject in held:
            self._notify(topic_arn, text, subject)

    async def _burst(self, topic_arn: str, burst: Burst) -> None:
        started = clock.now()
        for number in range(1, burst.count + 1):
            event = self._invented(number, Happening(burst.events[number % len(burst.events)]))
            self._publish(topic_arn, event, SUBJECT)
            await asyncio.sleep(max(0.0, started + number / burst.per_second - clock.now()))

    def _invented(self, number: int, happening: Happening) -> dict[str, Any]:
        tags = {"sesmail-id": f"burst-{number}"}
        reader = f"reader{number}@example.org"
        submission = Submission(
            operation="SendEmail",
            source="news@example.com",
            sender="news@example.com",
            to=(reader,),
            content=Content(subject="Burst"),
            tags=tags,
        )
        record = Record.of(submission, self._account.new_message_id(), clock.now(), number)
        mail = payload.mail_object(record, submission, self._account.options.region)
        facts = {"feedback_id": self._account.new_message_id()}
        return payload.event(happening, mail, (reader,), clock.now(), **facts)

    def _chance(self, probability: float) -> bool:
        return probability > 0 and self._account.random.random() < probability


def _facts(submission: Submission) -> dict[str, str]:
    link = _LINK.search(submission.content.html or "")
    facts = {"link": html.unescape(link[1])} if link else {}
    if submission.rendering_failure is not None:
        facts |= {"failure": submission.rendering_failure, "template": submission.template_name or ""}
    return facts
