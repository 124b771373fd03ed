"""`python3 run.py simulate`: seeds, one after the other, and what they came to."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.simulation.wire import QuickRedis, Wire
from tests.simulation.world import Run, simulate


def main() -> None:
    a = argparse.ArgumentParser()
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--seeds", type=int, default=1)
    a.add_argument("--emails", type=int, default=120)
    o = a.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    with tempfile.TemporaryDirectory() as folder, QuickRedis(Path(folder), appendfsync="no") as server:
        wire = Wire(server.socket_path)
        for seed in range(o.seed, o.seed + o.seeds):
            t = time.perf_counter(); c = time.process_time()
            r = simulate(Run(seed=seed, emails=o.emails), wire)
            took = time.perf_counter() - t; cpu = time.process_time() - c
            print(seed, r.digest, f"{r.virtual_seconds:.0f} s", f"{took:.2f}s x{r.virtual_seconds/took:.0f} cpu {cpu:.2f}", r.commands, r.steps, r.faults.total(), dict(r.counts))
            seen = set()
            for v in r.violations:
                if v.rule in seen: continue
                seen.add(v.rule)
                if v is r.violations[0] and o.seeds == 1: print(*map(str, r.story.of(v.send_id)), sep="\n")
                print("   ", v, sum(x.rule == v.rule for x in r.violations))
