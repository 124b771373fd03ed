"""SigV4: every call must be signed; whether the signature is right is looked at only when secrets are configured."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from seslocal.errors import Kind, Refused

if TYPE_CHECKING:
    from starlette.requests import Request

    from seslocal.options import Options

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 "
    r"Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[^,\s]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)

_OF_ANY_REGION = "AWS4-ECDSA-P256-SHA256 "
"""SigV4A, of global endpoints (EndpointId): by a key pair, so that nobody can make it again to compare."""


async def check_signature(options: Options, request: Request) -> None:
    """Refuse a call without a signature, and, where secrets are known, one with a wrong one."""
    authorization = request.headers.get("authorization", "")
    if not authorization.startswith(("AWS4-HMAC-SHA256 ", _OF_ANY_REGION)) or "x-amz-date" not in request.headers:
        raise Refused(Kind.UNAUTHENTICATED)
    if options.credentials and not authorization.startswith(_OF_ANY_REGION):
        await _verify(dict(options.credentials), authorization, request)


async def _verify(secrets: dict[str, str], authorization: str, request: Request) -> None:
    parts = _AUTHORIZATION.fullmatch(authorization)
    if parts is None:
        raise Refused(Kind.UNAUTHENTICATED, "The Authorization header is malformed.")
    if parts["key"] not in secrets:
        raise Refused(Kind.BAD_KEY)
    expected = _sign(parts, secrets[parts["key"]], request, await request.body())
    if not hmac.compare_digest(expected, parts["signature"]):
        raise Refused(Kind.BAD_SIGNATURE)


def _sign(parts: re.Match[str], secret: str, request: Request, body: bytes) -> str:
    from botocore.auth import SigV4Auth  # noqa: PLC0415 - a second of imports that few runs need
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    signed = {name: request.headers.get(name, "") for name in parts["headers"].split(";")}
    path = request.scope["raw_path"].decode()
    url = f"http://{request.headers['host']}{path}?{request.url.query}".rstrip("?")
    again = AWSRequest(method=request.method, url=url, headers=signed, data=body)
    again.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(Credentials(parts["key"], secret), parts["service"], parts["region"])
    to_sign = signer.string_to_sign(again, signer.canonical_request(again))
    return str(signer.signature(to_sign, again))
