"""What is known to have happened to one send, in words and in order: for the admin, `sesmail status` and `why`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.vocabulary import Cause, Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.vocabulary import Move, Reached, Status

WHY = {
    Cause.RATE: "too many were before it for the rate",
    Cause.QUOTA: "the 24-hour quota had no room for it",
    Cause.PAUSED: "an operator had paused the line",
    Cause.STOPPED: "SES refused everything of this kind",
    Cause.BRAKED: "the brake had stopped what it is of: too many bounces or complaints",
    Cause.VERSION: "a newer release keeps the books",
    Cause.SHUTDOWN: "its worker was shutting down",
    Cause.THROTTLED: "SES said that the send rate was exceeded",
    Cause.CONFIGURATION: "its worker could not ask SES as it is installed",
    Cause.UNREACHABLE: "SES could not be reached",
    "worker-gone": "its worker died, or held it for too long",
    "ticket-lost": "the broker had lost its ticket, and it got another",
    "no-evidence": "no event of SES came within the evidence window",
    "for-another-worker": "this worker left it to another one",
    "somebody-erased": "one of its recipients was erased",
    "too-old": "it was older than SESMAIL_MAX_AGE_SECONDS",
    "too-many": "one of its recipients had too many emails an hour",
    "requeued": "an operator sent it again",
    "rescheduled": "somebody gave it another time",
}
"""What a move's word means; others are codes of SES, or reasons for an opt-out."""


def story(status: Status, shown: Callable[[str], str] = str) -> list[tuple[float, str]]:
    """When (epoch seconds) and what: from its acceptance, over the moves that are kept, to what SES told of it.

    Of what a release before the first that keeps moves has done, only the acceptance and the present state are known.
    `shown` is what is shown of an address; where there is one recipient, none is.
    """
    events = [(each.at, _told(each, shown if status.recipients > 1 else None)) for each in status.reached]
    return sorted([*_moves(status), *events], key=lambda each: int(each[0]))  # moves have whole seconds


def _told(reached: Reached, shown: Callable[[str], str] | None) -> str:
    why = f" ({reached.why})" if reached.why else ""
    by = "opted out" if reached.delivery is Delivery.SUPPRESSED else f"SES says: {reached.delivery}"
    return f"{by}{why}{f', {shown(reached.recipient)}' if shown else ''}"


def _moves(status: Status) -> list[tuple[float, str]]:
    told = [(move.at, _in_words(move)) for move in status.moves]
    if not any(move.why in {"accepted", "requeued"} for move in status.moves):
        told.insert(0, (status.accepted_at, "accepted"))
    if status.moves and status.moves[-1].state is status.state:
        return told
    if not status.moves and status.changed_at == status.accepted_at:
        return [(status.accepted_at, f"accepted, {status.state}")]
    return [*told, (status.changed_at, str(status.state))]


def _in_words(move: Move) -> str:
    if move.why == "accepted":
        return move.why
    said = f"{move.state}: {WHY.get(move.why, move.why)}" if move.why else str(move.state)
    times = f", {move.times} times in a row" if move.times > 1 else ""
    return f"{said}{times}{f' (worker {move.worker})' if move.worker else ''}"
