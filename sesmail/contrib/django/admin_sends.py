"""Sends in Django's admin: by state, id, address, list or batch; each with its story and what can be done about it."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import uuid4

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from sesmail.contrib.django.ledger_admin import (
    PAGE,
    LedgerAdmin,
    may_see_addresses,
    may_see_batches,
    moment,
    page_start,
    shown_address,
)
from sesmail.doors.live import STREAM, LivePage
from sesmail.errors import InvalidEmail, MoveRefused, SesmailError, UnknownSend
from sesmail.sending.story import story
from sesmail.state.batches.chunks import RECIPIENT_ID
from sesmail.state.ledger.kept import kept_email
from sesmail.state.ledger.search import Found
from sesmail.vocabulary import FAILED, WAITING, State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

    from django.http import HttpRequest

    from sesmail.state.ledger.search import Listed
    from sesmail.vocabulary import Status

CANCELLABLE = (State.QUEUED, State.SCHEDULED, State.CLAIMED)
REQUEUED = (*FAILED, State.UNKNOWN)
BATCH_ID = re.compile(r"batch_[0-9a-f]{16}")

DONE = {"requeue": "Sent again", "cancel": "Cancelled", "resend": "Sent again to another address"}
"""Acts, as the line about them says it."""


_LIVE, _LIVE_STREAMS = LivePage(streams=False), LivePage()


async def _without_blocking(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each event is waited for in a thread, not in the loop."""
    try:
        while event := await asyncio.to_thread(next, events, b""):
            yield event
    finally:
        events.close()  # type: ignore[attr-defined]  # a generator


class SendAdmin(LedgerAdmin):
    """The pages of sends."""

    pages = (
        ("", "changelist", "listed"),
        ("do/<str:act>/", "several", "do_to_several"),
        ("live/", "live", "live"),
        ("live/<str:what>", "live_part", "live"),
        ("<str:send_id>/", "change", "story"),
        ("<str:send_id>/<str:act>/", "act", "do"),
    )

    # -- live ---------------------------------------------------------------------------------------------------------

    def live(self, request: HttpRequest, what: str = "") -> HttpResponse | StreamingHttpResponse:
        """How the sending goes. Under ASGI it is streamed; under WSGI, where that keeps a thread, it is asked for."""
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        is_async = isinstance(request, ASGIRequest)
        page = _LIVE_STREAMS if is_async else _LIVE
        if what == STREAM and is_async and (events := page.stream()):
            return StreamingHttpResponse(_without_blocking(events), headers=page.stream_headers())
        found = page.answer(what)
        return HttpResponse(found.body, status=found.status, headers=found.headers)

    # -- many ---------------------------------------------------------------------------------------------------------

    def listed(self, request: HttpRequest) -> HttpResponse:
        """By state, list or batch, or by what an address is called in the index: no URL has an address.

        A search is posted, and answered by where its result is.
        """
        if request.method == "POST":
            return redirect(self._where_it_is(request.POST.get("q", "").strip()))
        asked = {name: request.GET[name] for name in ("address", "list", "batch") if request.GET.get(name)}
        start, state, account = page_start(request), _state(request.GET.get("state")), self._account(request)
        if "batch" not in asked:
            state = None if asked else state or State.REJECTED
        found, later, earlier = self._found(asked, state, account, start)
        ids = found.ids
        sends = self.client.search.listed(ids)  # without those forgotten since
        why, recipients = self._why(sends), self._recipients(request, ids)
        here = {**asked, **({"state": state.value} if state else {}), **({"account": account} if account else {})}
        return self.page(
            request,
            "sends",
            states=self._counted(None if asked else state),
            accounts=self._accounts(account) if not asked else [],
            has_several_accounts=len(self.client.settings.account_names) > 1,
            sends=[self._row(each.status, recipients.get(each.status.send_id, ""), why) for each in sends],
            asked=asked,
            looked_for=asked.get("list") or asked.get("batch") or "",
            batch_url=self._batch_url(request, asked.get("batch")),
            query=urlencode(here),
            state=state,
            account=account,
            in_batches=self.client.batches.counts().get(state, 0) if state and not asked else 0,
            batches=[{"id": each, "url": self._batch_url(request, each)} for each in found.batches],
            later=later,
            earlier=earlier,
            may_change=self.may(request, "change"),
        )

    def _where_it_is(self, asked: str) -> str:
        here = reverse(f"{self.admin_site.name}:sesmail_django_send_changelist")
        if "@" in asked:
            return f"{here}?{urlencode({'address': self.client.search.handle(asked)})}"
        if BATCH_ID.fullmatch(asked):
            return f"{here}?{urlencode({'batch': asked})}"
        if asked and self._is_known(asked):
            return self._story_of(asked)
        return f"{here}?{urlencode({'list': asked})}" if asked else here

    def _found(
        self, asked: Mapping[str, str], state: State | None, account: str, start: int
    ) -> tuple[Found, int | None, int | None]:
        """What is found, and where the pages of later and of earlier ones begin; None where there are none."""
        search, settings = self.client.search, self.client.settings
        if "batch" in asked:
            of = self.client.recipients.of(asked["batch"], state, skip=start, limit=PAGE)
            found = Found(ids=tuple(of), total=len(of))
        elif "address" in asked:
            found = search.by_handle(asked["address"], skip=start, limit=PAGE)
        elif "list" in asked:
            found = search.by_list(settings.site, asked["list"], skip=start, limit=PAGE)
        elif account:  # no index has them: a page is what is found among so many, and the next begins behind those
            of, end = search.of_account(state or State.REJECTED, account, start=start, limit=PAGE)
            return Found(ids=tuple(of), total=len(of)), 0 if start else None, end
        else:
            found = search.in_state(state or State.REJECTED, skip=start, limit=PAGE)
        earlier = start + PAGE if len(found.ids) == PAGE else None
        return found, max(0, start - PAGE) if start else None, earlier

    def _account(self, request: HttpRequest) -> str:
        """The SES account that is asked for; empty for all."""
        name = request.GET.get("account", "")
        return name if name in self.client.settings.account_names else ""

    def _accounts(self, chosen: str) -> list[dict[str, Any]]:
        """To choose from, where there are several."""
        names = self.client.settings.account_names
        return [{"name": name, "chosen": name == chosen} for name in ("", *names)] if len(names) > 1 else []

    def _batch_url(self, request: HttpRequest, batch_id: str | None) -> str:
        """Of its page, for those who may see it."""
        if not batch_id or not may_see_batches(request):
            return ""
        return reverse(f"{self.admin_site.name}:sesmail_django_batch_change", args=[batch_id])

    def _is_known(self, send_id: str) -> bool:
        try:
            self.client.ledger.status(send_id)
        except UnknownSend:
            return False
        return True

    def _counted(self, chosen: State | None) -> list[dict[str, Any]]:
        counts = self.client.ledger.counts()
        return [{"name": state.value, "count": counts[state.value], "chosen": state is chosen} for state in State]

    def _why(self, sends: Iterable[Listed]) -> dict[str, str]:
        """By their ids, why those wait that do, by now."""
        waiting = [each for each in sends if each.status.state in WAITING]
        waits = self.client.waits() if waiting else None
        return {each.status.send_id: waits.why(each) for each in waiting} if waits else {}

    def _row(self, known: Status, recipients: str, why: Mapping[str, str]) -> dict[str, Any]:
        return {
            "known": known,
            "why": why.get(known.send_id, known.reason),
            "recipients": recipients,
            "url": self._story_of(known.send_id),
            "accepted_at": moment(known.accepted_at),
            "changed_at": moment(known.changed_at),
        }

    def _recipients(self, request: HttpRequest, ids: Iterable[str]) -> dict[str, str]:
        """The first recipient of each whose text is kept, and how many there are besides."""
        kept = self.client.search.recipients([*ids])
        in_batches = self.client.recipients.addresses([*ids])
        return {send_id: shown_address(request, address) for send_id, address in in_batches.items()} | {
            send_id: shown_address(request, first) + (f" +{len(others)}" if others else "")
            for send_id, (first, *others) in kept.items()
        }

    def _story_of(self, send_id: str) -> str:
        return reverse(f"{self.admin_site.name}:sesmail_django_send_change", args=[send_id])

    # -- one ----------------------------------------------------------------------------------------------------------

    def story(self, request: HttpRequest, send_id: str) -> HttpResponse:
        """Where a send is, how it came there, and how far it got with each recipient."""
        try:
            known = self.client.real_outbox.status(send_id)
            facts = self.client.search.facts(send_id)
        except UnknownSend:
            messages.warning(request, f"No send has the id {send_id}, or its record has expired.")
            return redirect(reverse(f"{self.admin_site.name}:sesmail_django_send_changelist"))
        may_change = self.may(request, "change")
        of_batch = RECIPIENT_ID.fullmatch(send_id)
        batch_id = of_batch[1] if of_batch else ""
        return self.page(
            request,
            "send",
            title=f"Send {send_id}",
            known=known,
            facts=facts,
            meaning=MEANINGS[known.state],
            why=self._why(self.client.search.listed([send_id])).get(send_id, ""),
            batch_id=batch_id,
            batch_url=self._batch_url(request, batch_id),
            happened=_happened(known, facts.due_at, partial(shown_address, request)),
            expires_at=moment(facts.expires_at),
            deliveries=self._deliveries(request, send_id, known),
            email=self._email(send_id) if may_see_addresses(request) else None,
            acts=self.acts(send_id),
            may_cancel=may_change and known.state in CANCELLABLE,
            may_requeue=may_change and known.state in REQUEUED,
            may_resend=may_change and known.state in FAILED and may_see_addresses(request),
            may_go_twice=known.state is State.UNKNOWN,
        )

    def _deliveries(self, request: HttpRequest, send_id: str, known: Status) -> list[tuple[str, str]]:
        """Each recipient that is known of, with the furthest that SES has told."""
        in_batch = self.client.recipients.addresses([send_id]).values()
        kept = self.client.search.recipients([send_id]).get(send_id, (*in_batch,))
        found = dict.fromkeys(kept, "") | {address: status.value for address, status in known.deliveries.items()}
        return [(shown_address(request, address), status) for address, status in found.items()]

    def _email(self, send_id: str) -> Any:
        try:
            return kept_email(self.client.scripts, send_id)
        except SesmailError:
            return None  # sent: its text is gone

    # -- what is done -------------------------------------------------------------------------------------------------

    def do(self, request: HttpRequest, send_id: str, act: str) -> HttpResponse:
        """Requeue, cancel, or send again to another address."""
        self.demand(request, "change")
        if act not in DONE:
            raise PermissionDenied
        now_shown = send_id
        try:
            now_shown = self._resend(request, send_id) if act == "resend" else self._move(send_id, act)
        except (MoveRefused, UnknownSend, InvalidEmail) as error:
            messages.error(request, str(error))
        else:
            self.note(request, DONE[act], send_id)
            messages.success(request, f"{DONE[act]}.")
        return redirect(self._story_of(now_shown))

    def do_to_several(self, request: HttpRequest, act: str) -> HttpResponse:
        """Requeue or cancel those that are ticked; those that cannot be are told."""
        self.demand(request, "change")
        if act not in ("requeue", "cancel"):
            raise PermissionDenied
        done, refused = 0, 0
        for send_id in request.POST.getlist("ids")[:PAGE]:
            try:
                self._move(send_id, act)
            except (MoveRefused, UnknownSend):
                refused += 1
            else:
                done += 1
                self.note(request, DONE[act], send_id)
        if refused:
            messages.warning(request, f"{done} done, {refused} refused: their state does not allow it.")
        else:
            messages.success(request, f"{done} done.")
        return redirect(reverse(f"{self.admin_site.name}:sesmail_django_send_changelist"))

    def _move(self, send_id: str, act: str) -> str:
        outbox = self.client.real_outbox
        (outbox.cancel if act == "cancel" else outbox.requeue)(send_id)
        return send_id

    def _resend(self, request: HttpRequest, send_id: str) -> str:
        """The same email as a new send, to one other address alone; the id of that."""
        if not may_see_addresses(request):
            raise PermissionDenied
        email = kept_email(self.client.scripts, send_id)
        again = email.replace(
            to=request.POST.get("to", ""), cc=(), bcc=(), idempotency_key=None, send_at=None, expires_at=None
        )
        return self.client.real_outbox.send(again, send_id=str(uuid4())).send_id


MEANINGS = {
    State.QUEUED: "Accepted; a worker will take it.",
    State.SCHEDULED: "It waits for a time: asked for, backing off, or the line is closed.",
    State.CLAIMED: "A worker holds it; SES has not been asked.",
    State.SENDING: "SES is being asked.",
    State.UNKNOWN: "SES may have it: no clear answer came. An event settles it, or the end of the evidence window.",
    State.SENT: "SES took it. Its text is not kept any more.",
    State.REJECTED: "SES refused it for good.",
    State.SUPPRESSED: "Every recipient has opted out, complained or bounced.",
    State.CANCELLED: "It was taken back before SES was asked.",
    State.EXPIRED: "Its expiry time passed first.",
    State.ABANDONED: "Its attempts or its age were used up.",
}


def _happened(known: Status, due_at: float | None, shown: Callable[[str], str]) -> list[tuple[Any, str]]:
    """What is known to have happened to it, in order, and when it is due."""
    told = [(moment(at), what) for at, what in story(known, shown)]
    return [*told, (moment(due_at), "due")] if due_at else told


def _state(name: str | None) -> State | None:
    return State(name) if name and name in [*State] else None
