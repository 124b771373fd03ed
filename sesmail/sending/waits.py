"""Why one send waits, as it is by now: what its row says is what a worker saw when it last looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.message import Lane
from sesmail.sending.essence import duration
from sesmail.state.ledger.rows import DEFAULT_ACCOUNT
from sesmail.state.line.line import ACCOUNT, account_scope, list_scope, site_scope
from sesmail.vocabulary import LOT, State

if TYPE_CHECKING:
    from sesmail.sending.essence import Essence
    from sesmail.state.ledger.search import Listed
    from sesmail.state.line.line import Closure

OF_ALL = ("no-worker", "not-taken")
"""What holds up everything that waits for a worker."""


def why(send: Listed, now: Essence) -> str:
    """In a line. For one that is at its end, why it ended so."""
    status = send.status
    if status.state is State.QUEUED:
        return _closed(send, now) or _no_worker(send, now) or _no_room(send, now) or "a worker takes it in its turn"
    if status.state is State.SCHEDULED:
        return _closed(send, now) or _no_room(send, now) or _for_a_time(send, now)
    if status.state is State.CLAIMED:
        return _closed(send, now) or "a worker holds it, and waits for its turn at the rate"
    if status.state is State.SENDING:
        return "SES is being asked"
    if status.state is State.UNKNOWN:
        return f"{status.reason or 'SES gave no clear answer'}: an event settles it, else the end of its window"
    return status.reason or ""


def _closed(send: Listed, now: Essence) -> str:
    """Of the account, its lane, site or list. What is closed for a sender or a set, the row's own reason tells."""
    throttle, lane = now.throttles.get(send.account), send.status.lane
    scopes = {ACCOUNT: "everything", f"lane:{lane}": f"the lane {lane}"}
    if lane is Lane.BULK:
        scopes |= {site_scope(send.site): f"bulk of the site {send.site}"}
        scopes |= {account_scope(send.account): f"bulk of the account {send.account}"}
        scopes |= {list_scope(send.site, send.list): f"the list {send.list}"}
    found = [each for each in throttle.closures if each.scope in scopes] if throttle else []
    return "; ".join(_in_words(each, scopes[each.scope], send.account) for each in found)


def _in_words(closure: Closure, what: str, account: str) -> str:
    of_account = "" if account == DEFAULT_ACCOUNT else f" of the account {account}"
    return f"{what}{of_account} is {closure.how}: {closure.reason}"


def _no_worker(send: Listed, now: Essence) -> str:
    found = [each.id for each in now.obstacles if each.id in OF_ALL and each.lane in {None, send.status.lane}]
    return {"no-worker": "no worker is alive", "not-taken": "no worker takes its lane"}[found[0]] if found else ""


def _no_room(send: Listed, now: Essence) -> str:
    throttle = now.throttles.get(send.account)
    left = throttle.quota_left[send.status.lane] if throttle else None
    return "" if left is None or left > 0 else "the 24-hour quota is used up: it goes as soon as there is room"


def _for_a_time(send: Listed, now: Essence) -> str:
    when = "now" if send.due_at is None or send.due_at <= now.at else f"in {duration(send.due_at - now.at)}"
    reason = send.status.reason
    if not reason and not send.status.waits:
        return f"as asked for, it goes {when}"
    said = "" if not reason or reason == LOT else f"{reason.rstrip('.')}; "
    return f"{said}it comes to its turn {when}"
