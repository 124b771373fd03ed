"""What the harness knows by itself of each send: it watches, and takes nobody's word for it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sesmail.message import LIST_TAG, Email, Lane
from sesmail.state.batches.chunks import CHUNK
from sesmail.vocabulary import State
from tests.simulation.ses import Taken
from tests.simulation.soft_bounces import SoftBounces

ENDS = frozenset({"sent", "rejected", "suppressed", "cancelled", "expired", "abandoned"})
HELD = frozenset({"claimed", "sending"})


@dataclass(slots=True, eq=False)
class Batch:
    """One batch."""

    id: str
    base: str
    site: str
    list: str
    is_sealed: bool = False
    is_paused: bool = False
    is_cancelled: bool = False
    weight: float = 1.0
    rate: float | None = None
    """Recipients a second that it may have."""
    begun_at: deque[float] = field(default_factory=deque)
    """When its recipients were begun."""
    cost: float = 0.0
    """Of the last chunk of it that was claimed: recipients by its weight."""
    passed_over: float = 0.0
    """What was claimed of others since then, or since it could have been its turn."""
    ramp: int | None = None
    """How many may begin on the day that is under way, where somebody has said so."""
    ramp_begun: int = 0
    holders: dict[int, tuple[Any, Any, float]] = field(default_factory=dict)
    """By chunk: the token, the fiber that has it (None: a sweep), and since when."""
    finished: int = 0
    heard: int = 0
    forgotten: bool = False

    def is_held(self, send_id: str) -> bool:
        """Whether a worker has the chunk that one of its recipients is in."""
        return int(send_id.rpartition("-")[2]) // CHUNK in self.holders

    def is_held_by(self, fiber: Any, send_id: str) -> bool:
        """Whether it is this thread."""
        return self.holders.get(int(send_id.rpartition("-")[2]) // CHUNK, ("", None))[1] is fiber


@dataclass(slots=True)
class Send:
    """One send."""

    id: str
    base: str
    site: str
    number: int
    email: Email
    account: str = "default"
    """The account of SES that it is of."""
    asked_through: str = "default"
    """The one that SES was, or is to be, asked through."""
    bound_to: str | None = None
    """The one through which SES may have had it: it goes through no other."""
    content: str = ""
    """The digest of what its caller gave."""
    batch: Batch | None = None
    state: str = "nothing"
    state_at: float = 0.0
    """By virtual time."""
    state_at_redis: float = 0.0
    accepted: bool = False
    """Whether its caller knows that it was accepted."""
    due_at: float = 0.0
    expires_at: float = float("inf")
    holder: bytes | str | None = None
    """The token of the claim that holds now."""
    holder_process: Any = None
    holder_fiber: Any = None
    waits_for_room: bool = False
    """Whether it was told that the 24-hour quota is used up."""
    opted_out: frozenset[str] = frozenset()
    """Who had opted out when it was claimed."""
    place: int = 0
    """How many were accepted before it."""
    let_pass: bool = False
    """Whether an operator has sent it again: the guard against loops heeds that."""
    held_back: bool = False
    """Whether that guard has set it aside."""
    erased: frozenset[str] = frozenset()
    """Those of its recipients who were erased since it was accepted."""
    taken: list[Taken] = field(default_factory=list)
    doubts: set[Any] = field(default_factory=set)
    """The threads that have asked SES for it and were not refused, since it was last `unknown`."""
    unfilled: set[str] = field(default_factory=set)
    """The message ids of those acceptances of which SES has told that it could not fill in the template."""
    licences: list[float] = field(default_factory=list)
    """When it was allowed to go out once more: its window had passed, or an operator said so."""
    spoilt: bool = False
    """Whether somebody has made what is kept of it into something that none can read."""
    told_at: float | None = None
    unknown_times: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    cancelled_at: float | None = None
    called_twice: bool = False
    """Whether a caller has asked for it twice, the second time perhaps when it had been answered."""
    forgotten: bool = False
    """Whether Redis has forgotten something of it."""
    ended: Counter[str] = field(default_factory=Counter)
    first_end_at: float = float("inf")
    heard: Counter[str] = field(default_factory=Counter)
    heard_at: float = 0.0
    receiver_failed: bool = False
    callers: set[str] = field(default_factory=set)
    """The task ids of those who want something done at its end."""
    continued: Counter[str] = field(default_factory=Counter)
    """How often that was done, by task id."""
    continued_at: dict[str, float] = field(default_factory=dict)
    continuation_failed: bool = False
    silent: bool = False
    """Whether a former release has ended it, which tells nobody."""


@dataclass(slots=True)
class Tally:
    """What became of the emails of a list that count."""

    sent: int = 0
    bounced: int = 0
    bad_since: float | None = None
    """Since when the brake should have closed it."""


class Model:
    """All sends, opt-outs and closures, by the base of their keys."""

    def __init__(self) -> None:
        self.wanted: dict[int, tuple[Email, str]] = {}
        """Each email by its number, and its site."""
        self.filled_by_ses: set[int] = set()
        """The numbers of those emails whose template SES fills in."""
        self.sends: dict[tuple[str, str], Send] = {}
        self.of_number: dict[int, Send] = {}
        self.batches: dict[tuple[str, str], Batch] = {}
        self.opt_outs: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
        self.listening_since: dict[tuple[str, str], float] = {}
        """When the receivers of a site were first there to be told."""
        self.aside: dict[str, dict[str, str]] = defaultdict(dict)
        """What came as an email and is none, by the id that it is kept under."""
        self.soft_bounces = SoftBounces()
        self.redis_now_ms: Callable[[], float] = lambda: 0.0
        self.forgetful = False
        """Whether Redis has ever forgotten anything."""
        self.paused: dict[str, set[str]] = defaultdict(set)
        self.braked: dict[str, dict[str, list[float]]] = defaultdict(dict)
        """What the brake has closed: when its trial begins, by Redis' clock, how many recipients that has left, the pause."""
        self.counts_from: dict[tuple[str, str, str], float] = {}
        """Since when emails must have been sent to count: by site, for all its lists (`from`) or for one (`from <list>`)."""
        self.judged: dict[tuple[str, str], Tally] = defaultdict(Tally)
        """What the brake judges each list by, by its scope."""
        self.pseudonyms: dict[tuple[str, str], str] = {}
        """The addresses of those who were erased, by what they are called since."""
        self.erasing_since: dict[tuple[str, str], int] = {}
        """How many sends there had been when somebody was last begun to be erased."""
        self.times_forgotten = 0
        """How often Redis may have gone back to what it held before."""
        self.lately: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        """The sends that were claimed for an address, with the time of the first claim by Redis' clock."""
        self.erased: set[tuple[str, str]] = set()
        """Those with whom that was done; not those of whom Redis has forgotten it since."""

    def accept(self, base: str, argv: tuple[Any, ...], state: str, now: float) -> tuple[Send, Send | None]:
        """A send has come into the ledger; answers it, and another one of the same email where there is one."""
        number = json.loads(argv[12])["number"]
        email, site = self.wanted[number]
        send = Send(id=argv[0], base=base, site=site, number=number, email=email, state=state, state_at=now)
        send.content, send.place, send.account = argv[16], len(self.sends), argv[14]
        another = self.of_number.get(number)
        send.accepted = bool(another and another.accepted)
        self.sends[base, send.id] = self.of_number[number] = send
        return send, another

    def erases(self, base: str, address: str, pseudonym: str) -> None:
        """An operator begins to erase somebody."""
        self.erasing_since[base, address] = len(self.sends)
        self.erased.discard((base, address))
        self.pseudonyms[base, pseudonym] = address

    def forgets(self, base: str) -> None:
        """Redis may have gone back to what it held before."""
        self.forgetful = True
        self.times_forgotten += 1
        self.lately.clear()
        self.erased = {each for each in self.erased if each[0] != base}

    def is_erased(self, send: Send) -> bool:
        """Whether all to whom it was were erased, at least in part."""
        return all((send.base, address) in self.erasing_since for address in send.email.recipients)

    def gone(self) -> list[tuple[str, str]]:
        """Those who were erased, and to whom nothing was accepted since."""
        lately = {
            (send.base, address)
            for send in self.sends.values()
            for address in send.email.recipients
            if send.place >= self.erasing_since.get((send.base, address), len(self.sends))
        }
        return sorted(self.erased - lately)

    def had_lately(self, base: str, address: str, now: float) -> set[str]:
        """The sends that were claimed for an address within an hour."""
        return {send_id for send_id, at in self.lately[base, address].items() if now - at < 3600.0}

    def whom_not(self, send: Send) -> frozenset[str]:
        """Those of its recipients who have opted out by now."""
        found = self.opt_outs[send.base]
        scopes = ("everything", f"site:{send.site}", f"list:{send.site}/{send.email.tags.get(LIST_TAG, '')}")
        ignored = {"unsubscribed", "soft-bounced"} if send.email.lane is Lane.TRANSACTIONAL else set()
        reasons = {address: {found[scope].get(address) for scope in scopes} for address in send.email.recipients}
        for address in send.email.recipients:
            if self.soft_bounces.holds(send.base, address, self.redis_now_ms()):
                reasons[address].add("soft-bounced")
        return frozenset(address for address, why in reasons.items() if why - {None} - ignored)

    def waiting(self) -> list[Send]:
        """Those that are not at an end."""
        return [send for send in self.sends.values() if send.state not in ENDS]


def is_end(state: str) -> bool:
    """Whether nothing follows by itself."""
    return state in ENDS


assert ENDS | HELD | {"queued", "scheduled", "unknown"} == set(State), "a new state needs rules"
