"""`python3 run.py simulate`: seeds, one after the other, and what they came to."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from tests.simulation.bugs import Bug
from tests.simulation.faults import Plan, known
from tests.simulation.mutants import MUTANTS
from tests.simulation.report import Total, again, story
from tests.simulation.shrink import only, shrink
from tests.simulation.wire import QuickRedis, Wire
from tests.simulation.world import Result, Run, simulate

EMAILS = 120
SHRINKING_SECONDS = 60.0
A_MINUTE = 60.0
HUNTS = (
    {},
    {**only(set()), "process_freezes_at_ses": 40.0, "event_never": 20.0, "ses_hangs": 40.0, "ses_fails_before": 4.0},
    {**only(set()), "process_dies": 3.0},
    {**only(set()), "redis_away": 4.0, "ses_hangs": 40.0, "ses_never_answers": 10.0},
    {**only(set()), "ses_pauses": 20.0, "ses_quota_changes": 10.0, "call_lost": 12.0, "answer_lost": 12.0},
    {**only(set()), "ses_is_down": 10.0, "ses_quota_changes": 10.0},
    {
        **only(set()),
        "ses_fails_after": 20.0,
        "ses_fails_before": 20.0,
        "ses_pauses": 12.0,
        "ses_quota_changes": 12.0,
        "event_never": 20.0,
        "operator_pauses": 8.0,
    },
    {**only(set()), "ticket_not_put": 10.0, "ticket_lost": 4.0, "process_dies": 1.0},
    {**only(set()), "ticket_lost": 10.0, "operator_opts_out": 5.0, "operator_cancels": 3.0, "ses_fails_after": 2.0},
)
"""Where planted bugs are looked for, in turns: in a seed's own mixture, among the frozen, the dead, with an ailing Redis, with a moody SES, with one that is down, with accounts that fall back, with lost tickets, among people."""


def main() -> None:
    """Exits with 1 where a rule was broken, or a planted bug was not found."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a history
        again_so = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again_so, {**os.environ, "PYTHONHASHSEED": "0"})
    asked = _arguments()
    with server() as wire:
        sys.exit(_find_mutants(asked, wire) if asked.mutants else _simulate(asked, wire))


@contextmanager
def server() -> Iterator[Wire]:
    """A server of its own, as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="sim-") as folder, QuickRedis(Path(folder), appendfsync="no") as started:
        wire = Wire(started.socket_path)
        try:
            yield wire
        finally:
            wire.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 run.py simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many; 20 unless --minutes or --seed is given")
    parser.add_argument("--seed", type=int, help="the first; without it, always new ones")
    parser.add_argument("--minutes", type=float, help="for how long")
    parser.add_argument("--emails", type=int, default=EMAILS, help=f"of each seed; {EMAILS}")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=WEIGHT", help="instead of the seed's own")
    parser.add_argument("--json", action="store_true", help="the figures alone, as JSON")
    parser.add_argument("--mutants", action="store_true", help="does it see bugs that are planted?")
    parser.add_argument("--only", default="", help="mutants with this in their name")
    asked = parser.parse_args()
    pairs = [text.partition("=") for text in asked.fault]
    known([name for name, _, _ in pairs])
    asked.weights = {name: float(weight or 1) for name, _, weight in pairs}
    return asked


# --- Seeds


def _simulate(asked: argparse.Namespace, wire: Wire) -> int:
    total = Total()
    for seed in _seeds(asked):
        run = Run(seed=seed, emails=asked.emails, plan=Plan(weights=asked.weights))
        began, cpu = time.perf_counter(), time.process_time()
        result = simulate(run, wire)
        total.add(result, time.perf_counter() - began, time.process_time() - cpu)
        if not asked.json and asked.seed is not None:
            print(f"seed {seed}: {result.digest}, {result.virtual_seconds:.0f} s, {result.faults.total()} misfortunes")
        if result.violations:
            _tell(run, result, wire, sys.stderr if asked.json else sys.stdout)
    print(json.dumps(total.as_dict(), indent=2) if asked.json else total.text())
    return bool(total.violations)


def _seeds(asked: argparse.Namespace) -> Iterator[int]:
    first = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1, 10**9)
    most = asked.seeds or (1 if asked.seed is not None else None if asked.minutes else 20)
    end = time.monotonic() + (asked.minutes * 60 if asked.minutes else float("inf"))
    for number in count():
        if number == most or time.monotonic() > end:
            return
        yield first + number


def _tell(run: Run, result: Result, wire: Wire, out: object) -> None:
    rules = sorted({violation.rule for violation in result.violations})
    print(f"\nFAILED seed {run.seed} (digest {result.digest}): {', '.join(rules)}", file=out, flush=True)  # type: ignore[call-overload]
    print(f"again with: {again(run)}", file=out, flush=True)  # type: ignore[call-overload]
    shortest, its = shrink(run, result, lambda candidate: simulate(candidate, wire), SHRINKING_SECONDS)
    print(story(shortest, its), file=out, flush=True)  # type: ignore[call-overload]


# --- Planted bugs


def _find_mutants(asked: argparse.Namespace, wire: Wire) -> int:
    wanted = [bug for bug in MUTANTS if asked.only in bug.name]
    rows = [_find(bug, asked, wire) for bug in wanted]
    looked_for = [row for row in rows if not row["harmless"]]
    missed = [row["name"] for row in looked_for if not row["rule"]]
    figures = {
        "mutants": len(looked_for),
        "mutants_found": len(looked_for) - len(missed),
        "missed": missed,
        "each": rows,
    }
    print(
        json.dumps(figures, indent=2) if asked.json else f"{len(looked_for) - len(missed)} of {len(looked_for)} found"
    )
    return bool(missed)


def _find(bug: Bug, asked: argparse.Namespace, wire: Wire) -> dict[str, object]:
    """The first seed that sees it, within a minute of this process's time; one that is harmless is seen by none of five."""
    began = time.process_time()
    rule, seeds = "", 0
    for seed in count(asked.seed or 1):
        if time.process_time() - began > A_MINUTE / (10 if bug.harmless else 1):
            break
        seeds += 1
        run = Run(seed=seed, emails=asked.emails, plan=Plan(weights=HUNTS[seed % len(HUNTS)]), bug=bug)
        if found := simulate(run, wire).violations:
            if simulate(replace(run, bug=None), wire).violations:
                raise SystemExit(f"Seed {seed} fails without a planted bug: see to that first. {again(run)}")
            rule = found[0].rule
            break
    seconds = round(time.process_time() - began, 1)
    if not asked.json:
        said = f"seed {seed}, {seconds} s: {rule}" if rule else bug.harmless or f"NOT FOUND in {seeds} seeds"
        print(f"{bug.where:<36} {bug.name:<48} {said}", flush=True)
    return {
        "name": bug.name,
        "where": bug.where,
        "rule": rule,
        "seeds": seeds,
        "seconds": seconds,
        "harmless": bug.harmless,
    }


def run_one(seed: int, wire: Wire, emails: int = EMAILS, plan: Plan | None = None) -> Result:
    """For tests: one history."""
    return simulate(replace(Run(seed=seed, emails=emails), plan=plan or Plan()), wire)
