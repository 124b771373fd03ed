"""Passing bounces as the rules know them: so many in a row opt an address out, until a delivery or for a while."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any


class SoftBounces:
    """Counts along with `soft_bounces.lua`, by what it is given."""

    def __init__(self) -> None:
        self._passing: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._opted_out: dict[tuple[str, str], tuple[int, int]] = {}
        """Since and until when, in milliseconds."""

    def holds(self, base: str, address: str, now_ms: float) -> bool:
        """Whether an address is opted out by them."""
        return self._opted_out.get((base, address), (0, 0))[1] > now_ms

    def forget(self, base: str, address: str) -> None:
        """Another reason has taken the place of this one."""
        self._opted_out.pop((base, address), None)

    def forget_passing(self, base: str, digest: str) -> None:
        """Who was erased begins anew."""
        self._passing.pop((base, digest), None)

    def told(
        self,
        base: str,
        argv: tuple[Any, ...],
        now_ms: float,
        called: Callable[[str], str],
        is_out: Callable[[str], bool],
    ) -> int:
        """How many addresses must be opted out by this call; `called` is an address as it was before it was erased."""
        limit, window_ms, pause_ms = map(int, argv[:3])
        opted_out = 0
        for kind, digest, name, at in _fives(argv[3:]):
            address, times = called(name), self._passing[base, digest]
            if kind == "delivery":
                times -= {each for each in times if each <= at}
                if self._opted_out.get((base, address), (at + 1, 0))[0] <= at:
                    del self._opted_out[base, address]
                continue
            times.add(at)
            latest = max(times)
            times -= {each for each in times if each <= latest - window_ms}
            if len(times) >= limit and not is_out(address) and not self.holds(base, address, now_ms):
                self._opted_out[base, address] = latest, latest + pause_ms
                opted_out += 1
        return opted_out


def _fives(argv: tuple[Any, ...]) -> Iterator[tuple[str, str, str, int]]:
    for kind, digest, address, at, _source in zip(*[iter(argv)] * 5, strict=True):
        yield kind, digest, address, int(at)
