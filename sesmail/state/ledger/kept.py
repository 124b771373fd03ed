"""The email of a send, for as long as its text is kept: until SES has it, or past that where it was not sent."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from sesmail.errors import MoveRefused, UnknownSend
from sesmail.state.ledger.ledger import unpack
from sesmail.state.ledger.newer import Newer
from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from sesmail.message import Email
    from sesmail.state.scripts import Scripts


def kept_email(scripts: Scripts, send_id: str) -> Email:
    """The email of a send. Raises `UnknownSend`, `LedgerUnavailable`, and `MoveRefused` where its text is gone."""
    redis, key = scripts.redis, scripts.keys
    with reachable(redis):
        row: Any = redis.hmget(key("send", send_id), ("state", "email", "blobs"))
        if row[0] is None:
            raise UnknownSend
        with redis.pipeline(transaction=False) as pipe:
            for digest in (row[2] or b"").decode().split():
                pipe.hget(key("blob", digest), "data")
            blobs = pipe.execute()
    if row[1] is None or None in blobs:
        raise MoveRefused(f"The send is {row[0].decode()}: its text is not kept any more.")
    try:
        return unpack(row[1], blobs)
    except (Newer, ValueError, LookupError, TypeError, zlib.error):
        raise MoveRefused("The text of the send cannot be read by this release.") from None
