"""The simulation itself: a seed is one history, its rules see what is wrong, and it tells so in few words."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sesmail.state.scripts import texts
from tests.simulation.bugs import Bug
from tests.simulation.command import run_one, server
from tests.simulation.faults import CHANCES, Plan
from tests.simulation.lua import Texts
from tests.simulation.mutants import MUTANTS
from tests.simulation.patches import patched
from tests.simulation.remembered import LOOKS, NOTHING, Remembered
from tests.simulation.report import story
from tests.simulation.shrink import only, shrink
from tests.simulation.wire import Command, Wire
from tests.simulation.world import VERSION, Run, simulate

FOLDER = Path(__file__).parent
REGRESSIONS = json.loads((FOLDER / "regressions.json").read_text())
NO_MISFORTUNES = Plan(weights=only(set()))
BEFORE_A_SECOND_COPY = {"ses_fails_after", "ticket_twice", "event_never", "event_late"}
MOVES_WHAT_IT_MUST_NOT = next(bug for bug in MUTANTS if bug.name == "no answer means not sent")


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with server() as found:
        yield found


def test_the_same_seed_is_the_same_history_on_every_server(wire: Wire) -> None:
    first, other = (run_one(seed, wire, emails=80) for seed in (6, 17))
    with server() as another:  # whose hash tables could have another order
        again = run_one(6, another, emails=80)
    assert first.digest == again.digest != other.digest
    assert (first.steps, first.commands, first.faults) == (again.steps, again.commands, again.faults)


def test_the_same_seed_is_the_same_history_whatever_the_order_of_sets_is() -> None:
    code = "from tests.simulation.command import run_one, server\nwith server() as wire:\n"
    code += "    print(run_one(103, wire, emails=60).digest)"
    command = [sys.executable, "-c", code]
    assert len({_run(command, PYTHONHASHSEED=seed) for seed in ("1", "2")}) == 1


def test_what_is_remembered_of_redis_is_what_it_would_say(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    remembers, compared = Remembered.answer, Counter[bool]()

    def compare(remembered: Remembered, command: Command) -> object:
        known = remembers(remembered, command)
        if known is not NOTHING:
            is_look = command[0] in LOOKS  # else it would take a turn, which another has
            (said,) = wire.ask(command if is_look else ("EXISTS", command[1]))
            compared[said == (known if is_look else 1)] += 1
        return known

    monkeypatch.setattr(Remembered, "answer", compare)
    assert run_one(6, wire, emails=40).violations == []
    assert compared[True] > 100
    assert not compared[False]


def test_the_seeds_of_a_commit_are_always_the_same_ones() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--of-commit", "--seeds", "2", "--emails", "5", "--processes"]
    digests = [
        sorted(re.findall(r"^seed \d+: \w+", _run([*command, processes]), re.MULTILINE)) for processes in ("1", "2")
    ]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 2


def _run(command: list[str], **environment: str) -> str:
    how = {"cwd": FOLDER.parents[1], "env": {**os.environ, **environment}}
    return subprocess.run(command, capture_output=True, text=True, check=True, **how).stdout  # type: ignore[call-overload,no-any-return]


def test_without_misfortunes_every_email_goes_out_once_and_nobody_is_told_twice(wire: Wire) -> None:
    result = run_one(1, wire, emails=20, plan=NO_MISFORTUNES)
    assert result.violations == []
    assert not result.faults
    assert {len(send.taken) for send in result.model.sends.values() if send.state == "sent"} == {1}


def test_once_the_margin_is_learnt_ses_throttles_no_more_than_one_call_in_a_thousand(wire: Wire) -> None:
    bug = next(bug for bug in MUTANTS if bug.name == "the margin is not widened")
    run = Run(seed=7, emails=1500, plan=NO_MISFORTUNES)
    well, badly = simulate(run, wire), simulate(replace(run, bug=bug), wire)
    assert well.rules["throttles_are_few_once_learnt"] > 0
    assert well.violations == []
    assert "throttles_are_few_once_learnt" in {violation.rule for violation in badly.violations}


def test_what_redis_forgets_is_counted_apart(wire: Wire) -> None:
    plan = Plan(weights={**only({"redis_forgets"}), "redis_forgets": 200.0})
    result = run_one(3, wire, emails=60, plan=plan)
    assert result.violations == []
    assert result.faults["redis_forgets"] > 0
    assert any(send.forgotten for send in result.model.sends.values()) or result.counts["lost_with_redis"]


def test_where_acceptance_waits_for_a_replica_redis_forgets_no_accepted_email(wire: Wire) -> None:
    plan = Plan(weights={**only({"redis_forgets"}), "redis_forgets": 200.0})
    run = Run(seed=1, emails=60, plan=plan)
    bug = Bug(name="nobody waits", where="sesmail.state.durable", old="if name not in WAITED_FOR:", new="if True:")
    well, badly = simulate(run, wire), simulate(replace(run, bug=bug), wire)
    assert well.violations == []
    assert well.rules["accepted_survives_where_it_waits"] > 0
    assert "accepted_survives_where_it_waits" in {violation.rule for violation in badly.violations}


def test_a_failing_history_is_shrunk_and_told(wire: Wire) -> None:
    plan = Plan(weights={kind: 12.0 if kind in BEFORE_A_SECOND_COPY else 0.0 for kind in CHANCES})
    runs = (Run(seed=seed, emails=30, plan=plan, bug=MOVES_WHAT_IT_MUST_NOT) for seed in range(1, 20))
    run, first = next((run, result) for run in runs if (result := simulate(run, wire)).violations)
    shortest, result = shrink(run, first, lambda candidate: simulate(candidate, wire), seconds=900)
    assert result.violations[0].rule == first.violations[0].rule
    assert result.faults.total() < first.faults.total()
    assert result.faults["ses_fails_after"] == 1, "the one that matters is left"
    told = story(shortest, result)
    assert "FAULT" in told
    assert "SES takes it" in told
    assert f"BROKEN {result.violations[0].rule}" in told


@pytest.mark.parametrize("bug", MUTANTS, ids=lambda bug: bug.name)
def test_a_planted_bug_still_has_its_place(bug: Bug) -> None:
    with patched() as patches:
        bug.plant(patches)
    for file, changes in bug.in_lua().items():
        assert all(old in texts()[file] for old, _ in changes)


def test_a_planted_bug_that_has_lost_its_place_says_so(wire: Wire) -> None:
    lost = Bug(name="lost", where="begin.lua", old="what was never there", new="")
    result = simulate(Run(seed=1, emails=2, bug=lost), wire)
    assert any("lost its place" in violation.what for violation in result.violations)
    with pytest.raises(LookupError), patched() as patches:
        Bug(name="lost", where="sesmail.sending.patience", old="what was never there", new="").plant(patches)
    assert Texts(lost.in_lua())


def test_there_are_at_least_forty_planted_bugs_that_must_be_seen() -> None:
    assert sum(not bug.harmless for bug in MUTANTS) >= 40


@pytest.mark.parametrize("known", REGRESSIONS, ids=lambda known: f"{known['seed']}-{known['rule']}")
def test_a_seed_that_once_failed_does_not(known: dict[str, object]) -> None:
    if known["version"] != VERSION:
        pytest.skip("its history was another version's")
    command = [sys.executable, "-m", "tests.simulation", "--json", "--seed", str(known["seed"]), "--processes", "1"]
    command += [word for asked in ("among", "trait") if asked in known for word in (f"--{asked}", str(known[asked]))]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER.parents[1])
    assert json.loads(ran.stdout)["violations"] == 0, ran.stderr
