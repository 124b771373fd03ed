"""The brake: stops a list, a site's bulk, or all bulk of an account, before AWS stops that.

AWS reviews an account from 5 % hard bounces or 0.1 % complaints on, and may pause it, with its password resets, at
10 % or 0.5 %. The brake judges what SES's events tell: the guilty list first, so that the others go on; then, where
there are several, a site; then the account, whose lane of bulk it closes: each of several by itself, as AWS does.
What is held up already counts for nobody else. Transactional email goes on in any case.

Half open: after a while a trial lets a few recipients through. Where it goes well, the scope opens; else it stays
closed for twice as long. An operator may open it at any time.

https://docs.aws.amazon.com/ses/latest/dg/reputationdashboard-bounce-rate.html
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sesmail.state.line.brake import BULK_SCOPE, Outcome, SiteList, Trial, is_of, members_of
from sesmail.state.line.line import How, account_scope, site_scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sesmail.settings import Settings
    from sesmail.state.fleet.workers import Turns
    from sesmail.state.line.brake import BrakeBooks
    from sesmail.state.line.line import Closure, Line

log = logging.getLogger("sesmail")

DAY_SECONDS = 86_400.0
LONGEST_PAUSE_SECONDS = DAY_SECONDS
MINIMUM_COMPLAINTS = 3
"""One angry reader of a small list is no rate."""
UNDER_REVIEW = "probation"
"""What `Account.standing` says where AWS reviews the account."""
Outcomes = dict[float, dict[SiteList, Outcome]]


class Verdict(StrEnum):
    """How bad it is."""

    FINE = "fine"
    WARNING = "warning"  #: AWS would not act yet
    STOP = "stop"  #: AWS reviews accounts from here on


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """Of a list, a site or an account (`lane:bulk`; `account:NAME` of several), over the window that looks worst."""

    scope: str
    level: Verdict
    outcome: Outcome
    window_seconds: float
    why: str
    """For people; empty where all is fine."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        rates = {"bounce_rate": self.outcome.bounce_rate, "complaint_rate": self.outcome.complaint_rate}
        about = {"scope": self.scope, "level": str(self.level), "window_seconds": self.window_seconds}
        return {**about, **asdict(self.outcome), **rates, "why": self.why}


class Brake:
    """Looks at what SES has told, and acts. Methods raise `LedgerUnavailable`."""

    def __init__(self, settings: Settings, books: BrakeBooks, line: Line, turns: Turns) -> None:
        self._settings, self._books, self._line, self._turns = settings, books, line, turns
        self._trial = Trial(
            after_seconds=settings.brake_trial_after_seconds,
            after_seconds_at_most=max(LONGEST_PAUSE_SECONDS, settings.brake_trial_after_seconds),
            recipients=settings.brake_trial_recipients,
            seconds=settings.brake_trial_seconds,
        )

    def look(self) -> None:
        """Close what must be closed, open what has done well in its trial, and say so, once."""
        if self._settings.brake == "off":
            return
        sites, closed = self._books.sites(), self._closed()
        now, outcomes = self._books.outcomes(sites)
        for closure in closed.values():
            self._judge_trial(closure, outcomes, sites, now)
        strict = self._is_reviewed()
        for judgement in self._judgements(outcomes, set(closed), strict=strict):
            if judgement.level is Verdict.STOP and self._settings.brake == "stop":
                self._close(judgement, sites)
                return  # the next look judges without it
            if judgement.level is not Verdict.FINE:
                self._warn(judgement)

    def judgements(self) -> list[Judgement]:
        """All that is open, as it would be judged now: the worst first, lists, then sites, then the account."""
        if self._settings.brake == "off":
            return []
        _, outcomes = self._books.outcomes(self._books.sites())
        return self._judgements(outcomes, set(self._closed()), strict=self._is_reviewed())

    def open(self, scope: str) -> bool:
        """An operator's word goes before ours: it counts anew from now on. False where the brake had not closed it."""
        return self._books.open(scope, members_of(scope, self._books.sites()))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _closed(self) -> dict[str, Closure]:
        return {each.scope: each for each in self._line.closures() if each.how is How.BRAKED}

    def _is_reviewed(self) -> bool:
        return any(UNDER_REVIEW in self._books.standing(name) for name in self._settings.account_names)

    def _judgements(self, outcomes: Outcomes, closed: set[str], *, strict: bool) -> list[Judgement]:
        """The guilty list comes before its site, and that before the account."""
        open_ones = {
            window: {place: it for place, it in lists.items() if not {place.scope, site_scope(place.site)} & closed}
            for window, lists in outcomes.items()
        }
        everything = sorted({place for each in open_ones.values() for place in each if not place.account})
        through = sorted({place for each in open_ones.values() for place in each if place.account})
        sites = sorted({place.site for place in everything})
        lists = [place for place in everything if place.list]
        groups: dict[str, list[SiteList]] = {place.scope: [place] for place in lists}
        if len(sites) > 1:
            groups |= {site_scope(site): [place for place in everything if place.site == site] for site in sites}
        if len(names := self._settings.account_names) > 1:
            groups |= {account_scope(name): [place for place in through if place.account == name] for name in names}
        else:
            groups[BULK_SCOPE] = everything
        found = [self._judge(scope, _sums(open_ones, places), strict=strict) for scope, places in groups.items()]
        levels = [Verdict.STOP, Verdict.WARNING, Verdict.FINE]
        return sorted((each for each in found if each.scope not in closed), key=lambda each: levels.index(each.level))

    def _judge(self, scope: str, by_window: Mapping[float, Outcome], *, strict: bool) -> Judgement:
        found = [self._judge_window(scope, window, outcome, strict=strict) for window, outcome in by_window.items()]
        fine = Judgement(scope=scope, level=Verdict.FINE, outcome=Outcome(), window_seconds=0.0, why="")
        levels = list(Verdict)
        return max(found, key=lambda each: (levels.index(each.level), each.window_seconds), default=fine)

    def _judge_window(self, scope: str, window_seconds: float, outcome: Outcome, *, strict: bool) -> Judgement:
        its, complaint_rate = (
            self._settings,
            outcome.complaint_rate if outcome.complained >= MINIMUM_COMPLAINTS else 0.0,
        )
        bounce_limits = its.brake_bounce_warning, its.brake_bounce_limit
        complaint_limits = its.brake_complaint_warning, its.brake_complaint_limit
        seen = (
            ("hard bounces", outcome.bounced, outcome.bounce_rate, *bounce_limits),
            ("complaints", outcome.complained, complaint_rate, *complaint_limits),
        )
        level, why = Verdict.FINE, ""
        for what, number, rate, warning, stop in seen if outcome.sent >= its.brake_minimum_emails else ():
            stops_at = min(warning, stop) if strict else stop
            if rate >= stops_at or (rate >= warning and level is Verdict.FINE):
                level = Verdict.STOP if rate >= stops_at else Verdict.WARNING
                why = f"{100 * rate:.2g} % {what} ({number} of {outcome.sent} emails in {_span(window_seconds)}; "
                why += f"the brake warns from {100 * warning:g} % on and stops from {100 * stops_at:g} % on"
                why += ", as AWS reviews the account)" if strict else ")"
            if level is Verdict.STOP:
                break
        return Judgement(scope=scope, level=level, outcome=outcome, window_seconds=window_seconds, why=why)

    def _judge_trial(self, closure: Closure, outcomes: Outcomes, sites: list[str], now: float) -> None:
        if closure.next_probe_at is None or closure.judged_at is None or now < closure.next_probe_at:
            return
        members = members_of(closure.scope, sites)
        places = {place for lists in outcomes.values() for place in lists if is_of(place, members)}
        outcome = _sums(outcomes, places)[max(outcomes)] if places else Outcome()
        is_over = now >= closure.judged_at
        is_heard = outcome.sent >= self._trial.recipients / 2
        limit = self._settings.brake_bounce_limit
        if outcome.complained or outcome.bounced / max(outcome.sent, self._trial.recipients) >= limit:
            why = f"its trial failed: {outcome.bounced} bounced, {outcome.complained} complained of {outcome.sent}"
        elif is_over and not is_heard and not closure.trial_left:
            why = f"its trial told nothing: SES was heard of {outcome.sent} of {self._trial.recipients} emails"
        else:
            if is_over and is_heard and self._books.open(closure.scope):
                extra = {"action": "brake_opened", "scope": closure.scope}
                log.info("the brake lets %s go on: its trial went well", closure.scope, extra=extra)
            return
        if self._books.close(closure.scope, why, self._trial, members):
            log.error("the brake holds up %s for longer: %s", closure.scope, why, extra={"action": "brake"})

    def _close(self, judgement: Judgement, sites: list[str]) -> None:
        if self._books.close(judgement.scope, judgement.why, self._trial, members_of(judgement.scope, sites)):
            log.error(
                "the brake has stopped %s: %s. What waits is kept; transactional email goes on. Clean the list, then "
                "`sesmail resume`; a trial of %d recipients comes in %s by itself",
                judgement.scope,
                judgement.why,
                self._trial.recipients,
                _span(self._trial.after_seconds),
                extra={"action": "brake", "scope": judgement.scope},
            )

    def _warn(self, judgement: Judgement) -> None:
        if self._turns.take(f"warn-of-rates:{judgement.scope}", DAY_SECONDS):
            log.warning(
                "%s: %s", judgement.scope, judgement.why, extra={"action": "brake_warning", "scope": judgement.scope}
            )


def _sums(outcomes: Outcomes, places: Iterable[SiteList]) -> dict[float, Outcome]:
    wanted = [*places]
    return {
        window: sum((lists[place] for place in wanted if place in lists), Outcome())
        for window, lists in outcomes.items()
    }


def _span(seconds: float) -> str:
    for unit, name in ((DAY_SECONDS, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"
