"""What the pages of the admin share: whose ledger, who may, what was done, and what is shown when Redis is away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.template.response import TemplateResponse
from django.urls import path
from django.views.decorators.debug import sensitive_post_parameters

from sesmail.doors import site_client
from sesmail.errors import SesmailError

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    from sesmail.client import Client

log = logging.getLogger("sesmail")

PAGE = 50
"""Rows of a page."""
PERSONAL = ("q", "address", "to")
"""What people post that a report of an error must not repeat: addresses. For the same reason no URL has one."""

View = Callable[..., Any]


class LedgerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    """Pages over the ledger instead of a table; `pages` are their paths, names and methods."""

    pages: tuple[tuple[str, str, str], ...] = ()

    def get_urls(self) -> list[URLPattern]:
        """Ours alone; `changelist` is what the index of the admin links to."""
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path(where, self.admin_site.admin_view(self._shown(getattr(self, method))), name=f"{prefix}_{name}")
            for where, name, method in self.pages
        ]

    def _shown(self, view: View) -> View:
        """A page for those who may see it; when the ledger cannot be read, it says so."""

        @wraps(view)
        @sensitive_post_parameters(*PERSONAL)
        def shown(request: HttpRequest, **named: Any) -> HttpResponse:
            if not self.has_view_permission(request):
                raise PermissionDenied
            try:
                return view(request, **named)  # type: ignore[no-any-return]
            except SesmailError as error:
                messages.error(request, str(error).partition("\n\n")[0])
                return self.page(request, "nothing", status=503)

        return shown

    @property
    def client(self) -> Client:
        """The client of the project's Celery app. Raises `ConfigurationError`."""
        return site_client()

    def page(self, request: HttpRequest, template: str, *, status: int = 200, **shown: Any) -> HttpResponse:
        """A page of the admin."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": str(self.opts.verbose_name_plural).capitalize(),
            "may_see_addresses": may_see_addresses(request),
            **shown,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/sesmail/{template}.html", context, status=status)

    def demand(self, request: HttpRequest, act: str) -> None:
        """Raises `PermissionDenied` for those who may not: `change`, `add` or `delete`."""
        if not self.may(request, act) or request.method != "POST":
            raise PermissionDenied

    def may(self, request: HttpRequest, act: str) -> bool:
        """Whether whoever asks has Django's permission for it."""
        return _has_permission(request, f"{self.opts.app_label}.{act}_{self.opts.model_name}")

    def note(self, request: HttpRequest, what: str, about: str, flag: int = CHANGE) -> None:
        """A line among Django's own of what staff did, and one in the log; neither has an address."""
        LogEntry.objects.create(
            user_id=request.user.pk,
            content_type_id=ContentType.objects.get_for_model(self.model).pk,
            object_id=about,
            object_repr=about[:200],
            action_flag=flag,
            change_message=what,
        )
        log.info("%s by staff", what, extra={"action": "staff", "about": about, "user_id": request.user.pk})

    def acts(self, about: str = "", *, limit: int = PAGE) -> list[LogEntry]:
        """What staff did about it, or about all that is shown here, the latest first."""
        kind = ContentType.objects.get_for_model(self.model)
        found = LogEntry.objects.filter(content_type=kind).select_related("user")
        return [*(found.filter(object_id=about) if about else found).order_by("-action_time")[:limit]]


def may_see_addresses(request: HttpRequest) -> bool:
    """Whether whoever asks may see addresses and subjects."""
    return _has_permission(request, "sesmail_django.see_addresses")


def may_see_batches(request: HttpRequest) -> bool:
    """Whether whoever asks may see batches."""
    return _has_permission(request, "sesmail_django.view_batch")


def _has_permission(request: HttpRequest, name: str) -> bool:
    user: Any = request.user  # a project may have a user model of its own
    return bool(user.has_perm(name))


def shown_address(request: HttpRequest, address: str) -> str:
    """An address for those who may see it, its domain for others."""
    return address if may_see_addresses(request) else f"…@{address.rpartition('@')[2]}"


def page_start(request: HttpRequest) -> int:
    """Where in the list the page that is asked for begins."""
    text = request.GET.get("start", "")
    return int(text) if text.isdecimal() and len(text) < 9 else 0


def moment(seconds: float | None) -> datetime | None:
    """A time as templates show it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
