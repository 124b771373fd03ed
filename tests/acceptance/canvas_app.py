"""A host's Celery app with every kind of continuation, and a program that queues them all and waits for their ends.

`python -m tests.acceptance.canvas_app KIND ...` prints "published", and in the end, as JSON, what each `.get()` answered.
Whatever runs is noted in the Redis list `marks`: its name, its task id, and what it was called with.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from celery import Celery, chain, chord, group, signals
from redis import Redis

from sesmail import send_ses_email as send

notes = Redis.from_url(os.environ["SESMAIL_REDIS_URL"], decode_responses=True)
OPTIONS = json.loads(os.environ.get("CANVAS_OPTIONS", "{}"))
"""Given to every email, such as a countdown."""
PATIENCE_SECONDS = 100

app = Celery("host", broker=os.environ["CELERY_BROKER_URL"], include=["sesmail.tasks"])
if "STRIKE" in os.environ:
    app.conf.include = ["sesmail.tasks", "tests.acceptance.crash_points"]
app.conf.update(
    result_backend=os.environ.get("CANVAS_BACKEND"),
    broker_transport_options={"visibility_timeout": 600},
    database_create_tables_at_setup=True,
    result_backend_always_retry=False,
)
app.set_default()


@app.task(bind=True, name="mark")
def mark(self: Any, *args: Any, name: str) -> str:
    """Note that it ran."""
    notes.rpush("marks", json.dumps([name, self.request.id, args]))
    return name


@signals.task_prerun.connect
def note_request(task: Any, **_: Any) -> None:
    """What a ticket of an email brings with it, whichever it is."""
    if task.name == "sesmail.send_ses_email":
        trace = (task.request.headers or {}).get("traceparent")
        notes.rpush("tickets", json.dumps([task.request.id, trace, task.request.delivery_info.get("priority")]))


def email(name: str, **more: Any) -> Any:
    """A signature of an email."""
    options = {"task_id": f"{os.environ.get('CANVAS_IDS', '')}{name}", **OPTIONS, **more}
    return send.si(os.environ.get("CANVAS_TO", "success@simulator.amazonses.com"), name, "Hi.").set(**options)


def kinds() -> dict[str, Callable[[], Any]]:
    """Each kind of canvas, by its name."""
    return {
        "link": lambda: email("link", link=mark.s(name="link"), link_error=mark.s(name="link-error")).apply_async(),
        "links": lambda: email("links", link=[mark.si(name="links-1"), mark.si(name="links-2")]).apply_async(),
        "linked-group": lambda: email(
            "linked-group", link=group(mark.si(name="linked-1"), mark.si(name="linked-2"))
        ).apply_async(),
        "chain": lambda: chain(email("chain"), mark.s(name="chain")).apply_async(),
        "chain-of-emails": lambda: chain(
            mark.si(name="first"), email("second"), email("third"), mark.s(name="chain-of-emails")
        ).apply_async(),
        "group": lambda: group(email("group-1"), email("group-2")).apply_async(),
        "chord": lambda: chord([email("chord-1"), email("chord-2")], mark.s(name="chord")).apply_async(),
        "headers": lambda: email("headers", headers={"traceparent": "00-17-4-01"}, priority=3).apply_async(),
        "ignored": lambda: email("ignored", ignore_result=True, link=mark.si(name="ignored")).apply_async(),
        "plain": lambda: email("plain").apply_async(),
    }


def ended(result: Any) -> Any:
    """What `.get()` answers, or the kind of error that it raises."""
    try:
        return result.get(timeout=PATIENCE_SECONDS)
    except Exception as error:
        return type(error).__name__


def main() -> None:
    """Queue, say so, wait."""
    made = kinds()
    results = {name: made[name]() for name in sys.argv[1:] or made}
    print("published", flush=True)
    print(json.dumps({name: ended(result) for name, result in results.items()}), flush=True)


if __name__ == "__main__":
    main()
