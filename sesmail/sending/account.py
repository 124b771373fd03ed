"""The account's limits: asked of SES by one worker for the whole fleet, and told to the throttle."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from sesmail.errors import SesError, SesMisconfigured
from sesmail.state.line.line import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.sending.throttle import SendThrottle
    from sesmail.ses.transport import Account, SesTransport
    from sesmail.settings import Settings
    from sesmail.state.fleet.workers import Turn, Turns

log = logging.getLogger("sesmail")

READING, READING_FOR_ROOM = "account", "account-for-room"
"""Whose turn it is to ask SES; and whose, though it was asked not long ago."""

READ_EVERY_SECONDS = 180.0
READ_FOR_ROOM_SECONDS = 30.0
"""While anything waits for the quota or the rate: what has grown is used soon."""
FIRST_READ_SECONDS = 5.0
READ_AGAIN_SECONDS = 15.0
"""After a failure. SES allows one such call a second for each account."""


class AccountWatch:
    """Keeps the throttle's limits those of the account, followed without a restart."""

    def __init__(
        self, settings: Settings, throttle: SendThrottle, turns: Turns, transport: Callable[[], SesTransport]
    ) -> None:
        self._settings = settings
        self._throttle = throttle
        self._turns = turns
        self._transport = transport
        self._known = False
        self._warned_of = ""

    def make_sure(self) -> None:
        """Before this process sends for the first time: the limits are known, or nobody could learn them in time.

        Without it, the first emails of a fleet would go at the sandbox's rate.
        """
        deadline = time.monotonic() + FIRST_READ_SECONDS
        while not self._known:
            self.refresh_if_due()
            self._known = self._throttle.snapshot().source is not None or time.monotonic() > deadline
            if not self._known:
                time.sleep(0.05)

    def refresh_if_due(self) -> None:
        """Ask SES if no worker has lately. Where SES cannot be asked, the settings hold; without those, the sandbox."""
        turn = self._turns.take(READING, READ_AGAIN_SECONDS) or self._turn_for_room()
        if turn is None:
            return
        try:
            self._tell(self._transport().account())
        except SesError as error:
            self._fall_back(error)
        else:
            self._turns.extend(turn, READ_FOR_ROOM_SECONDS if turn.name == READING_FOR_ROOM else READ_EVERY_SECONDS)

    def _turn_for_room(self) -> Turn | None:
        if not self._throttle.anything_waits():
            return None
        return self._turns.take(READING_FOR_ROOM, READ_FOR_ROOM_SECONDS)

    def _tell(self, account: Account) -> None:
        standing = account.standing()
        self._update(account.max_send_rate, account.max_24_hour_send, account.sent_last_24_hours, "ses", standing)
        if not account.sending_enabled or account.enforcement_status == "SHUTDOWN":
            self._stop(standing)

    def _stop(self, standing: str) -> None:
        """Before an email is asked for in vain. The line opens as after any refusal: when SES takes one again."""
        reason = f"SES says that sending is paused for this account ({standing}): see the SES console"
        if self._throttle.line.stop(ACCOUNT, reason):
            log.error("%s; email waits", reason, extra={"action": "line_stopped", "scope": ACCOUNT})

    def _update(self, rate: float, quota: float, sent: float | None, source: str, standing: str = "") -> None:
        self._throttle.update_account(
            rate=rate,
            share=self._settings.share,
            quota_24h=quota,
            sent_24h=sent,
            bulk_reserve=self._settings.quota_reserve,
            source=source,
            standing=standing,
        )

    def _fall_back(self, error: SesError) -> None:
        """What SES said before holds while it is only out of reach; the settings hold where it may not be asked."""
        if self._throttle.snapshot().source == "ses" and not isinstance(error, SesMisconfigured):
            return
        rate, quota = self._settings.max_send_rate, self._settings.max_24_hour_send
        if rate is not None:
            self._update(rate, -1 if quota is None else quota, None, "settings")
            log.info("SES does not tell the account's limits; those of the settings hold", extra={"code": error.code})
        elif self._throttle.snapshot().source is None:
            log.log(
                logging.INFO if error.code == self._warned_of else logging.WARNING,  # it is asked every few seconds
                "SES does not tell the account's limits (%s) and SESMAIL_MAX_SEND_RATE is not set: email goes out at "
                "the sandbox's rate of one recipient a second. %s",
                error.code,
                "Allow ses:GetAccount, or set SESMAIL_MAX_SEND_RATE." if error.is_answer else error,
                extra={"code": error.code},
            )
            self._warned_of = error.code


def read_at_once(turns: Turns) -> None:
    """Somebody knows that something has changed: the next worker that looks asks SES, however lately one did."""
    for name in (READING, READING_FOR_ROOM):
        turns.free(name)
