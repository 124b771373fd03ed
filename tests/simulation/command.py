"""`python3 run.py simulate`: seeds, some beside each other, and what they came to."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count, islice
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TypeVar

from tests.simulation.bugs import Bug
from tests.simulation.faults import Plan, known
from tests.simulation.mutants import MUTANTS
from tests.simulation.report import Total, story
from tests.simulation.shrink import only, shrink
from tests.simulation.wire import QuickRedis, Wire
from tests.simulation.world import TRAITS, Result, Run, simulate

EMAILS = 120
SHRINKING_SECONDS = 60.0
A_MINUTE = 60.0
HUNTS: dict[str, dict[str, float]] = {
    "a bit of everything": {},
    "the frozen": {"process_freezes_at_ses": 30.0, "event_never": 20.0, "ses_is_slow": 40.0, "ses_unreachable": 10.0},
    "the sleeping": {"process_freezes_with_a_claim": 8.0, "ses_is_slow": 30.0, "ses_unreachable": 8.0},
    "the dead": {"process_dies": 3.0},
    "an ailing Redis": {"redis_away": 6.0, "ses_hangs": 40.0},
    "a moody SES": {"ses_pauses": 20.0, "ses_quota_changes": 10.0, "call_lost": 12.0, "answer_lost": 12.0},
    "an unsteady SES": {
        "ses_cut_off": 6.0,
        "ses_unreachable": 15.0,
        "ses_fails_before": 10.0,
        "ses_never_answers": 10.0,
        "event_never": 20.0,
    },
    "tickets twice": {"ticket_twice": 12.0, "ses_unreachable": 8.0, "ses_pauses": 4.0, "operator_reschedules": 4.0},
    "outages": {"ses_is_down": 10.0, "ses_quota_changes": 10.0},
    "accounts": {
        "ses_fails_after": 20.0,
        "ses_fails_before": 20.0,
        "ses_pauses": 12.0,
        "ses_quota_changes": 12.0,
        "event_never": 20.0,
        "operator_pauses": 8.0,
    },
    "lost tickets": {"ticket_not_put": 10.0, "ticket_lost": 4.0, "process_dies": 1.0},
    "people": {
        "ticket_lost": 10.0,
        "operator_opts_out": 5.0,
        "operator_cancels": 3.0,
        "operator_requeues": 3.0,
        "operator_pauses": 3.0,
        "ses_fails_after": 2.0,
        "ses_hangs": 10.0,
    },
    "the erased": {
        "operator_erases": 14.0,
        "operator_opts_out": 4.0,
        "mailbox_is_full": 1.0,
        "event_late": 3.0,
        "event_twice": 2.0,
    },
    "misfits": {"message_is_a_misfit": 6.0, "row_is_spoilt": 8.0, "process_dies": 1.0, "answer_lost": 2.0},
    "telling": {"continuation_fails": 8.0, "receiver_raises": 6.0, "process_freezes": 1.0, "answer_lost": 2.0},
    "slow callbacks": {"continuation_is_slow": 20.0, "ticket_twice": 20.0},
    "a crowd": {"ses_is_slow": 2.0},
    "templates": {"template_fails": 6.0, "ses_is_slow": 10.0, "process_dies": 0.5, "event_twice": 1.0},
    "leaving": {"operator_opts_out": 5.0},
    "pauses": {"operator_pauses": 10.0},
    "quota": {"ses_quota_changes": 4.0},
    "full mailboxes": {"mailbox_is_full": 3.5, "event_twice": 2.0, "operator_opts_out": 1.0},
    "ramps": {"operator_steers_a_batch": 10.0, "ses_unreachable": 10.0},
    "chunks": {
        "process_freezes": 4.0,
        "process_freezes_with_a_claim": 8.0,
        "process_freezes_at_ses": 8.0,
        "ses_is_slow": 4.0,
    },
    "batches": {
        "queueing_is_cut_off": 4.0,
        "operator_steers_a_batch": 4.0,
        "operator_opts_out": 5.0,
        "process_dies": 2.0,
        "process_freezes": 2.0,
        "ses_fails_after": 3.0,
        "ses_hangs": 3.0,
        "answer_lost": 2.0,
    },
    "brake": {"list_goes_bad": 12.0, "answer_lost": 2.0},
}
"""Where planted bugs are looked for, in turns: among these misfortunes alone (in the first, among a seed's own)."""


def main() -> None:
    """Exits with 1 where a rule was broken, or a planted bug was not found."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a history
        again_so = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again_so, {**os.environ, "PYTHONHASHSEED": "0"})
    asked = _arguments()
    sys.exit(_find_mutants(asked) if asked.mutants else _simulate(asked))


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
    parser.add_argument(
        "--of-commit", action="store_true", help="the first is drawn from what HEAD holds, as in `check`"
    )
    parser.add_argument(
        "--processes", type=int, default=_cores(), help="how many at a time; as many as there are cores"
    )
    parser.add_argument("--minutes", type=float, help="for how long")
    parser.add_argument("--emails", type=int, default=EMAILS, help=f"of each seed; {EMAILS}")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=WEIGHT", help="instead of the seed's own")
    parser.add_argument("--among", choices=HUNTS, default=next(iter(HUNTS)), help="these misfortunes alone")
    parser.add_argument("--trait", action="append", default=[], choices=TRAITS, help="what each is to have")
    parser.add_argument("--json", action="store_true", help="the figures alone, as JSON")
    parser.add_argument("--mutants", action="store_true", help="does it see bugs that are planted?")
    parser.add_argument("--only", default="", help="mutants with this in their name")
    asked = parser.parse_args()
    pairs = [text.partition("=") for text in asked.fault]
    known([name for name, _, _ in pairs])
    asked.weights = {**_among(asked.among), **{name: float(weight or 1) for name, _, weight in pairs}}
    return asked


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- Several processes

Item = TypeVar("Item")
Answer = TypeVar("Answer")
_own: list[Wire] = []
"""The way to this process's own server."""


def _side_by_side(function: Callable[[Item, Wire], Answer], items: Iterable[Item], processes: int) -> Iterator[Answer]:
    """What it answers to each, as they come; no more are begun than there are processes for."""
    context = multiprocessing.get_context("spawn")
    rest = iter(items)
    with ProcessPoolExecutor(processes, context, initializer=_open_server) as pool:
        at_work: set[Future[Answer]] = {pool.submit(_call, function, item) for item in islice(rest, processes)}
        while at_work:
            done, at_work = wait(at_work, return_when=FIRST_COMPLETED)
            at_work |= {pool.submit(_call, function, item) for item in islice(rest, len(done))}
            yield from (future.result() for future in done)


def _open_server() -> None:
    stack = ExitStack()
    _own.append(stack.enter_context(server()))
    Finalize(None, stack.close, exitpriority=1)


def _call(function: Callable[[Item, Wire], Answer], item: Item) -> Answer:
    return function(item, _own[0])


# --- Seeds


def _simulate(asked: argparse.Namespace) -> int:
    total, began = Total(), time.perf_counter()
    for part in _side_by_side(partial(_live, asked), _seeds(asked), asked.processes):
        total.add(part)
    total.real_seconds = time.perf_counter() - began
    print(json.dumps(total.as_dict(), indent=2) if asked.json else total.text())
    return bool(total.violations)


def _live(asked: argparse.Namespace, seed: int, wire: Wire) -> Total:
    run = Run(seed=seed, emails=asked.emails, plan=Plan(weights=asked.weights), traits=frozenset(asked.trait))
    began = time.process_time()
    result = simulate(run, wire)
    if not asked.json and (asked.seed is not None or asked.of_commit):
        said = f"seed {seed}: {result.digest}, {result.virtual_seconds:.0f} s, {result.faults.total()} misfortunes"
        print(said, flush=True)
    lived = Total.of(result, time.process_time() - began)
    if result.violations:
        _tell(run, result, wire, sys.stderr if asked.json else sys.stdout)
    return lived


def _seeds(asked: argparse.Namespace) -> Iterator[int]:
    first = asked.seed if asked.seed is not None else _of_commit() if asked.of_commit else None
    if first is None:
        first = random.SystemRandom().randrange(1, 10**9)
    most = asked.seeds or (1 if asked.seed is not None else None if asked.minutes else 20)
    end = time.monotonic() + (asked.minutes * 60 if asked.minutes else float("inf"))
    for number in count():
        if number == most or time.monotonic() > end:
            return
        yield first + number


def _of_commit() -> int | None:
    """The first seed of what HEAD holds: each commit lives other histories, and the same ones wherever it is checked."""
    asked = ["git", "rev-parse", "HEAD^{tree}"]
    found = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return int(found.stdout[:12], 16) % 10**9 if found.returncode == 0 else None


def _tell(run: Run, result: Result, wire: Wire, out: object) -> None:
    rules = sorted({violation.rule for violation in result.violations})
    print(f"\nFAILED seed {run.seed} (digest {result.digest}): {', '.join(rules)}", file=out, flush=True)  # type: ignore[call-overload]
    print(f"again with: {_again(run)}", file=out, flush=True)  # type: ignore[call-overload]
    shortest, its = shrink(run, result, lambda candidate: simulate(candidate, wire), SHRINKING_SECONDS)
    print(story(shortest, its), file=out, flush=True)  # type: ignore[call-overload]


def _again(run: Run) -> str:
    """The command that repeats it."""
    weights = run.plan.weights
    among = next((name for name in HUNTS if _among(name) == weights), "")
    words = [f"--among {among!r}"] if among and weights else [f"--fault {kind}={n:g}" for kind, n in weights.items()]
    words += [f"--emails {run.emails}"] if run.emails != EMAILS else []
    words += [f"--trait {trait}" for trait in sorted(run.traits)]
    return " ".join([f"python3 run.py simulate --seed {run.seed}", *words])


# --- Planted bugs


def _among(name: str) -> dict[str, float]:
    """The weights of a hunt."""
    return {**only(set()), **HUNTS[name]} if HUNTS[name] else {}


def _find_mutants(asked: argparse.Namespace) -> int:
    wanted = [bug for bug in MUTANTS if asked.only in bug.name]
    rows = list(_side_by_side(partial(_find, asked), wanted, asked.processes))
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


def _find(asked: argparse.Namespace, bug: Bug, wire: Wire) -> dict[str, object]:
    """The first seed that sees it, within a minute of this process's time; one that is harmless is seen by none of five."""
    began = time.process_time()
    rule, seeds = "", 0
    for seed in count(asked.seed or 1):
        if time.process_time() - began > A_MINUTE / (10 if bug.harmless else 1):
            break
        seeds += 1
        name = bug.needs if seed % 2 and bug.needs else [*HUNTS][seed // 2 % len(HUNTS)]
        traits = frozenset({bug.trait}) & TRAITS.keys()
        run = Run(seed=seed, emails=asked.emails, plan=Plan(weights=_among(name)), bug=bug, traits=traits)
        if found := simulate(run, wire).violations:
            if simulate(replace(run, bug=None), wire).violations:
                raise SystemExit(f"Seed {seed} fails without a planted bug: see to that first. {_again(run)}")
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
