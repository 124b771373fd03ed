"""Tracebacks without variables: they say where something went wrong, and not about which email.

What reports errors (Sentry, Django's mails to its admins, a debugger in a browser) shows the variables of every frame
that an exception has passed. Those of ours, of redis-py and of boto3 hold addresses, subjects and bodies.
"""

from __future__ import annotations

import traceback
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
R = TypeVar("R")


def forget_variables(error: BaseException) -> None:
    """Clear the variables of the frames that an error, and those that led to it, have passed; their lines stay.

    Frames that still run keep theirs: https://docs.python.org/3/library/traceback.html#traceback.clear_frames
    """
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop()
        if id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            waiting += [other for other in (each.__cause__, each.__context__) if other is not None]


def shows_no_email(function: Callable[P, R]) -> Callable[P, R]:
    """A function from which no error carries an email away."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            forget_variables(error)
            del args, kwargs  # this frame runs still
            raise

    return call


def shows_no_email_later(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """The same for one that is awaited."""

    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        except Exception as error:
            forget_variables(error)
            del args, kwargs
            raise

    return call
