"""The door for AWS Lambda, behind SQS (with ReportBatchItemFailures) or behind SNS itself.

The handler to name is `sesmail.doors.aws_lambda.handler`; its settings are in the function's environment.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sesmail.client import Client
from sesmail.errors import EventNotStored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sesmail.events.intake import Intake


def lambda_handler(intake: Intake) -> Callable[[Mapping[str, Any], object], dict[str, Any] | None]:
    """The function for Lambda to call."""

    def handle(event: Mapping[str, Any], _context: object) -> dict[str, Any] | None:
        records = event["Records"]
        if "Sns" not in records[0]:
            failed = intake.take({record["messageId"]: record["body"] for record in records})
            return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in sorted(failed)]}
        # All are tried before it fails: they come again together, and those that are stored are known then.
        if failed := intake.take({str(number): record["Sns"] for number, record in enumerate(records)}):
            raise EventNotStored(f"{len(failed)} of {len(records)} notifications were not stored; Lambda tries again.")
        return None

    return handle


@cache
def _client() -> Client:
    """By the settings in the function's environment; no broker is told, the workers look for events by themselves."""
    return Client()


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any] | None:
    """Lambda's function, by the settings in its environment. What was made for one call serves the next."""
    return lambda_handler(_client().real_intake)(event, context)
