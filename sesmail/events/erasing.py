"""Takes who was erased out of stored events. They still prove what they prove: which send it was, a bounce, an opt-out.

The address becomes what the opt-outs call her since; what else tells of her goes: headers, subject, network address,
browser.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sesmail.events.stores import EventState
from sesmail.message import ID_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sesmail.events.stores import EventStore, StoredEvent
    from sesmail.message.redaction import Redaction

_OF_A_READER = ("ipAddress", "userAgent")
_OF_THE_HEADERS = ("to", "cc", "bcc")
"""What is read of them where SES does not say whom the email went to."""
_PAGE = 200


def erase_events(
    store: EventStore, sites: Iterable[str], redaction: Redaction, address: str, *, dry_run: bool = False
) -> int:
    """Redact all events of these sites that name an address; how many. Raises `EventStoreUnavailable`.

    An event that comes, or is processed, meanwhile is redacted when it is gathered: see `EventProcessor`.
    """
    naming = _what_no_json_escapes(address)
    found = 0
    for site in sites:
        for state in EventState:
            redacted = [
                event for stored in store.read(site, state, naming=naming) for event in _redacted(stored, redaction)
            ]
            found += len(redacted)
            for start in range(0, 0 if dry_run else len(redacted), _PAGE):
                store.rewrite(redacted[start : start + _PAGE])
    return found


def redacted_all(stored: Iterable[StoredEvent], redaction: Redaction) -> dict[str, StoredEvent]:
    """Those that name somebody, as they are to be kept, by their ids."""
    return {event.event_id: event for each in stored for event in _redacted(each, redaction)}


def _redacted(stored: StoredEvent, redaction: Redaction) -> Iterator[StoredEvent]:
    message, error = redaction.of(stored.message), redaction.of(stored.error)
    if (message, error) != (stored.message, stored.error):
        yield replace(stored, message=_without_what_tells_of_her(message), error=error)


def _without_what_tells_of_her(message: str) -> str:
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        return message
    if not isinstance(document, dict):
        return message
    for part in document.values():
        if isinstance(part, dict):
            _strip(part)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _strip(part: dict[str, Any]) -> None:
    for name in _OF_A_READER:
        part.pop(name, None)
    if isinstance(headers := part.get("headers"), list):
        part["headers"] = [one for one in headers if isinstance(one, dict) and one.get("name") == ID_HEADER]
    if isinstance(common := part.get("commonHeaders"), dict):
        part["commonHeaders"] = {name: common[name] for name in _OF_THE_HEADERS if name in common}


def _what_no_json_escapes(address: str) -> str:
    """The longest part of an address that stands in any JSON as it is, but for its case: what a store can look for."""
    return max(re.findall(r"[a-z0-9]+", address), key=len, default="")
