"""What becomes of an accepted email: which events follow, and after how long.

The mailbox simulator's addresses do what AWS documents, with any `+label`; other addresses by the patterns below.
Recipients with the same fate share their events, as bounces of one email do at SES.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from seslocal.account.configuration_sets import LONGEST_DELIVERY_SECONDS
from seslocal.message.submission import MAILBOX_SIMULATOR

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping


class Outcome(StrEnum):
    """A recipient's fate."""

    DELIVERED = "delivered"
    BOUNCE = "bounce"  # permanent: no such mailbox
    SOFT_BOUNCE = "soft_bounce"  # transient: mailbox full
    OUT_OF_OFFICE = "out_of_office"  # delivered, then an automatic answer, which is a transient bounce
    COMPLAINT = "complaint"  # delivered, then marked as spam
    GLOBALLY_SUPPRESSED = "globally_suppressed"  # on SES's own suppression list
    SUPPRESSED = "suppressed"  # on the account's suppression list after a bounce
    SUPPRESSED_COMPLAINT = "suppressed_complaint"  # on the account's suppression list after a complaint
    TENANT_SUPPRESSED = "tenant_suppressed"  # on the tenant's own
    REJECT = "reject"  # a virus, says SES: the whole email goes nowhere
    DELAY = "delay"  # a delivery delay, then delivered
    OPEN = "open"  # delivered, then opened
    CLICK = "click"  # delivered, opened, then a link is clicked
    UNREACHABLE = "unreachable"  # a delay, then a bounce when SES gives up: after MaxDeliverySeconds, or 14 hours
    SILENT = "silent"  # nothing but a Send event


SIMULATOR_OUTCOMES = {
    "success": Outcome.DELIVERED,
    "bounce": Outcome.BOUNCE,
    "ooto": Outcome.OUT_OF_OFFICE,
    "complaint": Outcome.COMPLAINT,
    "suppressionlist": Outcome.GLOBALLY_SUPPRESSED,
}

PATTERNS: dict[str, Outcome] = {
    "*@bounce.example": Outcome.BOUNCE,
    "*@soft-bounce.example": Outcome.SOFT_BOUNCE,
    "*@ooto.example": Outcome.OUT_OF_OFFICE,
    "*@complaint.example": Outcome.COMPLAINT,
    "*@reject.example": Outcome.REJECT,
    "*@delay.example": Outcome.DELAY,
    "*@open.example": Outcome.OPEN,
    "*@click.example": Outcome.CLICK,
    "*@unreachable.example": Outcome.UNREACHABLE,
    "*@silent.example": Outcome.SILENT,
}


class Happening(StrEnum):
    """One thing that is published about an email."""

    SEND = "send"
    DELIVERY = "delivery"
    BOUNCE = "bounce"
    SOFT_BOUNCE = "soft_bounce"
    AUTOMATIC_ANSWER = "automatic_answer"
    GLOBALLY_SUPPRESSED = "globally_suppressed"
    SUPPRESSED = "suppressed"
    SUPPRESSED_COMPLAINT = "suppressed_complaint"
    TENANT_SUPPRESSED = "tenant_suppressed"
    GIVEN_UP = "given_up"
    TIMED_OUT = "timed_out"
    COMPLAINT = "complaint"
    REJECT = "reject"
    DELAY = "delay"
    OPEN = "open"
    CLICK = "click"
    RENDERING_FAILURE = "rendering_failure"


SOON, LATER = (0.3, 2.0), (3.0, 10.0)

STORIES: dict[Outcome, tuple[tuple[Happening, tuple[float, float]], ...]] = {
    Outcome.DELIVERED: ((Happening.DELIVERY, SOON),),
    Outcome.BOUNCE: ((Happening.BOUNCE, SOON),),
    Outcome.SOFT_BOUNCE: ((Happening.DELAY, SOON), (Happening.SOFT_BOUNCE, LATER)),
    Outcome.OUT_OF_OFFICE: ((Happening.DELIVERY, SOON), (Happening.AUTOMATIC_ANSWER, LATER)),
    Outcome.COMPLAINT: ((Happening.DELIVERY, SOON), (Happening.COMPLAINT, LATER)),
    Outcome.GLOBALLY_SUPPRESSED: ((Happening.GLOBALLY_SUPPRESSED, SOON),),
    Outcome.SUPPRESSED: ((Happening.SUPPRESSED, SOON),),
    Outcome.TENANT_SUPPRESSED: ((Happening.TENANT_SUPPRESSED, SOON),),
    Outcome.UNREACHABLE: ((Happening.DELAY, SOON),),
    Outcome.SUPPRESSED_COMPLAINT: ((Happening.SUPPRESSED_COMPLAINT, SOON),),
    Outcome.DELAY: ((Happening.DELAY, SOON), (Happening.DELIVERY, LATER)),
    Outcome.OPEN: ((Happening.DELIVERY, SOON), (Happening.OPEN, LATER)),
    Outcome.CLICK: ((Happening.DELIVERY, SOON), (Happening.OPEN, LATER), (Happening.CLICK, (0.5, 3.0))),
    Outcome.SILENT: (),
}
"""What happens and how many seconds after the happening before it."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A happening to come, so many seconds after acceptance."""

    after_seconds: float
    happening: Happening
    recipients: tuple[str, ...]


def outcome_of(address: str, patterns: Mapping[str, Outcome] = PATTERNS) -> Outcome:
    """What becomes of mail to an address, if no suppression list holds it."""
    address = address.lower()
    if address.endswith(MAILBOX_SIMULATOR):
        local = address.removesuffix(MAILBOX_SIMULATOR).partition("+")[0]
        return SIMULATOR_OUTCOMES.get(local, Outcome.BOUNCE)
    return next((fate for pattern, fate in patterns.items() if fnmatchcase(address, pattern)), Outcome.DELIVERED)


def plan(
    outcomes: Iterable[tuple[str, Outcome]], chance: random.Random, max_delivery_seconds: int | None = None
) -> list[Planned]:
    """All that happens to an email, in order of time: first that it is sent, then each group of recipients' story.

    SES gives up what it cannot deliver within `max_delivery_seconds`, or within the longest that it ever tries.
    """
    sent = chance.uniform(0.01, 0.2)
    groups: dict[Outcome, list[str]] = {}
    everybody: list[str] = []
    for address, outcome in outcomes:
        groups.setdefault(outcome, []).append(address)
        everybody.append(address)
    if Outcome.REJECT in groups:
        return [Planned(sent, Happening.REJECT, tuple(everybody))]
    planned = [Planned(sent, Happening.SEND, tuple(everybody))]
    for outcome, addresses in groups.items():
        moment = sent
        for happening, (shortest, longest) in STORIES[outcome]:
            moment += chance.uniform(shortest, longest)
            planned.append(Planned(moment, happening, tuple(addresses)))
    if unreachable := groups.get(Outcome.UNREACHABLE):
        end = Happening.TIMED_OUT if max_delivery_seconds else Happening.GIVEN_UP
        planned.append(Planned(max_delivery_seconds or LONGEST_DELIVERY_SECONDS, end, tuple(unreachable)))
    return sorted(planned, key=lambda one: one.after_seconds)
