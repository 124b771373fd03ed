"""Puts something else in the place of what the product's modules have taken from elsewhere, and takes it out again."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

import sesmail

NOT_SIMULATED = (
    "sesmail.cli",
    "sesmail.doors",
    "sesmail.contrib",
    "sesmail.embedded",
    "sesmail.testing",
    "sesmail.ses.",
    "sesmail.simulator",
)


@cache
def product_modules() -> list[ModuleType]:
    """The modules of the product whose code runs under virtual time, also those that are loaded late elsewhere."""
    names = [found.name for found in pkgutil.walk_packages(sesmail.__path__, "sesmail.", onerror=lambda _name: None)]
    return [importlib.import_module(name) for name in sorted(names) if not name.startswith(NOT_SIMULATED)]


class Patches:
    """Changes that are undone in the end."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []

    def set(self, target: Any, name: str, value: Any) -> None:
        """Give an attribute another value until `undo`."""
        self._undo.append((target, name, vars(target).get(name, getattr(target, name))))
        setattr(target, name, value)

    def undo(self) -> None:
        """Put everything back, the latest first."""
        while self._undo:
            target, name, value = self._undo.pop()
            setattr(target, name, value)

    def replace_everywhere(self, instead: Mapping[int, Any]) -> None:
        """In all modules of the product, also where a function has taken it for the default of an argument."""
        for module in product_modules():
            for name, value in list(vars(module).items()):
                if id(value) in instead:
                    self.set(module, name, instead[id(value)])
            for function in _functions(module):
                self._replace_defaults(function, instead)

    def _replace_defaults(self, function: FunctionType, instead: Mapping[int, Any]) -> None:
        named = function.__kwdefaults__ or {}
        if any(id(value) in instead for value in named.values()):
            changed = {name: instead.get(id(value), value) for name, value in named.items()}
            self.set(function, "__kwdefaults__", changed)
        placed = function.__defaults__ or ()
        if any(id(value) in instead for value in placed):
            self.set(function, "__defaults__", tuple(instead.get(id(value), value) for value in placed))


@contextmanager
def patched() -> Iterator[Patches]:
    """Changes for as long as the block runs."""
    patches = Patches()
    try:
        yield patches
    finally:
        patches.undo()


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for value in list(vars(module).values()):
        if isinstance(value, FunctionType) and value.__module__ == module.__name__:
            yield value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            yield from (each for each in vars(value).values() if isinstance(each, FunctionType))
