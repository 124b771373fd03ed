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
_OURS = {
    "FromEmailAddress": "from_email",
    "Destination": "to, cc and bcc",
    "ReplyToAddresses": "reply_to",
    "Content": "subject, text, html, attachments",
    "EmailTags": "tags",
    "ConfigurationSetName": "configuration_set",
}
_NOT_DONE = {"EndpointId": "a global endpoint wants a signature that is not made here"}


def ses_members_of(value: object) -> Mapping[str, Any]:
    """Members of SendEmail that no argument of `Email` says. Raises `InvalidEmail`, which repeats no value."""
    if value is None:
        return NOTHING
    if not isinstance(value, Mapping):
        raise InvalidEmail("ses", f"is {type(value).__name__}, not a mapping")
    try:
        text = json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidEmail("ses", "is not a JSON object") from None
    if len(text) > MAX_SES_BYTES:
        raise InvalidEmail("ses", f"has {len(text)} bytes as JSON", f"at most {MAX_SES_BYTES}")
    members: dict[str, Any] = json.loads(text)
    for name, member in members.items():
        _check(name, member)
    return MappingProxyType(members) if members else NOTHING


def _check(name: str, member: Any) -> None:
    if name in _OURS:
        raise InvalidEmail("ses", f"says {name}, which {_OURS[name]} of the email say")
    if name in _NOT_DONE:
        raise InvalidEmail("ses", f"says {name}: {_NOT_DONE[name]}")
    from botocore.validate import ParamValidator  # noqa: PLC0415  who says nothing of this kind needs no botocore

    shape = _model().members.get(name)
    if shape is None:
        known = ", ".join(sorted(_model().members.keys() - _OURS.keys() - _NOT_DONE.keys()))
        raise InvalidEmail("ses", f"says {name}, which this botocore's SendEmail does not know", f"one of {known}")
    if ParamValidator().validate(member, shape).has_errors():
        raise InvalidEmail("ses", f"says {name} in another form than SES's SendEmail has")


@lru_cache(maxsize=1)
def _model() -> Any:
    from botocore.loaders import Loader  # noqa: PLC0415  as above
    from botocore.model import ServiceModel  # noqa: PLC0415

    return ServiceModel(Loader().load_service_model("sesv2", "service-2")).operation_model("SendEmail").input_shape
