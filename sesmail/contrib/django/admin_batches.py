"""Batches in Django's admin: how far each is, and to pause it, let it go on, or take it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.shortcuts import redirect
from django.urls import reverse

from sesmail.contrib.django.ledger_admin import PAGE, LedgerAdmin, moment, page_start
from sesmail.errors import MoveRefused, UnknownSend
from sesmail.sending.essence import duration
from sesmail.vocabulary import BatchState

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from sesmail.vocabulary import BatchStatus

DONE = {"pause": "Paused", "resume": "Resumed", "cancel": "Cancelled"}
"""Acts, as the line about them says it."""
MEANINGS = {
    BatchState.QUEUEING: "Its list is being read; nothing is sent before it was read to its end.",
    BatchState.RUNNING: "It is sent, at the rate and in its turn.",
    BatchState.PAUSED: "Nothing more of it is begun until somebody lets it go on.",
    BatchState.CANCELLED: "What had not begun was taken back.",
    BatchState.FINISHED: "Everybody's send has come to its end.",
}
PAUSABLE = (BatchState.RUNNING,)
CANCELLABLE = (BatchState.QUEUEING, BatchState.RUNNING, BatchState.PAUSED)


class BatchAdmin(LedgerAdmin):
    """The pages of batches."""

    pages = (
        ("", "changelist", "listed"),
        ("<str:batch_id>/", "change", "one"),
        ("<str:batch_id>/<str:act>/", "act", "do"),
    )

    def listed(self, request: HttpRequest) -> HttpResponse:
        """The latest first."""
        start = page_start(request)
        ids = self.client.batches.latest(PAGE, skip=start)
        return self.page(
            request,
            "batches",
            batches=[self._row(status) for each in ids if (status := self._status(each))],
            has_several_accounts=len(self.client.settings.account_names) > 1,
            later=max(0, start - PAGE) if start else None,
            earlier=start + PAGE if len(ids) == PAGE else None,
        )

    def _status(self, batch_id: str) -> BatchStatus | None:
        try:
            return self.client.batches.status(batch_id)
        except UnknownSend:
            return None

    def _row(self, status: BatchStatus) -> dict[str, Any]:
        return {
            "known": status,
            "url": self._page_of(status.batch_id),
            "accepted_at": moment(status.accepted_at),
            "finished_at": moment(status.finished_at),
            "share": f"{status.done / status.recipients:.0%}" if status.recipients else "",
        }

    def _page_of(self, batch_id: str) -> str:
        return reverse(f"{self.admin_site.name}:sesmail_django_batch_change", args=[batch_id])

    def one(self, request: HttpRequest, batch_id: str) -> HttpResponse:
        """How far one is, and what staff did about it."""
        status = self._status(batch_id)
        if status is None:
            messages.warning(request, f"No batch has the id {batch_id}, or its record has expired.")
            return redirect(reverse(f"{self.admin_site.name}:sesmail_django_batch_changelist"))
        may_change = self.may(request, "change")
        return self.page(
            request,
            "batch",
            title=f"Batch {batch_id}",
            **self._row(status),
            meaning=MEANINGS[status.state],
            why=self.client.waits().why_batch(status) if status.state is BatchState.RUNNING else "",
            waits_until=self._waits_until(status),
            expected_end=self._expected_end(status),
            acts=self.acts(batch_id),
            may_pause=may_change and status.state in PAUSABLE,
            may_resume=may_change and status.state is BatchState.PAUSED,
            may_cancel=may_change and status.state in CANCELLABLE,
        )

    def _waits_until(self, status: BatchStatus) -> Any:
        is_later = status.waits_until > self.client.obstacles.waiting.now()
        return moment(status.waits_until) if is_later and status.waiting else None

    def _expected_end(self, status: BatchStatus) -> str:
        """By the rate of its account, as if nothing else went through it; empty where that says nothing."""
        account = self.client.accounts.get(status.account)
        limit = account.throttle.snapshot().limit if account and status.state is BatchState.RUNNING else 0.0
        return duration(status.waiting / limit) if limit > 0 and status.waiting else ""

    def do(self, request: HttpRequest, batch_id: str, act: str) -> HttpResponse:
        """Pause, resume or cancel."""
        self.demand(request, "change")
        if act not in DONE:
            raise PermissionDenied
        try:
            getattr(self.client.real_batch_office, act)(batch_id)
        except (MoveRefused, UnknownSend) as error:
            messages.error(request, str(error))
        else:
            self.note(request, DONE[act], batch_id)
            messages.success(request, f"{DONE[act]}.")
        return redirect(self._page_of(batch_id))
