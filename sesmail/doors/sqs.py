"""The door that loses least: SNS puts notifications into a queue, and we fetch them when we can."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from sesmail.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from sesmail.events.intake import Intake

log = logging.getLogger(__name__)

BATCH = 10  # the most that SQS gives at once
WAIT_SECONDS = 20  # the longest that SQS waits for a message
LONGEST_PAUSE_SECONDS = 60.0
WELL_FOR_SECONDS = 60.0  # two looks, each with the longest wait, and a slow store between them


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
        self._looked_at = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """Poll until told to stop. In trouble it pauses, longer and longer: receiving too often moves messages away."""
        pause_seconds = 0.0
        while not stop.wait(pause_seconds):
            pause_seconds = 0.0 if self._poll_safely() else min(LONGEST_PAUSE_SECONDS, max(1.0, 2 * pause_seconds))

    def is_well(self) -> bool:
        """Whether a look into the queue went well in the last minute: SQS answered, and what came was stored."""
        return time.monotonic() - self._looked_at < WELL_FOR_SECONDS

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
        except QueueUnavailable as error:
            log.error(error, extra={"action": "sqs_unreachable", "queue": self._queue_url})  # noqa: TRY400
            return False
        went_well = polled.stored > 0 or polled.received == 0
        if went_well:
            self._looked_at = time.monotonic()
        return went_well

    def drain(self) -> Polled:
        """Poll until the queue gives nothing that it has not given before: a dead-letter queue, by hand.

        Raises `QueueUnavailable`.
        """
        received, stored = set[str](), set[str]()
        while True:
            came, failed = self._take(wait_seconds=1)
            stored |= came - failed
            if came <= received:
                return Polled(received=len(received), stored=len(stored))
            received |= came

    def poll(self, wait_seconds: int = WAIT_SECONDS) -> Polled:
        """Take up to ten messages in. Raises `QueueUnavailable`."""
        came, failed = self._take(wait_seconds)
        return Polled(received=len(came), stored=len(came - failed))

    def _take(self, wait_seconds: int) -> tuple[set[str], set[str]]:
        """The ids of the messages that came, and of those among them that stay in the queue."""
        try:
            answer = self._client.receive_message(
                QueueUrl=self._queue_url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=wait_seconds
            )
            messages: dict[str, Any] = {message["MessageId"]: message for message in answer.get("Messages", ())}
            with self._taking:
                failed = self._intake.take({id_: message["Body"] for id_, message in messages.items()})
                self._delete([message["ReceiptHandle"] for id_, message in messages.items() if id_ not in failed])
        except (BotoCoreError, ClientError) as error:
            raise QueueUnavailable(
                f"The queue {self._queue_url} cannot be read now ({type(error).__name__}); what is in it stays there."
            ) from error
        return set(messages), failed

    def _delete(self, receipts: list[str]) -> None:
        if not receipts:
            return
        entries: Any = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]
        answer = self._client.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
        if failed := answer.get("Failed"):  # they come again, and are known then
            log.warning("%d stored messages could not be deleted from the queue.", len(failed))
