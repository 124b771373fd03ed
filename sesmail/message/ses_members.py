"""What else SES takes with an email, by the names of its own `SendEmail`, checked against botocore's model of it.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from sesmail.errors import InvalidEmail
from sesmail.message.headers import NOTHING

MAX_SES_BYTES = 4096
MAX_TEMPLATE_BYTES = 262_144
"""Of the data for one of SES's templates: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Template.html"""
_OURS = {
    "FromEmailAddress": "from_email",
    "Destination": "to, cc and bcc",
    "ReplyToAddresses": "reply_to",
    "EmailTags": "tags",
    "ConfigurationSetName": "configuration_set",
}
_OURS_IN_TEMPLATES = {"Headers": "headers", "Attachments": "attachments"}


def ses_members_of(value: object) -> Mapping[str, Any]:
    """Members of SendEmail that no argument of `Email` says. Raises `InvalidEmail`, which repeats no value."""
    if value is None:
        return NOTHING
    if not isinstance(value, Mapping):
        raise InvalidEmail("ses", f"is {type(value).__name__}, not a mapping")
    try:
        members: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise InvalidEmail("ses", "is not a JSON object") from None
    most = MAX_SES_BYTES + (MAX_TEMPLATE_BYTES if "Content" in members else 0)
    if (size := len(json.dumps(members))) > most:
        raise InvalidEmail("ses", f"has {size} bytes as JSON", f"at most {most}")
    for name, member in members.items():
        _check(name, member)
    if "Content" in members:
        _check_content(members["Content"])
    return MappingProxyType(members) if members else NOTHING


def names_of(ses: Mapping[str, Any]) -> dict[str, str]:
    """What of SES these members name, by its kind: where SES refuses one of these, whoever names it is stopped."""
    template = ses.get("Content", {}).get("Template", {})
    lists = ses.get("ListManagementOptions", {})
    named = {
        "tenant": ses.get("TenantName"),
        "template": template.get("TemplateName") or template.get("TemplateArn"),
        "contact-list": lists.get("ContactListName"),
        "global-endpoint": ses.get("EndpointId"),
    }
    return {kind: name for kind, name in named.items() if name}


def _check(name: str, member: Any) -> None:
    if name in _OURS:
        raise InvalidEmail("ses", f"says {name}, which {_OURS[name]} of the email say")
    from botocore.validate import ParamValidator  # noqa: PLC0415  who says nothing of this kind needs no botocore

    shape = _model().members.get(name)
    if shape is None:
        known = ", ".join(sorted(_model().members.keys() - _OURS.keys()))
        raise InvalidEmail("ses", f"says {name}, which this botocore's SendEmail does not know", f"one of {known}")
    if ParamValidator().validate(member, shape).has_errors():
        raise InvalidEmail("ses", f"says {name} in another form than SES's SendEmail has")


def _check_content(content: Mapping[str, Any]) -> None:
    """One of SES's own templates, kept there (`TemplateName`) or said here, with the data that fill it."""
    if content.keys() != {"Template"}:
        raise InvalidEmail("ses", "says Content that is no Template: subject, text, html and attachments say the rest")
    template = content["Template"]
    if ours := template.keys() & _OURS_IN_TEMPLATES.keys():
        name = min(ours)
        raise InvalidEmail("ses", f"says {name} of a Template, which {_OURS_IN_TEMPLATES[name]} of the email say")
    if not names_of({"Content": content}) and "TemplateContent" not in template:
        raise InvalidEmail("ses", "says a Template without TemplateName, TemplateArn or TemplateContent")
    data = template.get("TemplateData", "{}")
    if len(data) > MAX_TEMPLATE_BYTES:
        raise InvalidEmail("ses", f"says TemplateData of {len(data)} characters", f"at most {MAX_TEMPLATE_BYTES}")
    try:
        is_object = isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise InvalidEmail("ses", "says TemplateData that is no JSON object in a text")


@lru_cache(maxsize=1)
def _model() -> Any:
    from botocore.loaders import Loader  # noqa: PLC0415  as above
    from botocore.model import ServiceModel  # noqa: PLC0415

    return ServiceModel(Loader().load_service_model("sesv2", "service-2")).operation_model("SendEmail").input_shape
