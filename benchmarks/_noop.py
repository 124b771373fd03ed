"""The stand-alone app with a task that does nothing: what Celery itself costs."""

from __future__ import annotations

from sesmail.celery.standalone import app


@app.task(name="benchmarks.empty", ignore_result=True)
def empty() -> None:
    pass


@app.task(name="benchmarks.noop", acks_late=True, ignore_result=True)
def noop(send_id: str) -> None:
    pass
