"""Opt-outs in Django's admin, with add and remove; and what became of each list's mailings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.models import ADDITION, DELETION
from django.shortcuts import redirect
from django.urls import reverse

from sesmail.contrib.django.ledger_admin import LedgerAdmin, may_see_addresses, shown_address
from sesmail.errors import InvalidEmail
from sesmail.message.addresses import normal_address_of
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.vocabulary import Reason

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from sesmail.state.people.reputation import Rates

SHOWN = 200
"""Opt-outs of the page that nothing was searched for on."""
ACTS_SHOWN = 20
DAYS = 14


class OptOutAdmin(LedgerAdmin):
    """The pages of opt-outs."""

    pages = (("", "changelist", "listed"), ("add-one/", "add_one", "add"), ("remove/", "remove", "remove"))

    def listed(self, request: HttpRequest) -> HttpResponse:
        """Those of an address, which is posted; else some of all."""
        asked = request.POST.get("q", "").strip()
        suppression = self.client.suppression
        found = suppression.find(asked) if asked else [*islice(suppression.read(), SHOWN + 1)]
        return self.page(
            request,
            "opt_outs",
            asked=asked,
            opt_outs=[self._row(request, each, asked) for each in found[:SHOWN]],
            there_are_more=len(found) > SHOWN,
            scopes=self._scopes(),
            reasons=[reason.value for reason in Reason],
            manual=Reason.MANUAL.value,
            acts=self.acts(self._named(asked) if asked else "", limit=ACTS_SHOWN),
            may_add=self.may(request, "add"),
            may_remove=self.may(request, "delete") and (may_see_addresses(request) or bool(asked)),
        )

    def _scopes(self) -> list[str]:
        return ["everything", str(Scope(self.client.settings.site))]

    def _row(self, request: HttpRequest, opt_out: OptOut, asked: str) -> dict[str, Any]:
        """Who searched for an address knows it."""
        address = opt_out.address if asked else shown_address(request, opt_out.address)
        return {"opt_out": opt_out, "address": address, "scope": str(opt_out.scope)}

    def add(self, request: HttpRequest) -> HttpResponse:
        """Write to an address no more."""
        self.demand(request, "add")
        try:
            address, scope, reason = self._given(request)
        except (InvalidEmail, ValueError) as error:
            messages.error(request, str(error))
            return redirect(self._list)
        source = f"admin, user {request.user.pk}"
        added = self.client.suppression.add(
            OptOut(address=address, scope=scope, reason=reason, since=datetime.now(UTC), source=source)
        )
        if added:
            self.note(request, f"Opt-out added ({scope}, {reason})", self._named(address), ADDITION)
        said = "Added." if added else "It was there already, for this reason or a stronger one."
        messages.success(request, said)
        return redirect(self._list)

    def remove(self, request: HttpRequest) -> HttpResponse:
        """Write to an address again, within a scope."""
        self.demand(request, "delete")
        address, scope, _ = self._given(request)
        if self.client.suppression.remove(address, scope):
            self.note(request, f"Opt-out removed ({scope})", self._named(address), DELETION)
            messages.success(request, f"Removed ({scope}): the address is written to again.")
        else:
            messages.warning(request, "It was not there any more.")
        return redirect(self._list)

    @property
    def _list(self) -> str:
        return reverse(f"{self.admin_site.name}:sesmail_django_optout_changelist")

    def _named(self, address: str) -> str:
        """What an audit line calls an address: the same each time, and nothing that it could be read from."""
        return f"address {self.client.search.pseudonym(address)}"

    def _given(self, request: HttpRequest) -> tuple[str, Scope, Reason]:
        said = request.POST
        address = normal_address_of("address", said.get("address", ""))
        return address, Scope.parse(said.get("scope", "")), Reason(said.get("reason") or Reason.MANUAL)


class MailingAdmin(LedgerAdmin):
    """What became of the emails of each list, by the day on which they were sent."""

    pages = (("", "changelist", "listed"),)

    def listed(self, request: HttpRequest) -> HttpResponse:
        """The last two weeks."""
        today, site = datetime.now(UTC).date(), self.client.settings.site
        found = self.client.reputation.rates(site, today - timedelta(days=DAYS - 1), today)
        rows = [{"rates": each, **_judged(each)} for each in reversed(found)]
        return self.page(request, "mailings", mailings=rows, days=DAYS, site=site)


def _judged(rates: Rates) -> dict[str, Any]:
    """AWS reviews an account from 5 % of bounces or 0.1 % of complaints on.

    https://docs.aws.amazon.com/ses/latest/dg/reputationdashboardmessages.html
    """
    return {
        "counts": rates.as_dict(),
        "bounces": f"{rates.bounce_rate:.2%}",
        "complaints": f"{rates.complaint_rate:.3%}",
        "bounces_are_many": rates.bounce_mark == "reviewed",
        "complaints_are_many": rates.complaint_mark == "reviewed",
    }
