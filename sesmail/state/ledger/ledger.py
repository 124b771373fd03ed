"""The ledger: one row a send, and every move that it can make. The broker only carries tickets; this is the truth.

Each move is one Lua script that uses Redis' own clock and checks the claim's token, so that a worker that was given up
cannot move a send that another one holds.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from base64 import b64decode, b64encode
from secrets import token_hex
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import uuid4

from sesmail.errors import MoveRefused, SendPostponed, StaleClaim, UnknownSend
from sesmail.message import LIST_TAG, Email, Lane
from sesmail.message.addresses import normal_address
from sesmail.message.record import WHOLE, attach, detach, version_of
from sesmail.state.batches.chunks import RECIPIENT_ID, metadata_of
from sesmail.state.keys import KeyDigest
from sesmail.state.ledger.callers import accepted, known
from sesmail.state.ledger.newer import Newer, WarnOfSendsLeft
from sesmail.state.ledger.queues import Queues
from sesmail.state.ledger.rows import STATUS_FIELDS, status_of
from sesmail.state.ledger.search import searchable_ms
from sesmail.state.people import guard
from sesmail.state.people.reputation import DELIVERY_DAYS
from sesmail.state.people.suppression import SuppressionList
from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import DEFAULT_ACCOUNT, Claim, State, Status, Ticket, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sesmail.settings import Settings
    from sesmail.state.scripts import Scripts
    from sesmail.vocabulary import Accepted, Caller, Envelope

BLOB_BYTES = 1024
"""Parts of an email from this size on are stored once per content, compressed; smaller ones stay in the row."""
RECORD_VERSION = WHOLE
"""The newest form of an email's JSON that this release knows. Each is written in the oldest that says all of it."""

PART_IS_MISSING = "a body or an attachment of it is missing in Redis: was it evicted, or deleted by hand?"

CLOSED_SECONDS = 1.0
"""How long a send waits whose line was closed just before SES was to be asked; the sweeper knows when it is open."""


class Beginning(NamedTuple):
    """What the scripts that note it must know of a claim about which SES is asked now."""

    send_id: str
    token: str
    longest_ms: int
    """That asking can take."""
    through: str
    """The account that SES is asked through, where that is not the email's own, else empty."""


class Ledger:
    """Every send, in Redis. All methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._key = scripts.keys
        self._run = scripts.run
        self._settings = settings
        self._accounts = " ".join(settings.account_names)
        self._suppression = SuppressionList(scripts)
        self._sent_retention_ms = round(settings.sent_retention_seconds * 1000)
        self._searchable_ms = searchable_ms(settings)
        self._new_secret = token_hex(32)  # of the index: the ledger keeps the first that it is given
        self._known_blobs: dict[str, None] = {}
        self._queues = Queues(scripts)
        self._unlimited = "\n".join(map(normal_address, settings.hourly_limit_exempt))
        self._warn_of_sends_left = WarnOfSendsLeft()

    # -- in ---------------------------------------------------------------------------------------------------------

    def accept(
        self,
        send_id: str,
        email: Email,
        *,
        delay_seconds: float = 0.0,
        expires_in_seconds: float | None = None,
        content: str = "",
        caller: Caller | None = None,
        envelope: Envelope | None = None,
    ) -> Accepted:
        """Write an email down under an id; from here on it is sent in the end. Doing it twice does nothing more.

        `content` is the digest of what it says, where a caller could mean another by the same id or idempotency key.
        A `caller` is kept with it, also where an earlier send has the same key. A ticket in its `envelope` goes into
        the queue in the same act, if it may go at once. Raises `IdempotencyConflict` where it was given to another.
        """
        record, blobs = pack(email)
        addresses = [*map(normal_address, email.recipients)]
        self._rewrite_former_opt_outs(addresses)
        key = KeyDigest.of(email.idempotency_key)
        arguments = (
            send_id,
            record,
            email.lane,
            email.recipient_count,
            _epoch_ms(email.send_at),
            round(delay_seconds * 1000),
            _epoch_ms(email.expires_at),
            "" if expires_in_seconds is None else round(expires_in_seconds * 1000),
            key.todays,
            round(self._settings.idempotency_seconds * 1000),
            "\n".join(addresses),
            email.tags.get(LIST_TAG, ""),
            json.dumps(email.metadata) if email.metadata else "",
            self._settings.site,
            email.account or DEFAULT_ACCOUNT,
            key.former,
            content,
            self._new_secret,
            self._searchable_ms,
            round(self._settings.metadata_retention_seconds * 1000),
            *_caller_arguments(caller),
            *self._queues.arguments(envelope),
        )
        answer = self._run("accept", *arguments, *self._blob_arguments(blobs, known=self._known_blobs))
        if answer[0] == b"missing":
            answer = self._run("accept", *arguments, *self._blob_arguments(blobs, known=()))
        self._remember(blobs)
        if answer[0] == b"accepted":
            self._queues.heed(envelope, answer[3])
        return accepted(answer)

    def _rewrite_former_opt_outs(self, addresses: list[str]) -> None:
        """Those of international domains: former releases kept some in letters that scripts do not look for."""
        for address in addresses:
            if "xn--" in address:
                self._suppression.rewrite_former(address)

    def knows(self, idempotency_key: str) -> bool:
        """Whether an email of this site was accepted under this key, and the key is still remembered."""
        return self.knows_each([idempotency_key])[0]

    def knows_each(self, idempotency_keys: Sequence[str]) -> list[bool]:
        """`knows` of several, in one round trip."""
        return known(self._scripts, self._settings.site, idempotency_keys)

    @staticmethod
    def _blob_arguments(blobs: dict[str, bytes], known: dict[str, None] | tuple[()]) -> Iterator[str | bytes]:
        """Digest and data of each blob; no data for those which Redis most likely has (a letter sent to many)."""
        for digest, content in blobs.items():
            yield digest
            yield b"" if digest in known else zlib.compress(content, 1)

    def _remember(self, blobs: dict[str, bytes]) -> None:
        self._known_blobs.update(dict.fromkeys(blobs))
        while len(self._known_blobs) > 256:
            del self._known_blobs[next(iter(self._known_blobs))]

    def set_aside(self, send_id: str, content: str | bytes, reason: str) -> str:
        """Keep something that came as an email but is none, with its bytes, among the abandoned (code `broken`).

        Answers the id under which it is kept: another one where a send has this id already.
        """
        rest = content, reason, self._settings.site, DEFAULT_ACCOUNT
        if self._run("set_aside", send_id, *rest):
            return send_id
        data = content.encode() if isinstance(content, str) else content
        other_id = f"aside-{_digest(send_id.encode() + data)[:24]}"
        self._run("set_aside", other_id, *rest)
        return other_id

    # -- out --------------------------------------------------------------------------------------------------------

    def claim(self, send_id: str, owner: str, token: str | None = None) -> Claim | State | None:
        """Take a send for `owner`; the state it is in when it is not to be had, None when there is no such send.

        `SCHEDULED` also when it is left to a worker that can take it: of a newer release, or for another SES account.
        """
        token = token or new_token()
        answer = self._run("claim", *self._claim_arguments(send_id, owner, token))
        return self._claimed(send_id, token, answer)

    def claim_each(self, tokens: Mapping[str, str], owner: str) -> dict[str, Claim | State | None]:
        """`claim` several, by their ids, each under a token of its own: in one round trip."""
        calls = [self._claim_arguments(send_id, owner, token) for send_id, token in tokens.items()]
        answers = self._scripts.run_each("claim", calls)
        return {
            send_id: self._claimed(send_id, token, answer)
            for (send_id, token), answer in zip(tokens.items(), answers, strict=True)
        }

    def _claim_arguments(self, send_id: str, owner: str, token: str) -> tuple[str | float, ...]:
        return (
            send_id,
            owner,
            token,
            round(self._settings.max_age_seconds * 1000),
            self._settings.site,
            DELIVERY_DAYS * 86_400_000,
            self._accounts,
            self._settings.hourly_limit_per_address,
            self._unlimited,
            *self._settings.transactional_ignores,
        )

    def _claimed(self, send_id: str, token: str, answer: list[bytes]) -> Claim | State | None:
        if answer[0] == b"gone":
            return None
        if answer[0] != b"claimed" or len(answer) == 1:
            return self._not_to_be_had(send_id, *answer)
        _, lane, express, opted_out, attempts, waits, callers, site, account, through, record, *blobs = answer
        try:
            email = unpack(record, blobs).at_account(account.decode())
        except Newer as newer:
            self._run("leave", send_id, token, str(newer))
            return self._left(send_id, str(newer))
        except (ValueError, LookupError, TypeError, zlib.error) as error:
            unread = f"its record cannot be read ({type(error).__name__})"
            return self._set_aside(send_id, token, unread if all(blobs) else PART_IS_MISSING)
        return Claim(
            send_id=send_id,
            token=token,
            lane=Lane(lane.decode()),
            express=bool(express),
            attempts=int(attempts),
            waits=int(waits),
            email=email.without(opted_out.decode().split("\n")) if opted_out else email,
            callers=tuple(callers.decode().split()),
            site=site.decode(),
            account=account.decode(),
            through=through.decode(),
        )

    def _not_to_be_had(self, send_id: str, state: bytes, *more: Any) -> State:
        if state == b"left":
            return self._left(send_id, more[0].decode())
        if state == b"too-many":
            whose, is_news = more
            if is_news:
                guard.tell(self._settings.hourly_limit_per_address, whose.decode(), send_id)
            return State.ABANDONED
        return state_of(state.decode())

    def begin(self, claim: Claim, *, tries: bool = False) -> None:
        """Note that SES is asked now. Raises `StaleClaim` when the send was given to another worker: do not ask SES.

        Raises `SendPostponed` when the breaker has closed the line meanwhile, unless the email is there to try that.
        """
        send_id, token, longest_ms, through = self._beginning(claim)
        answer = self._run_at(claim.through, "begin", send_id, token, longest_ms, int(tries), through)
        if answer == 0:
            raise StaleClaim
        if answer < 0:
            raise SendPostponed(CLOSED_SECONDS, "SES is out of order")

    def beginning(self, claim: Claim) -> Beginning | None:
        """For a slot with which it begins; None where `begin` has more to do than to write it down."""
        return None if self._scripts.are_waited_for("begin") else self._beginning(claim)

    def _beginning(self, claim: Claim) -> Beginning:
        longest_ms = round(self._settings.asking_seconds * 1000)
        through = "" if claim.through == claim.account else claim.through
        return Beginning(claim.send_id, claim.token, longest_ms, through)

    def sent(self, claim: Claim, message_id: str) -> State:
        """SES took it. The late word of a worker that was given up still counts: SES has it, so no one else sends."""
        try:
            return self._settle(claim, State.SENT, message_id=message_id)
        except StaleClaim:
            self.record_evidence(claim.send_id, message_id)
            raise

    def rejected(self, claim: Claim, reason: str, code: str = "") -> State:
        """SES refused it for good, in its own words (without addresses).

        Answers `SENT` when an event has proved that SES took it by an earlier call, else `REJECTED`.
        """
        return self._settle(claim, State.REJECTED, reason=reason, code=code)

    def outcome_unknown(self, claim: Claim, reason: str, code: str = "") -> State:
        """SES may have it. `SENT` when an event has proved that already, else `UNKNOWN`."""
        return self._settle(claim, State.UNKNOWN, reason=reason, code=code)

    def postpone(
        self,
        claim: Claim,
        delay_seconds: float,
        reason: str,
        *,
        backs_off: bool = False,
        for_room: bool = False,
        for_scope: str = "",
        why: str = "",
    ) -> State:
        """Put it back to wait for `delay_seconds`. An attempt that was begun is given back: waiting is not trying.

        `backs_off` counts the wait, so that the next back-off is longer. `for_room` says that it waits for room in the
        24-hour quota or the rate, and goes on sooner where that comes sooner; `for_scope` that it waits for that scope
        of the line to open, and goes on then; `why` is noted among its moves, in a word. Answers `SENT` when an event
        has proved that SES took it by an earlier call, else `SCHEDULED`. Raises `StaleClaim`.
        """
        delay_ms = max(0, round(delay_seconds * 1000))
        arguments = (delay_ms, reason, int(backs_off), self._sent_retention_ms, int(for_room), for_scope, why)
        answer = self._run_at(claim.account, "postpone", claim.send_id, claim.token, *arguments)
        if not answer:
            raise StaleClaim
        return state_of(answer.decode())

    def _left(self, send_id: str, reason: str) -> State:
        """It waits for a worker that can take it."""
        self._warn_of_sends_left(send_id, reason)
        return State.SCHEDULED

    def _set_aside(self, send_id: str, token: str, reason: str) -> State:
        """A row that cannot be understood is listed with its bytes, not tried again and again."""
        answer = self._run("settle", send_id, token, State.ABANDONED, "", reason, "broken", self._sent_retention_ms)
        return state_of(answer.decode()) if answer else State.CLAIMED  # by another, who sets it aside

    def _settle(self, claim: Claim, to: State, *, message_id: str = "", reason: str = "", code: str = "") -> State:
        arguments = (claim.send_id, claim.token, to, message_id, reason, code, self._sent_retention_ms)
        return self._settled(self._run_at(claim.through, "settle", *arguments))

    @staticmethod
    def _settled(answer: bytes) -> State:
        if not answer:
            raise StaleClaim
        return state_of(answer.decode())

    def _run_at(self, account: str, name: str, *arguments: str | bytes | float) -> Any:
        """Run a script that touches what belongs to an account of SES."""
        return self._scripts.of_account(account).run(name, *arguments)

    def record_evidence(self, send_id: str, message_id: str) -> str:
        """An event of SES names this send: it was taken. Answers settled, kept, known, copy or gone: evidence.lua."""
        return str(self._run("evidence", send_id, message_id, self._sent_retention_ms, 0).decode())

    def record_first_word(self, send_id: str, message_id: str) -> str:
        """The same by the event that SES tells before all others; the ledger learns from it how long evidence takes."""
        return str(self._run("evidence", send_id, message_id, self._sent_retention_ms, 1).decode())

    def record_dropped(self, send_id: str, message_id: str, code: str, reason: str) -> str:
        """An event, by the name `code`, says that SES took this send and then dropped it: it is rejected after all.

        Answers rejected, kept, known, copy or gone: dropped.lua.
        """
        metadata = self.metadata(send_id) if RECIPIENT_ID.fullmatch(send_id) else {}
        said = json.dumps(metadata) if metadata else ""
        return str(self._run("dropped", send_id, message_id, " ".join(reason.split()), said, code).decode())

    # -- asked by people --------------------------------------------------------------------------------------------

    def cancel(self, send_id: str) -> None:
        """Take back a send before SES is asked. Raises `UnknownSend`, or `MoveRefused` if it is too late."""
        self._expect(self._run("cancel", send_id), State.CANCELLED, "cancelled")

    def reschedule(self, send_id: str, when: datetime) -> None:
        """Give a waiting send another time. Raises `UnknownSend`, or `MoveRefused` if it is not waiting."""
        self._expect(self._run("reschedule", send_id, _epoch_ms(when)), State.SCHEDULED, "rescheduled")

    def requeue(self, send_id: str) -> Ticket:
        """Send again what was not sent. Raises `UnknownSend` or `MoveRefused`.

        The ticket is the caller's to issue, by express.
        """
        self._expect(self._run("requeue", send_id), State.QUEUED, "sent again")
        with reachable():
            wishes = cast("bytes | None", self._redis.hget(self._key("send", send_id), f"caller:{send_id}"))
        return Ticket(send_id=send_id, lane=self.status(send_id).lane, wishes=(wishes or b"").decode())

    @staticmethod
    def _expect(answer: bytes, state: State, wish: str) -> None:
        if answer == b"gone":
            raise UnknownSend
        if answer == b"erased":
            raise MoveRefused(
                f"The text of the send is gone, as its recipient was erased or SES had it before: it cannot be {wish}."
            )
        if answer.decode() != state:
            raise MoveRefused(f"The send is {answer.decode()}: it cannot be {wish}.")

    def status(self, send_id: str) -> Status:
        """What is known of one send. Raises `UnknownSend`."""
        with reachable(self._redis):
            row = cast("list[bytes | None]", self._redis.hmget(self._key("send", send_id), STATUS_FIELDS))
        if row[0] is None:
            return self._status_in_batch(send_id)
        return status_of(send_id, row)

    def _status_in_batch(self, send_id: str) -> Status:
        """Of a recipient that is still in its batch, which keeps neither a time nor a message id for each."""
        answer = self._run("batch_status", send_id) if RECIPIENT_ID.fullmatch(send_id) else ()
        if not answer:
            raise UnknownSend
        state, lane, accepted_at, moved_at, attempts = (each.decode() for each in answer)
        return Status(
            send_id=send_id,
            state=State(state),
            lane=Lane(lane),
            recipients=1,
            accepted_at=float(accepted_at) / 1000,
            changed_at=float(moved_at) / 1000,
            attempts=int(attempts),
            waits=0,
            message_id=None,
            reason=None,
            code=None,
        )

    def metadata(self, send_id: str) -> dict[str, Any]:
        """What the caller gave with an email; kept as long as its row, and as the settings say; empty for others."""
        with reachable(self._redis):
            text = cast("bytes | None", self._redis.hget(self._key("send", send_id), "metadata"))
            text = text or cast("bytes | None", self._redis.get(self._key("metadata", send_id)))
            if text is None and (of_batch := RECIPIENT_ID.fullmatch(send_id)):
                return metadata_of(self._redis, self._key, of_batch[1], int(of_batch[2]))
        return dict(json.loads(text)) if text else {}

    def counts(self) -> dict[str, int]:
        """How many sends are in each state.

        Those queued and scheduled also by lane, as `queued:bulk`; an express ticket is in the transactional queue.
        """
        by_lane = [f"{state}:{lane}" for state in (State.QUEUED, State.SCHEDULED) for lane in Lane]
        names = by_lane + [state.value for state in State if state not in (State.QUEUED, State.SCHEDULED)]
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.zcard(self._key("in", name))
            pipe.llen(self._key("sent"))
            *in_indexes, sent = pipe.execute()
            counted = dict(zip(names, in_indexes, strict=True))
            counted[State.SENT] += sent
        return {
            State.QUEUED.value: sum(counted[f"queued:{lane}"] for lane in Lane),
            State.SCHEDULED.value: sum(counted[f"scheduled:{lane}"] for lane in Lane),
            **counted,
        }

    def waiting_for_room(self) -> int:
        """How many sends wait for room in the 24-hour quota; a few of them may have gone or been cancelled since."""
        with reachable(), self._redis.pipeline(transaction=False) as pipe:
            for account in self._settings.account_names:
                for lane in Lane:
                    pipe.zcard(self._scripts.of_account(account).keys.of_account("for_room", lane))
            return sum(pipe.execute())

    def ids(self, state: State, *, limit: int = 100) -> list[str]:
        """Ids of the sends in a state, oldest first; not for `queued` and `scheduled`, kept by lane."""
        with reachable(self._redis):
            found = cast("list[bytes]", self._redis.zrange(self._key("in", state), 0, limit - 1))
            if state is State.SENT and len(found) < limit:
                found += cast("list[bytes]", self._redis.lrange(self._key("sent"), 0, limit - len(found) - 1))
        return [send_id.decode() for send_id in found]

    # -- workers and sweeps -----------------------------------------------------------------------------------------

    def heartbeat(self, owner: str, lease_seconds: float) -> bool:
        """Say that a worker lives. False when its lease had run out: what it claimed may have been given away."""
        return bool(self._run("heartbeat", owner, round(lease_seconds * 1000)))

    def take_back(self, state: State, page: int = 200) -> tuple[list[Ticket], int, int]:
        """What dead workers hold in a state: tickets to issue, how many evidence settled, how many became unknown."""
        tickets, settled, unknown, position = [], 0, 0, 0
        lease_ms = round(self._settings.lease_seconds * 1000)
        longest_ms = 0 if state is State.SENDING else round(self._settings.holding_seconds * 1000)
        limits = (page, lease_ms, longest_ms, self._sent_retention_ms)
        while position >= 0:
            position, s, u, *found = self._run("sweep_claims", state, position, *limits)
            tickets += _tickets(found)
            settled, unknown = settled + s, unknown + u
        return tickets, settled, unknown

    def queue_due(self, lane: Lane, page: int = 200, *, closed_accounts: Sequence[str] = ()) -> list[Ticket]:
        """Up to `page` scheduled sends of a lane whose time has come, now queued; not those of closed accounts.

        Those are put off for a few seconds, so that they do not stand before others.
        """
        while True:
            put_off, *found = self._run("sweep_due", lane, page, "", 0, "", *closed_accounts)
            if found or not put_off:
                return _tickets(found)

    def queue_one_that_tries(self, lane: Lane, account: str, scope: str, *, due_for_seconds: float) -> list[Ticket]:
        """A due send of an account and a lane that is to try a closed scope of the account's line, `stopped:account`.

        None where that has not been due for that for `due_for_seconds`.
        """
        only = account if len(self._settings.account_names) > 1 else ""
        _, *found = self._run_at(account, "sweep_due", lane, 1, scope, round(due_for_seconds * 1000), only)
        return _tickets(found)

    def queue_for_trial(self, lane: Lane, most: int) -> list[Ticket]:
        """Due sends of a lane that the brake has closed, for its trial; none before that begins."""
        _, *found = self._run("sweep_due", lane, most, f"braked:lane:{lane}", 0, "")
        return _tickets(found)

    def queue_for_room(
        self, lane: Lane, page: int = 200, *, account: str = DEFAULT_ACCOUNT, one_went: bool = False
    ) -> list[Ticket]:
        """Up to `page` sends of a lane that wait for an account's quota or rate and have room in it, now queued.

        No more than go out at the rate within a few seconds, unless `one_went`: one of them has just had its slot.
        """
        return _tickets(self._run_at(account, "sweep_room", lane, page, int(one_went)))

    def queue_unproven(self, page: int = 200) -> tuple[list[Ticket], int]:
        """Sends unknown for the whole evidence window, queued again; and how many of them were given up.

        Fewer than `page` of both together: there are no more.
        """
        if self._settings.on_unknown == "hold":
            return [], 0
        windows = [self._settings.evidence_window_of(lane) for lane in (Lane.TRANSACTIONAL, Lane.BULK)]
        windows_ms = ["" if seconds is None else round(seconds * 1000) for seconds in windows]
        tickets: list[Ticket] = []
        abandoned = skipped = 0
        while True:
            limits = (self._settings.max_attempts, page, skipped, self._sent_retention_ms, self._accounts)
            looked_at, left, given_up, *found = self._run("sweep_unknown", *windows_ms, *limits)
            tickets += _tickets(found)
            abandoned, skipped = abandoned + given_up, skipped + left
            if looked_at < page or len(tickets) + abandoned >= page:
                return tickets, abandoned

    def queue_lost(
        self, lane: Lane, *, grace_seconds: float, queue_is_empty: bool, page: int = 200
    ) -> Iterator[list[Ticket]]:
        """Queued sends whose ticket in a lane's queue must be lost (see sweep_lost.lua), queued anew, page by page.

        The tickets of the first page go by express, those of the others at the end of their lanes: a few go ahead of
        bulk, the many of a lost broker take their place.
        """
        arguments = (lane, round(grace_seconds * 1000), int(queue_is_empty))
        began_ms, *found = self._run("sweep_lost", *arguments, 1, page, "")
        yield (tickets := _tickets(found))
        while len(tickets) == page:
            _, *found = self._run("sweep_lost", *arguments, 0, page, began_ms)
            yield (tickets := _tickets(found))

    def forget_old(self, page: int = 200) -> int:
        """Drop what is past its retention; how many sends that had failed."""
        failed_ms, forgotten = round(self._settings.failed_retention_seconds * 1000), 0
        while True:
            sent, failed = map(int, self._run("sweep_old", self._sent_retention_ms, failed_ms, page))
            forgotten += failed
            if max(sent, failed) < page:
                return forgotten


def new_token() -> str:
    """Of a claim: short, as it is kept with each sent email, and never the same twice."""
    return uuid4().hex[:16]


def pack(email: Email) -> tuple[str, dict[str, bytes]]:
    """An email as the ledger keeps it: a JSON record, and its large parts by digest."""
    record, parts = detach(email)
    blobs: dict[str, bytes] = {}
    places: list[int | str] = []
    for part in parts:
        if len(part) < BLOB_BYTES:
            places.append(b64encode(part).decode())
        else:
            digest = _digest(part)
            blobs[digest] = part
            places.append(list(blobs).index(digest))
    row = {"v": version_of(email), "email": record, "parts": places}
    return _in_few_letters(row), blobs


_in_few_letters = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def unpack(record: bytes, blobs: Sequence[bytes]) -> Email:
    """The email again, from its record and its blobs in order. Raises `Newer` for a record of a newer release."""
    row = json.loads(record)
    if not isinstance(row["v"], int) or row["v"] > RECORD_VERSION:
        raise Newer("its record", row["v"], RECORD_VERSION)
    contents = [zlib.decompress(blob) for blob in blobs]
    parts = [contents[place] if isinstance(place, int) else b64decode(place) for place in row["parts"]]
    return attach(row["email"], parts)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _epoch_ms(when: datetime | None) -> int | str:
    return "" if when is None else round(when.timestamp() * 1000)


def _tickets(found: Sequence[bytes]) -> list[Ticket]:
    triples = zip(found[::3], found[1::3], found[2::3], strict=True)
    return [
        Ticket(send_id=send_id.decode(), lane=Lane(lane.decode()), wishes=wishes.decode())
        for send_id, lane, wishes in triples
    ]


def _caller_arguments(caller: Caller | None) -> tuple[str, str, int | str, int | str]:
    if caller is None:
        return "", "", "", ""
    return caller.task_id, caller.wishes, int(caller.waits), int(caller.waits_for_others)
