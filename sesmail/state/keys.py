"""The map of Redis: every key that sesmail writes, its type, its lifetime and its meaning.

All keys carry one hash tag, `{sesmail}` by default, so that a script may touch any of them on any server. Scripts build
their keys from the same base (`prelude.lua`); a test compares what a full run leaves in Redis with this catalogue.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sesmail.vocabulary import DEFAULT_ACCOUNT


@dataclass(frozen=True, slots=True)
class Key:
    """One kind of key: its pattern below the base, Redis type, lifetime and meaning."""

    pattern: str
    type: str
    lifetime: str
    meaning: str


CATALOGUE: tuple[Key, ...] = (
    # The ledger
    Key(
        "send:<id>",
        "hash",
        "while waiting; then `sent_` or `failed_retention_seconds`",
        "one send: `v` (version of the row), site, account, state, lane, text, `moves` off the common road, ...",
    ),
    Key(
        "metadata:<id>",
        "string",
        "`metadata_retention_seconds`",
        "what the caller gave with an email, for the receivers of its events",
    ),
    Key("blob:<sha256>", "hash", "as long as a row uses it", "a large part of emails: `data` (zlib), `references`"),
    Key("in:queued:<lane>", "zset", "for ever", "ids by the time (ms) at which a ticket was issued in its queue"),
    Key("in:scheduled:<lane>", "zset", "for ever", "ids by the time (ms) at which they are due"),
    Key(
        "for_room:<lane>",
        "zset",
        "while any wait",
        "ids that wait for room in the 24-hour quota or for the rate of an account, by the time (ms) of acceptance",
    ),
    Key("in:claimed", "zset", "for ever", "ids by the time (ms) of their claim"),
    Key("in:sending", "zset", "for ever", "ids by the time (ms) at which SES must have answered"),
    Key("sent", "list", "for ever", "ids of sent sends, in the order in which they came to be sent"),
    Key("in:<state>", "zset", "for ever", "ids in any other state by the time (ms) at which they came into it"),
    Key(
        "idempotency:<site>:<digest>",
        "string",
        "`idempotency_seconds`",
        "the id of the send that a caller's key stands for, and the digest of what its email says",
    ),
    Key("idempotency:<sha256>", "string", "a day", "the same for callers of former releases: the id alone"),
    Key("index:secret", "string", "for ever", "addresses are hashed with it where they must not stand; never changed"),
    Key(
        "index:address:<hash>",
        "zset",
        "until the last of them may be forgotten",
        "ids of the sends to an address, by the time (ms) at which they may be forgotten",
    ),
    Key(
        "index:list:<site>:<list>",
        "zset",
        "until the last of them may be forgotten",
        "ids of the sends to a list, by the time (ms) at which they may be forgotten",
    ),
    Key("former:all_mine", "string", "for ever", "that what stands under the former names is this project's"),
    Key("former:taken_over", "string", "for ever", "that pauses were taken over from there"),
    Key("former:taken_over:recently", "string", "an hour", "that opt-outs were taken over from there of late"),
    Key("workers", "zset", "for ever", "living worker processes by the end (ms) of their lease"),
    Key(
        "fleet",
        "hash",
        "for ever",
        "when (ms) any of them was last heard of, and what follows: see fleet.lua",
    ),
    Key(
        "turn:<name>", "string", "until it is due again", "token of the worker that does, or did, what one does for all"
    ),
    Key("worker-rate:<worker>", "string", "an hour after it was told", "recipients a second that a worker may send"),
    Key("consumers", "hash", "for ever", "queue: when (ms) a worker that takes tickets from it was last heard"),
    Key("claimed_up_to", "hash", "for ever", "queue: the latest issue time (ms) among its tickets that were claimed"),
    Key("overtaken", "hash", "for ever", "queue: what `claimed_up_to` was a while ago, to find lost tickets"),
    Key("listeners", "hash", "for ever", "site: until when (ms) the ends of its sends are noted for its receivers"),
    Key("untold:<site>", "zset", "for ever", "ids of ended sends by the time (ms) at which receivers are to be told"),
    Key(
        "unanswered",
        "zset",
        "for ever",
        "`id task-id` of callers whose send has ended, by the time (ms) at which they need a last ticket",
    ),
    Key(
        "written",
        "string",
        "for ever",
        "written anew with what must be safe elsewhere, too; see SESMAIL_ACCEPT_WAITS_FOR",
    ),
    Key("evicted", "string", "for ever", "how many keys Redis had thrown away when a worker looked last"),
    Key("meters:sweep", "hash", "for ever", "cause: how many sends all sweeps have dealt with for it"),
    Key(
        "delay_of_events",
        "hash",
        "for ever",
        "site: how long (ms) SES's first word of an email takes of late, on average",
    ),
    Key(
        "meters:seconds_to_answer",
        "hash",
        "for ever",
        "`answer bound`: how many answers of SES took so long (s), and `answer sum` (ms); see rows.lua",
    ),
    Key(
        "meters:seconds_to_sent",
        "hash",
        "for ever",
        "`lane bound`: how many emails took so long (s) from when they might go until sent, and `lane sum` (ms)",
    ),
    Key("meters:door_answers", "hash", "for ever", "HTTP status: how many posts of SNS doors have answered by it"),
    Key(
        "takers:<queue>",
        "zset",
        "an hour after the last",
        "workers that take tickets from the queue, by the time (ms) of their word",
    ),
    Key(
        "meters:guard",
        "hash",
        "for ever",
        "`held_back`: how many sends were set aside, as too many to an address",
    ),
    Key(
        "lately:<hash>",
        "zset",
        "1 hour",
        "with SESMAIL_HOURLY_LIMIT_PER_ADDRESS: sends to an address, by the time (ms) of their first claim",
    ),
    Key("lately:<hash>:told", "string", "1 hour", "that somebody was told that an address has had too many"),
    Key("meters:not_accepted", "hash", "for ever", "error: how many messages were not accepted in silence, for it"),
    # Batches
    Key(
        "batch:<id>",
        "hash",
        "while it goes on; then the longer of `idempotency_` and `sent_retention_seconds`",
        "one batch: `v`, site, account, lane, list, state, its letter, counts by state; see batches.lua",
    ),
    Key(
        "batch:<id>:chunks",
        "hash",
        "while any of a chunk waits",
        "number of a chunk: addresses and values of a hundred recipients, compressed",
    ),
    Key("batch:<id>:states", "string", "as long as the batch", "four bits a recipient"),
    Key("batch:<id>:todo", "list", "while any waits", "numbers of the chunks that no worker holds"),
    Key(
        "batch:<id>:seen",
        "hash",
        "as long as the batch",
        "first byte of the digests of addresses: the other seven of each, by which who was queued is known; "
        "`from <chunk>`: the first bytes in the order of the recipients' numbers",
    ),
    Key(
        "batch:<id>:metadata",
        "hash",
        "as long as the batch",
        "number of a chunk: metadata that its recipients have of their own, compressed, by their places",
    ),
    Key("batch:<id>:rows", "zset", "while any has not ended", "numbers of recipients that have a row of the ledger"),
    Key(
        "batch-key:<site>:<digest>",
        "string",
        "as long as the batch",
        "the id of the batch that a caller's key stands for",
    ),
    Key("batches", "zset", "for ever", "ids of batches by the time (ms) at which they were begun"),
    Key("batches:open", "zset", "while any goes on", "ids of batches that have not ended"),
    Key(
        "batches:ready:<site>:<lane>",
        "zset",
        "while any waits",
        "ids of batches by what they have had of the lane so far",
    ),
    Key("batches:held", "hash", "while any is held", "`<batch> <chunk>`: `owner token since (ms) number`"),
    Key("batches:turn:<site>:<lane>", "string", "for ever", "what the batch that had a turn last had had of the lane"),
    Key("batches:awake:<site>:<lane>", "string", "a minute", "how many tickets for batches nobody has taken yet"),
    Key(
        "batches:untold:<site>",
        "zset",
        "while any waits",
        "ids of ended batches by when (ms) to tell of them",
    ),
    # The throttle and the line
    Key("throttle", "string", "for ever", "limits, margin and books of the throttle, packed: see throttle.lua"),
    Key(
        "throttle:version", "string", "for ever", "the version of what the books mean; whoever does not know it lets be"
    ),
    Key("throttle:facts", "hash", "for ever", "`source`, `standing`, `read_at` (us) of the limits, `refused_at`"),
    Key("throttle:slots", "list", "for ever", "a second's slots, packed: the slot (us), recipients up to and with it"),
    Key("throttle:shares", "zset", "for ever", "shares in use, by the time (us) at which they have room again"),
    Key("throttle:waiting:<lane>", "zset", "for ever", "who waits for a turn, by the time (us) of coming"),
    Key("throttle:expected:<lane>", "hash", "for ever", "who waits for a turn: the time (us) at which to come again"),
    Key("throttle:sent", "hash", "for ever", "ten minutes' bucket: recipients sent, for the rolling 24 hours"),
    Key("throttle:promised", "hash", "for ever", "bucket: recipients that wait for its leaving the 24 hours"),
    Key(
        "line",
        "hash",
        "for ever",
        "`paused:<scope>`, `stopped:<scope>` or `braked:<scope>`: next probe, interval, since (ms), reason",
    ),
    Key(
        "account:<account>:<key>",
        "as there",
        "as there",
        "`throttle`, `throttle:…`, `line`, `unclear`, `for_room:<lane>` and `turn:<name>` of another SES account than "
        "`default`, whose are without this",
    ),
    Key(
        "brake:<site>",
        "hash",
        "14 days after the last",
        "`window end counter list`: what was told of late of its emails, by `counter@account` for each of several SES "
        "accounts, too; `from list`, `from @account`: since when (ms) sent ones count",
    ),
    Key(
        "unclear",
        "string",
        "until SES's next clear answer",
        "how often in a row SES gave none: see breaker.lua",
    ),
    # What SES's events tell
    Key(
        "optout:<scope>",
        "hash",
        "for ever",
        "address: `reason since (ms) source` of an opt-out, and when it ends; see suppression.lua",
    ),
    Key("optouts", "set", "for ever", "the scopes that have opt-outs"),
    Key(
        "erased",
        "zset",
        "for ever",
        "what those are called who were erased, by the time (ms) of it; see pseudonyms.lua",
    ),
    Key(
        "returned:<scope>",
        "hash",
        "30 days after the last",
        "address: when (ms) somebody came back at SES's page of preferences",
    ),
    Key(
        "soft:<digest>",
        "zset",
        "`soft_bounce_window_seconds`",
        "times (ms) of an address's passing bounces since its last delivery; under the address's SHA-256",
    ),
    Key("receivers:<site>", "string", "a day", "the signals that a door's process of the site has functions for"),
    Key("audit", "list", "the last 10,000", "what operators did: who, when, why; JSON without addresses"),
    Key("heard", "hash", "400 days after the last", "site: when (ms) the last event of its emails was processed"),
    Key("ses-list", "set", "a day", "addresses on SES's own suppression list, while `sesmail suppress sync` runs"),
    Key("ses-list:place", "string", "a day", "how far an interrupted `sesmail suppress sync` has read it"),
    Key("rates:<site>:<day>", "hash", "400 days", "`counter list`: what became of the emails sent that day"),
    Key("seen:<day>", "hash", "7 days", "digest of a fact, or a former release's of it: of who told first"),
    Key(
        "delivery:<send id>",
        "hash",
        "30 days",
        "recipient: how far the email got with it; `<status> <recipient>`: when SES told so (s), and its word for why",
    ),
    # Events of SES, where Redis is their store
    Key(
        "event:<event id>",
        "hash",
        "until processed; then the store's retention",
        "one notification: `v`, `message`, ...",
    ),
    Key(
        "events:unprocessed:<site>",
        "zset",
        "for ever",
        "event ids by the time (ms) at which they are due; a lease is later",
    ),
    Key("events:processed:<site>", "zset", "for ever", "event ids by the time (ms) at which they were processed"),
    Key("events:set_aside:<site>", "zset", "for ever", "event ids by the time (ms) at which they were given up"),
)


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of keys below one prefix; the prefix separates several sesmail installations in one Redis database."""

    prefix: str = "sesmail"
    before: str = ""
    """What a project has before all its keys: Celery's `global_keyprefix`."""
    account: str = DEFAULT_ACCOUNT
    """The SES account whose throttle, line and breaker `of_account` names."""

    @property
    def base(self) -> str:
        """What every key begins with; handed to each script as KEYS[1]."""
        return f"{self.before}{{{self.prefix}}}:"

    def __call__(self, *parts: str) -> str:
        """The key for the given parts: `keys("send", send_id)` is `{sesmail}:send:<id>`."""
        return self.base + ":".join(parts)

    @property
    def account_base(self) -> str:
        """What the keys of the account begin with; scripts get it as KEYS[2] where it is not the base itself."""
        return self.base if self.account == DEFAULT_ACCOUNT else f"{self.base}account:{self.account}:"

    def of_account(self, *parts: str) -> str:
        """The key of the account for the given parts: `{sesmail}:account:marketing:line`."""
        return self.account_base + ":".join(parts)


@dataclass(frozen=True, slots=True)
class KeyDigest:
    """An idempotency key as Redis has it: keys may hold addresses, so their digests alone are kept."""

    todays: str
    former: str
    """As releases have it that knew no sites here."""

    @classmethod
    def of(cls, key: str | None) -> KeyDigest:
        """Both digests; empty where there is no key."""
        digest = hashlib.sha256(key.encode()).hexdigest() if key else ""
        return cls(digest[:32], digest)
