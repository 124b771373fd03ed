"""The door that loses least: SNS puts notifications into a queue, and we fetch them when we can."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from sesmail.events.intake import Intake

log = logging.getLogger(__name__)

BATCH = 10  # the most that SQS gives at once
WAIT_SECONDS = 20  # the longest that SQS waits for a message
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What one look into the queue brought."""

    received: int
    stored: int


class SqsPoller:
    """Moves what is in a queue into the event store: deletes what is stored, leaves what is not."""

    def __init__(self, client: SQSClient, queue_url: str, intake: Intake) -> None:
        """`client` is boto3's, with a read timeout above 20 s, such as boto3's own default."""
        self._client = client
        self._queue_url = queue_url
        self._intake = intake
        self._taking = threading.Lock()

    def run(self, stop: threading.Event) -> None:
        """Poll until told to stop. In trouble it pauses, longer and longer: receiving too often moves messages away."""
        pause_seconds = 0.0
        while not stop.wait(pause_seconds):
            pause_seconds = 0.0 if self._poll_safely() else min(LONGEST_PAUSE_SECONDS, max(1.0, 2 * pause_seconds))

    def finish(self) -> None:
        """Return once what was received is stored and deleted; from now on nothing more is taken in.

        For a process that ends while `run` waits for SQS in a daemon thread. What SQS may still give to that call is
        never deleted, so it comes again.
        """
        self._taking.acquire()

    def _poll_safely(self) -> bool:
        """Whether it goes on: some were stored, or there were none."""
        try:
            polled = self.poll()
        except (BotoCoreError, ClientError):
            log.exception(
                "The queue cannot be read now; what is in it stays there.", extra={"action": "sqs_unreachable"}
            )
            return False
        return polled.stored > 0 or polled.received == 0

    def drain(self) -> Polled:
        """Poll until the queue gives nothing more that can be stored, such as a dead-letter queue by hand."""
        received = stored = 0
        while (polled := self.poll(wait_seconds=1)).stored:
            received, stored = received + polled.received, stored + polled.stored
        return Polled(received=received + polled.received, stored=stored)

    def poll(self, wait_seconds: int = WAIT_SECONDS) -> Polled:
        """Take up to ten messages in. Raises boto3's errors when the queue cannot be reached."""
        answer = self._client.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=wait_seconds
        )
        messages: dict[str, Any] = {message["MessageId"]: message for message in answer.get("Messages", ())}
        with self._taking:
            failed = self._intake.take({id_: message["Body"] for id_, message in messages.items()})
            self._delete([message["ReceiptHandle"] for id_, message in messages.items() if id_ not in failed])
        return Polled(received=len(messages), stored=len(messages) - len(failed))

    def _delete(self, receipts: list[str]) -> None:
        if not receipts:
            return
        entries: Any = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]
        answer = self._client.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
        if failed := answer.get("Failed"):  # they come again, and are known then
            log.warning("%d stored messages could not be deleted from the queue.", len(failed))
