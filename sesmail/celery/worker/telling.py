"""What a worker says: where it sends, at its start; and what is in the mail's way, once, and when it is over."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sesmail.errors import ConfigurationError, LedgerUnavailable, SesError, in_a_line
from sesmail.frames import forget_variables
from sesmail.state.server.connection import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from celery import Celery

    from sesmail.client import Client
    from sesmail.sending.accounts import SesAccount
    from sesmail.sending.essence import Obstacle

log = logging.getLogger("sesmail")

AT_START = (
    *("redirected", "sender-wrong", "read-timeout-short", "queues-not-verified", "unsubscribe-unfit", "topics-none"),
    *("misspelt-celery", "redis-replica", "redis-failover", "redis-version", "redis-rights", "redis-disk"),
    *("redis-crowded", "redis-durability", "clock-redis", "broker-visibility-short", "line-closed"),
)
"""The checks of `sesmail doctor` that a worker makes: those that ask no AWS, and that nothing else of it tells."""


class FirstLines:
    """Where this worker sends, beside Celery's own first lines and as loud as those: also at its usual log level."""

    def __init__(self, app: Celery, client: Client, *, lanes: Collection[str], pool: str, quiet: bool) -> None:
        self._app, self._client, self._lanes, self._pool, self._quiet = app, client, lanes, pool, quiet

    def start(self) -> None:
        """In a thread: SES may take seconds to say what account this is, and the worker is not to wait for that."""
        threading.Thread(target=self._tell, name="sesmail-first-lines", daemon=True).start()

    def _tell(self) -> None:
        try:
            self._say("\n".join(self.lines()))
            self._warn()
        except (LedgerUnavailable, ConfigurationError) as error:
            log.warning("where this worker sends cannot be told: %s", in_a_line(error))
        except Exception as error:
            forget_variables(error)
            log.exception("where this worker sends could not be told")

    def lines(self) -> list[str]:
        """Ledger, broker, lanes and pool, then each account. Raises `LedgerUnavailable`."""
        from sesmail.celery.broker_setup import broker_setup  # noqa: PLC0415  it loads botocore

        settings = self._client.settings
        place = shown(settings.redis_url, master_name=settings.redis_master_name, said_as=settings.said_as("redis_url"))
        prefix = f"{settings.global_key_prefix}{settings.key_prefix}"
        takes = ", ".join(self._lanes) or "none: this worker takes no email"
        return [
            f"email by sesmail {version('sesmail')}, site {settings.site}",
            f"  ledger  {place}, prefix {prefix}",
            f"  broker  {broker_setup(self._app).place}",
            f"  queues  {takes}; pool {self._pool}",
            *(line for name, each in self._client.accounts.items() for line in self._of_account(name, each)),
        ]

    def _of_account(self, name: str, account: SesAccount) -> Iterator[str]:
        heading = "SES" if len(self._client.accounts) == 1 else f"SES account {name}:"
        try:
            yield f"  {heading}     {account.transport().said.removeprefix('SES is asked ')}"
        except (SesError, ConfigurationError) as error:
            yield f"  {heading}     cannot be asked: {in_a_line(error)}"
            return
        account.watch.make_sure()
        now = account.throttle.snapshot()
        rate = "any rate" if now.rate < 0 else f"{now.rate:.4g} recipients a second"
        quota = "any number" if now.quota < 0 else f"{now.quota:,}"
        standing = now.standing or ("it has not said yet" if now.source is None else "not told by SES")
        yield f"  account {standing}; {rate}, {quota} in 24 hours, {now.quota_used:,} of them used"

    def _warn(self) -> None:
        """Of each thing that is wrong with it."""
        from sesmail.celery.broker_setup import broker_setup  # noqa: PLC0415  it loads botocore
        from sesmail.doctor import Patient, examine  # noqa: PLC0415

        report = examine(Patient(self._client, broker_setup(self._app)), only=AT_START)
        for each in report.findings:
            log.warning("%s %s (%s)", each.what, each.do, each.docs, extra={"action": "doctor", "check": each.id})
        for name, account in self._client.accounts.items():
            standing = account.throttle.snapshot().standing
            if standing not in {"", "healthy"}:
                words = "SES says of the account %s: %s. In the sandbox it sends to verified addresses alone."
                log.warning(words, name, standing, extra={"action": "account_standing", "standing": standing})

    def _say(self, text: str) -> None:
        if not self._quiet and sys.__stdout__ is not None:
            with suppress(OSError, ValueError):  # a terminal that is gone
                print(text, file=sys.__stdout__, flush=True)


TOLD = ("quota", "stopped", "paused", "redis-full")
TOLD_ELSEWHERE = ("unheard",)
"""Its beginning is told by one of the fleet: see duties.py."""


class InTheWay:
    """Watches what is in the mail's way: a warning when it comes, and one when it is over."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[tuple[Any, ...], str] = {}

    def look(self) -> None:
        """Once. Raises `LedgerUnavailable`."""
        found = {_key(each): each for each in self._client.obstacles.look() if each.id in {*TOLD, *TOLD_ELSEWHERE}}
        for key, each in found.items():
            if key not in self._known and each.id in TOLD:
                log.warning("%s %s", each.what, each.do, extra={"action": "in_the_way", "obstacle": each.id})
        for key in [key for key in self._known if key not in found]:
            log.warning("It is over: %s", self._known[key], extra={"action": "out_of_the_way", "obstacle": key[0]})
        self._known = {key: self._known.get(key, each.what) for key, each in found.items()}


def _key(each: Obstacle) -> tuple[Any, ...]:
    """The same while it is the same: how many wait, and for how long, changes."""
    return each.id, each.lane, each.account, each.what.partition(" since ")[0] if " since " in each.what else ""
