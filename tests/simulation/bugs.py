"""Planting a bug in the product, in memory: a text that is searched for, and what stands there instead.

Lua is changed as it is loaded. Of Python, the code of the functions that differ is put into those that are there, so that
everybody who has imported them has the bug, and nothing is loaded twice.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import CodeType, FunctionType, ModuleType
from typing import Any

from sesmail.client import part
from tests.simulation import worker
from tests.simulation.lua import replaced
from tests.simulation.patches import Patches


@dataclass(frozen=True, kw_only=True)
class Bug:
    """One planted bug."""

    name: str
    where: str
    """`begin.lua`, or a module such as `sesmail.sending.delivery`."""
    old: str
    new: str
    harmless: str = ""
    """Why nothing is broken by it, where that is so."""
    needs: str = ""
    """Among which misfortunes of `command.HUNTS` it is seen most likely; empty: among any."""
    trait: str = ""
    """What of `world.TRAITS` a history must have for it to be seen."""

    def in_lua(self) -> dict[str, list[tuple[str, str]]]:
        """For `lua.Texts`."""
        return {self.where.removesuffix(".lua"): [(self.old, self.new)]} if self.where.endswith(".lua") else {}

    def plant(self, patches: Patches) -> None:
        """In Python."""
        if self.where.endswith(".lua"):
            return
        module = import_module(self.where)
        before, after = _codes(module.__file__, _source(module)), self._changed(module)
        planted = 0
        for function in _functions(module):
            code = after.get(function.__qualname__)
            if code and code != before[function.__qualname__]:
                patches.set(function, "__code__", code)
                planted += 1
        if not planted:
            raise LookupError(f"the planted bug {self.name!r} is in no function of {self.where}")

    def _changed(self, module: ModuleType) -> dict[str, CodeType]:
        return _codes(module.__file__, replaced(_source(module), self.old, self.new))


@cache
def _source(module: ModuleType) -> str:
    return inspect.getsource(module)


def _codes(file: Any, source: str) -> dict[str, CodeType]:
    """The code of each function in a file, by its qualified name."""
    return {code.co_qualname: code for code in _nested(compile(source, str(file), "exec", dont_inherit=True))}


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """Those that a module defines itself, also within classes and behind descriptors."""
    if module.__name__ == "sesmail.celery.tasks":
        yield from (worker.SEND, worker.SEND_LOT, worker.SEND_BATCHES, worker.PROCESS_EVENTS)
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) == module.__name__:
            members = list(vars(value).values()) if isinstance(value, type) else [value]
            yield from (function for function in map(_function, members) if function)


def _function(member: Any) -> FunctionType | None:
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    if isinstance(member, property):
        member = member.fget
    if isinstance(member, part):
        member = member._make
    member = getattr(member, "__wrapped__", member)
    return member if isinstance(member, FunctionType) else None
