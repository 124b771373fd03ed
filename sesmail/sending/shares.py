"""Parts of an account's rate that some emails keep to, as settings say: of a configuration set, a tenant, a sender."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.accounts import domains_above
from sesmail.sending.throttle import Share
from sesmail.settings import rate_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sesmail.message import Email
    from sesmail.settings import Settings

EACH_OTHER = "*"
"""Stands for each one that is not named, by itself."""


class Shares:
    """Tells which an email keeps to; the tightest counts."""

    def __init__(self, settings: Settings) -> None:
        self._of_sets = _read(settings.configuration_set_rate_limits)
        self._of_tenants = _read(settings.tenant_rate_limits)
        self._of_senders = _read({name.lower(): text for name, text in settings.sender_rate_limits.items()})

    def of(self, email: Email) -> Iterator[Share]:
        """All of them. Subdomains have the share of the domain that is named."""
        if self._of_sets and email.configuration_set:
            yield from _share("configuration-set", email.configuration_set, self._of_sets)
        if self._of_tenants and (tenant := email.named.get("tenant")):
            yield from _share("tenant", tenant, self._of_tenants)
        if self._of_senders:
            domain = email.sender_domain.lower()
            named = next((each for each in domains_above(domain) if each in self._of_senders), domain)
            yield from _share("sender", named, self._of_senders)


def _read(limits: Mapping[str, str]) -> dict[str, float | None]:
    return {name: rate_limit(text) for name, text in limits.items()}


def _share(kind: str, name: str, limits: Mapping[str, float | None]) -> Iterator[Share]:
    if (rate := limits[name] if name in limits else limits.get(EACH_OTHER)) is not None:
        yield Share(scope=f"{kind}:{name}", rate=rate)
