"""Why the local SES cannot start, said in a line."""

from __future__ import annotations

from importlib.util import find_spec

NEEDED = ("starlette", "uvicorn", "httptools")


class CannotStart(RuntimeError):
    """The simulator cannot run as it is asked to; the message says why."""


class NotInstalled(CannotStart, ImportError):
    """Packages that the simulator is made of are missing; the message says what to install."""


def check_installed() -> None:
    """Raise NotInstalled where the extra `simulator` is not installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise NotInstalled(
            f"The simulator cannot run: not installed: {', '.join(missing)}. "
            "Install what it needs with `pip install 'sesmail[simulator]'`."
        )
