"""The local SES by its name in sesmail; what it is stands in `seslocal`."""

from __future__ import annotations

from seslocal import CannotStart, Options, Simulator, serve

__all__ = ["CannotStart", "Options", "Simulator", "serve"]
