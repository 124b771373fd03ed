"""A stock Celery app whose task calls the strict SES under Celery's own `rate_limit`; settings come by environment."""

from __future__ import annotations

import os
import threading

from celery import Celery

from benchmarks._strict_ses import SesCaller

app = Celery("rate_limit", broker=os.environ["BENCH_BROKER"])
local = threading.local()


@app.task(rate_limit=os.environ["BENCH_RATE_LIMIT"], ignore_result=True)
def send() -> None:
    if not hasattr(local, "caller"):
        local.caller = SesCaller(int(os.environ["BENCH_PORT"]))
    local.caller.send(1)
