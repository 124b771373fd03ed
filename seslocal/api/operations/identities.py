"""What calls do with identities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seslocal.api.requests import validation
from seslocal.api.requests.listing import page
from seslocal.errors import Kind, Refused

if TYPE_CHECKING:
    from seslocal.api.call import Call, Handler, Operation
    from seslocal.ses import Ses


def create(ses: Ses, call: Call) -> dict[str, Any]:
    """CreateEmailIdentity: not verified until `PUT /_sim/identities/NAME` says so."""
    name = validation.text(validation.required(call.body, "EmailIdentity"), "EmailIdentity").lower()
    validation.address(name if "@" in name else f"postmaster@{name}")
    if name in ses.account.identities.known:
        raise Refused(Kind.ALREADY_EXISTS, f"Email identity {name} already exist.")
    ses.account.identities.known[name] = False
    return _described(ses, name)


def get(ses: Ses, call: Call) -> dict[str, Any]:
    """GetEmailIdentity. Where everyone may send, each domain is found, and verified."""
    name = call.path["EmailIdentity"].lower()
    if not ses.account.identities.is_taken_as_verified(name):
        name = _existing(ses, call)
    status = "SUCCESS" if ses.account.identities.known.get(name, True) else "PENDING"
    return _described(ses, name) | {
        "FeedbackForwardingStatus": True,
        "Policies": dict(ses.account.identities.policies.get(name, {})),
        "Tags": [],
        "VerificationStatus": status,
    }


def delete(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteEmailIdentity."""
    name = _existing(ses, call)
    del ses.account.identities.known[name]
    ses.account.identities.policies.pop(name, None)
    return {}


def list_all(ses: Ses, call: Call) -> dict[str, Any]:
    """ListEmailIdentities."""
    names, more = page(sorted(ses.account.identities.known), call)
    return {"EmailIdentities": [_summary(ses, name) for name in names]} | more


def _summary(ses: Ses, name: str) -> dict[str, Any]:
    verified = ses.account.identities.known[name]
    status = "SUCCESS" if verified else "PENDING"
    return {
        "IdentityType": _type(name),
        "IdentityName": name,
        "SendingEnabled": verified,
        "VerificationStatus": status,
    }


def _described(ses: Ses, name: str) -> dict[str, Any]:
    verified = ses.account.identities.known.get(name, True)
    return {
        "IdentityType": _type(name),
        "VerifiedForSendingStatus": verified,
        "DkimAttributes": {
            "SigningEnabled": name not in ses.account.identities.dkim_off,
            "Status": "SUCCESS" if verified else "PENDING",
            "SigningAttributesOrigin": "AWS_SES",
        },
    } | _mail_from(ses, name)


def _mail_from(ses: Ses, name: str) -> dict[str, Any]:
    """A custom MAIL FROM domain stays pending: nobody has put its MX record anywhere."""
    if name not in ses.account.identities.mail_from:
        return {}
    domain, otherwise = ses.account.identities.mail_from[name]
    shown = {"MailFromDomain": domain, "MailFromDomainStatus": "PENDING", "BehaviorOnMxFailure": otherwise}
    return {"MailFromAttributes": shown}


def put_dkim(ses: Ses, call: Call) -> dict[str, Any]:
    """PutEmailIdentityDkimAttributes."""
    name = _existing(ses, call)
    if validation.flag(call.body.get("SigningEnabled", False), "SigningEnabled"):
        ses.account.identities.dkim_off.discard(name)
    else:
        ses.account.identities.dkim_off.add(name)
    return {}


def put_mail_from(ses: Ses, call: Call) -> dict[str, Any]:
    """PutEmailIdentityMailFromAttributes."""
    name = _existing(ses, call)
    if domain := call.body.get("MailFromDomain"):
        otherwise = str(call.body.get("BehaviorOnMxFailure", "USE_DEFAULT_VALUE"))
        ses.account.identities.mail_from[name] = validation.text(domain, "MailFromDomain"), otherwise
    else:
        ses.account.identities.mail_from.pop(name, None)
    return {}


def put_policy(*, anew: bool) -> Handler:
    """CreateEmailIdentityPolicy and UpdateEmailIdentityPolicy: who else may send as the identity."""

    def put(ses: Ses, call: Call) -> dict[str, Any]:
        policies = ses.account.identities.policies.setdefault(_existing(ses, call), {})
        name, policy = call.path["PolicyName"], validation.required(call.body, "Policy")
        if anew and name in policies:
            raise Refused(Kind.ALREADY_EXISTS, f"Policy {name} already exists.")
        if not anew and name not in policies:
            raise Refused(Kind.NOT_FOUND, f"Policy {name} does not exist.")
        _check_policy(validation.json_value(validation.text(policy, "Policy"), "Policy"))
        policies[name] = policy
        return {}

    return put


def _check_policy(policy: Any) -> None:
    statements = policy.get("Statement") if isinstance(policy, dict) else None
    for each in statements if isinstance(statements, list) else [statements]:
        if not isinstance(each, dict) or not {"Effect", "Action", "Principal"} <= each.keys():
            raise Refused(Kind.INVALID, "Policy must have a Statement with Effect, Action and Principal.")


def get_policies(ses: Ses, call: Call) -> dict[str, Any]:
    """GetEmailIdentityPolicies."""
    return {"Policies": dict(ses.account.identities.policies.get(_existing(ses, call), {}))}


def delete_policy(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteEmailIdentityPolicy."""
    ses.account.identities.policies.get(_existing(ses, call), {}).pop(call.path["PolicyName"], None)
    return {}


def _type(name: str) -> str:
    return "EMAIL_ADDRESS" if "@" in name else "DOMAIN"


def _existing(ses: Ses, call: Call) -> str:
    name = call.path["EmailIdentity"].lower()
    if name not in ses.account.identities.known:
        raise Refused(Kind.NOT_FOUND, f"Email identity {name} does not exist.")
    return name


_POLICY = "/v2/email/identities/{EmailIdentity}/policies/{PolicyName}"

OPERATIONS: tuple[Operation, ...] = (
    ("POST", "/v2/email/identities", "CreateEmailIdentity", create),
    ("PUT", "/v2/email/identities/{EmailIdentity}/dkim", "PutEmailIdentityDkimAttributes", put_dkim),
    ("PUT", "/v2/email/identities/{EmailIdentity}/mail-from", "PutEmailIdentityMailFromAttributes", put_mail_from),
    ("POST", _POLICY, "CreateEmailIdentityPolicy", put_policy(anew=True)),
    ("PUT", _POLICY, "UpdateEmailIdentityPolicy", put_policy(anew=False)),
    ("DELETE", _POLICY, "DeleteEmailIdentityPolicy", delete_policy),
    ("GET", "/v2/email/identities/{EmailIdentity}/policies", "GetEmailIdentityPolicies", get_policies),
    ("GET", "/v2/email/identities/{EmailIdentity:path}", "GetEmailIdentity", get),
    ("DELETE", "/v2/email/identities/{EmailIdentity:path}", "DeleteEmailIdentity", delete),
    ("GET", "/v2/email/identities", "ListEmailIdentities", list_all),
    ("POST", "/v2/email/list-identities", "ListEmailIdentities", list_all),
)
