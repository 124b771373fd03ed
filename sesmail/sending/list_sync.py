"""Keeps our opt-outs and SES's own suppression list of the account in step, in both directions.

Ours is the authority for what is sent; SES's is a net beneath it, and knows of what other programs sent. Unsubscribes
are not given to SES: it has no reason for them, and would refuse password resets, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sesmail.state.people.pseudonyms import is_erased
from sesmail.state.people.suppression import OptOut, Scope
from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sesmail.ses.suppression import SesSuppressionList
    from sesmail.state.people.suppression import SuppressionList
    from sesmail.state.scripts import Scripts

REMEMBERED_SECONDS = 86_400
"""How long an interrupted run can be gone on with."""
SOURCE = "ses-account-list"
_OURS = {"BOUNCE": Reason.SES_LIST, "COMPLAINT": Reason.COMPLAINED}
_THEIRS = {Reason.BOUNCED: "BOUNCE", Reason.COMPLAINED: "COMPLAINT"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Synced:
    """What one run came to."""

    read: int
    """Addresses on SES's list."""
    added_here: int
    added_at_ses: int


class ListSync:
    """One run: what SES has comes here, then our hard bounces and complaints go there. Interrupted, it goes on.

    Raises `SesListUnavailable` and `LedgerUnavailable`.
    """

    def __init__(self, scripts: Scripts, ours: SuppressionList, theirs: SesSuppressionList) -> None:
        """`scripts` are those of the account: each has a place of its own."""
        self._redis = scripts.redis
        self._listed = scripts.keys.of_account("ses-list")
        self._place = scripts.keys.of_account("ses-list:place")
        self._ours = ours
        self._theirs = theirs

    def run(self, progress: Callable[[str, int], object] = lambda _what, _count: None) -> Synced:
        """Do it; `progress` is told what was done, and how many of it, after each call of SES."""
        added_here = self._read(progress)
        with reachable(self._redis):
            read: Any = self._redis.scard(self._listed)
        added_at_ses = self._push(progress)
        with reachable(self._redis):
            self._redis.delete(self._listed, self._place)
        return Synced(read=read, added_here=added_here, added_at_ses=added_at_ses)

    def _read(self, progress: Callable[[str, int], object]) -> int:
        """SES's list into ours, page by page, from where an interrupted run had come."""
        with reachable(self._redis):
            place: Any = self._redis.get(self._place)
        if place == b"all":
            return 0
        added = 0
        for page, token in self._theirs.pages(place.decode() if place else None):
            for one in page:
                reason = _OURS.get(one.reason, Reason.SES_LIST)
                added += self._ours.add(
                    OptOut(address=one.address, scope=Scope(), reason=reason, since=one.since, source=SOURCE)
                )
            self._note([one.address.lower() for one in page], token or "all")
            progress("read", len(page))
        return added

    def _note(self, addresses: list[str], place: str | None = None) -> None:
        with reachable(self._redis), self._redis.pipeline() as pipeline:
            if addresses:
                pipeline.sadd(self._listed, *addresses)
                pipeline.expire(self._listed, REMEMBERED_SECONDS)
            if place:
                pipeline.set(self._place, place, ex=REMEMBERED_SECONDS)
            pipeline.execute()

    def _push(self, progress: Callable[[str, int], object]) -> int:
        pushed = 0
        for opt_out in self._missing():
            self._theirs.put(opt_out.address, _THEIRS[opt_out.reason])
            self._note([opt_out.address.lower()])
            pushed += 1
            progress("put", 1)
        return pushed

    def _missing(self) -> Iterator[OptOut]:
        """Ours that SES has not, of those that it should: of everything, by a hard bounce or a complaint.

        Not those that were erased: nobody knows their addresses any more.
        """
        for opt_out in self._ours.read():
            known_here = not is_erased(opt_out.address)
            if known_here and opt_out.scope == Scope() and opt_out.reason in _THEIRS and opt_out.until is None:
                with reachable(self._redis):
                    known = self._redis.sismember(self._listed, opt_out.address.lower())
                if not known:
                    yield opt_out
