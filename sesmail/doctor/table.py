"""The table of checks, and what one finds: each is a small function that says what is wrong, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import cleandoc
from typing import TYPE_CHECKING

from sesmail.sending.essence import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sesmail.doctor.patient import Patient
    from sesmail.sending.essence import Obstacle

    Look = Callable[[Patient], "str | Said | Iterable[str | Said] | None"]

__all__ = ["CHECKS", "Check", "Finding", "Level", "Said", "Section"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What a check found, where it matters more or less than usual, or something else is to be done about it."""

    what: str
    do: str = ""
    level: Level | None = None

    @classmethod
    def by(cls, obstacle: Obstacle) -> Said:
        """What `sesmail why` says, too."""
        return cls(what=obstacle.what, do=obstacle.do, level=obstacle.level)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One way in which a set-up is known to go wrong."""

    id: str
    """A name that stays, such as `redis-evicts`."""
    about: str
    """`Redis`, `The broker`, ...: what it looks at."""
    level: Level
    cause: str
    """What it looks for, and what that means for email."""
    do: str
    """What to do about it."""
    docs: str
    """The page, below docs/, that tells more."""
    look: Look

    def findings(self, of: Patient) -> list[Finding]:
        """What it finds. Raises `CannotLook`, and whatever what it looks at raises."""
        found = self.look(of)
        each = [found] if isinstance(found, str | Said) else found or ()
        return [self.finding(Said(what=one) if isinstance(one, str) else one) for one in each]

    def finding(self, said: Said) -> Finding:
        """As a finding of this check."""
        return Finding(
            id=self.id, level=said.level or self.level, what=said.what, do=said.do or self.do, docs=f"docs/{self.docs}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that is wrong with a set-up, or may be meant so."""

    id: str
    level: Level
    what: str
    """What it is, and what it means for email, in a line."""
    do: str
    docs: str
    """The page that tells more: `docs/events-setup.md`."""


CHECKS: dict[str, Check] = {}
"""All checks by their ids."""


class Section:
    """Puts functions into the table, under what they look at: `@_of_redis("redis-evicts", Level.ERROR, "Set ...")`."""

    def __init__(self, about: str, docs: str) -> None:
        """`docs` is the page that most of them are told of on."""
        self._about, self._docs = about, docs

    def __call__(self, id_: str, level: Level, do: str, docs: str = "") -> Callable[[Look], Look]:
        """For the function, whose docstring says what it looks for."""

        def put(look: Look) -> Look:
            assert id_ not in CHECKS, id_
            cause = " ".join(cleandoc(look.__doc__ or "").split())
            CHECKS[id_] = Check(
                id=id_, about=self._about, level=level, cause=cause, do=do, docs=docs or self._docs, look=look
            )
            return look

        return put
