"""SES's own suppression list, of the account: asked slowly, as SES allows one such call a second.

https://docs.aws.amazon.com/ses/latest/dg/sending-email-suppression-list.html
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from sesmail.errors import SesmailError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = 1000
"""The most that SES lists at once."""
SECONDS_BETWEEN_CALLS = 1.0
_THROTTLED = {"TooManyRequestsException", "ThrottlingException", "Throttling"}
_MOST_TRIES = 6


class SesListUnavailable(SesmailError):
    """SES's own suppression list cannot be read or changed now; what was done before stays done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """An address on SES's list."""

    address: str = field(repr=False)
    reason: str
    """`BOUNCE` or `COMPLAINT`."""
    since: datetime


class SesSuppressionList:
    """The account's list at SES. All methods raise `SesListUnavailable`."""

    def __init__(self, client: Any, *, sleep: Callable[[float], object] = time.sleep) -> None:
        """`client` is boto3's of SES v2."""
        self._client = client
        self._sleep = sleep
        self._asked_at = 0.0

    def pages(self, token: str | None = None) -> Iterator[tuple[list[Listed], str | None]]:
        """All that are on it, a page at a time, from where a `token` of an earlier page says; with the next token."""
        while True:
            more = {"NextToken": token} if token else {}
            answer = self._ask("list_suppressed_destinations", PageSize=PAGE, **more)
            token = answer.get("NextToken")
            yield [_listed(row) for row in answer.get("SuppressedDestinationSummaries", ())], token
            if not token:
                return

    def put(self, address: str, reason: str) -> None:
        """Put an address on it, as `BOUNCE` or `COMPLAINT`."""
        self._ask("put_suppressed_destination", EmailAddress=address, Reason=reason)

    def delete(self, address: str) -> bool:
        """Take an address off it; False when it was not there."""
        try:
            self._ask("delete_suppressed_destination", EmailAddress=address)
        except _NotThere:
            return False
        return True

    def _ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        for number in range(_MOST_TRIES):
            wait_seconds = self._asked_at + SECONDS_BETWEEN_CALLS * 2.0**number - time.monotonic()
            if wait_seconds > 0:
                self._sleep(wait_seconds)
            self._asked_at = time.monotonic()
            try:
                answer: dict[str, Any] = getattr(self._client, call)(**arguments)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "NotFoundException":
                    raise _NotThere from None
                if code not in _THROTTLED or number + 1 == _MOST_TRIES:
                    raise SesListUnavailable(_why(code)) from None
            except BotoCoreError as error:
                raise SesListUnavailable(_why(type(error).__name__)) from None
            else:
                return answer
        raise AssertionError


class _NotThere(Exception):
    pass


def _why(code: str) -> str:
    return (
        f"SES's own suppression list could not be read or changed ({code}). What was done before stays done; run it "
        "again to go on. It needs ses:ListSuppressedDestinations, ses:PutSuppressedDestination and "
        "ses:DeleteSuppressedDestination, and an account outside the sandbox."
    )


def _listed(row: dict[str, Any]) -> Listed:
    since = row.get("LastUpdateTime")
    return Listed(
        address=row["EmailAddress"],
        reason=row["Reason"],
        since=since.astimezone(UTC) if isinstance(since, datetime) else datetime.now(UTC),
    )
