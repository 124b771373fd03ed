"""What calls do with tenants."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from seslocal import clock
from seslocal.account.suppression import REASONS
from seslocal.account.tenants import SENDING_STATUSES, SUPPRESSION_SCOPES, Tenant
from seslocal.api.requests import validation
from seslocal.api.requests.listing import page
from seslocal.errors import Kind, Refused
from seslocal.options import ACCOUNT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seslocal.api.call import Call, Operation
    from seslocal.ses import Ses

RESOURCE_TYPES = {
    "identity": "EMAIL_IDENTITY",
    "configuration-set": "CONFIGURATION_SET",
    "template": "EMAIL_TEMPLATE",
}


def create(ses: Ses, call: Call) -> dict[str, Any]:
    """CreateTenant."""
    name = validation.resource_name(validation.required(call.body, "TenantName"), "TenantName")
    if name in ses.account.tenants:
        raise Refused(Kind.ALREADY_EXISTS, f"Tenant {name} already exists.")
    identity = f"tn-{uuid.uuid4().hex}"
    arn = f"arn:aws:ses:{ses.options.region}:{ACCOUNT_ID}:tenant/{name}/{identity}"
    tenant = Tenant(name=name, id=identity, arn=arn, created_at=clock.now())
    _suppress(tenant, validation.mapping(call.body.get("SuppressionAttributes"), "SuppressionAttributes"))
    ses.account.tenants[name] = tenant
    return tenant.as_json()


def get(ses: Ses, call: Call) -> dict[str, Any]:
    """GetTenant."""
    return {"Tenant": _existing(ses, call).as_json()}


def delete(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteTenant."""
    del ses.account.tenants[_existing(ses, call).name]
    return {}


def list_all(ses: Ses, call: Call) -> dict[str, Any]:
    """ListTenants."""
    found, more = page(sorted(ses.account.tenants.values(), key=lambda tenant: tenant.name), call)
    shown = ("TenantName", "TenantId", "TenantArn", "CreatedTimestamp", "SendingStatus")
    return {"Tenants": [{name: tenant.as_json()[name] for name in shown} for tenant in found]} | more


def associate(ses: Ses, call: Call) -> dict[str, Any]:
    """CreateTenantResourceAssociation."""
    tenant, arn = _existing(ses, call), _resource(call)
    if arn in tenant.resources:
        raise Refused(Kind.ALREADY_EXISTS, f"Resource {arn} is associated with tenant {tenant.name} already.")
    tenant.resources.add(arn)
    return {}


def dissociate(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteTenantResourceAssociation."""
    tenant, arn = _existing(ses, call), _resource(call)
    if arn not in tenant.resources:
        raise Refused(Kind.NOT_FOUND, f"Resource {arn} is not associated with tenant {tenant.name}.")
    tenant.resources.remove(arn)
    return {}


def list_resources(ses: Ses, call: Call) -> dict[str, Any]:
    """ListTenantResources."""
    found, more = page(sorted(_existing(ses, call).resources), call)
    return {"TenantResources": [{"ResourceType": _type(arn), "ResourceArn": arn} for arn in found]} | more


def put_suppression(ses: Ses, call: Call) -> dict[str, Any]:
    """PutTenantSuppressionAttributes."""
    _suppress(_existing(ses, call), call.body)
    return {}


def put_status(ses: Ses, call: Call) -> dict[str, Any]:
    """UpdateReputationEntityCustomerManagedStatus: the owner pauses a tenant, by its ARN, or lets it send again."""
    arn = call.path["Reference"]
    status = validation.one_of(validation.required(call.body, "SendingStatus"), "sendingStatus", SENDING_STATUSES)
    found = [tenant for tenant in ses.account.tenants.values() if tenant.arn == arn]
    if not found:
        raise Refused(Kind.INVALID, f"There is no reputation entity {arn}.")
    found[0].sending_status = status
    return {}


def _suppress(tenant: Tenant, given: Mapping[str, Any]) -> None:
    if given.get("SuppressionScope") is not None:
        tenant.suppression_scope = validation.one_of(given["SuppressionScope"], "suppressionScope", SUPPRESSION_SCOPES)
    if given.get("SuppressedReasons") is not None:
        reasons = validation.items(given["SuppressedReasons"], "SuppressedReasons")
        tenant.suppressed_reasons = tuple(validation.one_of(reason, "suppressedReasons", REASONS) for reason in reasons)


def _existing(ses: Ses, call: Call) -> Tenant:
    return ses.account.tenant(validation.text(validation.required(call.body, "TenantName"), "TenantName"))


def _resource(call: Call) -> str:
    arn = validation.text(validation.required(call.body, "ResourceArn"), "ResourceArn")
    _type(arn)
    return arn


def _type(arn: str) -> str:
    kind = arn.rpartition(":")[2].partition("/")[0]
    if kind not in RESOURCE_TYPES or not arn.startswith("arn:"):
        raise Refused(Kind.INVALID, "ResourceArn must name an identity, a configuration set or a template.")
    return RESOURCE_TYPES[kind]


_TENANTS = "/v2/email/tenants"

OPERATIONS: tuple[Operation, ...] = (
    ("POST", _TENANTS, "CreateTenant", create),
    ("POST", _TENANTS + "/get", "GetTenant", get),
    ("POST", _TENANTS + "/delete", "DeleteTenant", delete),
    ("POST", _TENANTS + "/list", "ListTenants", list_all),
    ("POST", _TENANTS + "/resources", "CreateTenantResourceAssociation", associate),
    ("POST", _TENANTS + "/resources/delete", "DeleteTenantResourceAssociation", dissociate),
    ("POST", _TENANTS + "/resources/list", "ListTenantResources", list_resources),
    ("POST", "/v2/email/tenant/suppression", "PutTenantSuppressionAttributes", put_suppression),
    (
        "PUT",
        "/v2/email/reputation/entities/RESOURCE/{Reference:path}/customer-managed-status",
        "UpdateReputationEntityCustomerManagedStatus",
        put_status,
    ),
)
