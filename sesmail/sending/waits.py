"""Why one send, or a batch, waits, as it is by now: what a row says is what a worker saw when it last looked."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from sesmail.errors import MoveRefused, UnknownSend
from sesmail.message import Lane
from sesmail.sending.batches.written import WrittenLetter
from sesmail.sending.essence import Essence, Obstacle, duration
from sesmail.sending.obstacles import steered
from sesmail.state.ledger.kept import kept_email
from sesmail.state.ledger.newer import Newer
from sesmail.state.ledger.rows import DEFAULT_ACCOUNT
from sesmail.state.line.line import ACCOUNT, account_scope, list_scope, site_scope
from sesmail.vocabulary import LOT, BatchState, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sesmail.settings import Settings
    from sesmail.state.batches.batches import Batches
    from sesmail.state.ledger.search import Listed
    from sesmail.state.line.line import Closure
    from sesmail.state.scripts import Scripts
    from sesmail.vocabulary import BatchStatus

IN_TURN = "a worker takes it in its turn"
WAITS_FOR_A_WORKER = (State.QUEUED, State.SCHEDULED, State.CLAIMED)
OF_OTHERS = ("refused", "unknown", "unheard", "reputation", "batch-paused", "batch-unread", "batch-not-taken")
"""What holds up no single send, or none but those of some batch."""
MOST_SECONDS_OF_A_WORKER = 60.0
"""A worker has a batch wait for less; for longer waits what was asked for, or the next day of a ramp."""
ENDED = {
    State.SUPPRESSED: "its recipient has opted out, complained or bounced",
    State.CANCELLED: "it was taken back before SES was asked",
    State.EXPIRED: "its expiry time passed first",
}
"""For recipients of batches, which keep no reason for each."""


class Waits:
    """Looks once how things stand; tells of any number of sends. Methods raise `LedgerUnavailable`."""

    def __init__(self, now: Essence, settings: Settings, batches: Batches, scripts: Scripts) -> None:
        self.now = now
        self._settings, self._batches, self._scripts = settings, batches, scripts
        self._known: dict[str, BatchStatus | None] = {}
        self._letters: dict[str, Mapping[str, str]] = {}

    # -- one send ---------------------------------------------------------------------------------------------------

    def why(self, send: Listed) -> str:
        """In a line. For one that is at its end, why it ended so."""
        status = send.status
        if status.state in WAITS_FOR_A_WORKER:
            return self._stopped(send) or self._goes(send)
        if status.state is State.SENDING:
            return "SES is being asked"
        if status.state is State.UNKNOWN:
            last = "you (`sesmail unknown`)" if self._settings.on_unknown == "hold" else "the end of its window"
            return f"{status.reason or 'SES gave no clear answer'}: an event settles it, else {last}"
        return status.reason or ENDED.get(status.state, "")

    def in_the_way(self, send: Listed) -> list[Obstacle]:
        """What is in the way of a send that waits for a worker, the weightiest first; of another one nothing is."""
        if send.status.state not in WAITS_FOR_A_WORKER:
            return []
        scopes, batch = self._scopes(send), self._batch(send)
        found = [each for each in self.now.obstacles if each.id not in OF_OTHERS and _is_of(each, send, scopes)]
        return found + (self._of_its_batch(batch) if batch else [])

    def _of_its_batch(self, batch: BatchStatus) -> list[Obstacle]:
        still = [each for each in self.now.obstacles if batch.batch_id in each.batches and each.id == "batch-not-taken"]
        return [*still, *steered(replace(self.now, batches=(batch,)))]

    def _stopped(self, send: Listed) -> str:
        batch, lane, state = self._batch(send), send.status.lane, send.status.state
        closed = (_steered(batch) if batch else "") or self._closed(self._scopes(send), send.account)
        if state is State.CLAIMED:
            return closed
        no_worker = self._no_worker(lane, batch) if state is State.QUEUED else ""
        return _late(send, self.now) or closed or no_worker or self._no_room(lane, send.account)

    def _goes(self, send: Listed) -> str:
        if send.status.state is State.SCHEDULED:
            return _for_a_time(send, self.now)
        if send.status.state is State.CLAIMED:
            return "a worker holds it, and waits for its turn at the rate"
        batch = self._batch(send)
        return (_slowed(batch, self.now) if batch else "") or IN_TURN

    # -- a batch ----------------------------------------------------------------------------------------------------

    def why_batch(self, batch: BatchStatus) -> str:
        """In a line; empty where it goes on, or where its state says why not."""
        if batch.state is not BatchState.RUNNING or not batch.waiting:
            return ""
        return (
            self._closed(self._scopes_of_batch(batch), batch.account)
            or self._no_worker(batch.lane, batch)
            or self._no_room(batch.lane, batch.account)
            or _slowed(batch, self.now)
        )

    def _batch(self, send: Listed) -> BatchStatus | None:
        """The one in which it waits."""
        if not send.batch_id:
            return None
        if send.batch_id not in self._known:
            try:
                self._known[send.batch_id] = self._batches.status(send.batch_id)
            except UnknownSend:  # forgotten meanwhile
                self._known[send.batch_id] = None
        return self._known[send.batch_id]

    # -- what of the line is closed for it --------------------------------------------------------------------------

    def _closed(self, scopes: Mapping[str, str], account: str) -> str:
        throttle = self.now.throttles.get(account)
        found = [each for each in throttle.closures if each.scope in scopes] if throttle else []
        return "; ".join(_in_words(each, scopes[each.scope], account) for each in found)

    def _scopes(self, send: Listed) -> dict[str, str]:
        """What it passes through of the line, with its words."""
        if batch := self._batch(send):
            return self._scopes_of_batch(batch)
        named = self._named_if_any(send.account, lambda: _named_by(self._scripts, send.status.send_id))
        return _scopes_of(send.status.lane, send.site, send.account, send.list, named)

    def _scopes_of_batch(self, batch: BatchStatus) -> dict[str, str]:
        named = self._named_if_any(batch.account, lambda: self._named_by_letter(batch.batch_id))
        return _scopes_of(batch.lane, batch.site, batch.account, batch.list, named)

    def _named_if_any(self, account: str, named: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        """Its sender, set and the like, which are read only where one of these is closed."""
        throttle = self.now.throttles.get(account)
        kinds = {each.scope.partition(":")[0] for each in throttle.closures} if throttle else set()
        return named() if kinds - {ACCOUNT, "lane", "site", "list"} else {}

    def _named_by_letter(self, batch_id: str) -> Mapping[str, str]:
        if batch_id not in self._letters:
            try:
                self._letters[batch_id] = WrittenLetter.unpack(self._batches.letter(batch_id)).email.named
            except (UnknownSend, Newer, ValueError, LookupError, TypeError, zlib.error):  # it is lost, or not ours
                self._letters[batch_id] = {}
        return self._letters[batch_id]

    # -- who takes it -----------------------------------------------------------------------------------------------

    def _no_worker(self, lane: Lane, batch: BatchStatus | None) -> str:
        found = [each for each in self.now.obstacles if each.lane in {None, lane}]
        if any(each.id == "no-worker" for each in found):
            return "no worker is alive"
        if batch:
            is_left = any(batch.batch_id in each.batches and each.id == "batch-not-taken" for each in found)
            return "no worker goes on with the batch" if is_left else ""
        return "no worker takes its lane" if any(each.id == "not-taken" for each in found) else ""

    def _no_room(self, lane: Lane, account: str) -> str:
        throttle = self.now.throttles.get(account)
        left = throttle.quota_left[lane] if throttle else None
        return "" if left is None or left > 0 else "the 24-hour quota is used up: it goes as soon as there is room"


def _scopes_of(lane: Lane, site: str, account: str, list_name: str, named: Mapping[str, str]) -> dict[str, str]:
    scopes = {ACCOUNT: "everything", f"lane:{lane}": f"the lane {lane}"}
    scopes |= {f"{kind}:{name}": f"what goes by the {kind} {name}" for kind, name in named.items()}
    if lane is Lane.BULK:
        scopes |= {
            site_scope(site): f"bulk of the site {site}",
            account_scope(account): f"bulk of the account {account}",
        }
        scopes |= {list_scope(site, list_name): f"the list {list_name}"}
    return scopes


def _named_by(scripts: Scripts, send_id: str) -> Mapping[str, str]:
    try:
        return kept_email(scripts, send_id).named
    except (UnknownSend, MoveRefused):
        return {}


def _is_of(obstacle: Obstacle, send: Listed, scopes: Mapping[str, str]) -> bool:
    return (
        obstacle.lane in {None, send.status.lane}
        and obstacle.account in {None, send.account}
        and (obstacle.scope is None or obstacle.scope in scopes)
    )


def _in_words(closure: Closure, what: str, account: str) -> str:
    of_account = "" if account == DEFAULT_ACCOUNT else f" of the account {account}"
    return f"{what}{of_account} is {closure.how}: {closure.reason}"


def _steered(batch: BatchStatus) -> str:
    """What somebody has said about it."""
    if batch.state is BatchState.PAUSED:
        return f"its batch is paused: `sesmail batch {batch.batch_id} --resume` lets it go on"
    if batch.state is BatchState.CANCELLED:
        return "its batch is cancelled: it is taken back as soon as its worker is done with those beside it"
    if batch.state is BatchState.QUEUEING:
        return "the list of its batch is not read to its end: nothing of it goes out before"
    return ""


def _slowed(batch: BatchStatus, now: Essence) -> str:
    """For what it waits by itself."""
    seconds = batch.waits_until - now.at
    if seconds > MOST_SECONDS_OF_A_WORKER:
        if batch.ramp and batch.counts.keys() & {State.SENT, State.SENDING, State.UNKNOWN, State.REJECTED}:
            ramp = f"{batch.ramp} recipients on the first day, twice as many on each that follows"
            return f"today's share of the batch is used up ({ramp}): it goes on in {duration(seconds)}"
        return f"as asked for, the batch goes in {duration(seconds)}"
    if batch.rate:
        return f"the batch goes at {batch.rate:g} recipients a second at most, as somebody said: it comes in its turn"
    return ""


def _late(send: Listed, now: Essence) -> str:
    if send.expires_at is None or send.expires_at > now.at:
        return ""
    return "its expiry time has passed: it does not go out, and is `expired` as soon as a worker comes to it"


def _for_a_time(send: Listed, now: Essence) -> str:
    when = "now" if send.due_at is None or send.due_at <= now.at else f"in {duration(send.due_at - now.at)}"
    reason = send.status.reason
    if not reason and not send.status.waits:
        return f"as asked for, it goes {when}"
    said = "" if not reason or reason == LOT else f"{reason.rstrip('.')}; "
    return f"{said}it comes to its turn {when}"
