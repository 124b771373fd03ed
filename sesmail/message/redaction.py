"""An address taken out of a text, in whatever spelling it stands there; what is somebody else's stays."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from sesmail.message.addresses import former_addresses, normal_address

if TYPE_CHECKING:
    from collections.abc import Mapping

_BEFORE = r"(?<![a-z0-9._+-])"
"""joann@example.org and x+ann@example.org are not ann@example.org."""
_AFTER = r"(?![a-z0-9-]|\.[a-z0-9])"
_LONGEST_MAILBOX = 400


class Redaction:
    """Takes addresses out of texts; something else stands in the place of each."""

    def __init__(self, instead: Mapping[str, str]) -> None:
        """`instead` maps normal addresses to what they become."""
        self._instead: dict[str, str] = {}
        for address, name in instead.items():
            for spelling in (address, *former_addresses(address)):
                self._instead[spelling] = self._instead[spelling.replace("@", "%40")] = name
        self._normal = dict(instead)
        any_of_them = "|".join(map(re.escape, sorted(self._instead, key=len, reverse=True)))
        self._pattern = re.compile(f"{_BEFORE}(?:{any_of_them}){_AFTER}", re.IGNORECASE)

    def names_any(self, text: str) -> bool:
        """Whether one of the addresses can be read in a text, be it JSON or not."""
        return self.of(text) != text

    def of(self, text: str) -> str:
        """A text without them: JSON string by string, so that it stays JSON; the same text where it names none."""
        if "@" not in text and "%40" not in text and "\\u0040" not in text:
            return text
        try:
            document = json.loads(text)
            redacted = self.of_document(document)
        except (ValueError, RecursionError):
            return self._in_text(text)
        return text if redacted == document else json.dumps(redacted, ensure_ascii=False, separators=(",", ":"))

    def of_document(self, value: Any) -> Any:
        """The same for what JSON was read into; what stands in keys, too."""
        if isinstance(value, str):
            return self._in_text(value)
        if isinstance(value, list):
            return [self.of_document(each) for each in value]
        if isinstance(value, dict):
            return {self._in_text(name): self.of_document(each) for name, each in value.items()}
        return value

    def _in_text(self, text: str) -> str:
        """A mailbox goes with the name before it; of any other text, the address alone."""
        if text.isascii() and not self._pattern.search(text):
            return text
        if "@" in text and len(text) <= _LONGEST_MAILBOX and (name := self._normal.get(normal_address(text))):
            return name
        return self._pattern.sub(lambda found: self._instead[found[0].lower()], text)
