"""What a project keeps under the names of releases that did not heed Celery's `global_keyprefix`.

Those put every project of a Redis database under the same names, and whose an email is there, its row does not say. So
this is what becomes of it:

- A send whose ticket comes through the project's own queue, which Celery's prefix has always kept apart, is its own: it
  is taken over and sent.
- What is asked by an id (status, cancel, evidence) or by an idempotency key is looked up there, too.
- Opt-outs and pauses are taken over by every project: rather too careful than not enough.
- What has no ticket (it waits for its time, its ticket is lost, its worker died), and the site's events that nobody has
  processed, are taken over where somebody has said that all of it is this project's: `sesmail migrate --all-mine`.
  Until then, workers say that it waits.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sesmail.errors import IdempotencyConflict, UnknownSend
from sesmail.message import Lane
from sesmail.occasional import Occasional
from sesmail.state.keys import KeyDigest
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.people.suppression import SuppressionList
from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import FAILED, WAITING, Accepted, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sesmail.message import Email
    from sesmail.settings import Settings
    from sesmail.state.scripts import Scripts
    from sesmail.vocabulary import Claim, Status, Ticket

log = logging.getLogger("sesmail")

Answer = TypeVar("Answer")

TAKEN_OVER_FOR_SECONDS = 3600
"""How long what was taken over counts as up to date, while programs of the former release may still add to it."""
PAGE = 500


class LedgerOfTwoNames(Ledger):
    """The ledger under today's names; what is not there is looked up under the former ones."""

    def __init__(self, scripts: Scripts, former: Scripts, settings: Settings) -> None:
        super().__init__(scripts, settings)
        self.former = Ledger(former, settings)
        self._former_scripts = former

    # -- in and out -------------------------------------------------------------------------------------------------

    def accept(self, send_id: str, email: Email, *, content: str = "", **when: Any) -> Accepted:
        """As `Ledger.accept`; a key, or an id of the caller's, that was used under the former names counts."""
        if content and (found := self._accepted_before(send_id, email, content)):
            return found
        return super().accept(send_id, email, content=content, **when)

    def _accepted_before(self, send_id: str, email: Email, content: str) -> Accepted | None:
        field, found = "task_id", self._by_id(send_id)
        if email.idempotency_key and not found:
            key = KeyDigest.of(email.idempotency_key)
            found = self._former_scripts.run("known", self._settings.site, key.todays, key.former)
            field = "idempotency_key"
        if not found:
            return None
        known_id, state, known_content = (part.decode() for part in found)
        if known_content and known_content[0] == content[0] and known_content != content:
            raise IdempotencyConflict(field, known_id)
        return Accepted(send_id=known_id, state=state, new=False)

    def _by_id(self, send_id: str) -> list[bytes] | None:
        with reachable(self._redis):
            name = self._former_scripts.keys("send", send_id)
            state, content = cast("list[bytes | None]", self._redis.hmget(name, ["state", "content"]))
        return [send_id.encode(), state, content or b""] if state else None

    def knows(self, idempotency_key: str) -> bool:
        """Whether an email of this site was accepted under this key, and the key is still remembered."""
        return super().knows(idempotency_key) or self.former.knows(idempotency_key)

    def knows_each(self, idempotency_keys: Sequence[str]) -> list[bool]:
        """As `Ledger.knows_each`."""
        formerly = self.former.knows_each(idempotency_keys)
        return [any(pair) for pair in zip(super().knows_each(idempotency_keys), formerly, strict=True)]

    def claim(self, send_id: str, owner: str, token: str | None = None) -> Claim | State | None:
        """As `Ledger.claim`. Its ticket came through this project's queue: a send of the former names is taken over."""
        claim = super().claim(send_id, owner, token)
        if claim is None and self.adopt(send_id):
            return super().claim(send_id, owner, token)
        return claim

    def claim_each(self, tokens: Mapping[str, str], owner: str) -> dict[str, Claim | State | None]:
        """As `Ledger.claim_each`; those of the former names one by one."""
        found = super().claim_each(tokens, owner)
        strangers = [send_id for send_id, claim in found.items() if claim is None]
        return found | {send_id: self.claim(send_id, owner, tokens[send_id]) for send_id in strangers}

    def set_aside(self, send_id: str, content: str | bytes, reason: str) -> str:
        """As `Ledger.set_aside`. An email that has this id under the former names keeps it."""
        self.adopt(send_id)
        return super().set_aside(send_id, content, reason)

    def adopt(self, send_id: str) -> bool:
        """Take a send over from the former names; False where it is not there, or held by a worker of that release."""
        return bool(self._run("adopt", self._former_scripts.keys.base, send_id, self._new_secret))

    # -- asked by people --------------------------------------------------------------------------------------------

    def record_evidence(self, send_id: str, message_id: str) -> str:
        """As `Ledger.record_evidence`."""
        answer = super().record_evidence(send_id, message_id)
        return self.former.record_evidence(send_id, message_id) if answer == "gone" else answer

    def record_first_word(self, send_id: str, message_id: str) -> str:
        """As `Ledger.record_first_word`."""
        answer = super().record_first_word(send_id, message_id)
        return self.former.record_first_word(send_id, message_id) if answer == "gone" else answer

    def cancel(self, send_id: str) -> None:
        """As `Ledger.cancel`."""
        self._either(super().cancel, self.former.cancel, send_id)

    def reschedule(self, send_id: str, when: datetime) -> None:
        """As `Ledger.reschedule`. What is asked for by its id is the caller's own: it is taken over."""
        self.adopt(send_id)
        super().reschedule(send_id, when)

    def requeue(self, send_id: str) -> Ticket:
        """As `Ledger.requeue`; the same."""
        self.adopt(send_id)
        return super().requeue(send_id)

    def status(self, send_id: str) -> Status:
        """As `Ledger.status`."""
        return self._either(super().status, self.former.status, send_id)

    def metadata(self, send_id: str) -> dict[str, Any]:
        """As `Ledger.metadata`."""
        return super().metadata(send_id) or self.former.metadata(send_id)

    @staticmethod
    def _either(ours: Callable[..., Answer], former: Callable[..., Answer], *arguments: Any) -> Answer:
        try:
            return ours(*arguments)
        except UnknownSend:
            return former(*arguments)


class FormerNames:
    """What workers do, and an operator decides, about what stands there. All methods raise `LedgerUnavailable`."""

    def __init__(
        self,
        scripts: Scripts,
        former: Scripts,
        ledger: LedgerOfTwoNames,
        *,
        sweep: Callable[[], object],
        take_over_events: Callable[[], object],
    ) -> None:
        """`sweep` takes back under the former names what dead workers hold; the other, this site's events."""
        self._redis = scripts.redis
        self._scripts = scripts
        self._former = former
        self._ledger = ledger
        self._sweep = sweep
        self._take_over_events = take_over_events
        self._all_mine, self._taken_over = scripts.keys("former", "all_mine"), scripts.keys("former", "taken_over")
        self._now_and_then = Occasional(600.0)

    def waiting(self) -> int:
        """How many sends wait there, of whatever project."""
        counts = self._ledger.former.counts()
        return sum(counts[state] for state in WAITING)

    def say_all_are_mine(self) -> None:
        """From now on, this project's workers look after all of it."""
        with reachable(self._redis):
            self._redis.set(self._all_mine, 1)

    def look(self) -> None:
        """For workers, now and then: take over what is this project's, or say that somebody must decide."""
        self.take_over_what_holds_back()
        waiting = self.waiting()
        with reachable(self._redis):
            all_mine = bool(self._redis.exists(self._all_mine))
        if all_mine:
            self.adopt_all()
        elif waiting and self._now_and_then.is_due():
            log.warning(
                "%d emails wait under the names %s, which releases that did not heed Celery's global_keyprefix gave to "
                "every project on this Redis. Those whose tickets come through this project's queues are sent; the "
                "others wait, as it is not known whose they are. If no other project has email there, `sesmail migrate "
                "--all-mine` has this one's workers take it all over.",
                waiting,
                self._former.keys.base,
                extra={"action": "former_names", "waiting": waiting},
            )

    def adopt_all(self) -> int:
        """Take over all that waits or was not sent, but for what living workers of that release hold; how many."""
        self._take_over_events()
        self._sweep()
        places = [(state, lane) for state in (State.QUEUED, State.SCHEDULED) for lane in Lane]
        others = [(state,) for state in (State.UNKNOWN, *FAILED)]
        return sum(self._adopt_from(self._former.keys("in", *place)) for place in (*places, *others))

    def _adopt_from(self, index: str) -> int:
        adopted, passed_over = 0, 0
        while True:
            with reachable(self._redis):
                ids = cast("list[bytes]", self._redis.zrange(index, passed_over, passed_over + PAGE - 1))
            taken = sum(self._ledger.adopt(send_id.decode()) for send_id in ids)
            adopted, passed_over = adopted + taken, passed_over + len(ids) - taken
            if len(ids) < PAGE:
                return adopted

    def take_over_what_holds_back(self) -> None:
        """Copy opt-outs, and at first pauses, that stand under the former names, so that nobody gets what he left."""
        recently = f"{self._taken_over}:recently"
        with reachable(self._redis):
            if self._redis.exists(recently):
                return
            first = not self._redis.exists(self._taken_over)
        ours = SuppressionList(self._scripts)
        for opt_out in SuppressionList(self._former).read():
            ours.add(opt_out)
        with reachable(self._redis):
            closed = cast("dict[bytes, bytes]", self._redis.hgetall(self._former.keys("line"))) if first else {}
            for scope, why in closed.items():
                if scope.startswith(b"paused:"):
                    self._redis.hsetnx(self._scripts.keys("line"), scope.decode(), why.decode())
            self._redis.set(self._taken_over, 1)
            self._redis.set(recently, 1, ex=TAKEN_OVER_FOR_SECONDS)
