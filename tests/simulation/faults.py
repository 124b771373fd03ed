"""What goes wrong: each kind with its own chance, and a weight that each seed draws anew (swarm testing).

Without weights of its own for each seed, most planted bugs are missed: too much noise hides what takes two misfortunes in a row.
https://users.cs.utah.edu/~regehr/papers/swarm12.pdf
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

WEIGHTS = (0, 0, 1, 1, 4, 12)

SINGLE_MINDED = 0.4
"""The part of the seeds that have a few kinds of misfortunes only."""

CHANCES: dict[str, float] = {
    # at each step of a process (before and after each call to Redis, and while SES is asked)
    "process_dies": 0.0006,
    "process_freezes": 0.0005,
    "process_is_redeployed": 0.0002,
    "host_clock_jumps": 0.0002,
    "redis_away": 0.0002,
    "redis_slow": 0.0002,
    "redis_busy": 0.0001,
    "redis_readonly": 0.0001,
    "redis_clock_jumps": 0.00004,
    "redis_forgets": 0.00008,
    "redis_evicts": 0.0001,
    "row_is_spoilt": 0.0001,
    # at each call to Redis
    "answer_lost": 0.003,
    "call_lost": 0.003,
    # at each ticket
    "ticket_lost": 0.03,
    "ticket_twice": 0.03,
    "ticket_overtaken": 0.04,
    "broker_flushed": 0.002,
    "broker_away": 0.002,
    "ticket_not_put": 0.02,
    "message_is_a_misfit": 0.02,
    # at each answer of Redis to who holds a claim
    "process_freezes_with_a_claim": 0.002,
    # at each call to SES
    "process_freezes_at_ses": 0.004,
    "ses_unreachable": 0.01,
    "ses_fails_before": 0.01,
    "ses_fails_after": 0.015,
    "ses_hangs": 0.006,
    "ses_cut_off": 0.004,
    "ses_never_answers": 0.003,
    "ses_is_slow": 0.005,
    "ses_is_down": 0.001,
    "ses_pauses": 0.001,
    "ses_rate_changes": 0.003,
    "ses_quota_changes": 0.002,
    # at each event of SES
    "event_never": 0.05,
    "event_late": 0.2,
    "event_twice": 0.15,
    "event_store_down": 0.02,
    "mailbox_is_full": 0.15,
    "list_goes_bad": 0.02,
    "template_fails": 0.1,
    # at each end that is told
    "receiver_raises": 0.03,
    # each time that what follows an email is published
    "continuation_fails": 0.03,
    "continuation_is_slow": 0.03,
    # at each decision of the people (about one each ten seconds)
    "operator_cancels": 0.3,
    "operator_requeues": 0.3,
    "operator_reschedules": 0.2,
    "operator_pauses": 0.05,
    "operator_opts_out": 0.2,
    "operator_erases": 0.06,
    "operator_steers_a_batch": 0.1,
    # each few rows while a batch is queued
    "queueing_is_cut_off": 0.1,
    # when a worker starts
    "former_release": 0.08,
}


@dataclass(slots=True)
class Plan:
    """What of a seed's misfortunes happens: all, unless somebody looks for the shortest history that fails."""

    weights: Mapping[str, float] = field(default_factory=dict)
    """Instead of what the seed has drawn."""
    left_out: frozenset[int] = frozenset()
    """Misfortunes, by their place in the order of happening."""
    at_most: int | None = None
    """How many happen."""
    without_emails: frozenset[int] = frozenset()


class Faults:
    """Decides what goes wrong. What is left out of a history by a plan is decided all the same, and not done."""

    def __init__(self, seed: int, plan: Plan, clock: Callable[[], float], tell: Callable[[str, str], None]) -> None:
        self._rng = random.Random(f"{seed} faults")
        self._plan, self._clock, self._tell = plan, clock, tell
        self.weights = {**self._drawn(), **plan.weights}
        self._together: dict[tuple[str, ...], float] = {}
        self.until = float("inf")
        self.counts: Counter[str] = Counter()
        self.happened = 0

    def _drawn(self) -> dict[str, float]:
        """Most seeds have a bit of everything; the others a lot of little, so that bounds in time can be looked at."""
        rng = self._rng
        if rng.random() < SINGLE_MINDED:
            few = set(rng.sample(sorted(CHANCES), 3))
            return {kind: rng.choice((0.3, 1.0, 6.0)) if kind in few else 0.0 for kind in CHANCES}
        drawn = {kind: float(rng.choice(WEIGHTS)) for kind in CHANCES}
        # Not both: the former release's sweeper stops for good at a row that was evicted; and it knows of nobody who
        # was erased.
        drawn |= {rng.choice(("redis_evicts", "former_release")): 0.0}
        drawn |= {rng.choice(("operator_erases", "former_release")): 0.0}
        # Not both: of what cannot be read, nobody can be taken out, which the operator is told.
        drawn |= {rng.choice(("operator_erases", "row_is_spoilt")): 0.0}
        # Not both: the rules count passing bounces along, and cannot know which of them Redis has forgotten.
        return drawn | {rng.choice(("mailbox_is_full", "redis_forgets")): 0.0}

    def strikes(self, kind: str, about: str = "") -> bool:
        """Whether it goes wrong in this way, here and now."""
        chance = CHANCES[kind] * self.weights[kind]
        if not chance or self._clock() >= self.until or self._rng.random() >= chance:
            return False
        return self._happens(kind, about)

    def one_of(self, kinds: tuple[str, ...], about: str = "") -> str | None:
        """Which one of several strikes, where one does: with a single look, for what may happen at any step."""
        chance = self._together.get(kinds)
        if chance is None:
            chance = self._together[kinds] = sum(CHANCES[kind] * self.weights[kind] for kind in kinds)
        if not chance or self._clock() >= self.until or self._rng.random() >= chance:
            return None
        weights = [CHANCES[kind] * self.weights[kind] for kind in kinds]
        kind = self._rng.choices(kinds, weights)[0]
        return kind if self._happens(kind, about) else None

    def _happens(self, kind: str, about: str) -> bool:
        number, self.happened = self.happened, self.happened + 1
        if number in self._plan.left_out or (self._plan.at_most is not None and number >= self._plan.at_most):
            return False
        self.counts[kind] += 1
        self._tell(f"FAULT {number} {kind}", about)
        return True

    def tell(self, what: str, about: str) -> None:
        """How large a misfortune is, for who reads of it."""
        self._tell(what, about)

    def choose(self, *values: float) -> float:
        """One of several sizes of a misfortune."""
        return self._rng.choice(values)

    def between(self, low: float, high: float) -> float:
        """A size of a misfortune."""
        return self._rng.uniform(low, high)


def known(names: Collection[str]) -> None:
    """Raises `SystemExit` for the name of a fault that there is not."""
    if wrong := sorted(set(names) - set(CHANCES)):
        raise SystemExit(f"There is no fault {', '.join(wrong)}. There are: {', '.join(CHANCES)}")
