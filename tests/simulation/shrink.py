"""The shortest history that still breaks the rule: without emails, kinds of misfortunes, and misfortunes that do not matter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.faults import CHANCES, Plan
from tests.simulation.world import Result, Run

Try = Callable[[Run], Result]


def shrink(run: Run, first: Result, simulate: Try, seconds: float) -> tuple[Run, Result]:
    """The run that is left, and what it comes to. `seconds` are for real."""
    end = time.monotonic() + seconds
    rule = first.violations[0].rule
    best, result = run, first
    shorter = True
    while shorter:
        shorter = False
        for candidate in _shorter(best, result):
            if time.monotonic() > end:
                return best, result
            found = simulate(candidate)
            if any(violation.rule == rule for violation in found.violations):
                best, result, shorter = candidate, found, True
                break
    return best, result


def _shorter(run: Run, result: Result) -> Iterator[Run]:
    plan = run.plan
    involved = {v.send_id for v in result.violations}
    keep = {send.number for send in result.model.sends.values() if send.id in involved}
    others = sorted(set(range(run.emails)) - keep - plan.without_emails)
    for part in (others, others[::2], others[1::2], others[: len(others) // 2]):
        if part:
            yield replace(run, plan=replace(plan, without_emails=plan.without_emails | set(part)))
    happened = result.faults.total()
    for most in (0, happened // 4, happened // 2):
        if most < happened and plan.at_most != most:
            yield replace(run, plan=replace(plan, at_most=most))
    for kind, count in sorted(result.faults.items(), key=lambda pair: -pair[1]):
        if count and plan.weights.get(kind, 1.0):
            yield replace(run, plan=replace(plan, weights={**plan.weights, kind: 0.0}))
    yield from _without_single_ones(run, plan, happened)


def _without_single_ones(run: Run, plan: Plan, happened: int) -> Iterator[Run]:
    if happened <= 40:
        for number in range(happened + len(plan.left_out)):
            if number not in plan.left_out:
                yield replace(run, plan=replace(plan, left_out=plan.left_out | {number}))


def only(kinds: set[str]) -> dict[str, float]:
    """Weights that leave these kinds of misfortunes alone."""
    return {kind: 0.0 for kind in CHANCES if kind not in kinds}
