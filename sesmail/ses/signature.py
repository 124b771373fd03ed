"""AWS's Signature Version 4 for a `POST` of JSON, with what is the same all day kept.

https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hmac
import time
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.credentials import ReadOnlyCredentials

ALGORITHM = "AWS4-HMAC-SHA256"


class Signer:
    """Signs requests to one host, for one service and Region; for any number of threads."""

    def __init__(self, credentials: Callable[[], ReadOnlyCredentials], *, host: str, region: str, service: str) -> None:
        """`credentials` answers those that hold now, renewed where they must be."""
        self._credentials = credentials
        self._host, self._region, self._service = host, region, service
        self._kept: tuple[str, str, bytes] = ("", "", b"")

    def headers(self, path: str, body: bytes, *, now: float | None = None) -> dict[str, str]:
        """The headers that a request must have. `now` in epoch seconds. Raises what `credentials` raises."""
        credentials = self._credentials()
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        token = credentials.token
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        names = "content-type;host;x-amz-date" + (";x-amz-security-token" if token else "")
        canonical = (
            f"POST\n{path}\n\ncontent-type:application/json\nhost:{self._host}\nx-amz-date:{moment}\n"
            f"{f'x-amz-security-token:{token}{chr(10)}' if token else ''}\n{names}\n{sha256(body).hexdigest()}"
        )
        to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        key = self._key_of(moment[:8], credentials.secret_key or "")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        signed = {
            "Content-Type": "application/json",
            "X-Amz-Date": moment,
            "Authorization": f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, "
            f"Signature={signature}",
        }
        return signed | ({"X-Amz-Security-Token": token} if token else {})

    def _key_of(self, day: str, secret: str) -> bytes:
        kept_day, kept_secret, key = self._kept
        if (kept_day, kept_secret) != (day, secret):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._kept = (day, secret, key)
        return key
