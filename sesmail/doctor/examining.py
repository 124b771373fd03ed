"""All checks, one after the other, and what they found."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sesmail.doctor import broker, configuration, events, flower, redis, ses
from sesmail.doctor.patient import CannotLook
from sesmail.doctor.table import CHECKS, Check, Finding, Level
from sesmail.errors import SesmailError, in_a_line
from sesmail.ses.inspection import Denied, NotThere

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sesmail.doctor.patient import Patient

log = logging.getLogger("sesmail")

ROOMS = (configuration, redis, broker, ses, events, flower)
"""Where the checks are, what others rest on first; importing these fills the table."""
WEIGHT = list(Level)
ROOTS = {"misspelt-variable", "misspelt-celery"}
"""Told before all else: where nobody reads a setting, what else is found often comes of that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unseen:
    """A check that could not look."""

    id: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was found, the weightiest first, and what could not be looked at."""

    findings: tuple[Finding, ...]
    unseen: tuple[Unseen, ...]
    looked_at: int
    """How many checks there were."""

    @property
    def is_well(self) -> bool:
        """Whether nothing that was seen needs anybody."""
        return all(each.level is Level.INFO for each in self.findings)


def in_order() -> list[Check]:
    """All checks, room by room."""
    rooms = [room.__name__ for room in ROOMS]
    return sorted(CHECKS.values(), key=lambda one: rooms.index(one.look.__module__))


def examine(of: Patient, *, skip: Collection[str] = (), only: Collection[str] | None = None) -> Report:
    """Make all checks, or `only` those of these ids, without those to `skip`. Nothing is changed.

    Those of SES are made for each of its accounts.
    """
    wanted = [one for one in in_order() if one.id not in skip and (only is None or one.id in only)]
    findings, unseen = _made(wanted, of)
    for account in of.settings.account_names[1:]:
        found, not_seen = _made(
            [one for one in wanted if one.look.__module__ == ses.__name__], of.with_account(account)
        )
        findings += [replace(each, what=f"Account {account}: {each.what}") for each in found]
        unseen += [replace(each, why=f"account {account}: {each.why}") for each in not_seen]
    findings.sort(key=lambda finding: (finding.id not in ROOTS, WEIGHT.index(finding.level)))
    return Report(findings=tuple(findings), unseen=tuple(unseen), looked_at=len(wanted))


def _made(checks: Iterable[Check], of: Patient) -> tuple[list[Finding], list[Unseen]]:
    findings, unseen = [], []
    for one in checks:
        try:
            findings += one.findings(of)
        except (CannotLook, Denied, NotThere) as reason:
            unseen.append(Unseen(id=one.id, why=str(reason)))
        except SesmailError as error:
            unseen.append(Unseen(id=one.id, why=in_a_line(error).partition(". ")[0]))
    return findings, unseen
