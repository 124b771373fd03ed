"""What SES says when it refuses: one kind per cause, and how each API spells it.

Codes and statuses are those of botocore's models; the words for rate, daily quota, unverified identities and accounts
paused by AWS are from real logs. The two limits share one code: only the message tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Why a call was refused; the key under which the report counts it."""

    RATE = "rate"  # more recipients in a second than the account may send
    DAILY_QUOTA = "daily_quota"  # more recipients in 24 hours than the account may send
    API_RATE = "api_rate"  # more than one call a second of an action that does not send
    UNVERIFIED = "unverified"  # the sender, or in the sandbox a recipient, is not verified
    REJECTED = "rejected"  # the content is refused for good
    PAUSED_BY_AWS = "paused_by_aws"  # AWS has paused the account
    PAUSED = "paused"  # the owner has paused the account
    CONFIGURATION_SET_PAUSED = "configuration_set_paused"  # the owner has paused the configuration set
    TENANT_PAUSED = "tenant_paused"  # the owner, or SES, has paused the tenant
    NOT_OF_TENANT = "not_of_tenant"  # an identity, configuration set or template that is not associated with the tenant
    SUSPENDED = "suspended"  # AWS has closed the account for sending
    MAIL_FROM = "mail_from_unverified"  # the custom MAIL FROM domain is not verified
    INVALID = "invalid"  # the request breaks a limit or is malformed
    TOO_LARGE = "too_large"  # the request's body is larger than any email may be
    CONFIGURATION_SET_MISSING = "configuration_set_missing"
    TEMPLATE_MISSING = "template_missing"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    LIMIT_EXCEEDED = "limit_exceeded"  # too many resources of a kind
    UNAUTHENTICATED = "unauthenticated"  # no signature
    BAD_KEY = "bad_key"
    BAD_SIGNATURE = "bad_signature"
    EXPIRED_TOKEN = "expired_token"  # noqa: S105 - a kind of refusal, not a secret
    ACCESS_DENIED = "access_denied"
    UNKNOWN_OPERATION = "unknown_operation"
    INTERNAL = "internal_error"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Wire:
    """How one kind of refusal looks in both APIs."""

    v2_code: str
    v2_status: int
    v1_code: str
    v1_status: int
    message: str


PAUSED_MESSAGE = (
    "Sending paused for this account. "
    "For more information, please check the inbox of the email address associated with your AWS account."
)

WIRE: dict[Kind, Wire] = {
    Kind.RATE: Wire("TooManyRequestsException", 429, "Throttling", 400, "Maximum sending rate exceeded."),
    Kind.DAILY_QUOTA: Wire("TooManyRequestsException", 429, "Throttling", 400, "Daily message quota exceeded."),
    Kind.API_RATE: Wire("ThrottlingException", 400, "Throttling", 400, "Rate exceeded"),
    Kind.UNVERIFIED: Wire("MessageRejected", 400, "MessageRejected", 400, "Email address is not verified."),
    Kind.REJECTED: Wire("MessageRejected", 400, "MessageRejected", 400, "Message failed a check and was rejected."),
    Kind.PAUSED_BY_AWS: Wire("MessageRejected", 400, "MessageRejected", 400, PAUSED_MESSAGE),
    Kind.PAUSED: Wire("SendingPausedException", 400, "AccountSendingPausedException", 400, PAUSED_MESSAGE),
    Kind.CONFIGURATION_SET_PAUSED: Wire(
        "SendingPausedException",
        400,
        "ConfigurationSetSendingPausedException",
        400,
        "Sending paused for this configuration set.",
    ),
    Kind.TENANT_PAUSED: Wire(  # nothing that AWS documents: by analogy
        "SendingPausedException",
        400,
        "MessageRejected",
        400,
        "Sending paused for this tenant.",
    ),
    Kind.NOT_OF_TENANT: Wire(
        "BadRequestException", 400, "InvalidParameterValue", 400, "A resource is not associated with the tenant."
    ),
    Kind.SUSPENDED: Wire("AccountSuspendedException", 400, "AccountSuspended", 400, "This account is suspended."),
    Kind.MAIL_FROM: Wire(
        "MailFromDomainNotVerifiedException",
        400,
        "MailFromDomainNotVerifiedException",
        400,
        "Mail FROM domain is not verified.",
    ),
    Kind.INVALID: Wire("BadRequestException", 400, "InvalidParameterValue", 400, "The request is not valid."),
    Kind.TOO_LARGE: Wire("RequestEntityTooLarge", 413, "RequestEntityTooLarge", 413, "The request is too large."),
    Kind.CONFIGURATION_SET_MISSING: Wire(
        "NotFoundException", 404, "ConfigurationSetDoesNotExist", 400, "Configuration set does not exist."
    ),
    Kind.TEMPLATE_MISSING: Wire("NotFoundException", 404, "TemplateDoesNotExist", 400, "Template does not exist."),
    Kind.NOT_FOUND: Wire("NotFoundException", 404, "NotFound", 404, "The resource does not exist."),
    Kind.ALREADY_EXISTS: Wire("AlreadyExistsException", 400, "AlreadyExists", 400, "The resource exists already."),
    Kind.LIMIT_EXCEEDED: Wire("LimitExceededException", 400, "LimitExceeded", 400, "There are too many of them."),
    Kind.UNAUTHENTICATED: Wire(
        "MissingAuthenticationTokenException", 403, "MissingAuthenticationToken", 403, "Missing Authentication Token"
    ),
    Kind.BAD_KEY: Wire(
        "UnrecognizedClientException",
        403,
        "InvalidClientTokenId",
        403,
        "The security token included in the request is invalid.",
    ),
    Kind.BAD_SIGNATURE: Wire(
        "SignatureDoesNotMatch",
        403,
        "SignatureDoesNotMatch",
        403,
        "The request signature we calculated does not match the signature you provided.",
    ),
    Kind.EXPIRED_TOKEN: Wire(
        "ExpiredTokenException", 403, "ExpiredToken", 403, "The security token included in the request is expired"
    ),
    Kind.ACCESS_DENIED: Wire(
        "AccessDeniedException", 403, "AccessDenied", 403, "User is not authorized to perform this action."
    ),
    Kind.UNKNOWN_OPERATION: Wire("UnknownOperationException", 404, "InvalidAction", 400, "No such action."),
    Kind.INTERNAL: Wire(
        "InternalServiceErrorException",
        500,
        "InternalFailure",
        500,
        "The request processing has failed because of an unknown error.",
    ),
    Kind.UNAVAILABLE: Wire("ServiceUnavailable", 503, "ServiceUnavailable", 503, "The service is unavailable."),
}


class Refused(Exception):
    """SES refuses a call; the message is what it says, by default the usual words for this kind."""

    def __init__(self, kind: Kind, message: str | None = None) -> None:
        self.kind = kind
        self.message = WIRE[kind].message if message is None else message
        super().__init__(self.message)

    @property
    def wire(self) -> Wire:
        """How both APIs spell it."""
        return WIRE[self.kind]


def invalid(message: str) -> Refused:
    """The request breaks a rule."""
    return Refused(Kind.INVALID, message)
