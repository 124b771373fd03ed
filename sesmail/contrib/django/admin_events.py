"""Events of SES that could not be processed, in Django's admin, to be processed again."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.shortcuts import redirect
from django.urls import reverse

from sesmail.contrib.django.ledger_admin import PAGE, LedgerAdmin, moment
from sesmail.events.reading import read
from sesmail.events.stores import EventState

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from sesmail.events.stores import StoredEvent


class SetAsideEventAdmin(LedgerAdmin):
    """The page of events set aside."""

    pages = (("", "changelist", "listed"), ("replay/", "replay", "replay"))

    def listed(self, request: HttpRequest) -> HttpResponse:
        """The first of them, and how many wait."""
        client = self.client
        site, store = client.settings.site, client.event_store
        found = islice(store.read(site, EventState.SET_ASIDE), PAGE)
        rows = [_row(each, site) for each in found]
        return self.page(
            request, "events", events=rows, counts=store.counts(site), may_replay=self.may(request, "change")
        )

    def replay(self, request: HttpRequest) -> HttpResponse:
        """Process those that are ticked again."""
        self.demand(request, "change")
        store = self.client.event_store
        found = [store.get(event_id) for event_id in request.POST.getlist("ids")[:PAGE]]
        known = [event for event in found if event is not None]
        store.replay(known, now=time.time())
        for event in known:
            self.note(request, "Processed again", event.event_id)
        messages.success(
            request, f"{len(known)} event{'s are' if len(known) != 1 else ' is'} processed again by the workers."
        )
        return redirect(reverse(f"{self.admin_site.name}:sesmail_django_setasideevent_changelist"))


def _row(event: StoredEvent, site: str) -> dict[str, Any]:
    """Its error by name alone: the text may hold an address."""
    return {
        "id": event.event_id,
        "kind": _kind(event, site),
        "received_at": moment(event.received_at),
        "attempts": event.attempts,
        "error": event.error.partition(":")[0],
    }


def _kind(event: StoredEvent, site: str) -> str:
    try:
        return type(read(event.message, site=site)[0]).__name__
    except Exception:  # noqa: BLE001  it was set aside because something about it is wrong
        return "unreadable"
