"""The breaker: pauses the account's line while SES is out of order, for the whole fleet, and tries it again.

SES is out of order when it cannot be reached, or gives no clear answer (a 5xx, a time-out), a few times in a row. While
the line is closed nothing is asked but single probes, at growing pauses: `GetAccount` first, which costs no email its
certainty; where that is answered, one email, of bulk where any waits. A clear answer opens the line, and all that waits
goes on.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sesmail.state.scripts import Scripts

UNCLEAR_IN_A_ROW = 3
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
EMAIL_IN_ANY_CASE_SECONDS = 300.0
"""How long `GetAccount` is believed when it has no answer: SES's sending may be well again when that is not."""


class Probed(StrEnum):
    """What tried whether SES is well again."""

    ACCOUNT = "account"  #: GetAccount, which must answer before an email is tried
    EMAIL = "email"


class Breaker:
    """Closes and opens the account's line. Methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, scripts: Scripts) -> None:
        self._run = scripts.run

    def unclear(self, reason: str, *, probed: Probed | None = None) -> bool:
        """SES could not be reached, or gave no clear answer. True when that has closed the line.

        `probed` names what was to try a closed line: the next try comes later then.
        """
        return self._saw(probed or "unclear", reason) == b"closed"

    def clear(self) -> bool:
        """SES gave a clear answer to what was to try the line, be it yes or no. True when that has opened it."""
        return self._saw("clear", "") == b"opened"

    def _saw(self, what: str, reason: str) -> bytes:
        seconds = (FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, EMAIL_IN_ANY_CASE_SECONDS)
        pauses = [round(each * 1000) for each in seconds]
        answer: bytes = self._run("breaker", what, reason, UNCLEAR_IN_A_ROW, *pauses)
        return answer
