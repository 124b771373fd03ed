"""The door for AWS Lambda: behind SQS (with ReportBatchItemFailures), behind SNS itself, or behind EventBridge.

The handler to name is `sesmail.doors.aws_lambda.handler`; its settings are in the function's environment.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from sesmail.client import Client
from sesmail.errors import EventNotStored, NotificationRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sesmail.events.intake import Intake


def lambda_handler(intake: Intake) -> Callable[[Mapping[str, Any], object], dict[str, Any] | None]:
    """The function for Lambda to call."""

    def handle(event: Mapping[str, Any], _context: object) -> dict[str, Any] | None:
        records = event.get("Records") if hasattr(event, "get") else None
        if isinstance(records, list) and all(map(_is_of_sqs, records)):
            failed = intake.take({record["messageId"]: record["body"] for record in records})
            return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in sorted(failed)]}
        if isinstance(records, list) and all(map(_is_of_sns, records)):
            # All are tried before it fails: they come again together, and those that are stored are known then.
            _take_all(intake, {str(number): record["Sns"] for number, record in enumerate(records)})
        elif _is_of_eventbridge(event):
            _take_all(intake, {"event": json.dumps(event)})
        else:
            raise NotificationRefused(_not_for_us(event), status=400)
        return None

    return handle


def _take_all(intake: Intake, messages: Mapping[str, Any]) -> None:
    """Take them in. Raises `EventNotStored` where one was not stored, so that Lambda calls again."""
    if failed := intake.take(messages):
        raise EventNotStored(
            f"{len(failed)} of {len(messages)} notifications were not stored; Lambda tries again. The log says why."
        )


def _is_of_sqs(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(record.get("messageId"), str) and isinstance(record.get("body"), str)


def _is_of_sns(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(record.get("Sns"), dict)


def _is_of_eventbridge(event: Any) -> bool:
    return isinstance(event, dict) and event.get("source") == "aws.ses" and isinstance(event.get("detail"), dict)


_SENDERS = {
    "deliveryStreamArn": "Amazon Data Firehose",
    "requestContext": "a function URL or an API gateway",
    "detail-type": "EventBridge, but not an event of SES",
    "Records": "a source whose records are neither SQS's nor SNS's",
}


def _not_for_us(event: Any) -> str:
    names = event.keys() if isinstance(event, dict) else ()
    what = next((who for name, who in _SENDERS.items() if name in names), "the console's test event, perhaps")
    return (
        "This function takes events of SES that come by SQS, SNS or EventBridge; what it was called with is none of "
        f"these ({what}). Nothing was stored. Have SES tell an SNS topic, and the topic an SQS queue: see "
        "docs/events-setup.md."
    )


@cache
def _client() -> Client:
    """By the settings in the function's environment; no broker is told, the workers look for events by themselves."""
    return Client()


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any] | None:
    """Lambda's function, by the settings in its environment. What was made for one call serves the next."""
    return lambda_handler(_client().real_intake)(event, context)
