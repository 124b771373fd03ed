"""A host's Celery app with every kind of continuation, and a program that queues them and waits for their ends.

`python -m tests.acceptance.canvas_app '[{"wait": "paused", ...}, ...]'` queues, for each of these waits, each kind, and prints
"published"; then "paused-ended", and so on; in the end, as JSON, what each `.get()` answered. All names begin with that of their wait. Whatever runs
is noted in the Redis list `marks`: its name, its task id, and what it was called with.
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


class Wait:
    """Each kind of canvas, of emails that have to wait for one thing."""

    def __init__(
        self,
        wait: str = "",
        kinds: Any = None,
        options: Any = None,
        to: str = "success@simulator.amazonses.com",
        **more: Any,
    ) -> None:
        """`options` are given to every email, such as a countdown; `more` is what else they say."""
        self.prefix = f"{wait}-" if wait else ""
        self._options = options or {}
        self._email = {"to": to, "text": "Hi.", **more}
        made = self._kinds()
        self.results = {f"{self.prefix}{kind}": made[kind]() for kind in kinds or made}

    def _send(self, name: str, **more: Any) -> Any:
        """A signature of an email."""
        options = {"task_id": f"{self.prefix}{name}", **self._options, **more}
        return send.si(subject=name, **self._email).set(**options)

    def _mark(self, name: str) -> Any:
        return mark.s(name=f"{self.prefix}{name}")

    def _kinds(self) -> dict[str, Callable[[], Any]]:
        send, mark = self._send, self._mark
        linked = [mark("linked-1"), mark("linked-2")]
        return {
            "link": lambda: send("link", link=mark("link"), link_error=mark("link-error")).apply_async(),
            "links": lambda: send("links", link=[mark("links-1"), mark("links-2")]).apply_async(),
            "linked-group": lambda: send("linked-group", link=group(linked)).apply_async(),
            "chain": lambda: chain(send("chain"), mark("chain")).apply_async(),
            "chain-of-emails": lambda: chain(
                mark("first"), send("second"), send("third"), mark("chain-of-emails")
            ).apply_async(),
            "group": lambda: group(send("group-1"), send("group-2")).apply_async(),
            "chord": lambda: chord([send("chord-1"), send("chord-2")], mark("chord")).apply_async(),
            "headers": lambda: send("headers", headers={"traceparent": "00-17-4-01"}, priority=3).apply_async(),
            "ignored": lambda: send("ignored", ignore_result=True, link=mark("ignored")).apply_async(),
            "plain": lambda: send("plain").apply_async(),
        }


def ended(result: Any) -> Any:
    """What `.get()` answers, or the kind of error that it raises."""
    try:
        return result.get(timeout=PATIENCE_SECONDS)
    except Exception as error:
        return type(error).__name__


def main() -> None:
    """Queue, say so, wait."""
    waits = [Wait(**wait) for wait in json.loads(sys.argv[1])]
    print("published", flush=True)
    answers: dict[str, Any] = {}
    for wait in waits:
        answers |= {name: ended(result) for name, result in wait.results.items()}
        print(f"{wait.prefix}ended", flush=True)
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
