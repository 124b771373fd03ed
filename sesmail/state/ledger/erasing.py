"""Takes a person out of the ledger: email to her, how far it got, what is searched by; her opt-outs hold, by a hash.

An email to several goes on to the others. What SES is being asked at the moment cannot be taken back, but is not sent
again. Safe to run while everything runs, and to run again: all of Redis is looked through, key by key.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from base64 import b64decode
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from sesmail.message.addresses import former_addresses, normal_address
from sesmail.message.redaction import Redaction
from sesmail.state.ledger.ledger import pack, unpack
from sesmail.state.ledger.newer import Newer
from sesmail.state.people.pseudonyms import Pseudonyms
from sesmail.state.people.reputation import recipient_of
from sesmail.state.people.suppression import SuppressionList
from sesmail.state.server.exchange import unreadable
from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sesmail.settings import Settings
    from sesmail.state.scripts import Scripts

_PAGE = 500
_GLOB = re.compile(r"([*?\[\]\\])")
_CHANGED, _NEWER = "changed", "of a newer release"

Row = dict[str, bytes]


class LedgerEraser:
    """Erases one address from one ledger. All methods raise `LedgerUnavailable`."""

    def __init__(self, scripts: Scripts, settings: Settings, address: str, *, dry_run: bool) -> None:
        """`address` is a normal one. With `dry_run`, it is counted what would be done, and nothing is done."""
        self._scripts = scripts
        self._redis = scripts.redis
        self._key = scripts.keys
        self._sent_retention_ms = round(settings.sent_retention_seconds * 1000)
        self._address = address
        self._dry_run = dry_run
        pseudonyms = Pseudonyms(scripts)
        self._hash, self.name = pseudonyms.of(address), pseudonyms.of_erased(address)
        self.redaction = Redaction({address: self.name})
        self.counts: Counter[str] = Counter()
        self._blobs: dict[str, bool] = {}

    def erase(self) -> Counter[str]:
        """Do it. First the opt-outs: from then on, nothing more of the address is noted by whoever runs."""
        self._erase_opt_outs()
        hers = self._indexed()
        for name, row in self._all("delivery"):
            self._look_at_delivery(name, row, hers)
        sends = self._all("send")
        hers_alone = {self._id(name, "send") for name, row in sends if self._look_at_send(name, row, hers)}
        for names in self._names("metadata"):
            self._look_at_metadata(names, hers_alone)
        self._erase_index(len(hers))
        return self.counts

    def _names(self, kind: str) -> Iterator[list[str]]:
        """The keys of a kind, page by page; SCAN finds whatever is there all the time."""
        pattern = _GLOB.sub(r"\\\1", self._key(kind, "")) + "*"
        page: list[str] = []
        with reachable(self._redis):
            for name in self._redis.scan_iter(match=pattern, count=_PAGE):
                page.append(name.decode())
                if len(page) >= _PAGE:
                    yield page
                    page = []
        yield page

    def _id(self, name: str, kind: str) -> str:
        return name.removeprefix(self._key(kind, ""))

    def _all(self, kind: str) -> Iterator[tuple[str, Row]]:
        for names in self._names(kind):
            yield from zip(names, self._rows(names), strict=True)

    def _rows(self, names: Sequence[str]) -> list[Row]:
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hgetall(name)
            found = pipeline.execute()
        return [{field.decode(): value for field, value in row.items()} for row in found]

    # -- opt-outs and the index -------------------------------------------------------------------------------------

    def _erase_opt_outs(self) -> None:
        spellings = (self._address, *former_addresses(self._address))
        digest = hashlib.sha256(self._address.encode()).hexdigest()
        if self._dry_run:
            self.counts["opt_outs_kept"] = len(SuppressionList(self._scripts).find(self._address))
        else:
            self.counts["opt_outs_kept"] = int(self._scripts.run("erase_opt_outs", digest, *spellings))

    def _indexed(self) -> set[str]:
        """The ids of sends to the address; some may be forgotten, and some not be known here."""
        with reachable(self._redis):
            found = cast("list[bytes]", self._redis.zrange(self._key("index", "address", self._hash), 0, -1))
        return {send_id.decode() for send_id in found}

    def _erase_index(self, entries: int) -> None:
        self.counts["index_entries"] = entries
        if not self._dry_run:
            with reachable(self._redis):
                self._redis.delete(self._key("index", "address", self._hash))

    # -- sends ------------------------------------------------------------------------------------------------------

    def _look_at_send(self, name: str, row: Row, hers: set[str]) -> bool:
        """Whether it is to her alone."""
        send_id, had_metadata = self._id(name, "send"), row.get("metadata", b"").decode(errors="replace")
        while self._is_to_her(row):
            hers.add(send_id)
            changed = self._erase_recipient(send_id, row) == _CHANGED
            if self._dry_run:
                break
            (row,) = self._rows([name])
            if not changed:
                break
        is_hers_alone = send_id in hers and row.get("recipients") == b"1" and not row.get("addresses")
        if had_metadata and (is_hers_alone or self.redaction.names_any(had_metadata)):
            self.counts["metadata"] += 1
        if "email" in row and not self._is_to(row):
            self._look_at_email_to_others(send_id, row)
        self._redact_row(name, row, whole=is_hers_alone)
        return is_hers_alone

    def _is_to_her(self, row: Row) -> bool:
        """Also what could not be read as an email, and names her: it is kept for its bytes alone."""
        if row.get("code") == b"broken" and "email" in row:
            return self.redaction.names_any(row["email"].decode(errors="replace"))
        return "email" in row and self._is_to(row)

    def _is_to(self, row: Row) -> bool:
        return self._address in map(normal_address, _lines(row.get("addresses")))

    def _erase_recipient(self, send_id: str, row: Row) -> str:
        """Take her out of one email; the state that it was in."""
        all_of_them = _lines(row.get("addresses")) if row.get("code") != b"broken" else []
        others = [one for one in all_of_them if normal_address(one) != self._address]
        record = ""
        if others:
            try:
                record = self._without_her(row)
            except (ValueError, LookupError, TypeError, zlib.error, Newer):
                self.counts["left_unread"] += 1
                return ""
        state = self._write(send_id, row, record, others)
        if state == _NEWER:
            self.counts["left_to_newer_release"] += 1
        elif state not in (_CHANGED, "gone"):
            self._count(state, to_others=bool(others))
        return state

    def _without_her(self, row: Row) -> str:
        digests = _words(row.get("blobs"))
        with reachable(self._redis), self._redis.pipeline(transaction=False) as pipeline:
            for digest in digests:
                pipeline.hget(self._key("blob", digest), "data")
            blobs = [data or b"" for data in pipeline.execute()]
        record, parts = pack(unpack(row["email"], blobs).without([self._address]))
        if [*parts] != digests:  # they stay where they are, and are counted as before
            raise ValueError("its parts would be others")
        return self._with_redacted_metadata(record)

    def _with_redacted_metadata(self, record: str) -> str:
        """What its caller alone sees of an email; the email itself is as it was."""
        row = json.loads(record)
        email = row["email"]
        for name in ("metadata", "idempotency_key"):
            if name in email:
                email[name] = self.redaction.of_document(email[name])
        return json.dumps(row, separators=(",", ":"), ensure_ascii=False)

    def _look_at_email_to_others(self, send_id: str, row: Row) -> None:
        text = row["email"].decode(errors="replace")
        try:
            record = self._with_redacted_metadata(text) if self.redaction.names_any(text) else text
            parts = [part for part in json.loads(text)["parts"] if isinstance(part, str)]
        except (ValueError, LookupError, TypeError):
            return  # what cannot be read names nobody that could be found
        texts = (record, *(b64decode(part).decode(errors="replace") for part in parts))
        if any(map(self.redaction.names_any, texts)) or any(map(self._blob_names_her, _words(row.get("blobs")))):
            self.counts["named_in_email_to_others"] += 1
        if record != text and not self._dry_run:
            self._write(send_id, row, record, _lines(row["addresses"]))

    def _blob_names_her(self, digest: str) -> bool:
        """Whether a part that several emails may share does; it is looked at once."""
        if digest not in self._blobs:
            with reachable(self._redis):
                data = cast("bytes | None", self._redis.hget(self._key("blob", digest), "data"))
            text = zlib.decompress(data).decode(errors="replace") if data else ""
            self._blobs[digest] = self.redaction.names_any(text)
        return self._blobs[digest]

    def _write(self, send_id: str, row: Row, record: str, addresses: Sequence[str]) -> str:
        """An email to these instead, or to nobody; the state that it was in. With `dry_run`, that alone."""
        seen = hashlib.sha1(row["email"], usedforsecurity=False).hexdigest()
        arguments = (record, "\n".join(addresses), len(addresses), self._sent_retention_ms, int(self._dry_run))
        return str(self._scripts.run("erase_send", send_id, seen, *arguments).decode())

    def _count(self, state: str, *, to_others: bool) -> None:
        if to_others:
            self.counts["taken_out_of_email_to_others"] += 1
        elif state in FAILED:
            self.counts["failed_email"] += 1
        else:
            self.counts["waiting_email"] += 1
        if state == "sending":
            self.counts["being_sent"] += 1

    # -- what else names her ----------------------------------------------------------------------------------------

    def _redact_row(self, name: str, row: Row, *, whole: bool) -> None:
        """What the caller gave with an email, and wants done at its end; the text of an email to others stays."""
        dropped = ["metadata"] if whole else []
        self._change(name, self._redacted(row, without=("email", "addresses", *dropped)), dropped)

    def _redacted(self, row: Mapping[str, bytes], *, without: Sequence[str]) -> dict[str, str]:
        texts = {field: value.decode(errors="replace") for field, value in row.items() if field not in without}
        return {field: new for field, text in texts.items() if (new := self.redaction.of(text)) != text}

    def _change(self, name: str, redacted: Mapping[str, str], dropped: Sequence[str]) -> None:
        """Fields of a row that is there; a row that was forgotten meanwhile does not come back."""
        if (redacted or dropped) and not self._dry_run:
            pairs = [part for pair in redacted.items() for part in pair]
            self._scripts.run("redact", name.removeprefix(self._key.base), len(dropped), *dropped, *pairs)

    def _look_at_delivery(self, name: str, row: Row, hers: set[str]) -> None:
        for field in row:
            if normal_address(recipient := recipient_of(field)) == self._address:
                hers.add(self._id(name, "delivery"))
                self.counts["deliveries"] += field == recipient
                if not self._dry_run:
                    with reachable(self._redis):
                        self._redis.hdel(name, unreadable(field))

    def _look_at_metadata(self, names: Sequence[str], hers_alone: set[str]) -> None:
        """What is kept for events, longer than the row: it goes where the email was to her alone, else she in it."""
        with reachable(self._redis):
            found = cast("list[Any]", self._redis.mget(names)) if names else []
        for name, value in zip(names, found, strict=True):
            text = (value or b"").decode(errors="replace")
            redacted = "" if self._id(name, "metadata") in hers_alone else self.redaction.of(text)
            if redacted == text or self._dry_run:
                continue
            with reachable(self._redis):
                if redacted:
                    self._redis.set(name, unreadable(redacted), xx=True, keepttl=True)
                else:
                    self._redis.delete(name)


def _lines(value: bytes | None) -> list[str]:
    return value.decode().split("\n") if value else []


def _words(value: bytes | None) -> list[str]:
    return value.decode().split() if value else []
