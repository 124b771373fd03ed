"""Email as a task of `django.tasks` (Django 6): enqueued into the ledger, its result read from there by the send's id.

    TASKS = {"email": {"BACKEND": "sesmail.contrib.django.TaskBackend"}, "default": ...}

    from sesmail.contrib.django import send_email

    result = send_email.enqueue("ann@example.org", "Your receipt", "Thank you.")

This backend carries email alone; other tasks need another alias.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.tasks import TaskResult, TaskResultStatus, task
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import TaskError
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.utils.json import normalize_json

from sesmail.errors import UnknownSend
from sesmail.frames import shows_no_email
from sesmail.vocabulary import FAILED, State

if TYPE_CHECKING:
    from django.tasks.base import Task

    from sesmail.vocabulary import Status

PATHS = ("sesmail.contrib.django.TaskBackend", "sesmail.contrib.django.task_backend.TaskBackend")

_STATUS = {
    State.QUEUED: TaskResultStatus.READY,
    State.SCHEDULED: TaskResultStatus.READY,
    State.SENT: TaskResultStatus.SUCCESSFUL,
    **dict.fromkeys(FAILED, TaskResultStatus.FAILED),
}
"""All others are on their way: a worker has it, or SES may have it."""


class TaskBackend(BaseTaskBackend):
    """Takes `send_email`, and tells of it what the ledger knows.

    A `run_after` is the email's `send_at`; a priority below 0 is the lane `bulk`.
    """

    supports_defer = True
    supports_get_result = True
    supports_priority = True

    def validate_task(self, task: Task[..., Any]) -> None:
        """Raises `InvalidTask` for any but `send_email`."""
        super().validate_task(task)
        if task.func is not _function:
            raise InvalidTask(
                "sesmail's backend carries email alone, by sesmail.contrib.django.send_email. Nothing was queued. Give "
                "other tasks another alias of TASKS."
            )

    @shows_no_email
    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Accept an email. Raises as `send_ses_email.apply_async`, and `TypeError` for what JSON cannot hold."""
        from sesmail.celery.tasks import send_ses_email  # noqa: PLC0415  Celery is slow to load

        self.validate_task(task)
        given = {"args": normalize_json(list(args)), "kwargs": normalize_json(dict(kwargs))}
        email = {"lane": "bulk"} | kwargs if task.priority < 0 else kwargs
        sent = send_ses_email.apply_async(tuple(args), email, eta=task.run_after)
        result = self._result(task, sent.id, TaskResultStatus.READY, datetime.now(UTC), **given)
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult[..., Any]:
        """What the ledger knows of a send; of its arguments it tells nothing. Raises `TaskResultDoesNotExist`."""
        from sesmail.api import status  # noqa: PLC0415  Celery is slow to load

        try:
            known = status(result_id)
        except UnknownSend:
            raise TaskResultDoesNotExist(result_id) from None
        state, changed_at = _STATUS.get(known.state, TaskResultStatus.RUNNING), _moment(known.changed_at)
        is_final = state in (TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED)
        result = self._result(
            send_email,
            result_id,
            state,
            _moment(known.accepted_at),
            started_at=None if state is TaskResultStatus.READY else changed_at,
            finished_at=changed_at if is_final else None,
            last_attempted_at=changed_at if known.attempts or is_final else None,
            errors=_errors(known) if state is TaskResultStatus.FAILED else [],
        )
        if state is TaskResultStatus.SUCCESSFUL:
            object.__setattr__(result, "_return_value", {"state": known.state, "message_id": known.message_id})
        return result

    def _result(
        self, task: Task[..., Any], send_id: str, state: TaskResultStatus, enqueued_at: datetime, **known: Any
    ) -> TaskResult[..., Any]:
        nothing: dict[str, Any] = {
            "started_at": None,
            "finished_at": None,
            "last_attempted_at": None,
            "args": [],
            "kwargs": {},
        }
        told = {**nothing, "errors": [], "worker_ids": [], **known}
        return TaskResult(task=task, id=send_id, status=state, enqueued_at=enqueued_at, backend=self.alias, **told)


def _errors(known: Status) -> list[TaskError]:
    """Why it was not sent, in SES's words or ours."""
    said = f"{known.state}: {known.reason or ''}"
    return [TaskError(exception_class_path="sesmail.errors.SendRejected", traceback=said)]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _alias() -> str:
    """The alias of TASKS that is ours. Raises `InvalidTask` where none is."""
    for alias, said in getattr(settings, "TASKS", {}).items():
        if said.get("BACKEND") in PATHS:
            return str(alias)
    raise InvalidTask(
        f'No alias of TASKS has the backend of email: write TASKS = {{"email": {{"BACKEND": "{PATHS[0]}"}}}}.'
    )


def _send_email(*args: Any, **kwargs: Any) -> dict[str, str | None]:
    """Send one email: the arguments are those of `sesmail.Email`. Called as a function, here and now."""
    from sesmail.celery.tasks import send_ses_email  # noqa: PLC0415  Celery is slow to load

    return send_ses_email(*args, **kwargs)  # type: ignore[operator,no-any-return]  # a Celery task is a function, too


_send_email.__name__ = _send_email.__qualname__ = "send_email"  # where a task that is pickled is found again
_function = _send_email
send_email = task(backend=_alias())(_send_email)
