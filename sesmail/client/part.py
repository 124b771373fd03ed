"""What a client is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable


Part = TypeVar("Part")


class part(Generic[Part]):  # noqa: N801  used like property
    """A part of a client: made once, under the client's lock, and kept. `functools.cached_property` has no lock.

    https://docs.python.org/3/library/functools.html#functools.cached_property
    """

    def __init__(self, make: Callable[[Any], Part]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: object, owner: type) -> Part: ...
    def __get__(self, client: Any, owner: type) -> Self | Part:
        if client is None:
            return self
        made: dict[str, Any] = vars(client)
        with client.lock:
            if self._name not in made:
                made[self._name] = self._make(client)  # found there from now on, before this descriptor
        kept: Part = made[self._name]
        return kept
