"""What an address is called where it must not stand: in the index of sends, in trails, and of who was erased.

A keyed hash: the same each time, and nothing that the address could be read or guessed from without the secret. That is
made by whoever needs it first, kept in the ledger and never changed. `pseudonyms.lua` computes the same.
"""

from __future__ import annotations

import hashlib
import re
from secrets import token_hex
from typing import TYPE_CHECKING, cast

from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sesmail.state.scripts import Scripts

NOBODYS = "@erased.invalid"
"""What stands behind the hash of who was erased: an address that nobody can have, which passes for one everywhere."""

_HASH = 20
"""Letters of a hash."""
_SEALED = re.compile(r"[0-9a-f]{16}")


class Pseudonyms:
    """Those of one ledger. All methods take normal addresses, and raise `LedgerUnavailable`."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._secret, self._erased = scripts.keys("index:secret"), scripts.keys("erased")

    def of(self, address: str) -> str:
        """The hash of an address."""
        with reachable(self._redis):
            self._redis.set(self._secret, token_hex(32), nx=True)
            secret = cast("bytes", self._redis.get(self._secret)).decode()
        return _hash_of(secret, address)

    def sealed(self, address: str, digest: bytes) -> str:
        """The hash of an address, and behind it eight bytes that only this ledger can read; nor do they tell others."""
        name = self.of(address)
        return name + bytes(one ^ other for one, other in zip(digest, self._mask(name), strict=True)).hex()

    def opened(self, sealed: str) -> tuple[str, bytes]:
        """The hash and the eight bytes of what `sealed` made; of what it did not make, a hash and no bytes."""
        name, rest = sealed[:_HASH], sealed[_HASH:]
        if not _SEALED.fullmatch(rest):
            return name, b""
        return name, bytes(one ^ other for one, other in zip(bytes.fromhex(rest), self._mask(name), strict=True))

    def _mask(self, name: str) -> bytes:
        return bytes.fromhex(self.of(f"mask {name}")[:16])

    def erased_at_ms(self, name: str) -> float:
        """When who has this hash was erased; 0 for nobody."""
        with reachable(self._redis):
            return self._redis.zscore(self._erased, name + NOBODYS) or 0.0

    def of_erased(self, address: str) -> str:
        """What the opt-outs call an address once it is erased."""
        return self.of(address) + NOBODYS

    def erased_among(self, addresses: Iterable[str], *, within_seconds: float) -> dict[str, str]:
        """Those that were erased of late, and what they are called since. Looked at only where anybody was."""
        with reachable(self._redis):
            if not self._redis.exists(self._erased):
                return {}
            time = self._redis.time()
            secret = (cast("bytes | None", self._redis.get(self._secret)) or b"").decode()
            names = {address: _hash_of(secret, address) + NOBODYS for address in addresses}
            with self._redis.pipeline(transaction=False) as pipeline:
                for name in names.values():
                    pipeline.zscore(self._erased, name)
                erased_at = pipeline.execute()
        since_ms = (time[0] - within_seconds) * 1000
        return {one: name for (one, name), at in zip(names.items(), erased_at, strict=True) if (at or 0.0) >= since_ms}


def is_erased(address: str) -> bool:
    """Whether this is what somebody is called who was erased."""
    return address.endswith(NOBODYS)


def _hash_of(secret: str, address: str) -> str:
    return _hex(secret + _hex(secret + address))[:_HASH]


def _hex(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
