"""The former place of `sesmail.doors.asgi`, which deployed functions and servers name."""

from __future__ import annotations

from sesmail.doors.asgi import EventsApp, listen, serve

__all__ = ["EventsApp", "listen", "serve"]


def __getattr__(name: str) -> EventsApp:
    """`app`, by the settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sesmail.doors import asgi  # noqa: PLC0415  made when a server asks for it

    return asgi.app
