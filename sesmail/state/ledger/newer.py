"""What a newer release wrote is left for it: two releases work side by side while one takes the other's place.

Whatever two releases share says its version. A release reads what older ones wrote; what is of a version that it does
not know it neither uses nor changes. docs/upgrading.md has the whole of it.
"""

from __future__ import annotations

import logging

from sesmail.occasional import Occasional

log = logging.getLogger("sesmail")


class Newer(Exception):
    """Something has a version that this release does not know: it is another's to use."""

    def __init__(self, what: str, version: object, known: int) -> None:
        super().__init__(f"{what} is of a newer release (version {version}; this worker knows {known})")


class WarnOfSendsLeft:
    """Tells people, once a minute at most, that sends are left to other workers."""

    def __init__(self) -> None:
        self._once_a_minute = Occasional(60.0)

    def __call__(self, send_id: str, reason: str) -> None:
        """Nothing is said where there is no reason: another worker has the send."""
        if not reason or not self._once_a_minute.is_due():
            return
        log.warning(
            "An email is left to another worker: %s. Such emails wait, none is lost; they go out as soon as a worker "
            "runs that can take them. Upgrade this one, or start one of that release or for that account.",
            reason,
            extra={"action": "send_left", "send_id": send_id},
        )
