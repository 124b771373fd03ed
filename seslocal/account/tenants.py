"""Tenants: each sends by resources of its own, may be paused, and may have a suppression list of its own.

https://docs.aws.amazon.com/ses/latest/dg/tenants.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from seslocal.account.suppression import SuppressionList
from seslocal.errors import Kind, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

SENDING_STATUSES = ("ENABLED", "REINSTATED", "DISABLED")
SUPPRESSION_SCOPES = ("ACCOUNT", "TENANT")


@dataclass(slots=True, kw_only=True)
class Tenant:
    """One tenant."""

    name: str
    id: str
    arn: str
    created_at: float
    sending_status: str = "ENABLED"
    resources: set[str] = field(default_factory=set)
    """ARNs of identities, configuration sets and templates."""
    suppression_scope: str = "ACCOUNT"
    """Whose list is looked at and added to."""
    suppressed_reasons: tuple[str, ...] | None = None
    """What puts an address on the list by itself; None: what does for the account."""
    suppression: SuppressionList = field(default_factory=SuppressionList)

    def as_json(self) -> dict[str, Any]:
        """As the API shows it."""
        reasons = {} if self.suppressed_reasons is None else {"SuppressedReasons": list(self.suppressed_reasons)}
        return {
            "TenantName": self.name,
            "TenantId": self.id,
            "TenantArn": self.arn,
            "CreatedTimestamp": self.created_at,
            "SendingStatus": self.sending_status,
            "Tags": [],
            "SuppressionAttributes": {"SuppressionScope": self.suppression_scope} | reasons,
        }

    def check(self, used: Iterable[list[str]]) -> None:
        """Raise `Refused` where it may not send, or is associated with none of the ARNs that a resource may go by."""
        if self.sending_status == "DISABLED":
            raise Refused(Kind.TENANT_PAUSED)
        for arns in used:
            if self.resources.isdisjoint(arns):
                raise Refused(Kind.NOT_OF_TENANT, f"Resource {arns[0]} is not associated with tenant {self.name}.")
