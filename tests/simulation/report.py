"""What many seeds came to: the figures, what was exercised, and the story of what failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any, Self

from tests.simulation.faults import CHANCES
from tests.simulation.world import VERSION, Result, Run


@dataclass
class Total:
    """The sum of some histories."""

    seeds: int = 0
    virtual_seconds: float = 0.0
    real_seconds: float = 0.0
    cpu_seconds: float = 0.0
    emails: int = 0
    commands: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    moves: Counter[str] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)
    violations: int = 0

    @classmethod
    def of(cls, result: Result, cpu_seconds: float) -> Self:
        """One history's."""
        return cls(
            seeds=1,
            virtual_seconds=result.virtual_seconds,
            cpu_seconds=cpu_seconds,
            emails=result.emails,
            commands=result.commands,
            faults=result.faults,
            counts=result.counts,
            rules=result.rules,
            moves=result.moves,
            failed=[result.seed] if result.violations else [],
            violations=len(result.violations),
        )

    def add(self, other: Self) -> None:
        """And those of others; how long they took together is another question."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def as_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        return {
            "version": VERSION,
            "seeds": self.seeds,
            "emails": self.emails,
            "virtual_seconds": round(self.virtual_seconds),
            "real_seconds": round(self.real_seconds, 1),
            "virtual_seconds_per_second": round(self.virtual_seconds / max(self.real_seconds, 1e-9)),
            "virtual_seconds_per_cpu_second": round(self.virtual_seconds / max(self.cpu_seconds, 1e-9)),
            "faults": self.faults.total(),
            "faults_by_kind": dict(sorted(self.faults.items())),
            "violations": self.violations,
            "failed_seeds": self.failed,
            "sent_twice_explained": self.counts["sent_twice_explained"],
            "lost_with_redis": self.counts["lost_with_redis"],
            "twice_with_redis": self.counts["twice_with_redis"],
            "ses_calls": self.counts["ses_calls"],
            "ses_throttled": self.counts["ses_throttled"],
            "ses_throttled_in_peace": self.counts["ses_throttled_in_peace"],
            "rules": dict(sorted(self.rules.items())),
            "moves": dict(sorted(self.moves.items())),
            "never_happened": sorted(set(CHANCES) - set(self.faults)),
        }

    def text(self) -> str:
        """The figures, for people."""
        figures = self.as_dict()
        rules = "\n".join(f"  {count:>9,}  {rule}" for rule, count in figures["rules"].items())
        moves = ", ".join(f"{move} {count:,}" for move, count in figures["moves"].items())
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in figures["faults_by_kind"].items())
        return (
            f"{self.seeds} seeds, {self.emails:,} emails, {figures['faults']:,} misfortunes, "
            f"{self.virtual_seconds / 3600:.1f} virtual hours in {self.real_seconds:.0f} s: "
            f"{figures['virtual_seconds_per_second']:,} x real time ({figures['virtual_seconds_per_cpu_second']:,} x of CPU)\n"
            f"sent twice, as documented {figures['sent_twice_explained']}; where Redis forgot: lost "
            f"{figures['lost_with_redis']}, twice {figures['twice_with_redis']}; throttles in peace "
            f"{figures['ses_throttled_in_peace']} of {figures['ses_calls']:,} calls\n"
            f"misfortunes: {kinds}\nmoves: {moves}\nrules, and how often each was looked at:\n{rules}\n"
            f"VIOLATIONS: {self.violations}"
        )


def story(run: Run, result: Result) -> str:
    """What happened to the send for which the first rule was broken."""
    first, plan, left = result.violations[0], run.plan, result.faults
    rule = f"{first.rule.replace('_', ' ')!r} for {first.send_id or 'all'}"
    left_out = f"{len(plan.without_emails)} emails" if plan.without_emails else "nothing"
    kinds = ", ".join(f"{kind} {count}" for kind, count in left.most_common())
    lines = [
        f"Seed {run.seed} breaks the rule {rule}{f' ({first.what})' if first.what else ''}.",
        f"Left are {result.emails} emails ({left_out} taken out) and {left.total()} misfortunes: {kinds or 'none'}.",
        "What became of it, and the misfortunes of those who had to do with it (FAULT, and its number):",
        "   seconds  who                what",
        *map(str, result.story.of(first.send_id)),
    ]
    return "\n".join(lines)
