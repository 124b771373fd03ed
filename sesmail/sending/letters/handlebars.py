"""SES's own template language, Handlebars: what of a template only SES can fill in, and which data it uses.

https://docs.aws.amazon.com/ses/latest/dg/send-personalized-email-advanced.html
"""

from __future__ import annotations

import re
from functools import lru_cache

_TAG = re.compile(r"\{\{!--.*?--\}\}|\{\{\{?~?\s*([^{}]*?)\s*~?\}?\}\}", re.DOTALL)
_WORD = re.compile(r"""\bas\s*\|[^|]*\||"[^"]*"|'[^']*'|[()]|(?:\[[^\]]*\]|[^\s\[()])+""")
_ROOT = re.compile(r"\[([^\]]+)\]|([^\W\d][\w-]*)")
_PLACE = re.compile(r"\{\{\s*(?!(?:else|this)\s*\}\})\w[\w -]*?(?:\|[^{}]*)?\}\}")
"""What `{{name}}` is here, too."""
_NO_DATA = frozenset({"else", "this", "true", "false", "null", "undefined"})


def needs_ses(text: str) -> bool:
    """Whether there is more in it than places for values: conditions, loops, partials, paths, comments."""
    return "{{" in _PLACE.sub("", text)


@lru_cache(maxsize=16)
def names(text: str) -> frozenset[str]:
    """The data that it may use: of `{{order.total}}` that is `order`. In a loop, those of its items are among them."""
    return frozenset(name for words, _ in _tags(text) for name in _roots(words))


@lru_cache(maxsize=16)
def needed(text: str) -> frozenset[str]:
    """The data without which SES cannot fill it in, as they stand outside of all conditions and loops."""
    return frozenset(name for words, depth in _tags(text) if depth == 0 and len(words) == 1 for name in _roots(words))


def _tags(text: str) -> list[tuple[list[str], int]]:
    """The words of each tag that may name data, and how many blocks it stands in; a block's own tag stands in it."""
    found, depth = [], 0
    for tag in _TAG.finditer(text):
        said = tag[1] or ""
        if said.startswith("/"):
            depth -= 1
        elif said.startswith("#"):
            depth += 1
            found.append((_WORD.findall(said)[1:], depth))
        elif said and not said.startswith(("!", ">", "^")):
            found.append((_WORD.findall(said.removeprefix("&")), depth))
    return found


def _roots(words: list[str]) -> list[str]:
    """The first parts of paths; who stands first of several is a helper."""
    paths = words[1:] if len(words) > 1 and words[0] != "(" else words
    starts = [_ROOT.match(word) for word in paths if not word.startswith("as ")]
    roots = [start[1] or start[2] for start in starts if start]
    return [root for root in roots if root not in _NO_DATA]
