"""Scripts whose writes must be known beyond the memory of one server before anybody builds on them.

https://redis.io/docs/latest/commands/wait/ and https://redis.io/docs/latest/commands/waitaof/
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from sesmail.errors import ConfigurationError, LedgerUnavailable
from sesmail.state.scripts import Scripts
from sesmail.state.server.exchange import unreadable
from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from sesmail.state.keys import Keys

log = logging.getLogger("sesmail")

WAITED_FOR = ("accept", "begin", "settle", "batch_add", "batch_seal", "batch_begin", "batch_settle", "batch_leave")
"""An email that a caller is told is safe; and that SES may have it, or has it: forgotten, it would be sent again."""

MUST_NOT_BE_IN_DOUBT = ("accept", "begin", "batch_add", "batch_seal", "batch_begin")
"""What has happened at SES is waited for, but no reason to hold up a worker for as long as there is no replica."""

_LACKS_DISK = (
    "SESMAIL_ACCEPT_WAITS_FOR is disk, but {problem}. Nothing was accepted. {mend}, or leave the setting away: Redis "
    "then keeps what it is told as its own settings say."
)
_LACKS_REPLICA = (
    "SESMAIL_ACCEPT_WAITS_FOR is replica, but Redis does not know WAIT. Nothing was accepted. Leave the setting away, "
    "or use a Redis with replicas."
)


class DurableScripts(Scripts):
    """Scripts of which those in `WAITED_FOR` answer when a replica, or the disk, has what they wrote."""

    def __init__(
        self, redis: Redis, keys: Keys, patient: Redis, waits_for: Literal["replica", "disk"], wait_seconds: float
    ) -> None:
        """`patient` is the same Redis by connections whose time-out leaves room for the wait."""
        super().__init__(redis, keys)
        self._patient = patient
        self._waits_for = waits_for
        self._wait_ms = max(1, round(wait_seconds * 1000))
        self._is_checked = False

    def run(self, name: str, *arguments: str | bytes | float) -> Any:
        """As `Scripts.run`. Raises `LedgerUnavailable`, too, when it is written but not known to be safe in time."""
        if name not in WAITED_FOR:
            return super().run(name, *arguments)
        if not self._is_checked:
            self.check()
        text, digest = self.loaded(name)
        veiled = tuple(map(unreadable, arguments))
        with reachable(self._patient):
            answer, waited = self._run_and_wait("EVALSHA", digest, veiled)
            if isinstance(answer, NoScriptError):
                answer, waited = self._run_and_wait("EVAL", text, veiled)
            if isinstance(answer, Exception):
                raise answer
        if name in MUST_NOT_BE_IN_DOUBT and (isinstance(waited, Exception) or not _count(waited)):
            raise LedgerUnavailable(self._in_doubt(name, str(arguments[0]), waited))
        return answer

    def are_waited_for(self, name: str) -> bool:
        """Whether more is waited for than the script's answer."""
        return name in WAITED_FOR

    def _run_and_wait(self, command: str, script: str, arguments: tuple[Any, ...]) -> list[Any]:
        """In one round trip, on one connection: Redis waits for what this connection wrote.

        The key between them is for a call that is repeated: the script then finds its work done and writes nothing, and
        there would be nothing to wait for. What is written now comes behind what was written before.
        """
        with self._patient.pipeline(transaction=False) as pipe:
            queue: Callable[..., Any] = pipe.execute_command
            queue(command, script, *self._bases, *arguments)
            pipe.set(self.keys("written"), 1)
            queue(*self._wait(self._wait_ms))
            answer, _, waited = pipe.execute(raise_on_error=False)
        return [answer, waited]

    def _wait(self, milliseconds: int) -> tuple[str | int, ...]:
        if self._waits_for == "replica":
            return "WAIT", 1, milliseconds
        return "WAITAOF", 1, 0, milliseconds

    def _in_doubt(self, name: str, send_id: str, waited: Any) -> str:
        who = "no replica of Redis" if self._waits_for == "replica" else "the disk of Redis"
        has = "has" if self._waits_for == "replica" else "does not have"
        why = f" ({waited})" if isinstance(waited, Exception) else f" after {self._wait_ms / 1000:g} s"
        if name in ("batch_add", "batch_seal"):
            return (
                f"Redis took recipients of the batch {send_id}, but {who} {has} it yet{why}. Calling again with the "
                "same key goes on, and queues nobody twice."
            )
        if name != "accept":
            return f"{who} {has} it yet{why} that SES is to be asked, so it is not asked"
        return (
            f"Redis took the email {send_id}, but {who} {has} it yet{why}. It may be accepted: unless this Redis is "
            "lost now, it is sent. Calling again with the same task id or idempotency key is safe; with another, it "
            "may be sent twice."
        )

    def check(self) -> None:
        """Raises `ConfigurationError` where this Redis cannot do it, `LedgerUnavailable` if it is away."""
        with reachable(self._patient), self._patient.pipeline(transaction=False) as pipe:
            queue: Callable[..., Any] = pipe.execute_command
            pipe.set(self.keys("written"), 1)
            queue(*self._wait(self._wait_ms))
            written, waited = pipe.execute(raise_on_error=False)
            for answer in (written, waited):
                if isinstance(answer, NoPermissionError) or (answer is written and isinstance(answer, Exception)):
                    raise answer
        if isinstance(waited, ResponseError):
            raise ConfigurationError(self._lacks(str(waited))) from waited
        if not _count(waited):
            log.warning(
                "SESMAIL_ACCEPT_WAITS_FOR is %s, but none had a write within %g s: until that changes, no email is "
                "accepted or sent.%s",
                self._waits_for,
                self._wait_ms / 1000,
                " Has this Redis a replica that follows it?" if self._waits_for == "replica" else " Is appendfsync no?",
            )
        self._is_checked = True

    def _lacks(self, words: str) -> str:
        if self._waits_for == "replica":
            return _LACKS_REPLICA
        if "appendonly" in words:
            return _LACKS_DISK.format(problem="its append-only file is off", mend="Set `appendonly yes` in Redis")
        return _LACKS_DISK.format(problem="Redis does not know WAITAOF", mend="Use Redis 7.2 or newer, or Valkey")


def _count(waited: Any) -> int:
    """How many have it: WAIT answers a number, WAITAOF two, of which the first is of the server itself."""
    return int(waited[0] if isinstance(waited, list) else waited)
