"""The product's Lua as Redis gets it here: by the simulation's clock, with its moves and lifetimes written down.

The text is otherwise the product's own. A planted bug is a replacement in it; what a former release's workers run is that
release's text, where its scripts are called as today's are.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sesmail.state.scripts import Scripts, texts

MOVES = "sim:moves"
"""A list of what the script that has just run has moved: `base id state time`."""
EXPIRIES = "sim:expiries"
"""A sorted set of keys by the virtual time (ms) at which they are to go."""

PRELUDE = """
now_us = function() return tonumber(KEYS[3]) end
local function sim_expire(milliseconds_each, name, lifetime)
  lifetime = tonumber(lifetime) * milliseconds_each
  if lifetime <= 0 then return redis.call('DEL', name) end
  if redis.call('EXISTS', name) == 0 then return 0 end
  redis.call('ZADD', 'sim:expiries', now_ms() + lifetime, name)
  return 1
end
"""
ENTERS = re.compile(r"redis\.call\('HSET', key\('send', id\), 'state', state, 'moved_at', now_ms\(\)(, \.\.\.)?\)")
"""How today's scripts write a state, and the former release's."""
NOTE_MOVE = "redis.call('RPUSH', 'sim:moves', KEYS[1] .. ' ' .. id .. ' ' .. state .. ' ' .. now_ms())"
MOVES_IN_BATCH = "moves.counts[to] = (moves.counts[to] or 0) + 1"
NOTED_IN_BATCH = (
    MOVES_IN_BATCH
    + """\n  redis.call('RPUSH', 'sim:moves', KEYS[1] .. ' ' .. id .. '-' .. string.format('%d', number) .. ' ' .. to"""
    + """ .. ' ' .. now_ms())"""
)
FORMER_RELEASE = "6a31838"
FORMER_FOLDER = "sesmail/state/lua"
_source = Scripts.source


@dataclass(frozen=True, slots=True)
class Script:
    """One script as it is run."""

    name: str
    text: str
    digest: str
    moves: bool
    """Whether it may move sends."""


class Texts:
    """Every script by its text, for one run of the simulation."""

    def __init__(self, replacements: dict[str, list[tuple[str, str]]] | None = None) -> None:
        """`replacements` are planted bugs: by file, what is searched for and what stands there instead."""
        self._replacements = replacements or {}
        self.by_text: dict[str, Script] = {}
        self.by_digest: dict[str, Script] = {}
        self._made: dict[tuple[str, bool], str] = {}

    def source(self, scripts: Scripts, name: str, *, former: bool) -> str:
        """What `Scripts.source` answers here."""
        if (name, former) not in self._made:
            self._made[name, former] = self._register(name, self._text(scripts, name, former=former))
        return self._made[name, former]

    def _text(self, scripts: Scripts, name: str, *, former: bool) -> str:
        if former and (text := former_text(name)):
            return text
        text = _todays_text(name, lambda: _source(scripts, name))
        for part in ("prelude", *_needs(texts()[name]), name):
            for old, new in self._replacements.get(part, ()):
                if part == name or old in text or old not in texts()[part]:  # else its function is not in this script
                    text = replaced(text, old, new)
        return text

    def _register(self, name: str, text: str) -> str:
        script = _script(name, text)
        self.by_text[script.text] = self.by_digest[script.digest] = script
        return script.text


_todays: dict[str, str] = {}


def _todays_text(name: str, read: Callable[[], str]) -> str:
    """A script as the product makes it up, once for all seeds."""
    if name not in _todays:
        _todays[name] = read()
    return _todays[name]


@cache
def _script(name: str, text: str) -> Script:
    text = simulated(text)
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest(), NOTE_MOVE in text or NOTED_IN_BATCH in text)


def replaced(text: str, old: str, new: str) -> str:
    """The text with a planted bug. Fails loudly where the text is no longer there."""
    if old not in text:
        raise LookupError(f"a planted bug has lost its place: {old!r} is not there any more")
    return text.replace(old, new)


def simulated(text: str) -> str:
    """A script by virtual time."""
    end = "return math.floor(now_us() / 1000)\nend\n"
    text = replaced(text, end, end + PRELUDE)
    head, body = text.split(PRELUDE)
    body = body.replace("redis.call('PEXPIRE', ", "sim_expire(1, ").replace(
        "redis.call('EXPIRE', ", "sim_expire(1000, "
    )
    body = ENTERS.sub(rf"\g<0>\n  {NOTE_MOVE}", body).replace(MOVES_IN_BATCH, NOTED_IN_BATCH)
    body = body.replace("redis.call('PERSIST', ", "redis.call('ZREM', 'sim:expiries', ")
    if re.search(r"'(PX|EX|PXAT|EXAT|TIME)'", body):
        raise LookupError("a script has a lifetime or a clock that the simulation does not know")
    return head + PRELUDE + body


def _needs(text: str) -> list[str]:
    found = re.match(r"-- needs: (.+)\n", text)
    return found[1].split(", ") if found else []


@cache
def _former_file(name: str) -> str:
    """A file of the former release; nothing where there is no history to ask."""
    root = Path(__file__).parents[2]
    found = subprocess.run(
        ["git", "show", f"{FORMER_RELEASE}:{FORMER_FOLDER}/{name}.lua"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout if found.returncode == 0 else ""


@cache
def former_text(name: str) -> str:
    """A script of the former release, where it is called as today's is; else nothing."""
    former = _former_file(name)
    if "-- ARGV" not in former or _arguments(former) != _arguments(texts()[name]):
        return ""
    return "\n".join([_former_file("prelude"), *map(_former_file, _needs(former)), former])


def _arguments(text: str) -> str:
    """What its head says of its arguments and of its answer."""
    comment = "\n".join(line for line in text.splitlines() if line.startswith("--"))
    return comment[comment.find("ARGV") :]
