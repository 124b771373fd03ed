"""How SES, SNS and SQS are set up, as they tell it themselves: what is asked here changes nothing.

Each question is asked once; SES allows one such call of a kind a second, so boto3's own retries are left on.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from sesmail.errors import SesError, SesMisconfigured
from sesmail.ses.answers import what_happens_next

if TYPE_CHECKING:
    from collections.abc import Callable


_BOUNDED = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})


class Denied(Exception):
    """The caller has no right to the action, `ses:GetAccount`."""

    def __init__(self, action: str) -> None:
        super().__init__(f"{action} is not allowed")
        self.action = action


class NotThere(Exception):
    """There is no such thing."""


_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "AuthorizationErrorException",
    "NotAuthorized",
}
_NOT_THERE = {
    "NotFound",
    "NotFoundException",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
    "NonExistentQueue",
}


class Inspection:
    """Asks, and remembers the answers. Raises `Denied`, `NotThere`, and `SesError` where there is no answer."""

    def __init__(self, client_of: Callable[..., Any], *, now: Callable[[], float] = time.time) -> None:
        """`client_of` makes boto3's client of a service, in a Region (None is that of SES), with a `config`."""
        self._now = now
        self._client_of = client_of
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._answers: dict[Any, Any] = {}
        self.aws_is_ahead_seconds: float | None = None
        """By how much AWS's clock is ahead of ours, by its first answer's Date; None before there is one."""

    def ask(self, service: str, call: str, *, region: str | None = None, **arguments: Any) -> dict[str, Any]:
        """One answer of boto3's client of `service`; the same question gets the same answer."""
        question = (service, call, region, repr(sorted(arguments.items())))
        if question not in self._answers:
            self._answers[question] = self._ask(service, call, region, arguments)
        answer = self._answers[question]
        if isinstance(answer, Exception):
            raise answer
        found: dict[str, Any] = answer
        return found

    def endpoint(self, service: str = "sesv2") -> str:
        """Where a service is asked. Raises `SesError` where boto3 cannot tell."""
        return str(self._client(service, None).meta.endpoint_url)

    def _client(self, service: str, region: str | None) -> Any:
        """Raises `SesError` where it cannot be made, or nothing has answered there: once more says no more."""
        if (service, region) not in self._clients:
            try:
                self._clients[service, region] = self._client_of(service, region, config=_BOUNDED)
            except (BotoCoreError, ValueError) as error:
                self._clients[service, region] = _of_boto3(error)
        found = self._clients[service, region]
        if isinstance(found, Exception):
            raise found
        return found

    def _ask(self, service: str, call: str, region: str | None, arguments: dict[str, Any]) -> Any:
        action = call
        try:
            client = self._client(service, region)
            action = f"{service.removesuffix('v2')}:{client.meta.method_to_api_mapping[call]}"
            answer = getattr(client, call)(**arguments)
        except ClientError as error:
            self._note_date(error.response)
            return _meaning(error, action)
        except SesError as error:
            return error
        except (BotoCoreError, ResponseParserError, ValueError) as error:
            self._clients[service, region] = answer = _of_boto3(error)
            return answer
        self._note_date(answer)
        return answer

    def _note_date(self, answer: Any) -> None:
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date and self.aws_is_ahead_seconds is None:
            self.aws_is_ahead_seconds = parsedate_to_datetime(date).timestamp() - self._now()


def _meaning(error: ClientError, action: str) -> Exception:
    code = error.response["Error"].get("Code", "")
    if code in _DENIED:
        return Denied(action)
    if code in _NOT_THERE:
        return NotThere(action)
    return what_happens_next(error)


def _of_boto3(error: Exception) -> SesError:
    if isinstance(error, ValueError):
        return SesMisconfigured(f"boto3 cannot be set up: {error}", code=type(error).__name__)
    return what_happens_next(error)
